"""HTML (pages, fragments, HTML inside Markdown) and Markdown -> lines of plain text.

Full pages go through trafilatura, which finds the article; what it finds nothing in, and every fragment, is walked with
Lexbor (selectolax) here, because trafilatura returns nothing for short fragments.
"""

from __future__ import annotations

import html
import re
from collections import Counter
from dataclasses import dataclass, field

from selectolax.lexbor import LexborHTMLParser, LexborNode

_TAG = re.compile(r"<(?:!doctype|/?[a-z][a-z0-9]*(?:\s[^<>]*)?/?)>", re.IGNORECASE)
_PAGE = re.compile(r"<(?:!doctype\s+html|html|body)\b", re.IGNORECASE)
_HEADED = "head, script, style, noscript, template, iframe, object, svg, canvas, form, button, select, textarea, rt, rp"
_AROUND = "nav, footer, aside, dialog"
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden|font-size\s*:\s*0(?:px)?\s*(?:;|$)", re.IGNORECASE)
_NAMED_NOISE = re.compile(
    r"(?:^|[\s_-])(?:share|social|related|relate|recommend|breadcrumbs?|crumbs?|copyright|comments?|sidebar|pagination|"
    r"toolbar|hotnews|hot-news|hot-list|prev-next|bdsharebuttonbox|advert|advertisement)(?:$|[\s_-])",
    re.IGNORECASE,
)
_STOCK = re.compile(r"<!--\s*EM_StockImg_Start\s*-->.*?<!--\s*EM_StockImg_End\s*-->", re.IGNORECASE | re.DOTALL)
_BLOCK = frozenset(
    ["address", "article", "blockquote", "br", "caption", "center", "dd", "details", "div", "dl", "dt", "fieldset", "figcaption", "figure", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "ol", "p", "pre", "section", "summary", "table", "tbody", "tfoot", "thead", "title", "tr", "ul"]
)
_AUTOLINK = re.compile(r"<((?:https?:)?//[^\s<>]+)>")
_SITE_SUFFIX = re.compile(r"\s*[_|｜]\s*[^_|｜]{2,24}$|\s+[-–—]\s*[^-–—\s]{2,20}(?:网|網|在线|日报|新闻|政府)$")


@dataclass
class Extracted:
    """Plain text in lines, what the page says of itself, and counts of what was removed."""

    text: str
    title: str = ""
    date: str = ""
    source: str = ""
    removed: Counter[str] = field(default_factory=Counter)


def looks_like_html(text: str) -> bool:
    """Whether a text is a page or holds more than a stray tag."""
    return bool(_PAGE.search(text[:2000])) or len(_TAG.findall(text[:20_000])) >= 2


def from_html(text: str) -> Extracted:
    """A page, or a fragment, to lines."""
    return _page(text) if _PAGE.search(text[:2000]) else _fragment(text)


def _fragment(text: str) -> Extracted:
    removed: Counter[str] = Counter()
    text, count = _STOCK.subn("", text)
    removed["stock_charts"] += count
    removed["comments"] += text.count("<!--")
    tree = LexborHTMLParser(text)
    title_node = tree.css_first("title")
    heading = tree.css_first("h1")
    title = _flat(heading) or _SITE_SUFFIX.sub("", _flat(title_node))
    removed["scripts"] += _drop(tree, "script, style, noscript, iframe, object")
    removed["navigation"] += _drop(tree, _AROUND)
    _drop(tree, "head, template, svg, canvas, form, button, select, textarea, rt, rp")
    removed["hidden"] += _drop_hidden(tree)
    root = tree.body or tree.root
    parts: list[str] = []
    if root is not None:
        removed["images"] += len(root.css("img"))
        _walk(root, parts)
    return Extracted(_lines("".join(parts)), title=title, removed=removed)


def _flat(node: LexborNode | None) -> str:
    return " ".join(node.text(deep=True).split()) if node is not None else ""


def _drop(tree: LexborHTMLParser, selector: str) -> int:
    nodes = tree.css(selector)
    for node in nodes:
        node.decompose()
    return len(nodes)


