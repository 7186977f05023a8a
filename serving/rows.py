"""Rows of JSONL, CSV and Parquet -> documents. Which fields hold text, title, date and id is recognised, or stated."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from serving.delimited import read_csv
from serving.errors import InputError
from serving.fields import ESCAPES, NAMES, Fields, Item, from_columns, string, too_large
from serving.settings import get_settings

__all__ = ["TABLES", "Fields", "Item", "read_csv", "read_jsonl", "read_parquet", "too_large"]

_BATCH_ROWS, _BUFFER = 64, 1 << 16
_SHOWN = 20  # names of fields that a message lists


def read_jsonl(file: IO[bytes], where: str, names: Fields) -> Iterator[Item]:
    """A JSON object a line; a line that is none becomes an error of its own.

    Raises:
        InputError: no row has a field that was asked for. Rows may leave fields out, so that this is known at the end.
    """
    limit = get_settings().max_file_bytes
    missing = {kind: name for kind, name in vars(names).items() if name and kind != "text"}
    seen: dict[str, None] = {}  # names of fields, for the message
    for number, line in enumerate(_lines(file, ESCAPES * limit), 1):
        place = f"{where}:{number}"
        if line is None:
            yield Item(place, error=too_large(limit), member=place)
        elif line.strip():
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError):
                yield Item(place, error="not a line of JSON in UTF-8", member=place)
            else:
                if missing and isinstance(row, dict):
                    there = {name.strip().lower() for name in row}
                    missing = {kind: name for kind, name in missing.items() if name.strip().lower() not in there}
                    seen.update(dict.fromkeys(list(row)[: _SHOWN - len(seen)]))
                yield _item(row, place, names)
    if missing and seen:
        stated = " and ".join(f"'{name}' (--{kind}-field)" for kind, name in missing.items())
        raise InputError(f"{where}: no row has a field {stated}; rows have {', '.join(seen)[:200]}")


def _lines(file: IO[bytes], limit: int) -> Iterator[bytes | None]:
    """Lines, with None for one that is longer than ``limit``, of which no more is held."""
    while line := file.readline(limit + 1):
        if len(line) <= limit or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(limit)
        yield None


def read_parquet(file: IO[bytes], where: str, names: Fields) -> Iterator[Item]:
    """Rows of a Parquet file, a few at a time.

    Raises:
        InputError: no column is known to hold text, or one that was asked for is not there.
    """
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as table:  # else whole row groups are held
        columns = names.find(table.schema_arrow.names, where)
        number = 0
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns.values())):
            for row in _rows(batch):
                number += 1
                yield from_columns({name: row[column] for name, column in columns.items()}, f"{where}:{number}")


def _rows(batch: pa.RecordBatch) -> list[dict[str, Any]]:
    try:
        return batch.to_pylist()
    except Exception:  # a cell that Python can't hold must not lose the others: read each by itself
        return [dict(zip(batch.schema.names, map(_cell, cells))) for cells in zip(*batch.columns)]


def _cell(cell: pa.Scalar) -> Any:
    """What a cell holds: bytes where its text is not UTF-8, None where it is a date beyond the calendar or the like."""
    with contextlib.suppress(Exception):  # which depends on the type, and on whether pandas is there
        return cell.as_py()
    if isinstance(cell, pa.DictionaryScalar):
        cell = cell.value
    if isinstance(cell, pa.BinaryScalar):  # or a subclass, such as that of strings
        return cell.as_buffer().to_pybytes()
    return _moment(cell) if isinstance(cell, pa.TimestampScalar) else None


def _moment(cell: pa.TimestampScalar) -> datetime | None:
    """A time to the microsecond; in UTC where its zone is one that Python does not know (China Standard Time, of Windows)."""
    for zone in dict.fromkeys([cell.type.tz, cell.type.tz and "UTC"]):
        with contextlib.suppress(Exception):  # unsafe: cuts off nanoseconds, but of other units would let numbers overflow
            return cell.cast(pa.timestamp("us", zone), safe=cell.type.unit != "ns").as_py()
    return None


def _item(row: Any, where: str, names: Fields) -> Item:
    """An object of JSONL, each of which may name its fields otherwise."""
    if not isinstance(row, dict):
        return Item(where, error="not a row with a 'text'", member=where)
    try:
        columns = names.find(row, where, every=False)
    except InputError:
        id = next((row[name] for name in NAMES["id"] if name in row), None)
        return Item(string(id) or where, error=f"has no '{names.text or 'text'}' that is a string", member=where)
    return from_columns({name: row[column] for name, column in columns.items()}, where)


TABLES: dict[str, Callable[[IO[bytes], str, Fields], Iterator[Item]]] = {
    ".jsonl": read_jsonl, ".ndjson": read_jsonl, ".csv": read_csv, ".parquet": read_parquet,
    ".tsv": lambda file, where, names: read_csv(file, where, names, "\t"),
}
