"""Rows of results -> files: Parquet with nested columns, JSONL, CSV for a spreadsheet.

A row is a document, or a document and topic.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_QUOTE = [("text", pa.string()), ("offset", pa.int32()), ("length", pa.int32())]
_ORIGIN = [
    ("id", pa.string()),            # as the row states it, or where the document was found
    ("input", pa.string()),         # as given on the command line
    ("member", pa.string()),        # the document's place within the input
    ("title", pa.string()),
    ("date", pa.string()),          # as the row states it, else as 2025-03-01 where the document holds one
    ("source", pa.string()),
    ("sha256", pa.string()),        # of the document as found
    ("script", pa.string()),        # ISO 15924: Hans, Hant, Hani, Latn, Zyyy
    ("length", pa.int32()),         # code points of the cleaned text
    ("duplicate_of", pa.string()),  # id of the first document that this one reprints
]
DOCUMENTS = pa.schema([
    *_ORIGIN,
    ("topics", pa.list_(pa.struct([
        ("id", pa.string()), ("name", pa.string()), ("score", pa.float64()),
        ("evidence", pa.list_(pa.struct([*_QUOTE, ("score", pa.float64())]))),
    ]))),
    ("summary", pa.struct([
        ("text", pa.string()), ("sentences", pa.list_(pa.struct([*_QUOTE, ("rank_score", pa.float64())]))),
    ])),
    ("warnings", pa.list_(pa.string())),
    ("model", pa.string()),
    ("text", pa.string()),
])
TOPICS = pa.schema([
    *_ORIGIN, ("topic", pa.string()), ("topic_name", pa.string()), ("score", pa.float64()),
    ("evidence", pa.string()), ("evidence_offset", pa.int32()), ("evidence_length", pa.int32()), ("model", pa.string()),
])
SCHEMAS = {"document": DOCUMENTS, "topic": TOPICS}
# Excel takes a cell that begins like this for a formula (OWASP, "CSV Injection"; so does page/tables.js), and gets a ' in front
# of it. So does what has one, so that the report, which takes one away, shows each as it was.
FORMULA = r"'*[-=+@\t\r\n]"
Rows = Sequence[dict[str, Any]]


def topic_rows(rows: Rows) -> Iterator[dict[str, Any]]:
    """A row for each topic of each document, with its first evidence."""
    for row in rows:
        origin = {name: row.get(name) for name, _ in _ORIGIN}
        for topic in row["topics"] or ():
            quote = next(iter(topic["evidence"]), {})
            yield {
                **origin, "topic": topic["id"], "topic_name": topic["name"], "score": topic["score"],
                "evidence": quote.get("text"), "evidence_offset": quote.get("offset"), "evidence_length": quote.get("length"),
                "model": row["model"],
            }


def write_parquet(path: Path, rows: Rows, schema: pa.Schema) -> None:
    """Zstandard-packed; offsets count code points of ``text``, which is null unless asked for."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=schema), path, compression="zstd")


def write_jsonl(path: Path, rows: Rows, schema: pa.Schema | None = None) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_csv(path: Path, rows: Rows, schema: pa.Schema) -> None:
    """With a BOM for Excel. Topics of a document are joined by |, as are their scores and the first evidence of each.

    A ' is put before what a spreadsheet would run as a formula.
    """
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        flat = schema is TOPICS
        found = ["topics", "scores", "evidence", "summary", "warnings", "model"]
        names = TOPICS.names if flat else [*DOCUMENTS.names[: len(_ORIGIN)], *found]
        writer = csv.DictWriter(file, names, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(map(_harmless, rows if flat else map(_flat, rows)))


def _harmless(row: dict[str, Any]) -> dict[str, Any]:
    return {name: f"'{cell}" if isinstance(cell, str) and re.match(FORMULA, cell) else cell for name, cell in row.items()}


def _flat(row: dict[str, Any]) -> dict[str, Any]:
    topics = row["topics"] or ()
    return {
        **row, "topics": "|".join(t["id"] for t in topics), "scores": "|".join(f"{t['score']:.4f}" for t in topics),
        "evidence": "|".join(t["evidence"][0]["text"] if t["evidence"] else "" for t in topics),
        "summary": row["summary"]["text"] if row["summary"] else "", "warnings": "|".join(row["warnings"]),
    }


WRITERS: dict[str, Callable[[Path, Rows, pa.Schema], None]] = {
    "parquet": write_parquet, "jsonl": write_jsonl, "csv": write_csv,
}