def _drop_hidden(tree: LexborHTMLParser) -> int:
    """Remove what a reader doesn't see, and boxes whose class or id says they are not the article."""
    count = 0
    for node in tree.css("[style], [hidden], [aria-hidden=true]"):
        style = node.attributes.get("style") or ""
        if "hidden" in node.attributes or _HIDDEN.search(style) or node.attributes.get("aria-hidden") == "true":
            node.decompose()
            count += 1
    for node in tree.css("[class], [id]"):
        if node.tag in ("html", "body", "article", "main"):
            continue
        names = f"{node.attributes.get('class') or ''} {node.attributes.get('id') or ''}"
        if _NAMED_NOISE.search(names) and len(node.text(deep=True)) < 4000:
            node.decompose()
            count += 1
    return count


def _walk(root: LexborNode, parts: list[str]) -> None:
    """Text in document order; block elements begin and end lines, cells are separated by a space. Iterative."""
    stack: list[LexborNode | str] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        tag = node.tag
        if tag == "-text":
            parts.append(re.sub(r"\s+", " ", node.text_content or ""))
            continue
        if tag in ("-comment", "!--", "_comment"):
            continue
        edge = "\n" if tag in _BLOCK else " " if tag in ("td", "th") else ""
        parts.append(edge)
        stack.append(edge)
        children = []
        child = node.child
        while child is not None:
            children.append(child)
            child = child.next
        stack.extend(reversed(children))


def _lines(text: str) -> str:
    lines = (line.strip() for line in text.replace("\xa0", " ").splitlines())
    return "\n".join(line for line in lines if line)


def _page(text: str) -> Extracted:
    import trafilatura  # 0.5 s, and only pages need it

    whole = _fragment(text)
    tree = LexborHTMLParser(text)
    _drop(tree, "rt, rp")
    _drop_hidden(tree)
    found = trafilatura.bare_extraction(
        _STOCK.sub("", tree.html or text), include_comments=False, include_tables=True, favor_recall=True, with_metadata=True
    )
    if found is None or not found.text or len(found.text) < 40:
        return whole
    whole.text = _lines(_from_markdown_marks(found.text))
    whole.title = whole.title or found.title or ""
    whole.date, whole.source = found.date or "", found.sitename or ""
    return whole


def from_markdown(text: str) -> Extracted:
    """Markdown, with or without HTML in it, to lines."""
    removed: Counter[str] = Counter()
    text = _AUTOLINK.sub(r"\n\1\n", text)
    if looks_like_html(text) or "<!--" in text:
        # Line ends of the Markdown part matter, those inside a tag don't.
        inner = re.sub(r"<[^<>]*>", lambda m: m[0].replace("\n", " "), text)
        result = from_html(inner.replace("\n", "<br>"))
        text, removed = result.text, result.removed
        title, date, source = result.title, result.date, result.source
    else:
        text, title, date, source = html.unescape(text), "", "", ""
    removed["images"] += len(re.findall(r"!\[[^\]]*\]\([^)]*\)", text))
    return Extracted(_lines(_from_markdown_marks(text)), title=title, date=date, source=source, removed=removed)


_HEADING = re.compile(r"^(#{1,6})\s+(.*?)\s*#*$")


def _from_markdown_marks(text: str) -> str:
    """Plain text of Markdown's own marks: headings, emphasis, links, pictures, quotes, lists, rules, tables, code."""
    lines = []
    for line in text.splitlines():
        line = line.strip()
        if re.fullmatch(r"[-*_=\s]{3,}|[|\s:-]{3,}|`{3,}.*|~{3,}.*", line):
            continue
        line = re.sub(r"^(?:>\s?)+", "", line)
        line = _HEADING.sub(r"\2", line)
        line = re.sub(r"^[-*+]\s+", "", line)
        line = re.sub(r"!\[[^\]]*\]\([^)]*\)", "", line)
        line = re.sub(r"\[([^\]]+)\]\((?:[^()\s]|\([^)]*\))*(?:\s+\"[^\"]*\")?\)", _link_text, line)
        line = re.sub(r"(\*\*|__)(?=\S)(.+?)(?<=\S)\1", r"\2", line)
        line = re.sub(r"(?<![\w*])\*(?=[^\s*])([^*]+?)(?<=\S)\*(?![\w*])", r"\1", line)
        line = re.sub(r"`([^`]+)`", r"\1", line)
        if line.startswith("|") and line.endswith("|"):
            line = re.sub(r"\s*\|\s*", "  ", line).strip()
        lines.append(re.sub(r"\\([\\`*_{}\[\]()#+\-.!|>~])", r"\1", line))
    return "\n".join(lines)


def _link_text(match: re.Match[str]) -> str:
    return f"\ue000{match[1]}\ue001"  # private marks: the noise rules tell lines made of links by them
