"""Rows of JSONL, CSV and Parquet -> documents. A row has ``text``, and may have ``id`` and ``title``."""

from __future__ import annotations

import codecs
import csv
import gzip
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq

from serving.errors import InputError
from serving.settings import get_settings

_BATCH_ROWS = 64
_ESCAPES = 4  # a document may be so many times as long while it is quoted or escaped in its file


@dataclass(frozen=True)
class Item:
    """A document as found: ``content``, or the ``error`` that kept it from being read."""

    id: str
    content: bytes | str = b""
    title: str = ""
    error: str = ""


def too_large(limit: int) -> str:
    """The error of a document over the limit."""
    return f"larger than {limit} bytes: split it"


def read_jsonl(path: Path) -> Iterator[Item]:
    """A JSON object a line; a line that is none becomes an error of its own."""
    limit = get_settings().max_file_bytes
    with gzip.open(path, "rb") if path.name.lower().endswith(".gz") else path.open("rb") as file:
        for number, line in enumerate(_lines(file, _ESCAPES * limit), 1):
            where = f"{path.name}:{number}"
            if line is None:
                yield Item(where, error=too_large(limit))
            elif line.strip():
                try:
                    row = json.loads(line.decode("utf-8-sig"))
                except (ValueError, RecursionError):
                    yield Item(where, error="not a line of JSON in UTF-8")
                else:
                    yield _item(row, where)


def _lines(file: IO[bytes], limit: int) -> Iterator[bytes | None]:
    """Lines, with None for one that is longer than ``limit``, of which no more is held."""
    while line := file.readline(limit + 1):
        if len(line) <= limit or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(limit)
        yield None


def read_csv(path: Path) -> Iterator[Item]:
    """Rows below a line that names the columns, in UTF-8, UTF-16, or GB18030 (Excel in China).

    Raises:
        InputError: there is no column ``text``, or a quotation is never closed.
    """
    csv.field_size_limit(_ESCAPES * get_settings().max_file_bytes)
    # Bytes that are not UTF-8 pass through as surrogates; no byte of a two-byte character is a comma, quote or line end.
    with path.open("rb") as probe:
        wide = probe.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    with path.open(encoding=encoding, errors=errors, newline="") as file:
        reader = csv.DictReader(line.replace("\0", "") for line in file)
        if "text" not in (reader.fieldnames or ()):
            raise InputError(f"{path}: has no column 'text' (UTF-8, first line names the columns, commas between them)")
        while True:
            try:
                row = next(reader, None)
            except csv.Error as error:
                raise InputError(f"{path}: near line {reader.line_num}: {error}; is a quotation mark missing?") from error
            if row is None:
                return
            where = f"{path.name}:{reader.line_num}"
            columns = {name: row[name] for name in ("id", "title", "text") if row.get(name)}
            if "text" in columns:
                columns["text"] = _bytes_unless_decoded(columns["text"])
            for name in ("id", "title"):
                value = _bytes_unless_decoded(columns.get(name, ""))
                columns[name] = value if isinstance(value, str) else value.decode("gb18030", "replace")
            yield _item(columns, where)


def _bytes_unless_decoded(text: str) -> str | bytes:
    """The original bytes of a text that was no UTF-8: reading finds the encoding out."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def read_parquet(path: Path) -> Iterator[Item]:
    """Rows of a Parquet file, a few at a time.

    Raises:
        InputError: there is no column ``text``.
    """
    with pq.ParquetFile(path) as file:
        wanted = [name for name in ("id", "title", "text") if name in file.schema_arrow.names]
        if "text" not in wanted:
            raise InputError(f"{path}: has no column 'text'")
        number = 0
        for batch in file.iter_batches(batch_size=_BATCH_ROWS, columns=wanted):
            for row in batch.to_pylist():
                number += 1
                yield _item(row, f"{path.name}:{number}")


def _item(row: Any, where: str) -> Item:
    if not isinstance(row, dict):
        return Item(where, error="not a row with a 'text'")
    id = _string(row.get("id")) or where
    text = row.get("text")
    if not isinstance(text, (str, bytes)):
        return Item(id, error="has no 'text' that is a string")
    limit = get_settings().max_file_bytes
    if len(text) > limit or (isinstance(text, str) and len(text) * 4 > limit and len(text.encode("utf-8", "replace")) > limit):
        return Item(id, error=too_large(limit))
    return Item(id, text, _string(row.get("title")))


def _string(value: Any) -> str:
    """An id or title as text that can be written: half a surrogate pair, which JSON can hold, becomes a question mark."""
    return "" if value is None else str(value).encode("utf-8", "replace").decode()
