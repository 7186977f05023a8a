"""Rows of JSONL, CSV and Parquet -> documents. Which fields hold text, title, date and id is recognised, or stated."""

from __future__ import annotations

import codecs
import csv
import io
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow.parquet as pq

from serving.errors import InputError
from serving.settings import get_settings

_BATCH_ROWS, _BUFFER = 64, 1 << 16
_END = "\ue000end of file\ue001"  # a last row of our own, which is part of another where a quotation is never closed
_ESCAPES = 4  # a document may be so many times as long while it is quoted or escaped in its file
# In lower case, the first that is there; what collectors here and elsewhere call them.
_NAMES = {
    "text": ("text", "content", "正文", "body", "article", "内容", "文本", "全文", "maintext", "html"),
    "title": ("title", "标题", "headline", "题目", "题名", "名称"),
    "date": ("date", "日期", "published", "publish_date", "pub_date", "pubdate", "发布日期", "发布时间", "时间", "time"),
    "id": ("id", "_id", "doc_id", "docid", "编号", "序号", "uid", "uuid"),
}


@dataclass(frozen=True)
class Item:
    """A document as found: ``content``, or the ``error`` that kept it from being read.

    ``input`` and ``member`` say where it came from; ``ignored`` is a file that is no document, and only counted.
    """

    id: str
    content: bytes | str = b""
    title: str = ""
    date: str = ""
    format: str = "auto"
    error: str = ""
    ignored: bool = False
    input: str = field(default="", compare=False)
    member: str = field(default="", compare=False)


@dataclass(frozen=True)
class Fields:
    """Names of the fields of rows; an empty one is recognised."""

    text: str = ""
    title: str = ""
    date: str = ""
    id: str = ""

    def find(self, names: Iterable[str], where: str) -> dict[str, str]:
        """What each of text, title, date and id is called among ``names``; what is not there is left out.

        Raises:
            InputError: there is no text, or not the field that was asked for.
        """
        lower: dict[str, str] = {}
        for name in names:
            lower.setdefault(name.strip().lower(), name)
        found = {}
        for kind, known in _NAMES.items():
            stated = getattr(self, kind)
            name = lower.get(stated.strip().lower()) if stated else next((lower[n] for n in known if n in lower), None)
            if name is not None:
                found[kind] = name
            elif stated and kind == "text":
                raise InputError(f"{where}: has no field '{stated}' (it has {', '.join(lower.values())[:200]})")
        if "text" not in found:
            known = ", ".join(_NAMES["text"])
            raise InputError(f"{where}: none of its fields is known to hold text ({known}): name it with --text-field")
        return found


def too_large(limit: int) -> str:
    """The error of a document over the limit."""
    return f"larger than {limit} bytes: split it"


def read_jsonl(file: IO[bytes], where: str, names: Fields) -> Iterator[Item]:
    """A JSON object a line; a line that is none becomes an error of its own."""
    limit = get_settings().max_file_bytes
    for number, line in enumerate(_lines(file, _ESCAPES * limit), 1):
        place = f"{where}:{number}"
        if line is None:
            yield Item(place, error=too_large(limit), member=place)
        elif line.strip():
            try:
                row = json.loads(line.decode("utf-8-sig"))
            except (ValueError, RecursionError):
                yield Item(place, error="not a line of JSON in UTF-8", member=place)
            else:
                yield _item(row, place, names)


def _lines(file: IO[bytes], limit: int) -> Iterator[bytes | None]:
    """Lines, with None for one that is longer than ``limit``, of which no more is held."""
    while line := file.readline(limit + 1):
        if len(line) <= limit or line.endswith(b"\n"):
            yield line
            continue
        while line and not line.endswith(b"\n"):
            line = file.readline(limit)
        yield None


