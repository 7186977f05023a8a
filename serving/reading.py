"""Bytes or text of any kind -> Document: charset, front matter, mark-up, noise, readings, in this order.

One function a format; ``FORMATS`` is the table of those that are text, ``FILES`` of those that are not. What was taken
out is named in the document's warnings.
"""

from __future__ import annotations

import html
import io
import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial

from serving import front_matter, mail, markup, noise
from serving.charset import characters, decode, is_misdecoded, without_invisible, without_surrogates
from serving.conversion import convert
from serving.document import Document
from serving.errors import ReadingError
from serving.markup import Extracted
from serving.noise_blocks import LINK_LIST
from serving.phonetics import remove_readings

__all__ = ["FILES", "FORMATS", "SUFFIXES", "ReadingError", "is_misdecoded", "kind_of", "read", "without_surrogates"]

_MARKDOWN = re.compile(  # a quotation of words, too: "> 8.0分" is a figure, ">>>>详细阅读" an ornament
    r"^(?:> ?[\u4e00-\u9fff“\"]|#{1,6} +\S|[ \t]*[-*+] +\S.*\n[ \t]*[-*+] |```|\|.*\|[ \t]*$)|"
    r"\]\((?:https?:/|data:|/|#|\./|\w+\.\w)|\*\*[^\s*][^*\n]{0,200}\*\*",
    re.MULTILINE,
)
_ENTITY = re.compile(r"&(?:#\d{2,6}|#[xX][0-9a-fA-F]{2,6}|[a-zA-Z]{2,8}\d?);")
_TITLE_TAG = re.compile(r"</?(?:em|b|i|u|strong|font|span|sup|sub|br)(?:\s[^<>]{0,400})?/?>", re.IGNORECASE)
_ESCAPED_TAG = re.compile(r"&lt;/?(?:p|br|div|span|strong)\b[^&]{0,200}&gt;", re.IGNORECASE)
_WORD = re.compile(r"\w")
# Of a page, whose styles part what stands together here: 来源：某日报时间：2024-05-11
_NEXT_LABEL = re.compile(
    r"(?:(?:发布|更新)?(?:时间|日期)|(?:责任)?编辑|责编|作者|记者|浏览|点击|阅读|字号)\w{0,2}[:：].*|(?:19|20)\d\d[-/.年]\d.*"
)
_OLE = b"\xd0\xcf\x11\xe0"


def _plain(text: str) -> Extracted:
    return Extracted(_ENTITY.sub(lambda match: html.unescape(match[0]), text))


FORMATS: dict[str, Callable[[str], Extracted]] = {
    "text": _plain,
    "markdown": markup.from_markdown,
    "html": markup.from_html,
}
FILES: dict[str, Callable[[bytes], Extracted]] = {
    "pdf": partial(convert, kind="pdf"),
    "docx": partial(convert, kind="docx"),
    "eml": mail.extract,
}
# The format of a document by the end of its name. What is text tells its own format better than its name does.
SUFFIXES: dict[str, str] = {
    **dict.fromkeys((".txt", ".text", ".md", ".markdown"), "auto"),
    # Pages are called by the program that made them, too.
    **dict.fromkeys((".html", ".htm", ".xhtml", ".shtml", ".shtm", ".asp", ".aspx", ".jsp", ".php"), "auto"),
    ".pdf": "pdf", ".docx": "docx", ".eml": "eml",
}


def read(data: bytes | str, *, format: str = "auto", title: str = "", id: str = "") -> Document:
    """Read one document.

    Args:
        data: a file's bytes (text in UTF-8, UTF-16, GB18030 or Big5), or text.
        format: ``text``, ``markdown``, ``html``, ``pdf``, ``docx``, ``eml``, or ``auto`` to tell by the content; mail is
            not told from text.
        title: used in place of the title that the document states.
        id: copied to the result.

    Raises:
        ReadingError: unknown format, undecodable content, or no text left once the noise is removed.
    """
    if format not in ("auto", *FORMATS, *FILES):
        raise ReadingError(f"unknown format '{format}': use auto, {', '.join((*FORMATS, *FILES))}")
    if isinstance(data, bytes):
        format = kind_of(data, format)
    removed: Counter[str] = Counter()
    meta: dict[str, str] = {}
    if format in FILES:
        if isinstance(data, str):
            raise ReadingError(f"a document of the format {format} is a file, not text: send its bytes")
        extracted = FILES[format](data)
    else:
        text = characters(decode(data) if isinstance(data, bytes) else data, removed)
        text, meta = front_matter.split(text)
        removed["front_matter"] += bool(meta)
        if _ESCAPED_TAG.search(text[:20_000]) and not markup.looks_like_html(text):
            text = html.unescape(text)
        extracted = FORMATS[_recognise(text, bool(meta)) if format == "auto" else format](text)
    extracted.removed.update(removed)
    return _document(extracted, meta, title, id)


