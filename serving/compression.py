"""Packed bytes -> bytes, streaming: gzip, bzip2, xz and Zstandard, each told by its name and stopped where it is a bomb."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from collections.abc import Callable
from typing import IO, Any

from backports import zstd  # of the standard library from Python 3.14 on

from serving.errors import InputError
from serving.settings import get_settings

_OPEN: dict[str, Callable[[IO[bytes]], IO[bytes]]] = {
    ".gz": lambda raw: gzip.GzipFile(fileobj=raw),  # type: ignore[dict-item, return-value]
    ".bz2": bz2.BZ2File,
    ".xz": lzma.LZMAFile,
    ".zst": zstd.ZstdFile,
}
_SHORT = {".tgz": ".tar.gz", ".tbz": ".tar.bz2", ".tbz2": ".tar.bz2", ".txz": ".tar.xz", ".tzst": ".tar.zst"}
_MAGIC = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ": ".xz", b"\x28\xb5\x2f\xfd": ".zst"}
PACKED = (*_OPEN, *_SHORT)
_BLOCK = 1 << 16
_MAX_READ = 64 << 20  # no reader asks for more at once, unless a header lies


def split_packing(name: str) -> tuple[str, str]:
    """``a.tar.gz`` -> (``a.tar``, ``.gz``); the second is empty for what is not packed."""
    lower = name.lower()
    for short, long in _SHORT.items():
        if lower.endswith(short):
            name = name[: -len(short)] + long
    for suffix in _OPEN:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], suffix
    return name, ""


def sniff_packing(start: bytes) -> str:
    """How bytes are packed, by how they begin: files named ``.tar`` are often gzipped."""
    return next((suffix for magic, suffix in _MAGIC.items() if start.startswith(magic)), "")


def unpack(raw: IO[bytes], packing: str) -> IO[bytes]:
    """A stream of what ``raw`` holds, which counts what goes in and comes out.

    Reading raises what the library raises where the bytes are damaged, and InputError where they are a bomb.
    """
    counted = _Counted(raw)
    return io.BufferedReader(_Guarded(_OPEN[packing](counted), counted), _BLOCK)  # type: ignore[arg-type]


def most_unpacked(packed: int) -> int:
    """Bytes that so many packed ones may unpack to: more come out only if somebody means harm."""
    settings = get_settings()
    return max(settings.unpack_free_bytes, settings.max_unpack_ratio * packed)


def bomb() -> str:
    """The error of what unpacks to more."""
    return (
        f"unpacks to more than {get_settings().max_unpack_ratio} times its size, as bombs do; if it is none, unpack it yourself "
        "or set WENZHAI_MAX_UNPACK_RATIO higher"
    )


class _Counted(io.RawIOBase):
    """Bytes of ``raw``, counted."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self.count = raw, 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """As of a file, at most a block."""
        data = self._raw.read(_BLOCK if size < 0 else min(size, _MAX_READ))
        self.count += len(data)
        return data


class _Guarded(io.RawIOBase):
    """Bytes of ``unpacked``, checked against those that went in."""

    def __init__(self, unpacked: IO[bytes], counted: _Counted) -> None:
        self._unpacked: Any = unpacked
        self._counted, self._count = counted, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        data = self._unpacked.read1(len(buffer))  # read would drop what comes before the damage
        buffer[: len(data)] = data
        self._count += len(data)
        if self._count > most_unpacked(self._counted.count):
            raise InputError(bomb())
        return len(data)


class Forward:
    """A stream as tarfile wants it: ``seek`` goes forward by reading, and a little way back.

    ``last`` is what was read last, which tells the end of a tar from a damaged header.
    """

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._at, self._ahead, self.last = raw, 0, b"", b""

    def tell(self) -> int:
        """Position in bytes."""
        return self._at

    def seek(self, position: int, whence: int = io.SEEK_SET) -> int:
        """Go to ``position``; back only within what was read last."""
        assert whence == io.SEEK_SET
        back = self._at - position
        if back > 0:
            if back > len(self.last):
                raise OSError("a packed stream can't be read backwards")
            self._ahead = self.last[-back:] + self._ahead
            self._at, self.last = position, self.last[:-back]
        while self._at < position and self.read(min(position - self._at, _BLOCK)):
            pass
        return self._at

    def read(self, size: int) -> bytes:
        """As of a file."""
        if not 0 <= size <= _MAX_READ:
            raise OSError(f"a header claims {size} bytes")
        data = self._ahead[:size]
        self._ahead = self._ahead[len(data) :]
        if len(data) < size:
            data += self._raw.read(size - len(data))
        self._at += len(data)
        self.last = data
        return data
