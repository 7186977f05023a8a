"""Inputs -> documents, streaming and in a fixed order: folders, archives, tables and single files, packed or not.

Archives inside archives are read too, to a depth. Nothing is ever extracted to disk, and a member that can't be read
becomes an item with an error beside the others.
"""

from __future__ import annotations

import glob
import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow.parquet as pq

from serving.compression import PACKED
from serving.containers import CONTAINERS, decode_name, zip_members
from serving.errors import InputError
from serving.kinds import advice, is_archive, is_document, is_hidden, is_read, is_table
from serving.members import read_document, read_member, read_stream, read_within, unread
from serving.reading import SUFFIXES
from serving.rows import TABLES, Fields, Item, read_jsonl
from serving.storage import expand_remote, is_folder, is_remote, open_remote

__all__ = ["DOCUMENT_SUFFIXES", "InputError", "Item", "STANDARD_INPUT", "count", "documents", "expand", "files", "read_upload"]

DOCUMENT_SUFFIXES = tuple(SUFFIXES)
STANDARD_INPUT = "-"
_OTHERS = "of tables and archives a zip of documents alone is read here: unpack it, or score it with python -m serving.score"


def expand(inputs: Iterable[str], ignored: Counter[str] | None = None) -> list[str]:
    """Inputs with patterns (``data/**/*.zip``) and remote folders replaced by the files in them, in order.

    Files of a remote folder that are no documents are left out, and counted by suffix in ``ignored``.

    Raises:
        InputError: there is no such file, or a pattern names none.
    """
    found: list[str] = []
    for name in inputs:
        if name == STANDARD_INPUT or os.path.lexists(name):
            found.append(name)
        elif matches := _remote(name, Counter() if ignored is None else ignored) if is_remote(name) else _matching(name):
            found += matches
        else:
            raise InputError(f"no such file or folder: {name}")
    return list(dict.fromkeys(found))


def _matching(pattern: str) -> list[str]:
    found = sorted(glob.glob(pattern, recursive=True)) if glob.has_magic(pattern) else []
    if "**" in pattern:  # which also matches the folders that the files lie in
        found = [name for name in found if not os.path.isdir(name)]
    return found


def _remote(name: str, ignored: Counter[str]) -> list[str]:
    found = expand_remote(name, is_hidden)
    if not found or not is_folder(name):
        return found
    kept = [file for file in found if is_read(file) or advice(file)]
    if not kept:
        raise InputError(f"{name}: holds no documents ({', '.join(DOCUMENT_SUFFIXES)}, tables or archives)")
    ignored.update(os.path.splitext(file)[1].lower() for file in set(found).difference(kept))
    return kept


def documents(source: str | Path, names: Fields = Fields()) -> Iterator[Item]:
    """All documents of an input, in a fixed order; ``-`` is JSONL from standard input, ``s3://…`` a remote file.

    Raises:
        InputError: no such file, not a kind that is read, or damaged as a whole; what came before the damage is given.
    """
    path = Path(source)
    if str(source) == STANDARD_INPUT:
        yield from read_jsonl(sys.stdin.buffer, "stdin", names)
    elif is_remote(source):
        yield from _single(str(source), path.name, lambda: open_remote(str(source)), names)
    elif path.is_dir():
        yield from _folder(path, names)
    elif not path.exists():
        raise InputError(f"{path}: no such file or folder")
    else:
        yield from _single(str(path), decode_name(os.fsencode(path.name)), lambda: _opened(path), names)


def _single(shown: str, name: str, open_: Callable[[], IO[bytes]], names: Fields) -> Iterator[Item]:
    """Documents of an input that is one file."""
    if not is_read(name):
        kinds = f"a folder, {', '.join((*CONTAINERS, *TABLES, *SUFFIXES))} (packed: {', '.join(PACKED[:4])})"
        raise InputError(f"{shown}: not a kind of input that is read here: {advice(name) or f'use {kinds}'}")
    try:
        with open_() as stream:
            yield from read_stream(name, stream, name if is_table(name) else "", 0, names)
    except InputError as error:
        raise InputError(f"{shown}: {str(error).removeprefix(f'{name}: ')}") from error
    except Exception as error:  # libraries raise what happens to happen on damaged bytes
        raise InputError(f"{shown}: can't be read: {getattr(error, 'strerror', None) or error}") from error


def count(source: str | Path) -> int | None:
    """How many documents an input holds, where that is cheap to know."""
    path = Path(source)
    name = path.name.lower()
    try:
        if is_remote(source):
            return None
        if path.is_dir():
            return _count(file.name for file in files(path))
        if name.endswith(".zip"):
            with path.open("rb") as file:
                return _count(member.name for member in zip_members(file))
        if name.endswith(".parquet"):
            return pq.read_metadata(path).num_rows
        return 1 if name.endswith(DOCUMENT_SUFFIXES) else None
    except Exception:  # the reader will say what is wrong
        return None


def _count(names: Iterable[str]) -> int | None:
    total = 0
    for name in names:
        if is_archive(name):
            return None
        total += is_document(name)
    return total


def read_upload(name: str, content: bytes) -> Iterator[Item]:
    """The documents of an uploaded file: itself, or the members of a zip, unpacked one by one as they are taken. Tables and other
    archives are errors.

    Members that hold documents, but are of a kind that is not read here, are errors; pictures and the like are passed over.
    """
    if not name.lower().endswith(".zip"):
        if is_archive(name):
            yield Item(name, error=_OTHERS, member=name)
            return
        yield from read_document(name, io.BytesIO(content), name, 0, Fields())
        return
    try:
        for member in zip_members(io.BytesIO(content)):
            if any(map(is_hidden, member.name.split("/"))):
                continue
            if is_document(member.name) or advice(member.name):
                yield from read_member(member, "", 0, Fields())
            elif is_read(member.name):
                yield Item(member.name, error=_OTHERS, member=member.name)
    except InputError as error:
        yield Item(name, error=str(error))
    except Exception as error:  # libraries raise what happens to happen on damaged bytes
        yield Item(name, error=f"the zip is damaged ({error}); send it again")


def files(folder: Path, onerror: Callable[[OSError], Any] | None = None) -> Iterator[Path]:
    """Files below a folder but hidden ones, in a fixed order; ``onerror`` hears of folders that can't be listed."""
    for root, folders, names in os.walk(folder, onerror=onerror):
        folders[:] = sorted(name for name in folders if not is_hidden(name))
        yield from (Path(root) / name for name in folders if os.path.islink(Path(root) / name))
        yield from (Path(root) / name for name in sorted(names) if not is_hidden(name))


def _folder(folder: Path, names: Fields) -> Iterator[Item]:
    unlisted: list[OSError] = []
    for path in files(folder, unlisted.append):
        where = decode_name(os.fsencode(path.relative_to(folder).as_posix()))
        if _is_folder(path):
            yield Item(where, error="a link to a folder, which is not followed", member=where)
        elif not is_read(where):
            yield unread(where)
        else:
            yield from read_within(where, lambda path=path: _opened(path), 0, names)  # type: ignore[misc]
    for error in unlisted:
        yield Item(decode_name(os.fsencode(error.filename)), error=f"folder can't be read: {error.strerror}")


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # False, and no error, where that can't be told


def _opened(path: Path) -> IO[bytes]:
    if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would be waited for for ever
        raise InputError("not an ordinary file")
    return path.open("rb")
