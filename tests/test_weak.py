"""Weak labels beside real ones: they weigh less, and judge nothing."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rows
from test_train import FAST, train, write

from serving.document import Document
from serving.model import Model
from training.data import DataError, Row
from training.examples import Example
from training.inputs import load_inputs
from training.lexicon import fit_lexicon
from training.losses import document_loss

SMALL = ("--window", 64, "--device", "cpu", "--recipe", "linear")


def swapped(rows: list[dict]) -> list[dict]:
    """The same rows with the other topic, so that what weak labels teach is seen."""
    other = {"screening": "finance", "finance": "screening"}
    return [{"text": row["text"] + "另。", "topics": [other[topic] for topic in row["topics"]]} for row in rows]


def scores(folder: Path) -> np.ndarray:
    from serving.reading import read

    model = Model.load(folder)
    documents = [read("基因筛查检测染色体采血。"), read("股权融资基金上市利润。")]
    return np.array([one.topics for one in model.score(documents, 4096)])


def test_weak_rows_that_harm_are_left_out(tiny_encoder: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", make_rows(24))
    weak = write(tmp_path / "weak.jsonl", swapped(make_rows(60, seed=4)))
    options = ("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", *SMALL)
    result = train(*options, "--weak", weak, "--weak-weight", 1)
    assert "the 60 weakly labelled rows are left out: without them linear heads reach" in result.output
    assert Model.load(tmp_path / "m").config["training"]["weak_documents"] == 0
    right = scores(tmp_path / "m")
    assert right[0, 1] > right[0, 0] and right[1, 0] > right[1, 1]


def test_weak_rows_teach_by_their_weight(tiny_encoder: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("training.few._worth", lambda material, examples, weak, *rest: weak)  # though they harm
    data = write(tmp_path / "rows.jsonl", make_rows(24))
    weak = write(tmp_path / "weak.jsonl", swapped(make_rows(60, seed=4)))
    options = ("--data", data, "--encoder", tiny_encoder, *SMALL)
    found = {}
    for weight in ("0.01", "1"):
        result = train(*options, "--output", tmp_path / weight, "--weak", weak, "--weak-weight", weight)
        assert "24 training, 60 weakly labelled and 0 dev documents" in result.output
        notes = Model.load(tmp_path / weight).config
        assert notes["training"]["weak_documents"] == 60 and notes["metrics"]["cross_validation"]["n"] == 24
        found[weight] = scores(tmp_path / weight)
    right, wrong = found["0.01"], found["1"]  # topics by id: finance, screening
    assert right[0, 1] > right[0, 0] and right[1, 0] > right[1, 1]
    assert wrong[0, 1] < right[0, 1] and wrong[1, 0] < right[1, 0], "wrong labels at full weight must tell"


def test_with_weak_rows_in_the_full_recipe_the_dev_part_is_real(tiny_encoder: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", make_rows(40))
    weak = write(tmp_path / "weak.jsonl", make_rows(30, seed=4))
    result = train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--weak", weak, "--epochs", 1, *FAST)
    assert "36 training, 30 weakly labelled and 4 dev documents" in result.output


def test_weak_rows_alone_are_training_data(tiny_encoder: Path, tmp_path: Path) -> None:
    weak = write(tmp_path / "weak.jsonl", [{"text": r["text"], "topics": r["topics"]} for r in make_rows(30)])
    train("--data", weak, "--encoder", tiny_encoder, "--output", tmp_path / "m", *SMALL)
    right = scores(tmp_path / "m")
    assert right[0, 1] > right[0, 0] and right[1, 0] > right[1, 1]


def test_inputs_with_weak_rows(tmp_path: Path) -> None:
    """A real label outdoes a weak one of the same text; a topic may have weak rows alone; problems name the file."""
    rows = make_rows(20)
    data = write(tmp_path / "rows.jsonl", rows)
    other = {"text": "另一篇谈天气与山水的文章。", "topics": ["weather"]}
    weak = write(tmp_path / "weak.jsonl", [*rows[:5], other])
    inputs = load_inputs(str(data), None, None, False, 0, weak=[str(weak)], whole_up_to=100)
    assert [row.topics for row in inputs.weak] == [("weather",)] and len(inputs.train) == 20 and not inputs.dev
    assert [topic.id for topic in inputs.topics] == ["finance", "screening", "weather"]
    topics = tmp_path / "topics.yaml"
    topics.write_text("- {id: screening}\n- {id: finance}\n", "utf-8")
    with pytest.raises(DataError, match=r"weak.jsonl:6: unknown topic 'weather'"):
        load_inputs(str(data), None, topics, False, 0, weak=[str(weak)])


def test_a_topic_whose_weak_rows_all_go_has_no_row(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """They begin as a row with a label does, of the training or the dev part; a topics file that names the topic is refused."""
    rows, more = make_rows(20), make_rows(8, seed=3)
    data, dev = write(tmp_path / "rows.jsonl", rows), write(tmp_path / "dev.jsonl", more)
    weak = write(tmp_path / "weak.jsonl", [{"text": row["text"], "topics": ["insurance"]} for row in (rows[3], more[2])])
    topics = tmp_path / "topics.yaml"
    topics.write_text("- {id: screening}\n- {id: finance}\n- {id: insurance}\n", "utf-8")
    with pytest.raises(DataError, match=r"^\S*rows.jsonl: no row has topic 'insurance'[^\n]*$"):
        load_inputs(str(data), str(dev), topics, False, 0, weak=[str(weak)])
    inputs = load_inputs(str(data), str(dev), None, False, 0, weak=[str(weak)], progress=True)
    assert [topic.id for topic in inputs.topics] == ["finance", "screening"] and not inputs.weak
    said = capsys.readouterr().err
    assert "2 weakly labelled rows are left out, which" in said and "all that there was of insurance" in said
    more[0]["topics"] = ["insurance"]
    with pytest.raises(DataError, match=r"^\S*dev.jsonl:1: unknown topic 'insurance'$"):
        load_inputs(str(data), str(write(dev, more)), None, False, 0, weak=[str(weak)])


def test_the_loss_is_weighed() -> None:
    row = Row("甲。", ("a",), None, None, "", "", "")
    truth = np.array([1, 0], np.float32)
    example = Example(Document("甲。"), [], np.zeros((2, 5), np.float32), truth, np.ones(1, np.float32), row)
    logits, sentences = torch.tensor([0.3, -0.2]), torch.tensor([[0.3, -0.2, 0.1]])
    whole = document_loss(example, logits, sentences, False)
    assert float(document_loss(replace(example, weight=0.25), logits, sentences, False)) == pytest.approx(0.25 * float(whole))


def test_the_lexicon_is_weighed(tiny_encoder: Path, tmp_path: Path) -> None:
    from training.data import read_rows
    from training.encoder import load_encoder, window_config
    from training.examples import make_examples

    encoder, tokenizer, _ = load_encoder(str(tiny_encoder))
    config = window_config(tokenizer, 64, 16)
    real = read_rows(str(write(tmp_path / "rows.jsonl", make_rows(12))))
    weak = read_rows(str(write(tmp_path / "weak.jsonl", swapped(make_rows(12)))))
    ids = ["finance", "screening"]
    first, second = (make_examples(rows, ids, tokenizer.backend_tokenizer, config) for rows in (real, weak))
    size = encoder.config.vocab_size
    tokens = tokenizer.convert_tokens_to_ids(["基", "因", "筛", "查", "孕", "妇"])
    light, heavy = (
        fit_lexicon([*first, *(replace(e, weight=weight) for e in second)], size, 2)[0][tokens, 2].sum() for weight in (0.01, 5.0)
    )
    assert light > 0 > heavy


def test_the_weight_is_a_share(tiny_encoder: Path, tmp_path: Path) -> None:
    data = write(tmp_path / "rows.jsonl", make_rows(12))
    result = train("--data", data, "--output", tmp_path / "m", "--weak", data, "--weak-weight", 1.5, code=2)
    assert "1.5 is not in the range" in result.output and not (tmp_path / "m").exists()
    assert json.loads(data.read_text("utf-8").splitlines()[0])["topics"] is not None
