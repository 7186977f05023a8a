"""Archives: folders, zip, tar, JSONL, CSV and Parquet -> documents, streaming; analyses -> Parquet, JSONL or CSV.

Nothing is ever extracted to disk, and a member that can't be read becomes an item with an error beside the others.
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import sys
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from serving.settings import get_settings

DOCUMENT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".html", ".htm", ".xhtml")


@dataclass(frozen=True)
class Item:
    """A document as found: ``content``, or the ``error`` that kept it from being read."""

    id: str
    content: bytes | str = b""
    title: str = ""
    error: str = ""


class InputError(ValueError):
    """An input as a whole can't be read; the message says what to do."""


def documents(path: Path) -> Iterator[Item]:
    """All documents of an input, in a fixed order.

    Raises:
        InputError: no such file, not a kind that is read, or damaged as a whole.
    """
    if path.is_dir():
        yield from _folder(path)
        return
    if not path.is_file():
        raise InputError(f"{path}: no such file or folder")
    name = path.name.lower()
    reader = next((read for suffix, read in _READERS.items() if name.endswith(suffix)), None)
    if reader is None:
        raise InputError(f"{path}: not a kind of input that is read here: use a folder, {', '.join(_READERS)}")
    try:
        yield from reader(path)
    except (zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError, pa.ArrowInvalid, OSError) as error:
        raise InputError(f"{path}: damaged or not what its name says ({error}); fetch it again") from error


def count(path: Path) -> int | None:
    """How many documents an input holds, where that is cheap to know."""
    try:
        if path.is_dir():
            return sum(1 for _ in files(path))
        if path.name.lower().endswith(".zip"):
            with zipfile.ZipFile(path) as file:
                return sum(1 for info in file.infolist() if _is_document(info.filename) and not info.is_dir())
        if path.name.lower().endswith(".parquet"):
            return pq.read_metadata(path).num_rows
    except Exception:  # the reader will say what is wrong
        return None
    return None


def read_upload(name: str, content: bytes) -> Iterator[Item]:
    """The documents of an uploaded file: itself, or the members of a zip."""
    if name.lower().endswith(".zip"):
        try:
            yield from _zip(io.BytesIO(content))
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            yield Item(name, error=f"the zip is damaged ({error}); send it again")
    elif len(content) > get_settings().max_file_bytes:
        yield Item(name, error=_too_large())
    else:
        yield Item(name, content)


def _too_large() -> str:
    return f"larger than {get_settings().max_file_bytes} bytes: split it"


def _is_document(name: str) -> bool:
    base = name.rsplit("/", 1)[-1].lower()
    return base.endswith(DOCUMENT_SUFFIXES) and not base.startswith(".") and "__MACOSX/" not in name


def files(folder: Path) -> Iterator[Path]:
    """Document files below a folder, in a fixed order."""
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if _is_document(name):
                yield Path(root) / name


def _folder(folder: Path) -> Iterator[Item]:
    for path in files(folder):
        id = path.relative_to(folder).as_posix().encode("utf-8", "replace").decode()
        try:
            if path.stat().st_size > get_settings().max_file_bytes:
                yield Item(id, error=_too_large())
            else:
                yield Item(id, path.read_bytes())
        except OSError as error:
            yield Item(id, error=f"can't be read: {error.strerror}")


def _zip(source: Path | IO[bytes]) -> Iterator[Item]:
    with zipfile.ZipFile(source) as file:
        for info in file.infolist():
            name = _zip_name(info)
            if info.is_dir() or not _is_document(name):
                continue
            if info.file_size > get_settings().max_file_bytes:
                yield Item(name, error=_too_large())
                continue
            try:
                yield _limited(name, file.open(info))
            except RuntimeError:
                yield Item(name, error="encrypted: unpack it with its password first")
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
                yield Item(name, error=f"damaged inside the zip: {error}")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Windows writes Chinese names in GB18030 without saying so; zipfile takes those for cp437."""
    if info.flag_bits & 0x800:
        return info.filename
    raw = info.filename.encode("cp437", "replace")
    for encoding in ("utf-8", "gb18030"):
        try:
            return raw.decode(encoding)
        except UnicodeDecodeError:
            continue
    return info.filename


def _limited(name: str, stream: IO[bytes]) -> Item:
    """Read a member, at most the allowed bytes whatever its header claims."""
    with stream:
        content = stream.read(get_settings().max_file_bytes + 1)
    return Item(name, error=_too_large()) if len(content) > get_settings().max_file_bytes else Item(name, content)


def _tar(path: Path) -> Iterator[Item]:
    with tarfile.open(path, "r|*", encoding="utf-8", errors="surrogateescape") as file:
        for member in file:
            name = _tar_name(member.name)
            if not member.isfile() or not _is_document(name):
                continue
            stream = file.extractfile(member)
            if stream is not None:
                yield _limited(name, stream)


def _tar_name(name: str) -> str:
    try:
        return name.encode("utf-8", "surrogateescape").decode("utf-8")
    except UnicodeDecodeError:
        return name.encode("utf-8", "surrogateescape").decode("gb18030", "replace")


def _jsonl(path: Path) -> Iterator[Item]:
    opened: Any = gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")
    with opened as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            where = f"{path.name}:{number}"
            try:
                yield _row(json.loads(line.decode("utf-8-sig")), where)
            except (ValueError, RecursionError):
                yield Item(where, error="not a line of JSON in UTF-8")


def _csv(path: Path) -> Iterator[Item]:
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        reader = csv.DictReader(file)
        if "text" not in (reader.fieldnames or ()):
            raise InputError(f"{path}: has no column 'text' (UTF-8, first line names the columns)")
        for row in reader:
            yield _row(row, f"{path.name}:{reader.line_num}")


def _parquet(path: Path) -> Iterator[Item]:
    file = pq.ParquetFile(path)
    wanted = [name for name in ("id", "title", "text") if name in file.schema_arrow.names]
    if "text" not in wanted:
        raise InputError(f"{path}: has no column 'text'")
    number = 0
    for batch in file.iter_batches(batch_size=512, columns=wanted):
        for row in batch.to_pylist():
            number += 1
            yield _row(row, f"{path.name}:{number}")


def _row(row: Any, where: str) -> Item:
    if not isinstance(row, dict) or not isinstance(row.get("text"), (str, bytes)):
        return Item(str(row.get("id") or where) if isinstance(row, dict) else where, error="has no 'text' that is a string")
    return Item(str(row.get("id") or where), row["text"], str(row.get("title") or ""))


_READERS: dict[str, Callable[[Path], Iterator[Item]]] = {
    ".zip": _zip, ".tar": _tar, ".tar.gz": _tar, ".tgz": _tar,
    ".jsonl": _jsonl, ".jsonl.gz": _jsonl, ".ndjson": _jsonl, ".csv": _csv, ".parquet": _parquet,
    **dict.fromkeys(DOCUMENT_SUFFIXES, lambda path: iter([Item(path.name, path.read_bytes())])),
}
