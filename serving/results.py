"""Analyses -> files: Parquet with nested columns, JSONL with the JSON of the service, CSV for a spreadsheet."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_QUOTE = [("text", pa.string()), ("offset", pa.int32()), ("length", pa.int32())]
SCHEMA = pa.schema([
    ("id", pa.string()),
    ("title", pa.string()),
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
Rows = Sequence[dict[str, Any]]
FRESH = ".new"  # ends the name of a file that is being written


def write_parquet(path: Path, rows: Rows) -> None:
    """One row a document; offsets count code points of ``text``, which is null unless asked for."""
    pq.write_table(pa.Table.from_pylist(list(rows), schema=SCHEMA), path, compression="zstd")


def write_jsonl(path: Path, rows: Rows) -> None:
    """One JSON object a line."""
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def write_csv(path: Path, rows: Rows) -> None:
    """id, title, topics joined by |, their scores, the first evidence of each, the summary; with a BOM for Excel."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "title", "topics", "scores", "evidence", "summary", "model"])
        for row in rows:
            topics = row["topics"]
            writer.writerow([
                row["id"], row["title"], "|".join(t["id"] for t in topics), "|".join(f"{t['score']:.4f}" for t in topics),
                "|".join(t["evidence"][0]["text"] if t["evidence"] else "" for t in topics), row["summary"]["text"], row["model"],
            ])


WRITERS: dict[str, Callable[[Path, Rows], None]] = {"parquet": write_parquet, "jsonl": write_jsonl, "csv": write_csv}


def write_whole(path: Path, write: Callable[[Path], None]) -> None:
    """Write beside the place, flush to disk, then rename: a killed run leaves a whole file or none."""
    fresh = path.with_name(f".{path.name}{FRESH}")
    write(fresh)
    with fresh.open("rb") as file:
        os.fsync(file.fileno())
    fresh.replace(path)