def _unmarked_up(title: str) -> str:
    """A title from a table or a request, which may have been cut out of HTML."""
    return _TITLE_TAG.sub("", _ENTITY.sub(lambda match: html.unescape(match[0]), title))


def _document(extracted: Extracted, meta: dict[str, str], title: str, id: str) -> Document:
    """Take out readings and noise, and put together what was stated where."""
    removed = extracted.removed
    visible = without_invisible(extracted.text, links=True)
    removed["control_characters"] += len(extracted.text) - len(visible)
    body, readings = remove_readings(visible)
    removed["readings"] += readings
    stated = without_invisible(_unmarked_up(title or meta.get("title", "")) or extracted.title)
    lines = _split_lines(body)
    known = _one_line(remove_readings(stated)[0])
    cleaned = noise.clean(lines, known)
    if not any(map(_WORD.search, cleaned.lines)) and cleaned.removed["links"] >= LINK_LIST and not extracted.is_page:
        # The links of a digest are its text; those of a page without an article are the site's navigation.
        lines = [noise.unmarked(line) for line in lines]
        cleaned = noise.clean(lines, known)
    removed.update(cleaned.removed)
    byline = noise.clean(list(map(_one_line, extracted.byline)), known)
    text = "\n".join(cleaned.lines)
    if not _WORD.search(text):
        without = " once navigation and mark-up are removed" if any(removed.values()) else ""
        raise ReadingError(f"the document has no text{without}")
    stated_source = byline.source or cleaned.source
    if extracted.is_page:
        stated_source = _NEXT_LABEL.sub("", stated_source)
    dates = (meta.get("date", ""), extracted.date, byline.date, cleaned.date, extracted.guessed_date)
    sources = (meta.get("source", ""), extracted.source, stated_source, extracted.guessed_source)
    tags = meta.get("tags", "") or meta.get("keywords", "") or extracted.tags
    warnings = Counter({f"{name}_removed": count for name, count in removed.items()}) + extracted.noted
    return Document(
        text=text, title=_shown(_one_line(cleaned.title)), id=id,
        date=next(filter(None, map(noise.normal_date, dates)), ""),
        source=_shown(next(filter(None, sources), "")),
        category=_shown(meta.get("categories", "") or meta.get("category", "") or extracted.category),
        tags=tuple(tag for tag in re.split(r"[,，、;；\s]+", _shown(tags)) if tag),
        warnings=tuple(f"{name}: {count}" for name, count in sorted(warnings.items())),
        removed=tuple(_shown(noise.unmarked(line)) for line in extracted.dropped) + tuple(_gone(lines, cleaned)),
    )


def _shown(text: str) -> str:
    return without_surrogates(without_invisible(text))


def _gone(lines: list[str], cleaned: noise.Cleaned) -> Iterator[str]:
    """The lines that cleaning took out whole, but for the title, which stands elsewhere."""
    left = Counter(cleaned.lines)
    gone = []
    for line in (noise.unmarked(line).strip("|｜ \t") for line in lines):
        if left[line]:
            left[line] -= 1
        elif _WORD.search(line) and line != cleaned.title:
            gone.append(line)
    shortened = {line[:8] for line, count in left.items() if count}  # an advertisement hung on them, or an end mark
    return (line for line in gone if line[:8] not in shortened)


def kind_of(data: bytes, format: str = "auto") -> str:
    """The format, with ``pdf`` or ``docx`` in place of ``auto`` for what is such a file."""
    if format != "auto":
        return format
    if re.search(rb"%PDF-\d\.\d", data[:1024]) and (data.startswith(b"%PDF") or b" obj" in data):
        return "pdf"
    if data.startswith(_OLE) and "EncryptedPackage".encode("utf-16-le") in data:
        return "docx"
    if data.startswith(b"PK\x03\x04"):
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as file:
                names = file.namelist()
        except Exception:  # broken, in any of zipfile's ways to say so: what is left of it names its members too
            return "docx" if b"word/document" in data else "auto"
        return "docx" if any(re.fullmatch(r"word/document\d*\.xml", name) for name in names) else "auto"
    return "auto"


def _recognise(text: str, has_front_matter: bool) -> str:
    if has_front_matter:
        return "markdown"
    if markup.is_page(text):
        return "html"
    if markup.looks_like_html(text):
        return "markdown" if re.search(r"^#{1,6} +\S|\]\((?:https?:)?//", text, re.MULTILINE) else "html"
    return "markdown" if _MARKDOWN.search(text) else "text"


def _split_lines(text: str) -> list[str]:
    """Lines with inner white space folded, among it full-width and non-breaking spaces."""
    lines = (_one_line(line) for line in text.split("\n"))
    return [line for line in lines if line]


def _one_line(text: str) -> str:
    return " ".join(text.split())
