"""Inputs that mean harm, or have come to it: each builder writes one into a folder."""

from __future__ import annotations

import binascii
import bz2
import gzip
import io
import json
import lzma
import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import py7zr
import pyarrow as pa
import pyarrow.parquet as pq
from backports import zstd

GOOD = "市卫生健康委表示，将为全市孕妇提供免费的基因筛查服务。筛查在四家医院进行。"
GIGABYTE = 1 << 30


def raw_zip(
    members: list[tuple[bytes, bytes]], *, flags: int = 0, method: int = 0, claims: int | None = None, shared: bool = False
) -> bytes:
    """A zip as other tools write it, byte by byte: names in any encoding, flags as given, contents stored.

    ``claims``: the unpacked size that is stated; ``shared``: all members point at the first one's bytes.
    """
    body, directory = b"", b""
    for name, data in members:
        size = len(data) if claims is None else claims
        common = struct.pack("<HHHHHIIIHH", 20, flags, method, 0, 33, binascii.crc32(data), len(data), size, len(name), 0)
        offset = 0 if shared else len(body)
        directory += b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, offset) + name
        if not (shared and body):
            body += b"PK\x03\x04" + common + name + data
    end = struct.pack("<HHHHIIH", 0, 0, len(members), len(members), len(directory), len(body), 0)
    return body + directory + b"PK\x05\x06" + end


def zipped(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return buffer.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def seven_zipped(members: dict[str, bytes], password: str | None = None) -> bytes:
    buffer = io.BytesIO()
    with py7zr.SevenZipFile(buffer, "w", password=password) as file:
        for name, content in members.items():
            file.writestr(content, name)
    return buffer.getvalue()


def good(count: int = 3) -> dict[str, bytes]:
    return {f"好{i}.txt": f"第{i}号通知：{GOOD}".encode() for i in range(count)}


def _tar_of_odd_members() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as file:
        for name, kind in (
            ("link.txt", tarfile.SYMTYPE), ("hard.txt", tarfile.LNKTYPE), ("pipe.txt", tarfile.FIFOTYPE),
            ("device.txt", tarfile.CHRTYPE), ("disk.txt", tarfile.BLKTYPE),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, "/etc/passwd"
            file.addfile(info)
        for name in ("../../up.txt", "/etc/root.txt", "a/../../b.txt"):
            info = tarfile.TarInfo(name)
            info.size = len(GOOD.encode())
            file.addfile(info, io.BytesIO(GOOD.encode()))
        info = tarfile.TarInfo("好.txt")
        info.size = len(GOOD.encode())
        file.addfile(info, io.BytesIO(GOOD.encode()))
    return buffer.getvalue()


def _zip_of_links() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        info = zipfile.ZipInfo("link.txt")
        info.external_attr = 0o120777 << 16
        file.writestr(info, "/etc/passwd")
        file.writestr("../../up.txt", GOOD)
        file.writestr("好.txt", GOOD)
    return buffer.getvalue()


def _nested(depth: int) -> bytes:
    content = zipped({"深.txt": GOOD.encode()})
    for level in range(depth):
        content = zipped({f"{level}.zip": content, f"层{level}.txt": f"第{level}层。{GOOD}".encode()})
    return content


def _parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"text": [GOOD * 9] * 100}), buffer)
    return buffer.getvalue()


def _sparse(path: Path, start: bytes = b"") -> None:
    """A gigabyte of zeros that takes no room on the disk."""
    with path.open("wb") as file:
        file.write(start)
        file.truncate(GIGABYTE)


