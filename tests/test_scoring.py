"""A part is read and scored; what fails is an error beside the others."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving import scoring
from serving.parts import Key, Part
from serving.progress import Progress
from serving.rows import Item
from serving.scoring import Scorer


@pytest.fixture
def scorer(tmp_path: Path, tiny_model: Path) -> Scorer:
    return Scorer(tiny_model, Progress(tmp_path / "out", "jsonl"), include_text=False, skip_duplicates=True, threads=1)


def items(count: int) -> list[Item]:
    return [Item(str(i), f"第{i}次基因筛查。", input="甲.zip", member=f"{i}.txt") for i in range(count)]


def stored(tmp_path: Path) -> tuple[list[dict], dict]:
    rows = [json.loads(line) for line in (tmp_path / "out" / "part-00000-000003.jsonl").read_text("utf-8").splitlines()]
    return rows, json.loads((tmp_path / "out" / ".progress" / "done-00000-000003.json").read_text("utf-8"))


@pytest.mark.parametrize("step", ["read", "analyse"])
@pytest.mark.parametrize("careful", [False, True])
def test_a_bug_in_one_document_does_not_stop_the_others(
    tmp_path: Path, scorer: Scorer, monkeypatch: pytest.MonkeyPatch, step: str, careful: bool
) -> None:
    real, touched = getattr(scoring, step), []

    def fail(*arguments: object, **options: object) -> object:
        if "第1次" in str(getattr(arguments[0], "text", arguments[0])):
            raise IndexError("a bug")
        return real(*arguments, **options)

    monkeypatch.setattr(scoring, step, fail)
    mark = touched.append if careful else None
    stated, prepared = scorer.prepare(Part(Key(0, 3), items(3)), mark)
    assert scorer.finish(prepared, {}, mark) == (3, 2)
    rows, state = stored(tmp_path)
    assert [row["id"] for row in rows] == ["0", "2"]
    (error,) = state["errors"]
    assert error["input"] == "甲.zip" and error["member"] == "1.txt" and "IndexError" in error["reason"]
    if careful:
        assert touched == [0, 1, 2, *([0, 2] if step == "read" else [0, 1, 2])]


def test_what_a_row_states_goes_before_what_its_text_states(tmp_path: Path, scorer: Scorer) -> None:
    text = "更新时间：2019-01-01 10:00\n全市孕妇可以接受免费的基因筛查。"
    stated = Item("0", text, date="2025-03-01", input="甲.zip", member="0.txt")
    scorer.finish(scorer.prepare(Part(Key(0, 3), [stated, Item("1", text)]))[1], {})
    rows, _ = stored(tmp_path)
    assert [row["date"] for row in rows] == ["2025-03-01", "2019-01-01"]


def test_reprints_keep_their_places_when_a_document_is_given_up(tmp_path: Path, scorer: Scorer) -> None:
    """It is decided once; read again after a death, the part has a document less."""
    part = Part(Key(0, 3), items(4))
    stated, _ = scorer.prepare(part)
    assert stated.positions == [0, 1, 2, 3]
    part.items[0] = Item("0", error="given up")
    _, prepared = scorer.prepare(part)
    scorer.finish(prepared, {3: "1"})
    rows, _ = stored(tmp_path)
    assert {row["id"]: row["duplicate_of"] for row in rows} == {"1": None, "2": None, "3": "1"}


def test_reprints_are_left_unscored(tmp_path: Path, scorer: Scorer) -> None:
    stated, prepared = scorer.prepare(Part(Key(0, 3), [*items(3), Item("坏", error="damaged")]))
    assert stated.ids == ["0", "1", "2"] and len(stated.signatures) == 3
    assert scorer.finish(prepared, {1: "0"}) == (4, 2)
    rows, state = stored(tmp_path)
    assert [row["duplicate_of"] for row in rows] == [None, "0", None]
    assert [row["topics"] is None for row in rows] == [False, True, False]
    assert (state["found"], state["documents"], state["duplicates"], state["unscored"]) == (4, 3, 1, 1)
