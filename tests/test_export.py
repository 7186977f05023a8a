"""A model folder is whole, its graph is the network, and what would not survive fp16 is refused."""

from __future__ import annotations

import errno
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rows
from safetensors.torch import load_file, save_file
from transformers import PreTrainedTokenizerFast

from serving.calibration import Calibration
from serving.errors import ModelError
from serving.folder import sha256
from serving.model import Model
from serving.reading import read
from serving.summary import Rule
from training import export
from training.data import Row, Topic
from training.encoder import load_encoder, window_config
from training.examples import Example, make_examples
from training.finish import Held, Outcome, Trained, finish
from training.graph import to_half
from training.lexicon import lexical_logits
from training.network import Network, start_heads
from training.passes import Passes, Prediction


@pytest.fixture(scope="module")
def trained(tiny_model: Path) -> tuple[Network, list[Example], list[Prediction], list[np.ndarray]]:
    """The network of the tiny model, its own exact predictions, window by window, and its lexicon's."""
    encoder, tokenizer, heads = load_encoder(str(tiny_model))
    model = Model.load(tiny_model, precision="f32")
    ids = [topic.id for topic in model.topics]
    network = Network(encoder, len(ids)).eval()
    start_heads(network, heads, ids, ids)
    rows = [Row(r["text"] * 5, None, None, None, r["title"], r["id"], r["id"]) for r in make_rows(6, seed=5)]
    examples = make_examples(rows, ids, tokenizer.backend_tokenizer, model.windows)
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state(True)
    passes = Passes(network, model.windows.pad, Accelerator(cpu=True, mixed_precision="bf16"))
    table = np.load(tiny_model / "lexicon.npy"), np.asarray(model.config["lexicon"]["bias"])
    return network, examples, passes.predict(examples, exact=True), lexical_logits(table, examples)


def test_the_graph_is_the_network(tiny_model: Path, trained: tuple) -> None:
    _, examples, predictions, lexical = trained
    assert max(len(example.windows) for example in examples) > 3
    gaps = export.check(tiny_model, examples, predictions, lexical)
    assert gaps["f32"] < 2e-4
    assert all(gap < 0.05 for gap in gaps.values())


def test_the_graph_rounds_nothing_to_bf16_by_itself(tiny_model: Path) -> None:
    assert "bf16" not in (tiny_model / "graph.xml").read_text("utf-8")


def test_another_network_is_told_apart(tiny_model: Path, trained: tuple) -> None:
    _, examples, predictions, lexical = trained
    wrong = [Prediction(-prediction.logits, prediction.sentences) for prediction in predictions]
    with pytest.raises(ValueError, match="does not give the network's scores"):
        export.check(tiny_model, examples, wrong, lexical)
    with pytest.raises(ValueError, match="does not give the network's scores"):
        weight = json.loads((tiny_model / "config.json").read_text("utf-8"))["calibration"]["lexicon"]
        export.check(tiny_model, examples, predictions, [words + 50 / weight for words in lexical])


def test_the_folder_is_whole_and_states_its_files(tiny_model: Path) -> None:
    config = json.loads((tiny_model / "config.json").read_text("utf-8"))
    names = {"graph.xml", "tokenizer.json", "model.safetensors", "lexicon.npy"}
    assert set(config["files"]) == names
    assert {path.name for path in tiny_model.iterdir()} == names | {"config.json"}
    assert all(sha256(tiny_model / name) == digest for name, digest in config["files"].items())
    assert [topic["id"] for topic in config["topics"]] == ["finance", "screening"]
    assert all(0 < topic["threshold"] < 1 for topic in config["topics"])
    weights = load_file(tiny_model / "model.safetensors")
    assert {name for name, tensor in weights.items() if tensor.dtype != torch.float16} == {"graph.constants"}
    np.testing.assert_allclose(config["sharpness"], weights["log_sharpness"].float().exp(), rtol=1e-3)


def test_weights_too_large_for_fp16_are_refused(trained: tuple) -> None:
    network = trained[0]
    weight = network.topic_head[0].weight.data
    before = weight[0, 0].item()
    try:
        weight[0, 0] = 1e6
        with pytest.raises(ValueError, match=r"topic_head.0.weight .* not finite in fp16"):
            to_half(network)
    finally:
        weight[0, 0] = before


def test_rounding_is_what_is_stored(trained: tuple, tiny_model: Path, tmp_path: Path) -> None:
    network = trained[0]
    to_half(network)
    stored = load_file(tiny_model / "model.safetensors")
    assert all(torch.equal(tensor, stored[name].float()) for name, tensor in network.state_dict().items())


