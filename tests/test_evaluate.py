"""The command prints a table a topic, and writes the figures of design.md."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import make_rows
from sklearn.metrics import f1_score

from serving.model import Model
from serving.reading import read
from training.evaluate import main

FIGURES = {
    "n", "micro_f1", "macro_f1", "exact_match", "accuracy", "map", "ece", "per_topic", "key_sentence_f1",
    "rouge1", "rouge2", "rougeL",
}


def evaluate(model: Path, rows: list[dict], folder: Path) -> tuple[str, dict]:
    data, out = folder / "test.jsonl", folder / "figures" / "test.json"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    result = CliRunner().invoke(main, ["--model", str(model), "--data", str(data), "--json", str(out)], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output, json.loads(out.read_text("utf-8"))


def test_table_and_figures(tiny_model: Path, tmp_path: Path) -> None:
    rows = make_rows(40, seed=3)
    output, figures = evaluate(tiny_model, rows, tmp_path)
    assert figures.keys() >= FIGURES and figures["n"] == 40 and figures["accuracy"] is None
    for part in ("support", "precision", "recall", "F1", "AP", "finance", "screening", "micro_f1", "macro_f1", "key_sentence_f1"):
        assert part in output
    model = Model.load(tiny_model)
    scores = model.score([read(row["text"], title=row["title"]) for row in rows], 4096)
    decided = [[int(s >= t.threshold) for s, t in zip(score.topics, model.topics)] for score in scores]
    truth = [[int(t.id in row["topics"]) for t in model.topics] for row in rows]
    assert figures["micro_f1"] == pytest.approx(f1_score(truth, decided, average="micro"))
    assert figures["micro_f1"] > 0.9
    for i, topic in enumerate(model.topics):
        assert figures["per_topic"][topic.id]["support"] == sum(row[i] for row in truth)
        assert set(figures["per_topic"][topic.id]) == {"support", "precision", "recall", "f1", "average_precision"}


def test_figures_without_labels_are_null(tiny_model: Path, tmp_path: Path) -> None:
    rows = make_rows(8, seed=4)
    topics_only = [{"text": row["text"], "topics": row["topics"]} for row in rows]
    output, figures = evaluate(tiny_model, topics_only, tmp_path)
    assert [figures[name] for name in ("key_sentence_f1", "rouge1", "rouge2", "rougeL")] == [None] * 4
    assert "rouge1" not in output
    _, figures = evaluate(tiny_model, [{"text": row["text"], "summary": row["key_sentences"][0]} for row in rows], tmp_path)
    assert figures.keys() >= FIGURES
    assert [figures[name] for name in ("micro_f1", "map", "ece", "per_topic", "key_sentence_f1")] == [None] * 5
    assert 0 < figures["rouge2"] <= figures["rouge1"] <= 1
    _, figures = evaluate(tiny_model, [{"text": row["text"], "key_sentences": row["key_sentences"]} for row in rows], tmp_path)
    assert figures["micro_f1"] is None and 0 <= figures["key_sentence_f1"] <= 1


def test_problems_are_named_before_the_model_is_loaded(tiny_model: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Model, "load", None)
    data = tmp_path / "test.jsonl"
    data.write_text('{"text": "甲", "topics": ["unheard"]}\n{"text": "<style>a</style>", "topics": []}\n', "utf-8")
    result = CliRunner().invoke(main, ["--model", str(tiny_model), "--data", str(data)])
    assert result.exit_code == 2
    assert f"{data}:1: unknown topic 'unheard'" in result.output and f"{data}:2: " in result.output


def test_no_model(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--model", str(tmp_path), "--data", "x.jsonl"])
    assert result.exit_code == 1 and "there is no model in" in result.output
