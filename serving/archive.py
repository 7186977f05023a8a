"""Archives: folders, zip, tar, JSONL, CSV and Parquet -> documents, streaming and in a fixed order.

Nothing is ever extracted to disk, and a member that can't be read becomes an item with an error beside the others.
"""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import os
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from serving import rows
from serving.errors import InputError
from serving.rows import Item, too_large
from serving.settings import get_settings

__all__ = ["DOCUMENT_SUFFIXES", "InputError", "Item", "count", "documents", "files", "read_upload"]

DOCUMENT_SUFFIXES = (".txt", ".text", ".md", ".markdown", ".html", ".htm", ".xhtml")
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, csv.Error, pa.ArrowException,
    EOFError, OSError, ValueError, NotImplementedError,
)


def documents(path: Path) -> Iterator[Item]:
    """All documents of an input, in a fixed order.

    Raises:
        InputError: no such file, not a kind that is read, or damaged as a whole; what came before the damage is given.
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
    except InputError:
        raise
    except PermissionError as error:
        raise InputError(f"{path}: can't be read: {error.strerror}") from error
    except _DAMAGE as error:
        raise InputError(f"{path}: damaged or not what its name says ({error}); fetch it again") from error


def count(path: Path) -> int | None:
    """How many documents an input holds, where that is cheap to know."""
    name = path.name.lower()
    try:
        if path.is_dir():
            return sum(1 for _ in files(path))
        if name.endswith(".zip"):
            with zipfile.ZipFile(path) as file:
                return sum(1 for _ in _zip_documents(file))
        if name.endswith(".parquet"):
            return pq.read_metadata(path).num_rows
        return 1 if name.endswith(DOCUMENT_SUFFIXES) else None
    except Exception:  # the reader will say what is wrong
        return None


def read_upload(name: str, content: bytes) -> Iterator[Item]:
    """The documents of an uploaded file: itself, or the members of a zip, unpacked one by one as they are taken."""
    if name.lower().endswith(".zip"):
        try:
            yield from _zip(io.BytesIO(content))
        except _DAMAGE as error:
            yield Item(name, error=f"the zip is damaged ({error}); send it again")
    else:
        yield _limited(name, io.BytesIO(content))


def _is_document(name: str) -> bool:
    base = name.rsplit("/", 1)[-1].lower()
    return base.endswith(DOCUMENT_SUFFIXES) and not base.startswith(".") and "__MACOSX/" not in name


def files(folder: Path, onerror: Callable[[OSError], Any] | None = None) -> Iterator[Path]:
    """Document files below a folder, in a fixed order; ``onerror`` hears of folders that can't be listed."""
    for root, folders, names in os.walk(folder, onerror=onerror):
        folders.sort()
        for name in sorted(names):
            if _is_document(name):
                yield Path(root) / name


def _folder(folder: Path) -> Iterator[Item]:
    unlisted: list[OSError] = []
    for path in files(folder, unlisted.append):
        yield _file(path, _decode_name(os.fsencode(path.relative_to(folder).as_posix())))
    for error in unlisted:
        yield Item(_decode_name(os.fsencode(error.filename)), error=f"folder can't be read: {error.strerror}")


def _file(path: Path, id: str) -> Item:
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # a named pipe would be waited for for ever
            return Item(id, error="not an ordinary file")
        with path.open("rb") as stream:
            return _limited(id, stream)
    except OSError as error:
        return Item(id, error=f"can't be read: {error.strerror}")


def _limited(name: str, stream: IO[bytes]) -> Item:
    """Read a member, at most the allowed bytes whatever its header claims."""
    limit = get_settings().max_file_bytes
    with stream:
        content = stream.read(limit + 1)
    return Item(name, error=too_large(limit)) if len(content) > limit else Item(name, content)


def _decode_name(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("gb18030", "replace")


def _member_name(name: str) -> str:
    """One spelling of a name: macOS stores é as two characters, and ``tar c .`` puts ./ in front."""
    return unicodedata.normalize("NFC", name).removeprefix("./")


def _zip(source: Path | IO[bytes]) -> Iterator[Item]:
    with zipfile.ZipFile(source) as file:
        for info, name in _zip_documents(file):
            yield _zip_member(file, info, name)


def _zip_documents(file: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, str]]:
    for info in file.infolist():
        name = _zip_name(info)
        if not info.is_dir() and _is_document(name):
            yield info, name


def _zip_member(file: zipfile.ZipFile, info: zipfile.ZipInfo, name: str) -> Item:
    if info.flag_bits & 0x1:
        return Item(name, error="encrypted: unpack it with its password first")
    try:
        return _limited(name, file.open(info))
    except NotImplementedError as error:  # Deflate64, which Windows uses for large members
        return Item(name, error=f"packed in a way that is not read here ({error}): unpack it, and score the folder")
    except _DAMAGE as error:
        return Item(name, error=f"damaged inside the zip: {error}")


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Windows writes Chinese names in GB18030 without saying so; zipfile takes those for cp437."""
    name = info.filename
    if not info.flag_bits & 0x800:
        try:
            raw = name.encode("cp437")
        except UnicodeEncodeError:  # taken from the extra field for Unicode names
            raw = name.encode()
        name = _decode_name(raw)
        # Bytes that are UTF-8 of Latin, Greek or Arabic letters only are far more often two-byte Chinese.
        if all(c < "\u0300" or "\u036f" < c < "\u0800" for c in name) and not name.isascii():
            name = raw.decode("gb18030", "replace")
    return _member_name(name.replace("\\", "/"))  # some tools on Windows write \ between folders


class _Stream:
    """A tar's bytes; remembers what was read last, which tells the end of an archive from a damaged header."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self.last = raw, b""
        self.seek, self.tell = raw.seek, raw.tell

    def read(self, size: int = -1) -> bytes:
        """As of a file."""
        self.last = self._raw.read(size)
        return self.last


def _tar(path: Path) -> Iterator[Item]:
    with path.open("rb") as probe:
        packed = probe.read(2) == b"\x1f\x8b"
    with gzip.open(path, "rb") if packed else path.open("rb") as raw:
        stream: Any = _Stream(raw)  # type: ignore[arg-type]
        with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as file:
            while (member := file.next()) is not None:
                file.members.clear()  # tarfile would keep a record of every member
                name = _member_name(_decode_name(member.name.encode("utf-8", "surrogateescape")))
                if member.isfile() and _is_document(name):
                    yield _limited(name, file.extractfile(member))  # type: ignore[arg-type]
            # tarfile takes a damaged header, or none, for the end; the end is a block of zeros.
            if stream.last != bytes(tarfile.BLOCKSIZE):
                raise tarfile.ReadError(f"breaks off, or is damaged, at byte {file.offset}")
        while raw.read(1 << 20):  # gzip checks its sum at the very end
            pass


_READERS: dict[str, Callable[[Path], Iterator[Item]]] = {
    ".zip": _zip, ".tar": _tar, ".tar.gz": _tar, ".tgz": _tar,
    ".jsonl": rows.read_jsonl, ".jsonl.gz": rows.read_jsonl, ".ndjson": rows.read_jsonl,
    ".csv": rows.read_csv, ".parquet": rows.read_parquet,
    **dict.fromkeys(DOCUMENT_SUFFIXES, lambda path: iter([_file(path, _decode_name(os.fsencode(path.name)))])),
}
