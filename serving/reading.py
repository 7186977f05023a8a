"""Bytes or text of any kind -> Document: charset, front matter, mark-up, noise, readings, in this order.

One function a format; ``FORMATS`` is the table. What was taken out is named in the document's warnings.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable

import frontmatter
import yaml

from serving import markup, noise
from serving.charset import decode
from serving.document import Document
from serving.errors import ReadingError
from serving.markup import Extracted
from serving.phonetics import remove_readings

__all__ = ["FORMATS", "ReadingError", "read"]

_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_MARKDOWN = re.compile(r"^(?:#{1,6}\s+\S|\s*[-*+]\s+\S.*\n\s*[-*+]\s+|```|\|.*\|\s*$)|\]\((?:https?:)?[/\w#.]", re.MULTILINE)
_WORD = re.compile(r"\w")
# A few replacement characters are a scar of some earlier conversion; more means that the text is not what was written.
_MAX_REPLACED_SHARE = 0.02


def _plain(text: str) -> Extracted:
    return Extracted(text)


FORMATS: dict[str, Callable[[str], Extracted]] = {
    "text": _plain,
    "markdown": markup.from_markdown,
    "html": markup.from_html,
}


def read(data: bytes | str, *, format: str = "auto", title: str = "", id: str = "") -> Document:
    """Read one document.

    Args:
        data: bytes in UTF-8, UTF-16, GB18030 or Big5, or text.
        format: ``text``, ``markdown``, ``html``, or ``auto`` to tell by the content.
        title: used in place of the title that the document states.
        id: copied to the result.

    Raises:
        ReadingError: unknown format, undecodable content, or no text left once the noise is removed.
    """
    if format != "auto" and format not in FORMATS:
        raise ReadingError(f"unknown format '{format}': use auto, {', '.join(FORMATS)}")
    removed: Counter[str] = Counter()
    text = _characters(decode(data) if isinstance(data, bytes) else data, removed)
    text, meta = _front_matter(text, removed)
    kind = _recognise(text, bool(meta)) if format == "auto" else format
    extracted = FORMATS[kind](text)
    removed.update(extracted.removed)
    body, readings = remove_readings(extracted.text)
    removed["readings"] += readings
    stated = title or meta.get("title", "") or extracted.title
    cleaned = noise.clean(_split_lines(body), _one_line(remove_readings(stated)[0]))
    removed.update(cleaned.removed)
    text = "\n".join(cleaned.lines)
    if not _WORD.search(text):
        raise ReadingError("the document has no text" + (" once navigation and mark-up are removed" if any(removed.values()) else ""))
    return Document(
        text=text, title=_one_line(cleaned.title), id=id,
        date=noise.normal_date(meta.get("date", "")) or extracted.date or cleaned.date,
        source=meta.get("source", "") or extracted.source or cleaned.source,
        category=meta.get("categories", "") or meta.get("category", ""),
        tags=tuple(tag for tag in re.split(r"[,，、;；\s]+", meta.get("tags", "")) if tag),
        warnings=tuple(f"{name}_removed: {count}" for name, count in sorted(removed.items()) if count),
    )


def _characters(text: str, removed: Counter[str]) -> str:
    """Drop BOM, NUL and control characters, make line ends \\n, and refuse text that was decoded wrongly."""
    text = re.sub(r"[\ud800-\udfff]", "\ufffd", text)
    replaced = text.count("\ufffd")
    if replaced > max(2, len(text) * _MAX_REPLACED_SHARE) or (replaced and replaced * 4 > len(text.strip())):
        raise ReadingError(
            f"the content was decoded with the wrong encoding ({replaced} replacement characters): send the original bytes, "
            "or text decoded with the right one"
        )
    removed["undecodable_characters"] += replaced
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\u2028", "\n").replace("\u2029", "\n").replace("\f", "\n")
    cleaned = re.sub("[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffd\u200b\u2060\ue000\ue001]", "", text)
    removed["control_characters"] += len(text) - len(cleaned) - replaced
    return cleaned.replace("\x85", "\n").replace("\x0b", "\n")


def _front_matter(text: str, removed: Counter[str]) -> tuple[str, dict[str, str]]:
    """Jekyll's and Hexo's front matter; broken YAML is read line by line."""
    match = _FRONT_MATTER.match(text)
    if not match or not re.search(r"^[\w-]+\s*:", match[1], re.MULTILINE):
        return text, {}
    removed["front_matter"] += 1
    try:
        meta = frontmatter.loads(text.lstrip()).metadata
    except (yaml.YAMLError, ValueError):
        meta = dict(re.findall(r"^([\w-]+)\s*:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", match[1], re.MULTILINE))
    return text[match.end() :], {str(key).lower(): _flatten(value) for key, value in meta.items()}


def _flatten(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_flatten(item) for item in value)
    return "" if value is None else str(value).strip()


def _recognise(text: str, has_front_matter: bool) -> str:
    if has_front_matter:
        return "markdown"
    if markup.looks_like_html(text):
        return "markdown" if re.search(r"^#{1,6}\s|\]\((?:https?:)?//", text, re.MULTILINE) else "html"
    return "markdown" if _MARKDOWN.search(text) else "text"


def _split_lines(text: str) -> list[str]:
    """Lines with inner white space folded, among it full-width and non-breaking spaces; entities left over decoded."""
    lines = (_one_line(line.replace("&nbsp;", " ")) for line in text.split("\n"))
    return [line for line in lines if line]


def _one_line(text: str) -> str:
    return " ".join(text.split())
