"""Zip, tar and 7z -> their members, one by one and in order. Nothing is ever written to disk."""

from __future__ import annotations

import contextlib
import queue
import stat
import tarfile
import threading
import unicodedata
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import IO

import py7zr
from py7zr.exceptions import DecompressionBombError

from serving.compression import PACKED, Forward, bomb, most_unpacked, sniff_packing, unpack
from serving.errors import InputError
from serving.reading import SUFFIXES
from serving.rows import TABLES, too_large
from serving.settings import get_settings

_ENCRYPTED = "encrypted: unpack it with its password first"
_LINK = "a link, which is not followed"


@dataclass(frozen=True)
class Member:
    """A member: what opens it, or the ``error`` that keeps it from being read. To be opened before the next is asked for."""

    name: str
    open: Callable[[], IO[bytes]] | None = None
    error: str = ""


def decode_name(raw: bytes) -> str:
    """UTF-8, or else GB18030."""
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        return raw.decode("gb18030", "replace")


def _spelled(name: str) -> str:
    """One spelling of a name: macOS stores é as two characters, and ``tar c .`` puts ./ in front."""
    return unicodedata.normalize("NFC", name).removeprefix("./")


def member_limit(name: str) -> int:
    """Bytes of a member that are held at most: more of an archive inside the archive than of a document."""
    settings = get_settings()
    return settings.max_nested_bytes if _holds_more(name) else settings.max_file_bytes


def _holds_more(name: str) -> bool:
    return name.lower().endswith((*CONTAINERS, *PACKED, *TABLES))


def _unpacked(name: str, size: int) -> int:
    """Bytes of a member of ``size`` that will be read."""
    if _holds_more(name):
        return size
    return min(size, get_settings().max_file_bytes) if name.lower().endswith(tuple(SUFFIXES)) else 0


def _escapes(name: str) -> str:
    outside = name.startswith("/") or ".." in name.split("/") or name[1:3] == ":/"
    return "its path leads out of the archive" if outside else ""


def zip_members(file: IO[bytes]) -> Iterator[Member]:
    """Members of a zip; names in UTF-8 or, as Windows writes them, in GB18030."""
    size = file.seek(0, 2)
    unpacked = 0
    with zipfile.ZipFile(file) as packed:
        for info in packed.infolist():
            name = _zip_name(info)
            mode = info.external_attr >> 16
            error = _ENCRYPTED if info.flag_bits & 0x1 else _LINK if stat.S_ISLNK(mode) else _escapes(name)
            if info.is_dir() and not error:
                continue
            expected = _unpacked(name, info.file_size)
            if not error and unpacked + expected > most_unpacked(size):  # members may share their bytes
                error = bomb()
            unpacked += 0 if error else expected
            yield Member(name, None if error else lambda info=info: packed.open(info), error)  # type: ignore[misc]


def _zip_name(info: zipfile.ZipInfo) -> str:
    """Windows writes Chinese names in GB18030 without saying so; zipfile takes those for cp437."""
    name = info.filename
    if not info.flag_bits & 0x800:
        try:
            raw = name.encode("cp437")
        except UnicodeEncodeError:  # taken from the extra field for Unicode names
            raw = name.encode()
        name = decode_name(raw)
        # Bytes that are UTF-8 of Latin, Greek or Arabic letters only are far more often two-byte Chinese.
        if all(c < "\u0300" or "\u036f" < c < "\u0800" for c in name) and not name.isascii():
            name = raw.decode("gb18030", "replace")
    return _spelled(name.replace("\\", "/"))  # some tools on Windows write \ between folders


