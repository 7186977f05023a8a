"""What the fields of a row are called, and the document that they hold."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from serving.charset import CHINESE, decode
from serving.errors import InputError, ReadingError
from serving.settings import get_settings

# In lower case, the first that is there; what collectors here and elsewhere call them.
NAMES = {
    "text": ("text", "content", "正文", "body", "article", "内容", "內容", "文本", "全文", "maintext", "html"),
    "title": ("title", "标题", "標題", "headline", "题目", "題目", "题名", "題名", "名称", "名稱"),
    "date": (
        "date", "日期", "published", "publish_date", "pub_date", "pubdate", "发布日期", "發布日期", "發佈日期", "发布时间",
        "發布時間", "發佈時間", "时间", "時間", "time",
    ),
    "id": ("id", "_id", "doc_id", "docid", "编号", "編號", "序号", "序號", "uid", "uuid"),
}
ESCAPES = 4  # a document may be so many times as long while it is quoted or escaped in its file
_WRAPPED = {"$oid", "$date", "$numberLong"}  # what mongoexport puts around a value: {"_id": {"$oid": "65…"}}
_BETWEEN = "\v"  # of a row's cells that are decoded together; no byte of a two-byte character
_TELLING = 4096  # bytes of a text that tell its encoding


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

    def find(self, names: Iterable[str], where: str, every: bool = True) -> dict[str, str]:
        """What each of text, title, date and id is called among ``names``; what is not there is left out.

        ``every`` field that was asked for must be there, or else, in a row that may leave some out, that of the text.

        Raises:
            InputError: there is no text, or not a field that was asked for.
        """
        lower: dict[str, str] = {}
        for name in names:
            lower.setdefault(name.strip().lower(), name)
        found = {}
        for kind, known in NAMES.items():
            stated = getattr(self, kind)
            name = lower.get(stated.strip().lower()) if stated else next((lower[n] for n in known if n in lower), None)
            if name is not None:
                found[kind] = name
            elif stated and (every or kind == "text"):
                raise InputError(f"{where}: has no field '{stated}' (it has {', '.join(lower.values())[:200]})")
        if "text" not in found:
            known = ", ".join(NAMES["text"])
            raise InputError(f"{where}: none of its fields is known to hold text ({known}): name it with --text-field")
        return found


def too_large(limit: int) -> str:
    """The error of a document over the limit."""
    return f"larger than {limit} bytes: split it"


def from_columns(row: Mapping[str, Any], where: str) -> Item:
    """The document of a row whose columns are called text, title, date and id; an error if it has no text, or too long a one."""
    row = _decoded(row)
    id = string(row.get("id")) or where
    text = row.get("text")
    if not isinstance(text, (str, bytes)):
        return Item(id, error="has no 'text' that is a string", member=where)
    limit = get_settings().max_file_bytes
    if len(text) > limit or (isinstance(text, str) and len(text) * 4 > limit and len(text.encode("utf-8", "replace")) > limit):
        return Item(id, error=too_large(limit), member=where)
    return Item(id, text, string(row.get("title")), string(row.get("date")), member=where)


def string(value: Any) -> str:
    """An id, title or date as text that can be written: half a surrogate pair, which JSON can hold, becomes a question mark.

    None and NaN, which pandas and polars write for what is missing, become nothing.
    """
    while isinstance(value, dict) and len(value) == 1 and value.keys() <= _WRAPPED:
        (value,) = value.values()
    return "" if value is None or value != value else str(value).encode("utf-8", "replace").decode()


def _decoded(row: Mapping[str, Any]) -> Mapping[str, Any]:
    """A row whose id, title and date are no bytes.

    They are decoded together with the text: two bytes alone may be UTF-8 by chance (but not with Chinese characters in it),
    or too few to tell GB18030 from Big5. An id that is no text is written in hexadecimal. The text stays as found.
    """
    raw = {name: cell for name, cell in row.items() if name != "text" and isinstance(cell, bytes)}
    if not raw:
        return row
    row = {**row, **{name: cell.decode() for name, cell in raw.items() if _is_chinese_utf8(cell)}}
    cells = {name: cell.replace(b"\v", b" ") for name, cell in row.items() if name != "text" and isinstance(cell, bytes)}
    if not cells:
        return row
    text = row.get("text")
    telling = text[:_TELLING] if isinstance(text, bytes) and b"\0" not in text[:_TELLING] else b""
    try:
        decoded = decode(_BETWEEN.encode().join([*cells.values(), telling])).split(_BETWEEN)
    except ReadingError:
        decoded = []
    if len(decoded) <= len(cells):
        decoded = [cell.decode("gb18030", "replace") for cell in cells.values()]
    found = dict(zip(cells, decoded))
    if "id" in found and ("\ufffd" in found["id"] or not found["id"].isprintable()):
        found["id"] = raw["id"].hex()
    return {**row, **found}


def _is_chinese_utf8(cell: bytes) -> bool:
    try:
        return CHINESE.search(cell.decode()) is not None
    except UnicodeDecodeError:
        return False
