"""Plain text of Markdown's own marks: headings, emphasis, links, pictures, quotes, lists, rules, tables, code, templates."""

from __future__ import annotations

import re
from collections import Counter

from serving.noise_blocks import LINK_CLOSE, LINK_OPEN

# A link's target looks like an address; [13](P67) is a citation. One level of brackets, and lengths bounded: linear time.
_TARGET = (
    r"\(\s{0,3}(?:<[^<>\n]{1,2000}>|"
    r"<?((?:https?:|mailto:)?//?[^()\s]{0,2000}|[#./\w%-]{0,200}(?:[#/]|\.\w{2,4})[^()\s]{0,500}|)(?:\([^()\s]{0,200}\)[^()\s]{0,200})?>?)"
    r"(?:\s{1,3}[\"'“][^\"'”\n]{0,200}[\"'”])?\s{0,3}\)"
)
_ALT = r"(?<!\\)!\[(?:\\.|[^\[\]\\\n]){0,500}\]"
# A picture may have any target that looks like an address, even its data, which may be long: no group is repeated for each
# character. 好![13](P67) and 好![1][2] are citations behind a mark, and 快跑![笑](他笑了) is a remark.
_IMAGE = re.compile(
    rf"{_ALT}\((?!P?[\d,，-]{{1,12}}\))(?=\s{{0,3}}\)|[^()\n]{{0,300}}[./:<‹])[^()\n]*(?:\([^()\n]{{0,200}}\)[^()\n]*)*\)"
    rf"|(?!!\[\d{{1,3}}\]\[\d){_ALT}\[[^\[\]\n\u4e00-\u9fff]{{0,50}}\]"
)
_LINK = re.compile(r"(?<!!)\[([^\[\]\n]{1,500})\]" + _TARGET)
_REFERENCE_LINK = re.compile(r"\[([^\[\]\n]{1,200})\]\[[^\[\]\n]{0,50}\]")
_DEFINITION = re.compile(r"^\[[^\[\]\n]{1,100}\]:\s*(?:<|https?:|/|#|\.|\w+\.\w)")
_FOOTNOTE = re.compile(r"\[\^[\w-]{1,30}\]:?")
_TEMPLATE = re.compile(r"\{%[^%\n]{0,500}%\}|\{\{[^{}\n]{0,500}\}\}|^\{:[^}\n]{0,200}\}$")
_HEADING = re.compile(r"^#{1,6}\s+(.*)$")
_RULE = re.compile(r"[-*_=\s]{3,}|[|\s:-]{3,}")
_FENCE = re.compile(r"(?:`{3,}|~{3,})[^`~]*")
_EMPHASIS = (
    re.compile(r"(\*\*|__|~~)(?=[^\s*_~])([^\n*_~]{1,500}?)(?<=\S)\1"),
    re.compile(r"(?<![A-Za-z0-9*\\])(\*)(?=[^\s*])([^*\n]{1,500}?)(?<=[^\s\\])\*(?![A-Za-z0-9*])"),
    re.compile(r"(?<![\w\\])(_)(?=[^\s_])([^_\n]{1,500}?)(?<=[^\s\\])_(?!\w)"),
    re.compile(r"(`+)([^`\n]{1,500})\1"),
)
_ESCAPE = re.compile(r"\\([\\`*_{}\[\]()#+\-.!|>~<&])")


def title_of(text: str) -> str:
    """The heading with which the text begins, if it does."""
    lines = [line.strip() for line in text.lstrip()[:600].split("\n")[:2]]
    if match := re.fullmatch(r"#\s+(.{1,100}?)\s*#*", lines[0]):
        return plain(match[1], Counter()).replace(LINK_OPEN, "").replace(LINK_CLOSE, "")
    if len(lines) == 2 and 0 < len(lines[0]) <= 100 and re.fullmatch(r"={3,}", lines[1]):
        return lines[0]
    return ""


def plain(text: str, removed: Counter[str]) -> str:
    """Take the marks out, line by line; what stands in a code block stays as it is."""
    lines: list[str] = []
    fenced = False
    for raw in text.splitlines():
        line = raw.strip()
        if _FENCE.fullmatch(line):
            fenced = not fenced
        elif fenced:
            lines.append(line)
        elif not _RULE.fullmatch(line):
            lines.append(_line(line, removed))
    return "\n".join(lines)


def _line(line: str, removed: Counter[str]) -> str:
    line = re.sub(r"^(?:>\s?)+(?![\d=])", "", line)  # a quotation, not a comparison: >60%
    if match := _HEADING.match(line):
        line = match[1].rstrip("#").rstrip() or match[1]
    line = re.sub(r"^[-*+]\s+(?:\[[ xX]\]\s+)?", "", line)
    if _DEFINITION.match(line):
        removed["links"] += 1
        return ""
    for pattern, name, replacement in (
        (_IMAGE, "images", ""), (_TEMPLATE, "templates", ""), (_FOOTNOTE, "footnote_marks", ""),
    ):
        line, count = pattern.subn(replacement, line)
        removed[name] += count
    line = _LINK.sub(rf"{LINK_OPEN}\1{LINK_CLOSE}", line)
    line = _REFERENCE_LINK.sub(r"\1", line)
    for pattern in _EMPHASIS:
        line = pattern.sub(r"\2", line)
    if line.startswith("|") and line.endswith("|"):
        line = re.sub(r" *\| *", "  ", line).strip()
    return _ESCAPE.sub(r"\1", line)
