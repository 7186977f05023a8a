"""Every kind of input; what is damaged becomes an error beside the documents that are whole."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import time
import zipfile
from email.message import EmailMessage
from pathlib import Path

import py7zr
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from backports import zstd

from serving import archive
from serving.archive import InputError, Item
from serving.errors import ReadingError
from serving.reading import read
from serving.rows import Fields
from serving.settings import get_settings
from tests.conftest import ROOT
from tests.hostile import raw_zip, tarred, zipped

TEXTS = {"新闻/甲.txt": "医院开展基因筛查。", "新闻/乙.md": "# 标题\n正文一句。", "丙.html": "<p>网页正文。</p>"}


def contents(path: Path) -> dict[str, bytes | str]:
    found = [item for item in archive.documents(path) if not item.ignored]
    assert not [item for item in found if item.error]
    assert len({item.id for item in found}) == len(found)
    return {item.id: item.content for item in found}


def write_tar(path: Path, texts: dict[str, str], mode: str = "w", encoding: str = "utf-8", form: int = 2) -> Path:
    with tarfile.open(path, mode, encoding=encoding, format=form) as file:
        for name, text in texts.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            file.addfile(info, io.BytesIO(text.encode()))
    return path


@pytest.fixture
def small_limit(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(get_settings(), "max_file_bytes", 1000)
    return 1000


def test_folder(tmp_path: Path) -> None:
    for name, text in TEXTS.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, "utf-8")
    (tmp_path / "图.png").write_bytes(b"\x89PNG")
    (tmp_path / "._甲.txt").write_bytes(b"\0\5\x16\7")
    assert contents(tmp_path) == {name: text.encode() for name, text in TEXTS.items()}
    assert [item.id for item in archive.documents(tmp_path)] == ["丙.html", "图.png", "新闻/乙.md", "新闻/甲.txt"]
    assert archive.count(tmp_path) == 3


def test_folder_with_what_can_not_be_read(tmp_path: Path, small_limit: int) -> None:
    (tmp_path / "大.txt").write_bytes(b"x" * (small_limit + 1))
    (tmp_path / "恰.txt").write_bytes(b"x" * small_limit)
    (tmp_path / "断.txt").symlink_to(tmp_path / "没有.txt")
    os.mkfifo(tmp_path / "管.txt")
    (tmp_path / os.fsdecode("国标.txt".encode("gb18030"))).write_bytes(b"ok")
    found = {item.id: item for item in archive.documents(tmp_path)}
    assert "larger than 1000 bytes" in found["大.txt"].error and found["恰.txt"].content == b"x" * small_limit
    assert "can't be read" in found["断.txt"].error and "ordinary" in found["管.txt"].error
    assert found["国标.txt"].content == b"ok" and len(found) == 5


def test_a_folder_that_can_not_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "锁").mkdir()
    (tmp_path / "甲.txt").write_text("正文。")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if str(path).endswith("锁"):
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    first, second = archive.documents(tmp_path)
    assert first.id == "甲.txt" and second.id.endswith("锁") and "Permission denied" in second.error


def test_zip_of_python(tmp_path: Path) -> None:
    path = tmp_path / "a.ZIP"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.mkdir("新闻") if hasattr(file, "mkdir") else file.writestr("新闻/", b"")
        for name, text in TEXTS.items():
            file.writestr(name, text)
    assert contents(path) == {name: text.encode() for name, text in TEXTS.items()}
    assert archive.count(path) == 3


@pytest.mark.parametrize("name", ["新闻/基因筛查.txt", "两会.txt", "录.txt", "龘龖.txt", "plain.txt"])
def test_zip_of_windows_with_names_in_gb18030(tmp_path: Path, name: str) -> None:
    path = tmp_path / "win.zip"
    path.write_bytes(raw_zip([(name.encode("gb18030"), "正文。".encode("gb18030"))]))
    (item,) = archive.documents(path)
    assert item.id == name and read(item.content).text == "正文。"


def test_zip_of_windows_with_backslashes(tmp_path: Path) -> None:
    path = tmp_path / "win.zip"
    path.write_bytes(raw_zip([("资料\\新闻\\甲.txt".encode("gb18030"), b"one"), ("资料\\新闻\\".encode("gb18030"), b"")]))
    assert contents(path) == {"资料/新闻/甲.txt": b"one"}


def test_zip_of_macos(tmp_path: Path) -> None:
    """UTF-8 without saying so, letters in two parts, and a shadow of every file."""
    path = tmp_path / "mac.zip"
    path.write_bytes(raw_zip([
        ("caf\u0065\u0301 与茶.txt".encode(), b"one"), ("e\u0301.txt".encode(), b"two"),
        ("__MACOSX/._caf\u0065\u0301 与茶.txt".encode(), b"\0\5"), (b"__MACOSX/x.txt", b"\0"), (b".DS_Store", b"\0"),
    ]))
    assert contents(path) == {"caf\u00e9 与茶.txt": b"one", "\u00e9.txt": b"two"}


def test_zip_members_that_can_not_be_read(tmp_path: Path, small_limit: int) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("好.txt", "正文。")
        file.writestr("坏.txt", "DAMAGE" * 20)
        file.writestr("大.txt", "x" * (small_limit + 1), zipfile.ZIP_DEFLATED)
        file.writestr("末.txt", "最后。")
    path.write_bytes(path.read_bytes().replace(b"DAMAGEDAMAGE", b"DAMAGExAMAGE", 1))
    found = {item.id: item for item in archive.documents(path)}
    assert list(found) == ["好.txt", "坏.txt", "大.txt", "末.txt"]
    assert "damaged inside the archive" in found["坏.txt"].error and "larger than" in found["大.txt"].error
    assert found["好.txt"].content and found["末.txt"].content


@pytest.mark.parametrize("flags, method, reason", [
    (1, 0, "encrypted"), (1, 99, "encrypted"), (0, 9, "packed in a way"), (0, 8, "damaged"),
])
def test_zip_members_of_other_tools(tmp_path: Path, flags: int, method: int, reason: str) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(raw_zip([(b"a.txt", b"\xffsecret")], flags=flags, method=method))
    (item,) = archive.documents(path)
    assert item.id == "a.txt" and reason in item.error and not item.content


@pytest.mark.parametrize("mode, name", [("w", "a.tar"), ("w:gz", "a.tar.gz"), ("w:gz", "a.tgz"), ("w:gz", "a.tar")])
def test_tar(tmp_path: Path, mode: str, name: str) -> None:
    path = write_tar(tmp_path / name, {f"./{name}": text for name, text in TEXTS.items()}, mode)
    assert contents(path) == {name: text.encode() for name, text in TEXTS.items()}


def test_tar_with_names_in_gb18030_and_other_members(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {"新闻/甲.txt": "正文。", "图.png": "x"}, encoding="gb18030", form=tarfile.GNU_FORMAT)
    with tarfile.open(path, "a") as file:
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(link)
    first, picture, last = archive.documents(path)
    assert first == Item("新闻/甲.txt", "正文。".encode()) and picture.ignored and "link" in last.error


LINKS = ("夹/链.txt", ".git/HEAD", ".隐.txt", "夹/图.png", "最新")


def links_in(path: Path) -> Path:
    """An archive of links, to be made of its suffix, and a document."""
    if path.suffix == ".tar":
        with tarfile.open(path, "w") as file:
            for name in LINKS:
                info = tarfile.TarInfo(name)
                info.type, info.linkname = tarfile.SYMTYPE, "好.txt"
                file.addfile(info)
            info = tarfile.TarInfo("好.txt")
            info.size = 3
            file.addfile(info, io.BytesIO(b"one"))
    elif path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name in LINKS:
                info = zipfile.ZipInfo(name)
                info.external_attr = 0o120777 << 16
                file.writestr(info, "好.txt")
            file.writestr("好.txt", "one")
    else:
        link = path.parent / "link"
        link.symlink_to(__file__)
        with py7zr.SevenZipFile(path, "w") as file:
            for name in LINKS:
                file.write(link, name)
            file.writestr("one", "好.txt")
    return path


@pytest.mark.parametrize("name", ["a.tar", "a.zip", "a.7z"])
def test_links_are_errors_only_where_a_document_would_be(tmp_path: Path, name: str) -> None:
    found = {item.id: item for item in archive.documents(links_in(tmp_path / name))}
    assert list(found) == ["夹/链.txt", "夹/图.png", "最新", "好.txt"]
    assert "link" in found["夹/链.txt"].error and found["好.txt"] == Item("好.txt", b"one")
    assert found["夹/图.png"].ignored and found["最新"].ignored


def test_hidden_members_are_passed_over_whatever_is_wrong_with_them(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(raw_zip([(b".git/a.txt", b"x"), (b"__MACOSX/b.txt", b"x"), (b"../c.txt", b"x"), (b"d.txt", b"x")], flags=1))
    assert [(item.id, bool(item.error)) for item in archive.documents(path)] == [("../c.txt", True), ("d.txt", True)]


def test_tar_member_too_large(tmp_path: Path, small_limit: int) -> None:
    path = write_tar(tmp_path / "a.tar.gz", {"大.txt": "x" * 1001, "好.txt": "正文。"}, "w:gz")
    first, second = archive.documents(path)
    assert "larger than" in first.error and second.content == "正文。".encode()


def broken(path: Path) -> tuple[list[Item], str]:
    """The items that come before the damage, and what is said of it."""
    items = []
    with pytest.raises(InputError) as caught:
        for item in archive.documents(path):
            items.append(item)
    assert "fetch it again" in str(caught.value) and path.name in str(caught.value)
    return items, str(caught.value)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.5, 0.9])
def test_truncated_tar_gives_what_came_before(tmp_path: Path, packed: bool, share: float) -> None:
    texts = {f"{i}.txt": os.urandom(1500).hex() for i in range(20)}
    whole = write_tar(tmp_path / "whole.tar", texts).read_bytes()[: 20 * 3584 + 1024]
    data = gzip.compress(whole) if packed else whole
    path = tmp_path / ("a.tar.gz" if packed else "a.tar")
    path.write_bytes(data[: int(len(data) * share)])
    items, _ = broken(path)
    if items and items[-1].error:
        assert "damaged inside" in items.pop().error
    assert items == [Item(name, text.encode()) for name, text in list(texts.items())[: len(items)]]
    assert len(items) >= 20 * share - 4


@pytest.mark.parametrize("at", [10 * 3584, 10 * 3584 + 100])
def test_tar_cut_between_members_or_in_a_header(tmp_path: Path, at: int) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{i}.txt": "x" * 3000 for i in range(20)})
    path.write_bytes(path.read_bytes()[:at])
    assert len(broken(path)[0]) == 10


def test_tar_with_a_damaged_header_does_not_end_silently(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar", {f"{i}.txt": "x" * 3000 for i in range(20)})
    data = bytearray(path.read_bytes())
    data[10 * 3584 + 5] ^= 0xFF
    path.write_bytes(data)
    assert len(broken(path)[0]) == 10


def test_gzip_sum_of_a_tar_is_checked(tmp_path: Path) -> None:
    path = write_tar(tmp_path / "a.tar.gz", {"a.txt": "正文。"}, "w:gz")
    data = bytearray(path.read_bytes())
    data[-6] ^= 0xFF
    path.write_bytes(data)
    assert len(broken(path)[0]) == 1


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.jsonl.gz", "a.parquet"])
@pytest.mark.parametrize("content", [b"", b"not what the name says" * 100, b"PK\x03\x04", b"\x1f\x8b\x08", b"PAR1"])
def test_damaged_as_a_whole(tmp_path: Path, name: str, content: bytes) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    if name == "a.jsonl.gz" and not content:
        assert not contents(path)  # an empty gzip file is no damage
    else:
        assert broken(path)[0] == []
        assert archive.count(path) is None


def test_truncated_zip(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("甲.txt", "正文。" * 100)
    path.write_bytes(path.read_bytes()[:-30])
    assert broken(path)[0] == []


def test_zip_whose_names_are_not_what_it_says(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(raw_zip([("甲.txt".encode("gb18030"), b"x")], flags=0x800))
    assert "damaged" in broken(path)[1]


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.ndjson"])
def test_jsonl(tmp_path: Path, name: str, small_limit: int) -> None:
    lines = [
        b'\xef\xbb\xbf{"id": 0, "text": "first", "title": "T"}', b"", b"  ", '{"text": "无号。"}'.encode(), b"{not json}",
        b'["text"]', b'{"id": "x", "text": 5}', b'{"id": "y"}', '{"text": "国标"}'.encode("gb18030"),
        b'{"id": "\\ud800", "title": "\\udc00t", "text": "z"}', b'{"id": "big", "text": "' + b"x" * 1001 + b'"}',
        b'{"id": "huge", "text": "' + b"x" * 9000 + b'"}', b"[" * 3900, b'{"id": "last", "text": "ok"}',
    ]
    data = b"\n".join(lines)
    path = tmp_path / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    found = list(archive.documents(path))
    errors = {item.id: item.error for item in found if item.error}
    good = [item for item in found if not item.error]
    assert good == [
        Item("0", "first", "T"), Item(f"{name}:4", "无号。"), Item("?", "z", "?t"), Item("last", "ok"),
    ]
    assert list(errors) == [f"{name}:5", f"{name}:6", "x", "y", f"{name}:9", "big", f"{name}:12", f"{name}:13"]
    assert "larger than" in errors["big"] and "larger than" in errors[f"{name}:12"] and "text" in errors["y"]


def test_truncated_jsonl_gz(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl.gz"
    rows = [{"id": str(i), "text": os.urandom(500).hex()} for i in range(50)]
    data = gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode())
    path.write_bytes(data[: len(data) // 2])
    items, _ = broken(path)
    assert 10 < len(items) < 50 and items == [Item(row["id"], row["text"]) for row in rows[: len(items)]]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_csv(tmp_path: Path, encoding: str, end: str) -> None:
    path = tmp_path / "a.csv"
    text = "省卫生健康委表示，将为孕妇提供免费的基因筛查。\n“第二句”，有逗号。"
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, lineterminator=end)
        writer.writerow(["id", "备注", "text", "title"])
        writer.writerows([["甲", "x", text, "标题"], ["", "", "只有正文。", ""], ["丙", "x", "", ""], ["丁"]])
        file.write(f"戊,x,多了,列,一{end}")
    found = list(archive.documents(path))
    assert [item.id for item in found[:1] + found[2:]] == ["甲", "丙", "丁", "戊"] and found[1].id.startswith("a.csv:")
    assert found[0].title == "标题" and read(found[0].content).text == text
    assert [bool(item.error) for item in found] == [False, False, True, True, False]


def test_csv_that_can_not_be_used(tmp_path: Path, small_limit: int) -> None:
    path = tmp_path / "a.csv"
    path.write_text("id,unknown\n1,x\n")
    with pytest.raises(InputError, match="--text-field"):
        list(archive.documents(path))
    path.write_text('id,text\n1,a\0b\n2,"' + "x" * 1001 + '"\n3,"' + "never closed\n" * 400)
    items = []
    with pytest.raises(InputError, match="quotation mark"):
        for item in archive.documents(path):
            items.append(item)
    assert items[0].content == "ab" and "larger than" in items[1].error and len(items) == 2


def test_parquet(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({
        "text": ["正文。", None, "无号。", ""], "id": [7, 8, None, 9], "other": [1, 2, 3, 4], "title": ["标题", None, None, ""],
    }), path)
    found = list(archive.documents(path))
    assert found[0] == Item("7", "正文。", "标题") and found[2] == Item("a.parquet:3", "无号。") and "text" in found[1].error
    assert archive.count(path) == len(found) == 4
    binary = pa.table({"text": pa.array(["国标正文。".encode("gb18030")])})
    pq.write_table(binary, path)
    assert [read(item.content).text for item in archive.documents(path)] == ["国标正文。"]
    pq.write_table(pa.table({"unknown": ["x"]}), path)
    with pytest.raises(InputError, match="--text-field"):
        list(archive.documents(path))


def test_parquet_of_bytes(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    text, cells = "学校开学，孩子们回到教室。", {"title": "学校", "id": "a一", "date": "2024-01-01"}
    for encoding in ("utf-8", "gb18030"):
        pq.write_table(pa.table({name: [cell.encode(encoding)] for name, cell in {"text": text, **cells}.items()}), path)
        (item,) = archive.documents(path)
        assert (item.id, item.title, item.date, read(item.content).text) == ("a一", "学校", "2024-01-01", text)


def test_parquet_of_bytes_that_are_no_text_or_of_another_encoding(tmp_path: Path) -> None:
    """Ids stay different from each other, and a title is what it says, whatever the text is written in."""
    ids = [number.to_bytes(4, "big") for number in range(0, 8_000_000, 7919)]
    columns = {"text": ["正文。".encode("gb18030")], "title": ["北京市印发通知".encode()]}
    pq.write_table(pa.table({"id": ids, **{name: cells * len(ids) for name, cells in columns.items()}}), tmp_path / "a.parquet")
    items = list(archive.documents(tmp_path / "a.parquet"))
    assert len({item.id for item in items}) == len(ids) and all(item.id.isprintable() for item in items)
    assert {item.title for item in items} == {"北京市印发通知"} and items[0].id == "00000000"


def test_parquet_of_many_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"第{i}句。" for i in range(1000)]}), path, row_group_size=300)
    found = list(archive.documents(path))
    assert [item.content for item in found] == [f"第{i}句。" for i in range(1000)]
    assert [item.id for item in found] == [f"a.parquet:{i}" for i in range(1, 1001)]


@pytest.mark.parametrize("name", ["甲.txt", "甲.md", "甲.HTML"])
def test_single_file(tmp_path: Path, name: str, small_limit: int) -> None:
    path = tmp_path / name
    path.write_text("正文。", "utf-8")
    assert contents(path) == {name: "正文。".encode()}
    assert archive.count(path) == 1
    path.write_bytes(b"x" * 1001)
    (item,) = archive.documents(path)
    assert "larger than" in item.error


def test_not_an_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        list(archive.documents(tmp_path / "没有.zip"))
    for name, advice in (("a.png", "use a folder, .zip"), ("a.doc", "DOCX"), ("a.rar", "zip")):
        (tmp_path / name).write_bytes(b"PK")
        with pytest.raises(InputError, match=advice):
            list(archive.documents(tmp_path / name))


def test_upload(small_limit: int) -> None:
    assert list(archive.read_upload("甲.txt", b"abc")) == [Item("甲.txt", b"abc")]
    assert "larger than" in next(archive.read_upload("甲.txt", b"x" * 1001)).error
    packed = raw_zip([("甲.txt".encode("gb18030"), b"one"), (b"b.png", b""), (b"c.md", b"two")])
    assert list(archive.read_upload("a.zip", packed)) == [Item("甲.txt", b"one"), Item("c.md", b"two")]
    (item,) = archive.read_upload("a.zip", packed[:40])
    assert item.id == "a.zip" and "damaged" in item.error
    for name in ("行.csv", "行.jsonl", "包.tar", "包.tar.gz"):
        (item,) = archive.read_upload(name, b"text,topics\n")
        assert item.id == name and "serving.score" in item.error
    assert list(archive.read_upload("通知", b"one")) == [Item("通知", b"one")]


def test_members_of_an_uploaded_zip_that_are_not_read_are_errors() -> None:
    names = ("甲.txt", "旧.doc", "表.xlsx", "行.csv", "包.zip", "图.png", ".隐/乙.csv", "__MACOSX/._旧.doc")
    found = list(archive.read_upload("a.zip", zipped({name: b"one" for name in names})))
    assert [item.id for item in found] == list(names[:5]) and found[0] == Item("甲.txt", b"one")
    for item, advice in zip(found[1:], ("as DOCX", "as CSV", "serving.score", "serving.score"), strict=True):
        assert advice in item.error


def test_a_damaged_archive_of_any_kind_never_raises_anything_else(tmp_path: Path) -> None:
    """A byte flipped, all over the file: documents, items with errors, or one InputError."""
    for name, mode in (("a.zip", ""), ("a.tar", "w"), ("a.tar.gz", "w:gz"), ("a.parquet", "")):
        path = tmp_path / name
        if mode:
            write_tar(path, TEXTS, mode)
        elif name == "a.zip":
            with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
                for member, text in TEXTS.items():
                    file.writestr(member, text)
        else:
            pq.write_table(pa.table({"text": list(TEXTS.values())}), path)
        whole = path.read_bytes()
        outcomes = set()
        for at in range(0, len(whole), max(1, len(whole) // 150)):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x55]) + whole[at + 1 :])
            try:
                outcomes |= {bool(item.error) for item in archive.documents(path)}
            except InputError:
                outcomes.add(None)
        assert None in outcomes, name


def test_csv_of_excel_in_china_with_chinese_columns(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes("编号,标题,正文\r\n一,题,医院开展筛查。\r\n".encode("gb18030"))
    (item,) = archive.documents(path)
    assert (item.id, item.title, read(item.content).text) == ("一", "题", "医院开展筛查。")


CHINESE = {
    "gb18030": ("id,{},text", "题目", ["学校", "省委"], "本市学校九月开学，孩子们回到教室。"),
    "big5": ("id,{},text", "題目", ["學校", "醫院"], "本市學校九月開學，孩子們回到教室。"),
}


@pytest.mark.parametrize("encoding", CHINESE)
@pytest.mark.parametrize("ascii", [True, False])
def test_csv_whose_cells_may_be_utf8_by_chance(tmp_path: Path, encoding: str, ascii: bool) -> None:
    header, name, titles, text = CHINESE[encoding]
    path = tmp_path / "a.csv"
    rows = "".join(f"{i},{title},{text}\n" for i, title in enumerate(titles))
    path.write_bytes(f"{header.format('title' if ascii else name)}\n{rows}".encode(encoding))
    found = list(archive.documents(path))
    assert [item.title for item in found] == titles and {read(item.content).text for item in found} == {text}


def test_csv_whose_rows_are_not_all_in_one_encoding(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    text = "本市学校九月开学。"
    rows = [f"学校,{text}".encode("gb18030"), f"学校,{text}".encode(), f"André,{text}".encode()]
    path.write_bytes(b"\n".join([b"title,text", *rows, "学校,".encode() + text.encode("gb18030")]))
    found = list(archive.documents(path))
    assert [item.title for item in found] == ["学校", "学校", "André", "学校"]
    assert {read(item.content).text for item in found} == {text}


@pytest.mark.parametrize("name, rows, found", [
    ("a.tsv", '1|"十四五"规划\n2|"十四五\n3|正常\n4|"结束"\n5|甲', ['"十四五"规划', '"十四五', "正常", "结束", "甲"]),
    ("a.tsv", '1|"多行\n|""缩进""\n"\n2|甲\n3|"未完', ['多行\n\t"缩进"\n', "甲", '"未完']),
    ("a.tsv", '1|"十四五\n2|正常"\n3|甲', ["lines 2 to 3 ", "甲"]),
    ("a.csv", '1|"十四五"规划\n2|"十四五\n3|正常\n4|"结束"了\n5|甲', ['"十四五"规划', "line 3:", "正常", '"结束"了', "甲"]),
    ("a.csv", '1|"多行| 逗号\n说""好"""\n2|"说"好"|走"\n3|甲', ['多行, 逗号\n说"好"', "line 4:", "甲"]),
    ("a.csv", '1|"多行\n说"好"。"\n2|甲', ["lines 2 to 3:", "甲"]),
])
def test_quotation_marks_swallow_no_rows(tmp_path: Path, name: str, rows: str, found: list[str]) -> None:
    path = tmp_path / name
    path.write_text(f"id|text\n{rows}".replace("|", "\t" if name == "a.tsv" else ","), "utf-8")
    for item, wanted in zip(archive.documents(path), found, strict=True):
        assert item.error.startswith(wanted) if wanted.startswith("line") else item.content == wanted


