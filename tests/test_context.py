"""Sentences in context: numpy gives what torch does, the layer learns what only the whole document shows, and the model folder
holds it or does without."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rows
from torch import nn

from serving.calibration import Calibration
from serving.context import BLOCK, SHAPES, WIDTH, Context, blocks
from serving.errors import ModelError
from serving.features import FEATURES
from serving.folder import CONTEXT, sha256
from serving.model import Model
from serving.summary import Rule
from training import context, export, full, ranking
from training.data import Row, Topic
from training.devices import make_accelerator
from training.encoder import load_encoder
from training.examples import Example, make_examples
from training.graph import to_half
from training.network import Network, start_heads
from training.passes import Passes
from training.vectors import Vectors


def layer(size: int = 8) -> context.Context:
    torch.manual_seed(3)
    made = context.Context(size).eval()
    nn.init.normal_(made.correction.weight)
    nn.init.normal_(made.correction.bias)
    return made


def weights(made: context.Context) -> dict[str, np.ndarray]:
    return {name: made.state_dict()[name].numpy() for name in SHAPES}


@pytest.mark.parametrize("titles", [0, 1])
@pytest.mark.parametrize("count", [0, 1, 7, BLOCK, 2 * BLOCK + 3])
def test_numpy_gives_what_torch_does(count: int, titles: int) -> None:
    made = layer()
    rows = torch.randn(titles + count, WIDTH)
    with torch.no_grad():
        expected = made.of_document(rows[:titles], rows[titles:]).numpy()
    found = Context(weights(made))(rows[:titles].numpy(), rows[titles:].numpy())
    assert found.shape == (count,) and found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_numpy_computes_in_one_thread_a_worker(tmp_path: Path) -> None:
    """Threads of its own would take the cores of other workers."""
    from threadpoolctl import threadpool_info, threadpool_limits

    np.savez(tmp_path / "c.npz", **weights(layer()))
    before = threadpool_limits(2, "blas")
    try:
        assert Context.load(tmp_path / "c.npz")(np.zeros((1, WIDTH), np.float32), np.zeros((300, WIDTH), np.float32)).any()
        assert {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"} == {1}
    finally:
        before.restore_original_limits()


def test_what_is_no_file_of_weights_is_told(tmp_path: Path) -> None:
    for content in (b"", b"PK\x03\x04", b"\x93NUMPY"):
        (tmp_path / "c.npz").write_bytes(content)
        with pytest.raises(ValueError, match="holds no arrays"):
            Context.load(tmp_path / "c.npz")


def test_a_new_layer_corrects_nothing() -> None:
    assert not context.Context(8)(torch.randn(2, 5, WIDTH)).any()


def test_padding_is_not_seen() -> None:
    made, rows = layer(), torch.randn(1, 6, WIDTH)
    there = torch.tensor([[True] * 4 + [False] * 2])
    torch.testing.assert_close(made(rows, there)[:, :4], made(rows[:, :4]), atol=1e-5, rtol=1e-4)


def test_blocks_cover_a_document_evenly() -> None:
    assert blocks(0) == [] and blocks(1) == [(0, 1)] and blocks(BLOCK) == [(0, BLOCK)]
    for count in (BLOCK + 1, 1000, 2049):
        found = blocks(count)
        sizes = [end - start for start, end in found]
        assert sum(sizes) == count and max(sizes) <= BLOCK and max(sizes) - min(sizes) <= 1
        assert [end for _, end in found[:-1]] == [start for start, _ in found[1:]]


@pytest.mark.parametrize("damage", [
    lambda found: found.pop("mix.bias"), lambda found: found.update({"up.bias": np.zeros(3)}),
    lambda found: found["out.weight"].__setitem__((0, 0), np.nan),
])
def test_damaged_weights_are_refused(damage: object) -> None:
    found = {name: array.copy() for name, array in weights(layer()).items()}
    damage(found)
    with pytest.raises(ValueError, match="missing or damaged"):
        Context(found)


def documents(count: int, seed: int, titles: int = 1) -> tuple[list[Example], list[Vectors]]:
    """The key sentence of each is the one that is most like its title in direction, which no sentence shows alone."""
    rng = np.random.default_rng(seed)
    examples, vectors = [], []
    for _ in range(count):
        sentences = int(rng.integers(4, 9))
        side = rng.choice([-1.0, 1.0])
        rows = rng.normal(size=(titles + sentences, 12)).astype(np.float32)
        rows[:titles, 0] = 3 * side
        salience = np.zeros(sentences, np.float32)
        salience[int((side * rows[titles:, 1]).argmax())] = 1
        windows = [type("Window", (), {"sentences": list(range(sentences)), "token_ids": [0] * sentences})]
        features = np.zeros((1 + sentences, len(FEATURES)), np.float32)
        row = Row("", None, ("x",), None, "", "x", "x")
        examples.append(Example(None, windows, features, None, salience, row))
        vectors.append(Vectors(rows, titles))
    return examples, vectors


def test_it_learns_what_only_the_whole_document_shows() -> None:
    size = 6 + len(FEATURES)
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(size, 4), nn.GELU(), nn.Linear(4, 1)).eval()
    learned = ranking.fit_context(*documents(1500, 1), head, seed=0, progress=False)
    examples, vectors = documents(200, 2)
    right = {"head": 0, "context": 0}
    for example, one in zip(examples, vectors):
        inputs = ranking.with_features(example, one)
        with torch.no_grad():
            alone = head(inputs[1:]).squeeze(1)
            seen = learned.inputs(inputs)
            together = alone + learned.of_document(seen[:1], seen[1:])
        key = int(example.salience.argmax())
        right["head"] += int(alone.argmax()) == key
        right["context"] += int(together.argmax()) == key
    assert right["head"] < 80 and right["context"] > 150, right


def test_the_same_seed_gives_the_same_layer() -> None:
    head = nn.Linear(6 + len(FEATURES), 1)
    first, second = (ranking.fit_context(*documents(40, 1, titles=0), head, 5, False).state_dict() for _ in range(2))
    assert all(torch.equal(tensor, second[name]) for name, tensor in first.items())


@pytest.fixture(scope="module")
def exported(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Example], list]:
    """The tiny model with a layer of random weights, and its network's exact predictions."""
    encoder, tokenizer, heads = load_encoder(str(tiny_model))
    model = Model.load(tiny_model, precision="f32")
    ids = [topic.id for topic in model.topics]
    network = Network(encoder, len(ids)).eval()
    start_heads(network, heads, ids, ids)
    rows = [Row(r["text"] * 9, None, None, None, r["title"] if i % 2 else "", r["id"], r["id"])
            for i, r in enumerate(make_rows(6, seed=5))]
    examples = make_examples(rows, ids, tokenizer.backend_tokenizer, model.windows)
    passes = Passes(network, model.windows.pad, make_accelerator("cpu"))
    before = passes.predict(examples, exact=True)
    network.context = layer(32 + len(FEATURES))
    to_half(network)
    predictions = passes.predict(examples, exact=True)
    assert all(np.abs(a.sentences[:, -1] - b.sentences[:, -1]).max() > 0.01 for a, b in zip(before, predictions))
    assert all(np.allclose(a.sentences[:, :-1], b.sentences[:, :-1], atol=1e-3) for a, b in zip(before, predictions))
    folder = tmp_path_factory.mktemp("context") / "model"
    written = export.export(
        folder, network, tokenizer, model.windows, [Topic(i, i) for i in ids], [0.5, 0.5],
        Calibration(1.0, 0.0, np.zeros(2)), None, Rule(0.1, 0.2), False, "elsewhere", {},
    )
    export.put(written, folder)
    return folder, examples, predictions