def read_csv(file: IO[bytes], where: str, names: Fields, delimiter: str = ",") -> Iterator[Item]:
    """Rows below a line that names the columns, in UTF-8, UTF-16, or GB18030 (Excel in China).

    Raises:
        InputError: no column is known to hold text, or a quotation is never closed.
    """
    limit = _ESCAPES * get_settings().max_file_bytes
    csv.field_size_limit(limit)
    # Bytes that are not UTF-8 pass through as surrogates; no byte of a two-byte character is a comma, quote or line end.
    buffered = file if hasattr(file, "peek") else io.BufferedReader(file)  # type: ignore[type-var]
    wide = buffered.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # type: ignore[attr-defined]
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    lines = io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")  # type: ignore[type-var]
    reader = csv.reader(_bounded(lines, limit, where), delimiter=delimiter)
    try:
        first = next(reader, [])
        # A cell of two bytes may be UTF-8 by chance: where the first line is none, no cell is.
        foreign = any(isinstance(_bytes_unless_decoded(cell), bytes) for cell in first)
        header = [_text(cell, foreign) for cell in first]
        columns = names.find(header, where)
        index = {name: header.index(column) for name, column in columns.items()}
        start = reader.line_num + 1
        for values in reader:
            if _END in (values[-1:] or [""])[0]:
                if len(values) > 1 or values[0] != _END:
                    raise InputError(f"{where}: a quotation mark in line {start} or below is never closed: close it")
                return
            start = reader.line_num + 1
            if not values:
                continue
            row: dict[str, str | bytes] = {name: values[at] for name, at in index.items() if at < len(values) and values[at]}
            if "text" in row:
                row["text"] = _bytes_unless_decoded(str(row["text"]))
            for name in row.keys() - {"text"}:
                row[name] = _text(str(row[name]), foreign)
            yield _from_columns(row, f"{where}:{reader.line_num}")
    except csv.Error as error:
        raise InputError(f"{where}: near line {reader.line_num}: {error}; is a quotation mark missing?") from error


def _bounded(lines: IO[str], limit: int, where: str) -> Iterator[str]:
    """Lines without NUL, none of which fills the memory."""
    while line := lines.readline(limit + 1):
        if len(line) > limit:
            raise InputError(f"{where}: has a line of more than {limit} characters: is it a CSV?")
        yield line.replace("\0", "")
    yield _END


def _text(cell: str, foreign: bool) -> str:
    value = cell.encode("utf-8", "surrogateescape") if foreign else _bytes_unless_decoded(cell)
    return value if isinstance(value, str) else value.decode("gb18030", "replace")


def _bytes_unless_decoded(text: str) -> str | bytes:
    """The original bytes of a text that was no UTF-8: reading finds the encoding out."""
    try:
        text.encode()
        return text
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")


def read_parquet(file: IO[bytes], where: str, names: Fields) -> Iterator[Item]:
    """Rows of a Parquet file, a few at a time.

    Raises:
        InputError: no column is known to hold text.
    """
    with pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as table:  # else whole row groups are held
        columns = names.find(table.schema_arrow.names, where)
        number = 0
        for batch in table.iter_batches(batch_size=_BATCH_ROWS, columns=list(columns.values())):
            for row in batch.to_pylist():
                number += 1
                yield _from_columns({name: row[column] for name, column in columns.items()}, f"{where}:{number}")


def _item(row: Any, where: str, names: Fields) -> Item:
    """An object of JSONL, each of which may name its fields otherwise."""
    if not isinstance(row, dict):
        return Item(where, error="not a row with a 'text'", member=where)
    try:
        columns = names.find(row, where)
    except InputError:
        id = next((row[name] for name in _NAMES["id"] if name in row), None)
        return Item(_string(id) or where, error=f"has no '{names.text or 'text'}' that is a string", member=where)
    return _from_columns({name: row[column] for name, column in columns.items()}, where)


def _from_columns(row: Mapping[str, Any], where: str) -> Item:
    id = _string(row.get("id")) or where
    text = row.get("text")
    if not isinstance(text, (str, bytes)):
        return Item(id, error="has no 'text' that is a string", member=where)
    limit = get_settings().max_file_bytes
    if len(text) > limit or (isinstance(text, str) and len(text) * 4 > limit and len(text.encode("utf-8", "replace")) > limit):
        return Item(id, error=too_large(limit), member=where)
    return Item(id, text, _string(row.get("title")), _string(row.get("date")), member=where)


def _string(value: Any) -> str:
    """An id or title as text that can be written: half a surrogate pair, which JSON can hold, becomes a question mark."""
    return "" if value is None else str(value).encode("utf-8", "replace").decode()


TABLES: dict[str, Callable[[IO[bytes], str, Fields], Iterator[Item]]] = {
    ".jsonl": read_jsonl, ".ndjson": read_jsonl, ".csv": read_csv, ".parquet": read_parquet,
    ".tsv": lambda file, where, names: read_csv(file, where, names, "\t"),
}