def test_a_blank_line_below_a_stray_quotation_mark_ends_no_table(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text('id\ttext\n1\t"十四五\n\n2\t正文。\n', "utf-8")
    assert [item.content for item in archive.documents(tmp_path / "a.tsv")] == ['"十四五', "正文。"]


@pytest.mark.parametrize("kind", ["title", "date", "id"])
def test_a_field_that_was_asked_for_and_is_not_there(tmp_path: Path, kind: str) -> None:
    names = Fields(**{kind: "标题一"})
    (tmp_path / "a.csv").write_text("标题,text\n题,正文。\n", "utf-8")
    pq.write_table(pa.table({"标题": ["题"], "text": ["正文。"]}), tmp_path / "a.parquet")
    for name in ("a.csv", "a.parquet"):
        with pytest.raises(InputError, match="no field '标题一' .it has 标题, text"):
            list(archive.documents(tmp_path / name, names))
    path = tmp_path / "a.jsonl"
    path.write_text('{"标题": "题", "text": "正文。"}\n{"text": "正文。"}\n', "utf-8")
    found = archive.documents(path, names)
    assert next(found).content == next(found).content == "正文。"
    with pytest.raises(InputError, match=f"no row has a field '标题一' .--{kind}-field.; rows have 标题, text"):
        next(found)
    path.write_text(path.read_text("utf-8") + '{"标题一": "题", "text": "正文。"}\n', "utf-8")
    assert len(list(archive.documents(path, names))) == 3, "rows may leave fields out"


@pytest.mark.parametrize("end", ["", "\n"])
def test_csv_whose_quotation_is_never_closed(tmp_path: Path, end: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f'id,text\n1,one\n2,"two\n3,three\n4,four{end}')
    items = []
    with pytest.raises(InputError, match="in line 3 or below is never closed"):
        for item in archive.documents(path):
            items.append(item)
    assert items == [Item("1", "one")]
    path.write_text(f'id,text\n1,one\n2,"tw""o"{end}')
    assert [item.content for item in archive.documents(path)] == ["one", 'tw"o']


ROWS, ODD = 200, 150  # of a Parquet file, and which of them has an odd cell


def with_odd_cell(path: Path, name: str, usual: object, odd: object, kind: pa.DataType) -> list[Item]:
    """The items of a Parquet file that has one odd cell: all its rows are there."""
    column = pa.array([usual] * ODD + [odd] + [usual] * (ROWS - ODD - 1), pa.binary() if kind == pa.string() else kind)
    if kind == pa.string():  # pyarrow would not make one of what is not UTF-8; other writers do
        column = pa.Array.from_buffers(kind, ROWS, column.buffers())
    texts = {} if name == "text" else {"text": [f"第{i}句。" for i in range(ROWS)]}
    pq.write_table(pa.table({**texts, name: column}), path)
    found = list(archive.documents(path))
    assert [item.member for item in found] == [f"{path.name}:{i}" for i in range(1, ROWS + 1)]
    assert not [item for item in found if item.error]
    assert name == "text" or [item.content for item in found] == texts["text"]
    return found


MIDNIGHT = 1_740_787_200  # seconds to 2025-03-01 in UTC


@pytest.mark.parametrize("kind, usual, odd, shown", [
    (pa.timestamp("us"), MIDNIGHT * 10**6, 9 * 10**17, "2025-03-01 00:00:00"),
    (pa.timestamp("us", "Asia/Shanghai"), MIDNIGHT * 10**6 + 5, 2**62, "2025-03-01 08:00:00.000005+08:00"),
    (pa.timestamp("ms"), MIDNIGHT * 1000, 2**60, "2025-03-01 00:00:00"), (pa.date32(), 20148, 2**30, "2025-03-01"),
])
def test_a_date_beyond_the_calendar_costs_no_other_cell(
    tmp_path: Path, kind: pa.DataType, usual: int, odd: int, shown: str
) -> None:
    dates = [item.date for item in with_odd_cell(tmp_path / "a.parquet", "date", usual, odd, kind)]
    assert dates.pop(ODD) == "" and set(dates) == {shown}


def test_times_in_a_zone_of_windows(tmp_path: Path) -> None:
    kind = pa.timestamp("us", "China Standard Time")
    dates = [item.date for item in with_odd_cell(tmp_path / "a.parquet", "date", MIDNIGHT * 10**6, 9 * 10**17, kind)]
    assert dates.pop(ODD) == "" and set(dates) == {"2025-03-01 00:00:00+00:00"}


def test_times_to_the_nanosecond_need_no_pandas(tmp_path: Path) -> None:
    kind, usual = pa.timestamp("ns", "Asia/Shanghai"), MIDNIGHT * 10**9
    with_odd_cell(tmp_path / "a.parquet", "date", usual, usual + 123_456_789, kind)
    (tmp_path / "pandas.py").write_text("raise ImportError")
    code = "import sys; from serving import archive; print(*(item.date for item in archive.documents(sys.argv[1])), sep='\\n')"
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.parquet"], env=env, capture_output=True, text=True)
    dates = done.stdout.splitlines()
    assert dates.pop(ODD) == "2025-03-01 08:00:00.123456+08:00" and dates == ["2025-03-01 08:00:00+08:00"] * (ROWS - 1)


def test_parquet_text_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    titles = [item.title for item in with_odd_cell(path, "title", "题".encode(), "北京市印发通知".encode("gb18030"), pa.string())]
    assert titles.pop(ODD) == "北京市印发通知" and set(titles) == {"题"}
    assert len({item.id for item in with_odd_cell(path, "id", b"", b"\xff\x00", pa.string())}) == ROWS
    text = "学校开学，孩子们回到教室。"
    found = with_odd_cell(path, "text", text.encode(), text.encode("gb18030"), pa.string())
    assert {read(item.content).text for item in found} == {text}
    found = with_odd_cell(path, "text", text.encode(), b"\xff\x81\x80" * 9, pa.string())
    with pytest.raises(ReadingError):
        read(found[ODD].content)


def test_nan_is_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": NaN, "title": NaN, "date": NaN, "text": "one"}\n{"id": NaN, "text": NaN}\n')
    first, second = archive.documents(path)
    assert first == Item("a.jsonl:1", "one") and second.id == "a.jsonl:2" and "no 'text'" in second.error
    nan = pa.array([float("nan"), 7.5])
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one", "two"], "id": nan, "title": nan, "date": nan.cast("float32")}), path)
    assert list(archive.documents(path)) == [Item("a.parquet:1", "one"), Item("7.5", "two", "7.5", "7.5")]


def test_jsonl_of_mongoexport(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(
        '{"_id": {"$oid": "65ab"}, "text": "one", "date": {"$date": "2025-03-01T00:00:00Z"}}\n'
        '{"_id": {"$oid": "65ac"}, "text": "two", "date": {"$date": {"$numberLong": "1740787200000"}}}\n'
        '{"_id": {"$oid": "65ad"}}\n'
    )
    first, second, third = archive.documents(path)
    assert first == Item("65ab", "one", date="2025-03-01T00:00:00Z") and third.id == "65ad" and third.error
    assert second == Item("65ac", "two", date="1740787200000")


def test_7z(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.7z"
    with py7zr.SevenZipFile(path, "w") as file:
        for name, text in (*TEXTS.items(), ("丙.html", "又一个"), ("空.txt", ""), ("图.png", "x")):
            file.writestr(text.encode(), name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "丙.html").symlink_to("/etc/passwd")  # what lies in the current folder does not matter
    found = list(archive.documents(path))
    assert [item.id for item in found] == [*TEXTS, "丙.html", "空.txt", "图.png"] and found[-1].ignored
    assert [item.content for item in found[:4]] == [*(text.encode() for text in TEXTS.values()), "又一个".encode()]


def test_a_table_in_a_7z_that_is_too_large_is_not_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(get_settings(), "max_nested_bytes", 4096)
    path = tmp_path / "a.7z"
    with py7zr.SevenZipFile(path, "w") as file:
        file.writestr("id,text\n" + "1,x\n" * 2000, "rows.csv")
        file.writestr("好。".encode(), "好.txt")
    large, good = archive.documents(path)
    assert "larger than 4096" in large.error and good.content == "好。".encode()


@pytest.mark.parametrize("name", ["a.tar.bz2", "a.tar.xz", "a.tar.zst", "a.txt.gz", "a.jsonl.xz", "a.csv.bz2", "a.zip.gz"])
def test_packed(tmp_path: Path, name: str) -> None:
    contents_of = {
        ".tar": tarred({"甲.txt": b"one"}), ".txt": b"one", ".jsonl": b'{"text": "one"}', ".csv": b"text\none\n",
        ".zip": zipped({"甲.txt": b"one"}),
    }
    pack = {".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd.compress}
    content = contents_of[Path(Path(name).stem).suffix]
    (tmp_path / name).write_bytes(pack[Path(name).suffix](content))
    (item,) = archive.documents(tmp_path / name)
    assert item.content in (b"one", "one") and not item.error


def test_mail_with_attachments(tmp_path: Path) -> None:
    message = EmailMessage()
    message["Subject"] = "简报"
    message.set_content("请看附件。")
    message.add_attachment("甲的正文。".encode(), maintype="text", subtype="plain", filename="甲.txt")
    message.add_attachment(zipped({"乙.md": "# 乙\n正文。".encode()}), maintype="application", subtype="zip", filename="包.zip")
    (tmp_path / "信.eml").write_bytes(message.as_bytes())
    found = list(archive.documents(tmp_path))
    assert [item.id for item in found] == ["信.eml", "信.eml/甲.txt", "信.eml/包.zip/乙.md"]
    assert found[0].format == "eml" and read(found[0].content, format="eml").text == "请看附件。"


def test_mail_with_a_header_that_takes_for_ever_or_breaks_the_parser(tmp_path: Path) -> None:
    (tmp_path / "a.eml").write_bytes(b'Subject: x\nContent-Type: application/x; name="' + b";" * 100_000 + b'"\n\nbody')
    inner = b"Subject: hello\x0cEvil: yes\n\ninner"
    (tmp_path / "b.eml").write_bytes(
        b"Subject: x\nContent-Type: multipart/mixed; boundary=b\n\n--b\nContent-Type: message/rfc822\n\n" + inner + b"\n--b--\n"
    )
    started = time.monotonic()
    found = list(archive.documents(tmp_path))
    assert time.monotonic() - started < 10 and {item.id for item in found} >= {"a.eml", "b.eml"}


def test_sparse_members_and_lying_headers(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w", format=tarfile.PAX_FORMAT) as file:
        info = tarfile.TarInfo("a.jsonl")
        info.size = 20
        info.pax_headers = {"GNU.sparse.map": "0,10", "GNU.sparse.size": str(3 << 30)}
        file.addfile(info, io.BytesIO(b"x" * 20))
    (item,) = archive.documents(tmp_path / "a.tar")
    assert "sparse" in item.error
    data = bytearray(write_tar(tmp_path / "b.tar", {"x" * 150 + ".txt": "正文。"}).read_bytes())
    data[124:136] = b"\xff" * 12  # a negative size of the long name
    (tmp_path / "b.tar").write_bytes(data)
    assert broken(tmp_path / "b.tar")[0] == []
