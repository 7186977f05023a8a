"""Raw rows of training files and data sets, each with the file and line that it came from."""

from __future__ import annotations

import csv
import gzip
import io
import json
import random
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import datasets
import pyarrow as pa
import pyarrow.parquet as pq

_SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".parquet", ".gz", ".tsv", ".txt", ".zip")
GUESS = "guess"  # the column of a labelling sheet that holds what a model thinks, for a reader to judge; no label
_TOPICS = ("topics", "labels")  # an empty cell of theirs says that there are none; of others, that the field is left out
RawRow = tuple[str, dict[str, Any]]


def raw_rows(source: str, problems: list[str]) -> Iterator[RawRow]:
    """(file:line, row) of all that can be read; what can't is added to ``problems``.

    A file is read here, by its name: .jsonl(.gz), .csv(.gz) or .parquet. Anything else, a folder of data files or a
    name on the hub, is the train split of ``datasets.load_dataset(source)``, and its rows are counted instead of lines.
    """
    path = Path(source)
    if path.is_file():
        yield from _file(path, problems)
    elif path.is_dir() or not (path.suffix.lower() in _SUFFIXES or source.startswith((".", "/", "~"))):
        yield from _dataset(source, problems)
    else:
        problems.append(f"{source}: no such file")


def is_waiting(raw: dict[str, Any]) -> bool:
    """Whether a row is of a labelling sheet, and nobody has labelled it yet."""
    return GUESS in raw and raw.get("topics") in (None, "") and not raw.get("key_sentences")


def reservoir(rows: Iterable[RawRow], at_most: int, seed: int) -> tuple[list[RawRow], int]:
    """So many of the rows at random, or all, and how many there are; no more are held at a time."""
    rng, kept, seen = random.Random(seed), [], 0
    for seen, row in enumerate(rows, 1):
        if (slot := draw(rng, seen, at_most)) is not None:
            kept[slot : slot + 1] = [row]
    return kept, seen


def draw(rng: random.Random, seen: int, at_most: int) -> int | None:
    """The slot that the ``seen``-th of some items takes in a sample of ``at_most``, or None; each item has the same chance.

    Vitter 1985, "Random sampling with a reservoir".
    """
    slot = rng.randrange(seen) if seen > at_most else seen - 1
    return slot if slot < at_most else None


def _file(path: Path, problems: list[str]) -> Iterator[RawRow]:
    name = path.name.lower().removesuffix(".gz")
    try:
        if name.endswith(".parquet"):
            yield from _parquet(path)
        elif name.endswith(".csv"):
            yield from _csv(path, problems)
        elif name.endswith((".jsonl", ".json", ".ndjson")):
            yield from _jsonl(path, problems)
        else:
            problems.append(f"{path}: not a kind of file that is read here; use .jsonl, .jsonl.gz, .csv or .parquet")
    except (OSError, EOFError, zlib.error, pa.ArrowException) as error:
        problems.append(f"{path}: can't be read: {error}")


def _dataset(source: str, problems: list[str]) -> Iterator[RawRow]:
    datasets.disable_progress_bars()
    try:
        dataset = datasets.load_dataset(source, split="train")
    except Exception as error:  # the hub, the network and the data set's own code all fail in their own ways
        cause = f" ({error.__cause__})" if error.__cause__ else ""
        problems.append(f"{source}: neither a file nor a data set that can be loaded: {error}{cause}")
        return
    table = dataset.info.builder_name == "csv"  # which gives an empty cell as None
    for number, raw in enumerate(dataset, 1):
        yield f"{source}:{number}", {k: "" if v is None and table and k in _TOPICS else v for k, v in raw.items()}


def _open(path: Path) -> BinaryIO:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")


def _jsonl(path: Path, problems: list[str]) -> Iterator[RawRow]:
    for number, where, text in _lines(path, problems):
        try:
            raw = json.loads(text.removeprefix("\ufeff") if number == 1 else text) if text.strip("\ufeff \r\n\t") else None
        except json.JSONDecodeError as error:
            if number == 1 and text.lstrip("\ufeff \t").startswith("["):
                problems.append(f"{where}: a JSON array; write an object a line, with no brackets and commas around them")
                return
            problems.append(f"{where}: not JSON: {error.msg} at column {error.colno}")
            continue
        except (ValueError, RecursionError) as error:  # a number with thousands of digits, or a thousand brackets in brackets
            problems.append(f"{where}: not JSON: {error}")
            continue
        if isinstance(raw, dict):
            yield where, raw
        elif text.strip("\ufeff \r\n\t"):
            problems.append(f"{where}: a row must be a JSON object, not {type(raw).__name__}; write one a line")


def _lines(path: Path, problems: list[str]) -> Iterator[tuple[int, str, str]]:
    """(number, file:line, text) of the lines that are UTF-8; the others are problems."""
    with _open(path) as file:
        for number, line in enumerate(file, 1):
            where = f"{path}:{number}"
            if number == 1 and line.startswith((b"\xff\xfe", b"\xfe\xff")):
                problems.append(f"{where}: not UTF-8 but UTF-16; save it as UTF-8")
                return
            try:
                yield number, where, line.decode("utf-8")
            except UnicodeDecodeError as error:
                problems.append(f"{where}: not UTF-8 ({error.reason} at byte {error.start} of the line); save it as UTF-8")


def _csv(path: Path, problems: list[str]) -> Iterator[RawRow]:
    before = len(problems)
    for _ in _lines(path, problems):  # all lines that are not UTF-8, before cells are made of them
        pass
    if len(problems) > before:
        return
    csv.field_size_limit(sys.maxsize)
    with io.TextIOWrapper(_open(path), encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        line = 1
        try:
            header = next(reader, [])
            if header and "text" not in header:
                problems.append(f"{path}:1: the header has no column 'text', but {', '.join(header)[:200]}")
                return
            line = reader.line_num + 1
            for cells in reader:
                where, line = f"{path}:{line}", reader.line_num + 1
                if cells and len(cells) != len(header):
                    problems.append(f"{where}: {len(cells)} cells in a row, but {len(header)} in the header")
                elif cells:
                    yield where, {k: v for k, v in zip(header, cells) if v or k in (*_TOPICS, "text", GUESS)}
        except csv.Error as error:
            problems.append(f"{path}:{line}: not CSV: {error}")


def _parquet(path: Path) -> Iterator[RawRow]:
    number = 0
    with pq.ParquetFile(path) as file:
        for batch in file.iter_batches():
            for raw in batch.to_pylist():
                number += 1
                yield f"{path}:{number}", raw
