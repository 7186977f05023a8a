"""Parquet with its nested columns, JSONL as the service answers, CSV for a spreadsheet."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from serving.results import DOCUMENTS, TOPICS, WRITERS, topic_rows
from serving.schema import Analysis, Evidence, Summary, SummarySentence, TopicResult


def row(id: str, *, text: str | None = None, topics: bool = True) -> dict:
    evidence = Evidence(text="证“据”，\n句。", offset=3, length=7, score=0.9512)
    found = [
        TopicResult(id="screening", name="基因筛查", score=0.97, evidence=[evidence]),
        TopicResult(id="finance", name="投融资", score=0.6, evidence=[]),
    ]
    sentence = SummarySentence(text="𠮷一句。", offset=0, length=4, rank_score=0.1234)
    analysis = Analysis(
        id=id, title="标题", topics=found if topics else [], summary=Summary(text="𠮷一句。", sentences=[sentence]),
        warnings=["tags_removed: 2"], model="default@1234567", text=text,
    ).model_dump()
    origin = {"input": "甲.zip", "member": "夹/1.txt", "date": "", "source": "", "sha256": "ab", "script": "Hans", "length": 5}
    return {**origin, "duplicate_of": "甲" if id == "乙" else None, **analysis}


ROWS = [row("甲"), row("乙", text="全文。"), row("丙", topics=False)]


def test_parquet_is_nested_and_equal_to_the_json(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    WRITERS["parquet"](path, ROWS, DOCUMENTS)
    table = pq.read_table(path)
    assert table.schema.equals(DOCUMENTS)
    found = [{k: v for k, v in row.items() if v is not None} for row in table.to_pylist()]
    assert found == [{k: v for k, v in row.items() if v is not None} for row in ROWS]
    assert table.column("text").null_count == 2


def test_jsonl_is_the_json(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    WRITERS["jsonl"](path, ROWS, DOCUMENTS)
    content = path.read_bytes().decode("utf-8")
    assert [json.loads(line) for line in content.split("\n")[:-1]] == ROWS and "基因筛查" in content


def test_csv_opens_in_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    WRITERS["csv"](path, ROWS, DOCUMENTS)
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    with path.open(encoding="utf-8-sig", newline="") as file:
        found = list(csv.DictReader(file))
    assert found[0] == {
        "id": "甲", "input": "甲.zip", "member": "夹/1.txt", "title": "标题", "date": "", "source": "", "sha256": "ab",
        "script": "Hans", "length": "5", "duplicate_of": "", "warnings": "tags_removed: 2", "topics": "screening|finance",
        "scores": "0.9700|0.6000", "evidence": "证“据”，\n句。|",
        "summary": "𠮷一句。", "model": "default@1234567",
    }
    assert [item["id"] for item in found] == ["甲", "乙", "丙"] and found[2]["topics"] == ""


FORMULAS = ["=HYPERLINK(1)", "@SUM(1)", "-5℃的夜里", "+3%", "\t=1", "'=1", "''+1"]


def test_csv_runs_no_formulas(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    evidence = {"text": "-5℃。", "offset": 0, "length": 4, "score": 0.9}
    topics = [{"id": "tcm", "name": "=中医药", "score": 0.8, "evidence": [evidence]}]
    rows = [
        {**ROWS[0], "id": text, "title": text, "topics": topics, "summary": {"text": text, "sentences": []}}
        for text in [*FORMULAS, "'十四五'规划", "3-5", "'"]
    ]
    for write, schema in ((rows, DOCUMENTS), (list(topic_rows(rows)), TOPICS)):
        WRITERS["csv"](path, write, schema)
        with path.open(encoding="utf-8-sig", newline="") as file:
            found = list(csv.DictReader(file))
        for name in ("id", "title", *(["summary"] if schema is DOCUMENTS else [])):
            assert [row[name] for row in found] == [*(f"'{text}" for text in FORMULAS), "'十四五'规划", "3-5", "'"]
        assert found[0]["evidence"] == "'-5℃。" and found[0]["length"] == "5"
    assert found[0]["topic_name"] == "'=中医药"


def test_a_row_for_each_topic(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    WRITERS["parquet"](path, list(topic_rows(ROWS)), TOPICS)
    first, second, third, fourth = pq.read_table(path).to_pylist()
    assert (first["id"], first["topic"], first["topic_name"], first["score"]) == ("甲", "screening", "基因筛查", 0.97)
    assert (first["evidence"], first["evidence_offset"], first["evidence_length"]) == ("证“据”，\n句。", 3, 7)
    assert second["evidence"] is None and third["duplicate_of"] == "甲" and fourth["topic"] == "finance"


@pytest.mark.parametrize("schema", [DOCUMENTS, TOPICS])
@pytest.mark.parametrize("kind", WRITERS)
def test_a_part_without_documents_can_be_read(tmp_path: Path, kind: str, schema: pa.Schema) -> None:
    path = tmp_path / f"a.{kind}"
    WRITERS[kind](path, [], schema)
    if kind == "parquet":
        assert pq.read_table(path).schema.equals(schema)
    else:
        assert len(path.read_text("utf-8-sig").splitlines()) == (kind == "csv")


def test_reprints_left_unscored_can_be_written(tmp_path: Path) -> None:
    unscored = [{**ROWS[0], "topics": None, "summary": None}]
    for kind, write in WRITERS.items():
        write(tmp_path / kind, unscored, DOCUMENTS)
    assert pq.read_table(tmp_path / "parquet").to_pylist()[0]["topics"] is None
    assert list(topic_rows(unscored)) == []
