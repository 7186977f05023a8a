"""A model folder loads whole or not at all; scores are what the formulas say, whoever shares the batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from serving.calibration import Calibration
from serving.document import Document
from serving.errors import ModelError
from serving.folder import CONFIG, FORMAT, GRAPH, LEXICON, TOKENIZER, WEIGHTS, read_config
from serving.model import Model, pool
from tests.conftest import make_rows


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Model:
    return Model.load(tiny_model, precision="f32")


@pytest.fixture
def copy(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "copy"))


def documents(count: int = 12) -> list[Document]:
    found = [Document(row["text"], title=row["title"], id=row["id"]) for row in make_rows(count, seed=5)]
    return [*found, Document("基因" * 300 + "。短句。"), Document("\u2460\n\u2461"), Document("第1条。" * 60, title="股权" * 50)]


def refuse(folder: Path, *words: str) -> None:
    with pytest.raises(ModelError) as caught:
        Model.load(folder)
    message = str(caught.value)
    assert str(folder) in message and all(word in message for word in words), message
    assert "training.train" in message or "again" in message, "no advice"


def change(folder: Path, **fields: object) -> None:
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text("utf-8")), **fields}), "utf-8")


def test_no_model(tmp_path: Path) -> None:
    refuse(tmp_path / "nowhere", "there is no model", "WENZHAI_MODEL")
    (tmp_path / "empty").mkdir()
    refuse(tmp_path / "empty", "there is no model")


@pytest.mark.parametrize("name", [GRAPH, WEIGHTS, TOKENIZER, LEXICON])
def test_a_missing_or_damaged_file(copy: Path, name: str) -> None:
    path = copy / name
    whole = path.read_bytes()
    for at in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        refuse(copy, name, "damaged")
    for size in (0, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        refuse(copy, name, "damaged")
    path.unlink()
    refuse(copy, name, "missing")


def test_a_truncated_configuration(copy: Path) -> None:
    whole = (copy / CONFIG).read_bytes()
    for size in range(0, len(whole.rstrip()), max(1, len(whole) // 40)):
        (copy / CONFIG).write_bytes(whole[:size])
        refuse(copy, CONFIG)


def test_a_configuration_that_is_none(copy: Path) -> None:
    bare = b'{"format": %d}' % FORMAT, b'{"format": %d, "files": []}' % FORMAT
    for content in (b"[]", b"{}", b"null", b'"x"', b"\xff\xfe", *bare):
        (copy / CONFIG).write_bytes(content)
        refuse(copy, CONFIG)


@pytest.mark.parametrize("field, value", [
    ("topics", [{"id": "a"}]), ("topics", []), ("topics", None), ("sharpness", [1.0]), ("sharpness", [0.0, 1.0]),
    ("calibration", {"slope": 1.0}), ("calibration", {"slope": "1", "lexicon": 0, "offsets": [0, 0]}), ("summary", {}),
    ("calibration", {"slope": float("nan"), "lexicon": 0, "offsets": [0, 0]}), ("single_label", "no"), ("lexicon", {"bias": [1]}),
    ("calibration", {"slope": 1, "offsets": [0, 0]}), ("lexicon", {"bias": ["1", 2]}), ("lexicon", {}),
    ("windows", {"max_tokens": 64}), ("files", {}), ("files", None),
    ("windows", {"max_tokens": 8, "max_title_tokens": 2, "cls": 1, "sep": 2, "pad": 0}),
])
def test_a_wrong_field_is_found_before_any_worker_starts(copy: Path, field: str, value: object) -> None:
    change(copy, **{field: value})
    with pytest.raises(ModelError, match=CONFIG):
        read_config(copy)


def test_other_features_than_this_version_computes(copy: Path) -> None:
    change(copy, features=["is_title"])
    refuse(copy, "other features")


def test_another_format(copy: Path) -> None:
    change(copy, format=99)
    refuse(copy, "format 99", f"reads format 4 to {FORMAT}")


def test_a_graph_that_openvino_refuses(copy: Path) -> None:
    from serving.folder import sha256

    (copy / GRAPH).write_text("<net/>")
    change(copy, files={**read_files(copy), GRAPH: sha256(copy / GRAPH)})
    refuse(copy, "can't be loaded")


def read_files(folder: Path) -> dict[str, str]:
    return json.loads((folder / CONFIG).read_text("utf-8"))["files"]


def test_name_tells_the_version(copy: Path, tiny_model: Path) -> None:
    first = Model.load(tiny_model)
    change(copy, note="changed")
    second = Model.load(copy)
    assert first.name.startswith("model@") and second.name.startswith("copy@") and first.version != second.version
    assert len(first.version) == 7


def test_scores_are_probabilities_of_the_right_shape(model: Model) -> None:
    found = documents()
    for document, scores in zip(found, model.score(found, 4096), strict=True):
        count = len(document.sentences)
        assert scores.topics.shape == (2,)
        assert scores.evidence.shape == (count, 2) and scores.salience.shape == (count,)
        for values in (scores.topics, scores.evidence, scores.salience):
            assert np.isfinite(values).all() and (values >= 0).all() and (values <= 1).all()


def test_the_tiny_model_knows_its_topics(model: Model) -> None:
    """So that the tests that use it can fail."""
    rows = make_rows(60, seed=9)
    scores = model.score([Document(row["text"], title=row["title"]) for row in rows], 4096)
    given = [{t.id for t, s in zip(model.topics, score.topics) if s >= t.threshold} for score in scores]
    assert sum(topics == set(row["topics"]) for topics, row in zip(given, rows)) >= 50


@pytest.mark.parametrize("max_tokens", [512, 2048, 100_000])
def test_a_document_does_not_depend_on_its_neighbours(model: Model, max_tokens: int) -> None:
    found = documents()
    together = model.score(found, max_tokens)
    for document, beside in zip(found, together):
        (alone,) = model.score([document], max_tokens)
        for name in ("topics", "evidence", "salience"):
            assert np.allclose(getattr(alone, name), getattr(beside, name), atol=2e-5), name
    backwards = model.score(found[::-1], max_tokens)[::-1]
    assert all(np.allclose(a.topics, b.topics, atol=2e-5) for a, b in zip(together, backwards))


def test_nothing_to_score(model: Model) -> None:
    assert model.score([], 4096) == []


def test_bf16_is_near_f32(model: Model, tiny_model: Path) -> None:
    found = documents()
    other = Model.load(tiny_model, precision="bf16").score(found, 4096)
    assert max(np.abs(a.topics - b.topics).max() for a, b in zip(model.score(found, 4096), other)) < 0.05


def test_a_late_sentence_counts(model: Model) -> None:
    """A topic that only the last of many windows shows still raises the document's score."""
    filler = "天气比赛音乐旅游山水。" * 40
    without, with_ = model.score([Document(filler), Document(filler + "基因筛查检测染色体采血。")], 4096)
    topic = [t.id for t in model.topics].index("screening")
    assert with_.topics[topic] > without.topics[topic] and with_.evidence[:, topic].argmax() == len(with_.evidence) - 1