def test_an_older_model_is_replaced_as_a_whole(tiny_model: Path, trained: tuple, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    _, tokenizer, _ = load_encoder(str(tiny_model))
    model = Model.load(tiny_model)
    written = export.export(
        folder, trained[0], tokenizer, model.windows, [Topic("x", "甲"), Topic("y", "乙")], [0.2, 0.7],
        Calibration(2.0, 0.0, np.array([0.1, 0.2])), None, Rule(0.1, 0.25), False, "elsewhere", {"note": "新"},
    )
    assert Model.load(folder).version == model.version and Model.load(written).config["note"] == "新"
    export.put(written, folder)
    assert not written.exists()
    assert not (folder / "lexicon.npy").exists()
    export.restate(folder, metrics={"dev": {"micro_f1": 0.5}})
    fresh = Model.load(folder)
    assert [(t.id, t.name, t.threshold) for t in fresh.topics] == [("x", "甲", 0.2), ("y", "乙", 0.7)]
    assert fresh.config["metrics"] == {"dev": {"micro_f1": 0.5}}
    assert fresh.config["note"] == "新" and fresh.rule == Rule(0.1, 0.25) and fresh.version != model.version


def write_anew(folder: Path, trained: tuple, tokenizer: PreTrainedTokenizerFast) -> Path:
    """What ``export`` writes, with another name of the first topic."""
    model = Model.load(folder)
    topics = [Topic(topic.id, "新") for topic in model.topics]
    return export.export(
        folder, trained[0], tokenizer, model.windows, topics, [0.5, 0.5], Calibration(1.0, 0.0, np.zeros(2)), None, model.rule,
        False, "elsewhere", {},
    )


def test_a_folder_that_is_a_mount_point(tiny_model: Path, trained: tuple, tmp_path: Path, monkeypatch) -> None:
    """As a container's volume is: nothing can be moved into it, and its parent may be read-only."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    rename = Path.rename

    def within(path: Path, target: Path) -> Path:
        if path.is_relative_to(folder) and target.is_relative_to(folder):
            return rename(path, target)
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    def never(path: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    _, tokenizer, _ = load_encoder(str(tiny_model))
    written = write_anew(folder, trained, tokenizer)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]
    monkeypatch.setattr(Path, "rename", never)
    with pytest.raises(OSError, match="not permitted"):
        export.put(written, folder)
    assert Model.load(folder).version == Model.load(tiny_model).version, "what can't be replaced stays"
    monkeypatch.setattr(Path, "rename", within)
    export.put(written, folder)
    assert [topic.name for topic in Model.load(folder).topics] == ["新", "新"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_texts_that_begin_with_bos(tiny_model: Path, trained: tuple, tmp_path: Path) -> None:
    """A model from such an encoder can be trained on from."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    _, tokenizer, _ = load_encoder(str(tiny_model))
    ends = {"bos_token": tokenizer.cls_token, "eos_token": tokenizer.sep_token}
    plain = PreTrainedTokenizerFast(tokenizer_object=tokenizer.backend_tokenizer, pad_token="[PAD]", unk_token="[UNK]", **ends)
    export.put(write_anew(folder, trained, plain), folder)
    _, again, _ = load_encoder(str(folder))
    assert window_config(again, 64, 8) == window_config(tokenizer, 64, 8)


def test_the_graph_uses_the_stored_weights_themselves(tiny_model: Path, tmp_path: Path) -> None:
    """Zeroing a tensor in model.safetensors changes what the graph computes: there is no second copy."""
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    name = next(name for name in weights if name.endswith("topic_head.2.weight"))
    weights[name] = torch.zeros_like(weights[name])
    save_file(weights, folder / "model.safetensors")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    config["files"]["model.safetensors"] = sha256(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config), "utf-8")
    document = read("甲乙丙。丁戊己。")
    changed, before = Model.load(folder).score([document], 1024)[0], Model.load(tiny_model).score([document], 1024)[0]
    assert not np.allclose(changed.topics, before.topics) and np.allclose(changed.salience, before.salience)


def test_a_graph_that_is_not_the_network_replaces_no_model(tiny_model: Path, trained: tuple, tmp_path: Path, monkeypatch) -> None:
    network, examples, predictions, lexical = trained
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    _, tokenizer, _ = load_encoder(str(tiny_model))
    model = Model.load(tiny_model)
    held = Held(examples, predictions, lexical)
    stated = Trained(tokenizer, model.windows, [Topic(t.id, t.name) for t in model.topics], False, "elsewhere", {})
    outcome = Outcome(network, None, held, held, predictions, {})
    monkeypatch.setattr("training.export._MAX_GAP", -1.0)
    with pytest.raises(ValueError, match="does not give the network's scores"):
        finish(folder, stated, outcome, learned=False)

    def broken(*_: object) -> None:
        raise ModelError("it does not load")

    monkeypatch.setattr("training.export.check", broken)
    with pytest.raises(ModelError):
        finish(folder, stated, outcome, learned=False)
    assert Model.load(folder).version == model.version and [path.name for path in tmp_path.iterdir()] == ["model"]
    assert not [path for path in folder.iterdir() if path.is_dir()]


def test_figures_of_cross_validation_are_of_decisions_that_had_not_seen_the_row(
    tiny_model: Path, trained: tuple, tmp_path: Path
) -> None:
    """A threshold fitted to the one row of a topic finds it, and would not have found it without."""
    network, examples, predictions, _ = trained
    _, tokenizer, _ = load_encoder(str(tiny_model))
    topics, rows, said = [Topic("finance", "甲"), Topic("screening", "乙")], [], []
    for i in range(12):
        document, given = read(f"第{i}篇文章。"), [i % 2, int(i == 1)]
        names = tuple(topic.id for topic, has in zip(topics, given) if has)
        row = Row(document.text, names, None, None, "", str(i), str(i))
        rows.append(Example(document, [], np.zeros((1, 1)), np.array(given, np.float32), None, row))
        said.append(Prediction(np.array([6.0 * given[0] - 3, 2.0 * given[1] - 3]), np.zeros((1, 3))))
    checked = Held(examples, predictions, [None] * len(examples))
    finish(
        tmp_path / "m", Trained(tokenizer, Model.load(tiny_model).windows, topics, False, "elsewhere", {}),
        Outcome(network, None, Held(rows, said, [None] * 12), checked, predictions, {}), learned=True,
    )
    stated = json.loads((tmp_path / "m" / "config.json").read_text("utf-8"))["metrics"]["cross_validation"]
    assert stated["n"] == 12 and stated["macro_f1"] == 0.5, "one topic's rows are found, the other's is not"
