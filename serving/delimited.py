"""Rows of CSV and TSV -> documents, as RFC 4180 has them, and as others write them.

Excel in China writes GB18030, and many a TSV is written without quoting: there a cell may begin with a quotation mark of
its own, which would make one cell of it and all up to the next. A row that can't be told apart from its neighbours is an
error, and never part of another's text.
"""

from __future__ import annotations

import codecs
import contextlib
import csv
import io
import re
from collections import deque
from collections.abc import Iterator, Sequence
from typing import IO

from serving.charset import CHINESE
from serving.errors import InputError
from serving.fields import ESCAPES, Fields, Item, from_columns
from serving.settings import get_settings

_QUOTED = re.compile(r'"([^"]*(?:""[^"]*)*)" *')
_ENCODINGS = ("gb18030", "big5hkscs")


def read_csv(file: IO[bytes], where: str, names: Fields, delimiter: str = ",") -> Iterator[Item]:
    """Rows below a line that names the columns, in UTF-8, UTF-16, GB18030 or Big5.

    Raises:
        InputError: no column is known to hold text, or is called as was asked for; or a quotation is never closed.
    """
    limit = ESCAPES * get_settings().max_file_bytes
    csv.field_size_limit(limit)
    # Bytes that are not UTF-8 pass through as surrogates; no byte of a two-byte character is a comma, quote or line end.
    buffered = file if hasattr(file, "peek") else io.BufferedReader(file)  # type: ignore[type-var]
    wide = buffered.peek(2)[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)  # type: ignore[attr-defined]
    encoding, errors = ("utf-16", "replace") if wide else ("utf-8-sig", "surrogateescape")
    text = io.TextIOWrapper(buffered, encoding=encoding, errors=errors, newline="")  # type: ignore[type-var]
    lines = _Lines(text, limit, where)
    rows = _rows(lines, delimiter, where)
    cells, error = next(rows, ([], ""))
    if error:
        raise InputError(f"{where}: {error}")
    header, told = _header(cells, names, where)
    index = {name: header.index(column) for name, column in names.find(header, where).items()}
    for cells, error in rows:
        place = f"{where}:{lines.number}"
        if error:
            yield Item(place, error=error, member=place)
        elif cells:
            foreign = bool(told) or not _is_utf8("".join(cells))
            row = {name: cells[at] for name, at in index.items() if at < len(cells) and cells[at]}
            yield from_columns({name: _cell(row[name], name, told) for name in row} if foreign else row, place)


class _Lines:
    """Lines without NUL, none of which fills the memory; ``held`` are those of the row that is being read."""

    def __init__(self, lines: IO[str], limit: int, where: str) -> None:
        self._lines, self._limit, self._where = lines, limit, where
        self._again: deque[str] = deque()
        self.held: list[str] = []
        self.number = 0  # of the line that was given last

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else self._lines.readline(self._limit + 1)
        if len(line) > self._limit:
            raise InputError(f"{self._where}: has a line of more than {self._limit} characters: is it a CSV?")
        if not line:
            raise StopIteration
        self.number += 1
        self.held.append(line.replace("\0", ""))
        return self.held[-1]

    def take_back(self) -> None:
        """All but the first line of the row: they will be given again."""
        self._again.extendleft(reversed(self.held[1:]))
        self.number -= len(self.held) - 1
        del self.held[1:]


def _rows(lines: _Lines, delimiter: str, where: str) -> Iterator[tuple[list[str], str]]:
    """The cells of each row, or what is wrong with it."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    width = 0  # columns, once they are known
    while True:
        lines.held.clear()
        try:
            cells, error = next(reader), ""
            if delimiter == "\t" and len(lines.held) > 1 and all(_is_row(line, delimiter, width) for line in lines.held):
                error = f"{_place(lines)} are one quoted cell, or rows: remove the quotation mark in the first, or the tabs"
        except StopIteration:
            return
        except csv.Error as problem:
            start = lines.number - len(lines.held) + 1
            mended = _mended(lines, delimiter, width, stray="expected after" in str(problem))
            if mended is None:
                raise InputError(f"{where}: a quotation mark in line {start} or below is never closed: close it") from problem
            cells, error = mended
        width = width or len(cells)
        yield cells, error


def _mended(lines: _Lines, delimiter: str, width: int, stray: bool) -> tuple[list[str], str] | None:
    """A row whose quotation marks do not match, or what is wrong with it; None if one is never closed.

    A TSV is read as it stands. So is a line of CSV if that makes as many cells as there are columns, each with its pairs.
    ``stray`` is a quotation mark within a quoted cell, which it may also have opened wrongly: what follows as a row is one.
    """
    first = _literal(lines.held[0], delimiter)
    alone = len(lines.held) == 1
    apart = alone or not lines.held[1].strip() or _is_row(lines.held[1], delimiter, width)
    if delimiter == "\t" and apart and len(first) <= (width or len(first)):
        lines.take_back()
        return first, ""
    if not stray:
        return None
    pairs = all(cell.count('"') % 2 == 0 for cell in lines.held[0].split(delimiter))
    if alone and pairs and len(first) == (width or len(first)):
        return first, ""
    if apart:
        lines.take_back()
    return [], f"{_place(lines)}: a quotation mark neither ends its cell nor is doubled: write it twice inside a quoted cell"


def _literal(line: str, delimiter: str) -> list[str]:
    """Cells of a line in which a quotation mark means something only around a whole cell."""
    cells = line.rstrip("\r\n").split(delimiter)
    return [quoted[1].replace('""', '"') if (quoted := _QUOTED.fullmatch(cell)) else cell for cell in cells]


def _is_row(line: str, delimiter: str, width: int) -> bool:
    cells = _literal(line, delimiter)
    return len(cells) == width > 1 and bool(cells[0].strip())


def _place(lines: _Lines) -> str:
    start = lines.number - len(lines.held) + 1
    return f"line {start}" if start == lines.number else f"lines {start} to {lines.number}"


def _header(cells: Sequence[str], names: Fields, where: str) -> tuple[list[str], str]:
    """The names of the columns, and the encoding that they tell, if they do: that in which most of them are known."""
    if _is_utf8("".join(cells)):
        return list(cells), ""
    found: list[tuple[int, list[str], str]] = []
    for encoding in _ENCODINGS:
        header = [_bytes(cell).decode(encoding, "replace") for cell in cells]
        with contextlib.suppress(InputError):
            found.append((len(names.find(header, where)), header, encoding))
    if not found:
        return [_bytes(cell).decode(_ENCODINGS[0], "replace") for cell in cells], ""
    most = max(number for number, _, _ in found)
    (_, header, encoding), *others = [candidate for candidate in found if candidate[0] == most]
    return header, "" if others else encoding


def _cell(cell: str, name: str, told: str) -> str | bytes:
    """A cell of a row that is not UTF-8 as a whole; as bytes, where reading is to find out what it is.

    It may be UTF-8 by chance, as two-byte characters often are, but never with Chinese characters in it.
    """
    if cell.isascii() or (_is_utf8(cell) and CHINESE.search(cell)):
        return cell
    raw = _bytes(cell)
    if told and (name != "text" or _is_utf8(cell)):
        with contextlib.suppress(UnicodeDecodeError):
            return raw.decode(told)
    return raw


def _bytes(cell: str) -> bytes:
    return cell.encode("utf-8", "surrogateescape")


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True
