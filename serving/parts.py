"""Inputs -> parts of their documents: the units of work, the same at every start."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from serving import archive
from serving.archive import STANDARD_INPUT, InputError, Item
from serving.rows import Fields
from serving.settings import get_settings
from serving.storage import fingerprint_remote, is_remote


class Key(NamedTuple):
    """Which part: the input's position among the inputs, and the part's within it. Keys order parts."""

    input: int
    number: int


class Part(NamedTuple):
    """Documents that are scored and stored together. ``digest`` is stated for what can't be looked at twice."""

    key: Key
    items: list[Item]
    digest: str = ""


class Inputs:
    """All documents of all inputs, in order.

    ``problems`` are inputs that can't be read, or break off; ``ignored`` counts files that are no documents by their suffix.
    Both are known when ``parts`` has come to its end.
    """

    def __init__(self, names: Sequence[str], fields: Fields, ignored: Mapping[str, int] | None = None) -> None:
        self.names, self._fields = names, fields
        self._base = os.getcwd()  # which is another where Ray's workers run
        self.problems: list[dict[str, str]] = []
        self.ignored = Counter(ignored or {})

    def count(self) -> int | None:
        """How many documents there are, if that is cheap to know."""
        counts = [archive.count(self._place(name)) for name in self.names]
        return None if None in counts else sum(filter(None, counts))

    def parts(self) -> Iterator[Part]:
        """Parts in order; an input that breaks off is a problem, and the others go on."""
        for position in range(len(self.names)):
            yield from self.parts_of(position)

    def parts_of(self, position: int) -> Iterator[Part]:
        """Parts of one input."""
        name = self.names[position]
        for number, items in enumerate(split_parts(self._items(name))):
            yield Part(Key(position, number), items, _digest(items) if name == STANDARD_INPUT else "")

    def _items(self, name: str) -> Iterator[Item]:
        empty = True
        shown, place = printable(name), self._place(name)
        try:
            for item in archive.documents(place, self._fields):
                empty = empty and item.ignored
                if item.ignored:
                    self.ignored[os.path.splitext(item.member)[1].lower()] += 1
                else:
                    member = printable(item.member or item.id)
                    yield dataclasses.replace(item, id=self._id(item, shown), input=shown, member=member)
            if empty:
                kinds = ", ".join(archive.DOCUMENT_SUFFIXES)
                raise InputError(f"{name}: holds no documents ({kinds}, tables or archives)")
        except InputError as error:
            reason = printable(str(error).removeprefix(f"{name}: ").removeprefix(f"{place}: "))
            self.problems.append({"input": shown, "member": "", "id": shown, "reason": reason})

    def _place(self, name: str) -> str:
        return name if name == STANDARD_INPUT or is_remote(name) else os.path.join(self._base, name)

    def _id(self, item: Item, name: str) -> str:
        """The id that a row states; else its place, with the input in front where there are several."""
        if item.id != item.member or len(self.names) == 1:
            return printable(item.id)
        base = os.path.basename(name.rstrip("/"))
        if item.member == base or item.member.startswith(f"{base}:"):
            return name + printable(item.member[len(base) :])
        return f"{name.rstrip('/')}/{printable(item.member)}"


def split_parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Parts of so many documents, fewer where they are large."""
    settings = get_settings()
    part: list[Item] = []
    size = 0
    for item in items:
        part.append(item)
        size += len(item.content) + len(item.title)
        if len(part) == settings.part_documents or size >= settings.max_file_bytes:
            yield part
            part, size = [], 0
    if part:
        yield part


def printable(name: str) -> str:
    """A name that can be written: bytes of a file name that are no UTF-8 become question marks."""
    return name.encode("utf-8", "replace").decode()


def _digest(items: Iterable[Item]) -> str:
    digest = hashlib.sha256()
    for item in items:
        content = item.content.encode("utf-8", "surrogatepass") if isinstance(item.content, str) else item.content
        digest.update(f"{item.id}\0{item.error}\0{len(content)}\0".encode("utf-8", "surrogatepass") + content)
    return digest.hexdigest()


def fingerprint(name: str) -> list[object]:
    """What tells an input from a changed one: its place, and size and time, for a folder of each file."""
    if name == STANDARD_INPUT:
        return [name]
    if is_remote(name):
        return fingerprint_remote(name)
    path = Path(name)
    place = str(path.resolve()).encode("utf-8", "surrogateescape").hex()
    if not os.path.isdir(path):
        return [place, _stated(path)]
    digest = hashlib.sha256()
    for file in archive.files(path):
        digest.update(f"{file.relative_to(path)}\0{_stated(file)}\n".encode("utf-8", "surrogateescape"))
    return [place, digest.hexdigest()]


def _stated(path: Path) -> str:
    try:
        info = path.stat()
    except OSError:  # a link to nowhere
        return "absent"
    return f"{info.st_size} {info.st_mtime_ns}"