def test_the_service_sees_sentences_in_the_same_context(exported: tuple) -> None:
    folder, examples, predictions = exported
    assert json.loads((folder / "config.json").read_text("utf-8"))["files"].keys() >= {CONTEXT}
    gaps = export.check(folder, examples, predictions, [None] * len(examples))
    assert gaps["f32"] < 2e-4 and all(gap < 0.05 for gap in gaps.values())


@pytest.mark.parametrize(("recipe", "marked", "kept"), [
    ("linear", False, True), ("linear", True, False), ("contrastive", False, False), ("full", False, False),
])
def test_training_goes_on_from_such_a_model(exported: tuple, tmp_path: Path, recipe: str, marked: bool, kept: bool) -> None:
    """The layer holds for the encoder and the salience head that it was fitted above."""
    from click.testing import CliRunner

    from training.train import main

    rows = [{"text": row["text"], "topics": row["topics"], **({"key_sentences": row["key_sentences"]} if marked else {})}
            for row in make_rows(40)]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    arguments = ["--data", str(data), "--encoder", str(exported[0]), "--output", str(tmp_path / "m"), "--recipe", recipe,
                 "--device", "cpu", "--window", str(Model.load(exported[0]).windows.max_tokens)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "m" / CONTEXT).exists() is kept
    if kept:
        documents = [example.document for example in exported[1]]
        before, after = (Model.load(folder, precision="f32").score(documents, 4096) for folder in (exported[0], tmp_path / "m"))
        for old, new in zip(before, after):
            np.testing.assert_allclose(new.salience, old.salience, atol=1e-3)