def tar_members(file: IO[bytes]) -> Iterator[Member]:
    """Members of a tar, which may be packed though its name does not say so.

    Raises:
        tarfile.ReadError: it breaks off.
    """
    start = file.peek(8)[:8]  # type: ignore[attr-defined]
    packing = sniff_packing(start)
    raw = unpack(file, packing) if packing else file
    stream = Forward(raw)
    with tarfile.open(fileobj=stream, mode="r:", encoding="utf-8", errors="surrogateescape") as packed:  # type: ignore[call-overload]
        while (info := packed.next()) is not None:
            packed.members.clear()  # tarfile would keep a record of every member
            name = _spelled(decode_name(info.name.encode("utf-8", "surrogateescape")))
            error = _escapes(name)
            if not error and not info.isfile() and not info.isdir():
                error = _LINK if info.issym() or info.islnk() else "a device or pipe, not a file"
            if info.issparse():
                error = "a sparse file: pack it anew without --sparse"
            if error or info.isfile():
                yield Member(name, None if error else lambda info=info: packed.extractfile(info), error)  # type: ignore
        # tarfile takes a damaged header, or none, for the end; the end is a block of zeros.
        if stream.last != bytes(tarfile.BLOCKSIZE):
            raise tarfile.ReadError(f"breaks off, or is damaged, at byte {packed.offset}")
    while raw.read(1 << 20):  # sums are checked at the very end
        pass


def seven_zip_members(file: IO[bytes]) -> Iterator[Member]:
    """Members of a 7z. Its blocks are unpacked once, in a thread that waits whenever a member is not taken yet.

    py7zr gives members to a writer as it unpacks; asking it for them one by one would unpack a solid archive for each.
    """
    size = file.seek(0, 2)
    file.seek(0)
    with py7zr.SevenZipFile(file, max_extract_size=most_unpacked(size)) as packed:
        if packed.needs_password():
            raise ValueError(_ENCRYPTED)
        names: dict[str, str] = {}
        for number, info in enumerate(packed.files):
            name = _spelled(info.filename.replace("\\", "/"))
            error = _escapes(name)
            if not error and (info.is_symlink or info.is_junction or info.is_socket):
                error = _LINK
            if error:
                yield Member(name, None, error)
            elif not info.is_directory:
                # py7zr looks names up in the current folder, and changes those that are there twice.
                info._file_info["filename"] = str(number)
                names[str(number)] = name
        handed = _Handed(names)
        thread = threading.Thread(target=handed.fill, args=(packed,), daemon=True)
        thread.start()
        try:
            while (found := handed.queue.get()) is not None:
                if isinstance(found, DecompressionBombError):
                    raise InputError(bomb())
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            handed.stopped = True
            while thread.is_alive():
                with contextlib.suppress(queue.Empty):
                    handed.queue.get(timeout=0.05)


class _Handed(py7zr.io.WriterFactory):
    """What py7zr writes into, handed on member by member."""

    def __init__(self, names: dict[str, str]) -> None:
        self.queue: queue.Queue[Member | BaseException | None] = queue.Queue(maxsize=1)
        self.names, self.stopped = names, False

    def fill(self, packed: py7zr.SevenZipFile) -> None:
        """Unpack all; in a thread."""
        try:
            if self.names:
                packed.extract(targets=list(self.names), factory=self)
            self.queue.put(None)
        except BaseException as error:
            self.queue.put(error)

    def create(self, filename: str) -> py7zr.io.Py7zIO:
        """What the next member is written to."""
        return _Written(self.names[filename], self)


class _Written(py7zr.io.Py7zIO):
    def __init__(self, name: str, handed: _Handed) -> None:
        self._name, self._handed, self._content = name, handed, bytearray()
        self._limit, self._size = member_limit(name), 0

    def write(self, s: bytes | bytearray) -> int:
        if self._handed.stopped:
            raise EOFError("no more is wanted")
        self._size += len(s)
        if self._size <= self._limit:
            self._content += s
        return len(s)

    def read(self, size: int | None = None) -> bytes:
        return b""

    def seek(self, offset: int, whence: int = 0) -> int:
        return 0

    def flush(self) -> None:
        pass

    def size(self) -> int:
        return self._size

    def close(self) -> None:
        """The member is whole."""
        error = too_large(self._limit) if self._size > self._limit else ""
        content = bytes(self._content)
        self._handed.queue.put(Member(self._name, None if error else lambda: BytesIO(content), error))


CONTAINERS: dict[str, Callable[[IO[bytes]], Iterator[Member]]] = {
    ".zip": zip_members, ".tar": tar_members, ".7z": seven_zip_members,
}
SEEKABLE = (".zip", ".7z", ".parquet")  # read from their end
