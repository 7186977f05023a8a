"""What to label next: doubtful, new, and for the sake of topics that lack examples."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner, Result
from conftest import make_rows

from training import suggest
from training.selection import choose


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def run(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(suggest.main, [str(a) for a in arguments], env={"COLUMNS": "120"})
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


def test_suggested_documents(tiny_model: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    rows = make_rows(40, seed=5)
    both = "基因融资天气检测股权第{0}条第9句。球赛染色体基金音乐第{0}条。"
    mixed = [{"id": f"mixed{i}", "title": "", "text": both.format(i)} for i in range(3)]
    archive = write(tmp_path / "archive.jsonl", [{k: row[k] for k in ("id", "title", "text")} for row in rows] + mixed)
    waiting = {"text": rows[20]["text"], "topics": None, "guess": ["finance"]}
    labelled = write(tmp_path / "labelled.jsonl", [*rows[:15], waiting])
    output = tmp_path / "new" / "next.jsonl"
    result = run(
        "--model", tiny_model, "--archive", archive, "--labelled", labelled, "--count", 8, "--output", output,
        "--encoder", tiny_encoder,
    )
    found = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    ids = [row["id"] for row in found]
    assert len(set(ids)) == 8 and not set(ids) & {row["id"] for row in rows[:15]}, "nothing that is labelled"
    assert any(id.startswith("mixed") for id in ids[:3]), "the model is unsure of what is about both"
    assert all(row["topics"] is None and set(row["guess"]) <= {"screening", "finance"} and row["why"] for row in found)
    assert "15 reprints left out: 28" in result.stdout and "1 rows whose topics nobody has filled in" in result.stderr
    assert (output.parent / "next-studio.json").is_file() and (output.parent / "next-studio.xml").is_file()
    everything = write(tmp_path / "all.jsonl", [*rows, *({**row, "topics": []} for row in mixed)])
    rest = ("--model", tiny_model, "--archive", archive, "--encoder", tiny_encoder)
    assert "labelled already" in run(*rest, "--labelled", everything, "--output", output, code=1).output
    assert "name it FILE.jsonl" in run(*rest, "--output", tmp_path / "next.json", code=2).output
    broken = write(tmp_path / "broken.jsonl", [{"text": 5, "topics": []}])
    assert "(1 problems)" in run(*rest, "--labelled", broken, "--output", output, code=2).output


def test_labels_and_archives_are_not_written_over(tmp_path: Path) -> None:
    """Said before anything is loaded: there is no model here."""
    rest = ("--model", tmp_path / "none", "--archive", write(tmp_path / "a.jsonl", make_rows(3)), "--output")
    sheet, row = tmp_path / "next.jsonl", {"text": "甲。", "topics": None, "guess": ["finance"]}
    for rows in [row, {**row, "topics": []}], [{**row, "key_sentences": ["甲。"]}], make_rows(2):
        before = write(sheet, rows).read_bytes()
        assert "next.jsonl holds labels" in run(*rest, sheet, code=1).output
        assert "holds labels" in run(*rest, sheet, "--labelled", sheet, code=1).output and sheet.read_bytes() == before
    sheet.write_text(json.dumps(row) + "\n" + '{"text": "乙。", "topics": [finance]}\n', "utf-8")  # labelled, with a slip
    assert "holds labels" in run(*rest, sheet, code=1).output
    assert "there is no model in" in run(*rest, write(sheet, [row]), code=1).output, "a sheet that waits is written anew"
    inside = (*rest, tmp_path / "docs" / "next.jsonl", "--archive", tmp_path / "docs")
    (tmp_path / "docs").mkdir()
    assert "lies inside the archive" in run(*inside, code=1).output


def test_a_model_without_topics_has_nothing_to_ask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(suggest.Model, "load", lambda *_, **__: SimpleNamespace(topics=[]))
    archive = write(tmp_path / "a.jsonl", make_rows(3))
    refused = run("--model", tmp_path, "--archive", archive, "--output", tmp_path / "next.jsonl", code=1)
    assert "knows no topics" in refused.output


def directions(*angles: float) -> np.ndarray:
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def test_the_most_doubtful_come_first() -> None:
    scores = np.array([[0.9], [0.45], [0.1], [0.6]])
    assert [choice.document for choice in choose(directions(0, 1, 2, 3), scores, [0.5], 9)] == [1, 3, 0, 2]
    several = np.array([[0.5, 0.45, 0.05], [0.9, 0.05, 0.05], [0.6, 0.3, 0.1]])
    assert [choice.document for choice in choose(directions(0, 2, 4), several, None, 3)] == [0, 2, 1]


def test_one_of_each_kind() -> None:
    """Sixty doubtful documents of three kinds, and many of which the model is sure."""
    rng = np.random.default_rng(0)
    angles = np.concatenate([rng.normal(centre, 0.01, 20) for centre in (0, 2, 4)] + [rng.uniform(0, 6, 200)])
    scores = np.concatenate([np.full(60, 0.5), np.full(200, 0.01)])[:, None]
    found = [choice.document for choice in choose(directions(*angles), scores, [0.5], 3)]
    assert sorted(i // 20 for i in found) == [0, 1, 2]


def test_what_is_like_a_labelled_document_comes_last() -> None:
    scores = np.array([[0.5], [0.45], [0.4]])
    assert [c.document for c in choose(directions(0, 1, 3), scores, [0.5], 3, directions(0.02))] == [1, 2, 0]


def test_topics_that_lack_examples_come_first() -> None:
    scores = np.array([[0.5, 0], [0, 0.4]])
    assert [c[:2] for c in choose(directions(0, 3), scores, [0.5, 0.5], 2)] == [(0, 0), (1, 1)]
    assert [c[:2] for c in choose(directions(0, 3), scores, [0.5, 0.5], 2, positives=[30, 0])] == [(1, 1), (0, 0)]


def test_of_a_topic_without_an_example_the_likeliest_come_first() -> None:
    scores = np.array([[0.5, 0.1], [0.9, 0.1], [0.1, 0.5], [0.1, 0.7]])
    kinds = directions(0, 1, 2, 3)
    assert [c[:2] for c in choose(kinds, scores, [0.5, 0.5], 4, positives=[0, 9])] == [(1, 0), (0, 0), (2, 1), (3, 1)]
    assert choose(kinds[:2], scores[:2, :1], [0.5], 1, positives=[9])[0].document == 0, "doubt, once there are some"


def test_no_more_than_there_are() -> None:
    assert len(choose(directions(0, 1), np.array([[0.2], [0.3]]), [0.5], 9)) == 2
    assert choose(np.zeros((0, 2)), np.zeros((0, 1)), [0.5], 3) == []


@pytest.mark.parametrize("file", ["thucnews_title", "xwlb_topics_multilabel"])
def test_topics_of_the_benchmarks(file: str) -> None:
    from benchmarks.zero_labels import topics_of

    assert all(topic.description for topic in topics_of(file))
