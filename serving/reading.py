"""Bytes or text of any kind -> Document: charset, front matter, mark-up, noise, readings, in this order.

One function a format; ``FORMATS`` is the table. What was taken out is named in the document's warnings.
"""

from __future__ import annotations

import html
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

__all__ = ["FORMATS", "ReadingError", "is_misdecoded", "read", "without_surrogates"]

_FRONT_MATTER = re.compile(r"\s{0,200}---[ \t]*\n(.*?\n)(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
# Hexo lets the opening rule out.
_HEXO_FRONT_MATTER = re.compile(
    r"\s{0,200}((?:(?:title|date|tags|categories|layout|author)[ \t]*:.*\n(?:[ \t]*- .*\n)*)+)---[ \t]*(?:\n|\Z)"
)
_FRONT_MATTER_KEY = re.compile(r"^([A-Za-z][\w-]*)[ \t]*:(?:[ \t]+|$)", re.MULTILINE)
_FRONT_MATTER_LIMIT = 20_000
_MARKDOWN = re.compile(
    r"^(?:#{1,6} +\S|[ \t]*[-*+] +\S.*\n[ \t]*[-*+] |```|\|.*\|[ \t]*$)|\]\((?:https?:/|/|#|\./|\w+\.\w)|"
    r"\*\*[^\s*][^*\n]{0,200}\*\*",
    re.MULTILINE,
)
_ENTITY = re.compile(r"&(?:#\d{2,6}|#[xX][0-9a-fA-F]{2,6}|[a-zA-Z]{2,8}\d?);")
_ESCAPED_TAG = re.compile(r"&lt;/?(?:p|br|div|span|strong)\b[^&]{0,200}&gt;", re.IGNORECASE)
_INVISIBLE = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\ufffd\ue000\ue001]"
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_LINE_ENDS = re.compile("\r\n?|[\x0b\f\x85\u2028\u2029]")
_WORD = re.compile(r"\w")
# A few replacement characters are a scar of some earlier conversion; more means that the text is not what was written.
_MAX_REPLACED_SHARE = 0.02


def _plain(text: str) -> Extracted:
    return Extracted(_ENTITY.sub(lambda match: html.unescape(match[0]), text))


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
    if _ESCAPED_TAG.search(text[:20_000]) and not markup.looks_like_html(text):
        text = html.unescape(text)
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
        without = " once navigation and mark-up are removed" if any(removed.values()) else ""
        raise ReadingError(f"the document has no text{without}")
    tags = meta.get("tags", "") or meta.get("keywords", "") or extracted.tags
    return Document(
        text=text, title=_one_line(cleaned.title), id=id,
        date=noise.normal_date(meta.get("date", "")) or noise.normal_date(extracted.date) or cleaned.date,
        source=meta.get("source", "") or extracted.source or cleaned.source,
        category=meta.get("categories", "") or meta.get("category", "") or extracted.category,
        tags=tuple(tag for tag in re.split(r"[,，、;；\s]+", tags) if tag),
        warnings=tuple(f"{name}_removed: {count}" for name, count in sorted(removed.items()) if count),
    )


def without_surrogates(text: str) -> str:
    """Halves of surrogate pairs, which no file can hold, become replacement characters."""
    return _SURROGATE.sub("\ufffd", text)


def is_misdecoded(text: str) -> bool:
    """Whether so many replacement characters are in it that it was decoded wrongly."""
    replaced = text.count("\ufffd")
    return replaced > max(2, len(text) * _MAX_REPLACED_SHARE) or (replaced > 0 and replaced * 4 > len(text.strip()))


def _characters(text: str, removed: Counter[str]) -> str:
    """Drop BOM, NUL and control characters, make line ends \\n, and refuse text that was decoded wrongly."""
    text = without_surrogates(text)
    replaced = text.count("\ufffd")
    if is_misdecoded(text):
        raise ReadingError(
            f"the content was decoded with the wrong encoding ({replaced} replacement characters): send the original bytes, "
            "or text decoded with the right one"
        )
    removed["undecodable_characters"] += replaced
    text = _LINE_ENDS.sub("\n", text.removeprefix("\ufeff"))
    cleaned = _INVISIBLE.sub("", text)
    removed["control_characters"] += len(text) - len(cleaned) - replaced
    return cleaned


def _front_matter(text: str, removed: Counter[str]) -> tuple[str, dict[str, str]]:
    """Jekyll's and Hexo's front matter; broken YAML is read line by line."""
    head = text[:_FRONT_MATTER_LIMIT]
    match = _FRONT_MATTER.match(head) or _HEXO_FRONT_MATTER.match(head)
    if not match or not _FRONT_MATTER_KEY.search(match[1]):
        return text, {}
    meta = _yaml(match[1])
    if meta is None:
        lines = [line for line in match[1].split("\n") if line.strip()]
        # Broken YAML, or two rules around a paragraph with a colon in it?
        if sum(1 for line in lines if _FRONT_MATTER_KEY.match(line) or line.lstrip().startswith(("-", "#"))) < 0.6 * len(lines):
            return text, {}
        meta = dict(re.findall(r"^([A-Za-z][\w-]*)[ \t]*:[ \t]*[\"']?(.*?)[\"']?[ \t]*$", match[1], re.MULTILINE))
    removed["front_matter"] += 1
    return text[match.end() :], {str(key).lower(): _flatten(value) for key, value in meta.items()}


def _yaml(text: str) -> dict[object, object] | None:
    """The front matter as a mapping; None if it is no YAML, no mapping, or built of aliases (a bomb)."""
    if re.search(r"[&*]\w+", text) and re.search(r":\s+[&*]\w|-\s+[&*]\w|\[\s*\*", text):
        return None
    try:
        loaded = frontmatter.loads(f"---\n{text}---\n").metadata
    except (yaml.YAMLError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return loaded or None


def _flatten(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ",".join(_flatten(item) for item in value)
    return "" if value is None else str(value).strip()


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