# name -> (what writes it, documents that must come out, part of each reason, for every document that must be an error)
HOSTILE: dict[str, tuple[Callable[[Path], object], int, tuple[str, ...]]] = {
    "truncated.zip": (lambda path: path.write_bytes(zipped(good())[:-30]), 0, ("damaged",)),
    "truncated.tar.gz": (lambda path: path.write_bytes(gzip.compress(tarred(good()))[:-20]), 2, ("damaged",) * 2),
    "truncated.tar.xz": (lambda path: path.write_bytes(lzma.compress(tarred(good()))[:-40]), 3, ("damaged",)),
    "truncated.7z": (lambda path: path.write_bytes(seven_zipped(good())[:-20]), 0, ("damaged",)),
    "truncated.parquet": (lambda path: path.write_bytes(_parquet()[:-20]), 0, ("damaged",)),
    "truncated.jsonl.zst": (
        lambda path: path.write_bytes(zstd.compress(b'{"text": "' + os.urandom(3000).hex().encode() + b'"}\n')[:-50]), 0,
        ("damaged",),
    ),
    "encrypted.zip": (lambda path: path.write_bytes(raw_zip([(b"a.txt", b"xxxxxxxxxxxxx")], flags=1)), 0, ("encrypted",)),
    "encrypted.7z": (lambda path: path.write_bytes(seven_zipped(good(), "secret")), 0, ("encrypted",)),
    "large.zip": (lambda path: path.write_bytes(zipped({"零.txt": bytes(40 << 20), **good(1)})), 1, ("larger than",)),
    "large.7z": (lambda path: path.write_bytes(seven_zipped({"零.txt": bytes(40 << 20), **good(1)})), 1, ("larger than",)),
    "bomb.tar.bz2": (
        lambda path: path.write_bytes(bz2.compress(tarred({"零.txt": bytes(200 << 20)}))), 0, ("larger than", "bombs"),
    ),
    "bomb.jsonl.xz": (lambda path: path.write_bytes(lzma.compress(bytes(200 << 20), preset=0)), 0, ("bombs",)),
    "bomb.zip": (
        lambda path: path.write_bytes(raw_zip([(b"a.txt", GOOD.encode())] * 9, claims=16 << 20, shared=True)), 4,
        ("bombs",) * 5,
    ),
    "deep.zip": (lambda path: path.write_bytes(_nested(6)), 4, ("inside",)),
    "members.tar": (
        lambda path: path.write_bytes(_tar_of_odd_members()), 1, ("link",) * 2 + ("device",) * 3 + ("leads out",) * 3,
    ),
    "members.zip": (lambda path: path.write_bytes(_zip_of_links()), 1, ("link", "leads out")),
    "binary.txt": (lambda path: path.write_bytes(os.urandom(9999)), 0, ("",)),
    "line.jsonl": (_sparse, 0, ("larger than",)),
    "line.csv": (lambda path: _sparse(path, b"id,text\n1,"), 0, ("line of more than",)),
    "huge.txt": (_sparse, 0, ("larger than",)),
    "huge.html.gz": (lambda path: path.write_bytes(gzip.compress(bytes(20 << 20))), 0, ("larger than",)),
    "nested.html": (lambda path: path.write_bytes(b"<div>" * 100_000 + GOOD.encode()), 1, ()),
    "nested.jsonl": (lambda path: path.write_bytes(b"[" * 100_000 + b"\n" + json.dumps({"text": GOOD}).encode()), 1, ("JSON",)),
    "pipe.txt": (os.mkfifo, 0, ("ordinary",)),
    "nowhere.txt": (lambda path: path.symlink_to("/nonexistent/x.txt"), 0, ("can't be read",)),
    "loop": (lambda path: path.symlink_to(path.parent, target_is_directory=True), 0, ("link",)),
    "old.doc": (lambda path: path.write_bytes(b"\xd0\xcf\x11\xe0" + bytes(999)), 0, ("DOCX",)),
    "broken.docx": (lambda path: path.write_bytes(b"PK\x03\x04" + bytes(99)), 0, ("",)),
    "bomb.docx": (lambda path: path.write_bytes(zipped({"word/document.xml": b"<a>" + bytes(200 << 20)})), 0, ("",)),
    "broken.pdf": (lambda path: path.write_bytes(b"%PDF-1.7\n" + os.urandom(999)), 0, ("",)),
    "broken.eml": (lambda path: path.write_bytes(b"Content-Type: multipart/mixed; boundary=\n\n--\n\xff\xfe"), 0, ("",)),
    "empty.txt": (lambda path: path.write_bytes(b""), 0, ("no text",)),
    "empty.zip": (lambda path: path.write_bytes(b""), 0, ("damaged",)),
    "wrong.parquet": (lambda path: path.write_bytes(GOOD.encode()), 0, ("damaged",)),
}
