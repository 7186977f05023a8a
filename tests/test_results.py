"""Parquet with its nested columns, JSONL as the service answers, CSV for a spreadsheet; whole files or none."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from serving.results import SCHEMA, WRITERS, write_whole
from serving.schema import Analysis, Evidence, Summary, SummarySentence, TopicResult


def row(id: str, *, text: str | None = None, topics: bool = True) -> dict:
    evidence = Evidence(text="证“据”，\n句。", offset=3, length=7, score=0.9512)
    found = [
        TopicResult(id="screening", name="基因筛查", score=0.97, evidence=[evidence]),
        TopicResult(id="finance", name="投融资", score=0.6, evidence=[]),
    ]
    sentence = SummarySentence(text="𠮷一句。", offset=0, length=4, rank_score=0.1234)
    return Analysis(
        id=id, title="标题", topics=found if topics else [], summary=Summary(text="𠮷一句。", sentences=[sentence]),
        warnings=["tags_removed: 2"], model="default@1234567", text=text,
    ).model_dump()


ROWS = [row("甲"), row("乙", text="全文。"), row("丙", topics=False)]


def test_parquet_is_nested_and_equal_to_the_json(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    WRITERS["parquet"](path, ROWS)
    table = pq.read_table(path)
    assert table.schema.equals(SCHEMA)
    found = [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
    assert found == ROWS
    assert table.column("text").null_count == 2


def test_jsonl_is_the_json(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    WRITERS["jsonl"](path, ROWS)
    content = path.read_bytes().decode("utf-8")
    assert [json.loads(line) for line in content.split("\n")[:-1]] == ROWS and "基因筛查" in content


def test_csv_opens_in_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    WRITERS["csv"](path, ROWS)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    assert found[0] == {
        "id": "甲", "title": "标题", "topics": "screening|finance", "scores": "0.9700|0.6000", "evidence": "证“据”，\n句。|",
        "summary": "𠮷一句。", "model": "default@1234567",
    }
    assert [item["id"] for item in found] == ["甲", "乙", "丙"] and found[2]["topics"] == ""


@pytest.mark.parametrize("kind", WRITERS)
def test_a_part_without_documents_can_be_read(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    WRITERS[kind](path, [])
    if kind == "parquet":
        assert pq.read_table(path).schema.equals(SCHEMA)
    else:
        assert len(path.read_text("utf-8-sig").splitlines()) == (kind == "csv")


def test_write_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_whole(path, lambda fresh: fresh.write_text("old"))

    def fail(fresh: Path) -> None:
        fresh.write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        write_whole(path, fail)
    assert path.read_text() == "old"
    write_whole(path, lambda fresh: fresh.write_text("new"))
    assert path.read_text() == "new" and list(tmp_path.iterdir()) == [path]