@pytest.mark.parametrize("rows", [1, 2, 57])
def test_pool_is_its_formula_and_the_networks(model: Model, rows: int) -> None:
    import torch

    from training.network import Network

    rng = np.random.default_rng(rows)
    logits = rng.normal(0, 6, (rows, 4)).astype(np.float32)
    sharpness = np.array([0.1, 0.5, 1.0, 4.0], dtype=np.float32)
    expected = np.log(np.mean(np.exp(logits.astype(float) * sharpness), axis=0)) / sharpness
    assert np.allclose(pool(logits, sharpness), expected, atol=1e-4)

    class Stub:
        log_sharpness = torch.from_numpy(sharpness).log()

    assert np.allclose(pool(logits, sharpness), Network.pool(Stub(), torch.from_numpy(logits)).numpy(), atol=1e-4)
    large = pool(logits * 1000, sharpness)
    assert np.isfinite(large).all() and (large <= logits.max(0) * 1000 + 1e-2).all()


def test_calibration() -> None:
    logits, words = np.array([[-2.0, 3.0], [1e4, -1e4]], dtype=np.float32), np.array([1.0, -1.0], dtype=np.float32)
    calibration = Calibration(0.5, 2.0, np.array([0.1, -0.1], dtype=np.float32))
    assert Calibration.from_config(json.loads(json.dumps(calibration.to_config()))).to_config() == calibration.to_config()
    for lexical, added in ((None, 0.0), (words, 2.0 * words)):
        z = np.clip(logits.astype(float) * 0.5 + [0.1, -0.1] + added, -60, 60)
        assert np.allclose(calibration.probabilities(logits, lexical, False), 1 / (1 + np.exp(-z)), atol=1e-5)
        shares = calibration.probabilities(logits, lexical, True)
        assert np.allclose(shares.sum(axis=1), 1) and np.allclose(shares[0, 0], 1 / (1 + np.exp(z[0, 1] - z[0, 0])), atol=1e-5)


def test_single_label_scores_sum_to_one(copy: Path) -> None:
    change(copy, single_label=True)
    for scores in Model.load(copy, precision="f32").score(documents(), 4096):
        assert scores.topics.sum() == pytest.approx(1, abs=1e-5)
        assert np.allclose(scores.evidence.sum(axis=1), 1, atol=1e-5)