def test_a_damaged_or_missing_layer_is_told(exported: tuple, tmp_path: Path) -> None:
    folder = shutil.copytree(exported[0], tmp_path / "copy")
    (folder / CONTEXT).write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(ModelError, match=f"{CONTEXT} is damaged"):
        Model.load(folder)
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["files"][CONTEXT] = sha256(folder / CONTEXT)
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match="can't be loaded"):
        Model.load(folder)
    config["context"] = "no"
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match="must be true or false"):
        Model.load(folder)
    (folder / "config.json").write_text(json.dumps(config | {"context": False}), "utf-8")
    with pytest.raises(ModelError, match="its graph gives 67 scores a sentence, not 3"):
        Model.load(folder)
    config["context"] = True
    del config["files"][CONTEXT]
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    with pytest.raises(ModelError, match=f"it names no {CONTEXT}"):
        Model.load(folder)


def test_a_model_of_the_format_before_is_read(tiny_model: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "before")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    del config["context"]
    (folder / "config.json").write_text(json.dumps(config | {"format": 4}), "utf-8")
    example = [example.document for example in make_examples(
        [Row(r["text"], None, None, None, r["title"], r["id"], r["id"]) for r in make_rows(3)], [],
        Model.load(tiny_model)._tokenizer, Model.load(tiny_model).windows,
    )]
    for old, new in zip(Model.load(folder).score(example, 4096), Model.load(tiny_model).score(example, 4096)):
        np.testing.assert_array_equal(old.salience, new.salience)


def test_training_keeps_the_layer_where_it_helps(
    tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from click.testing import CliRunner

    from training.train import main

    monkeypatch.setattr(full, "_CONTEXT_FROM", 10)
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make_rows(60)), "utf-8")
    scores = iter([])
    monkeypatch.setattr(full.calibrate, "summary_score", lambda *args, **more: next(scores, 0.5))
    arguments = ["--data", str(data), "--encoder", str(tiny_encoder), "--output", str(tmp_path / "m"), "--recipe", "full",
                 "--epochs", "1", "--window", "48", "--device", "cpu"]
    for found, kept in (([0.4, 0.5, 0.6], True), ([0.4, 0.6, 0.5], False), ([0.4, 0.5, 0.5], False)):
        scores = iter(found)  # of the epoch, without the layer, with it
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        config = json.loads((tmp_path / "m" / "config.json").read_text("utf-8"))
        assert config["context"] is kept and (CONTEXT in config["files"]) is kept
        assert ((tmp_path / "m" / CONTEXT).exists()) is kept, "nothing of the model before is left"
        assert ("0.500 -> 0.600" in result.output) is kept
