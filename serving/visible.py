"""What a reader of a page sees: an HTML tree, walked with Lexbor (selectolax), to lines of text."""

from __future__ import annotations

import re
from collections import Counter

from selectolax.lexbor import LexborNode

from serving.noise_blocks import LINK_CLOSE, LINK_OPEN

_UNSEEN = {
    "script": "scripts", "style": "scripts", "noscript": "scripts", "iframe": "scripts", "object": "scripts",
    "nav": "navigation", "footer": "navigation", "aside": "navigation", "dialog": "navigation",
    "rt": "readings", "rp": "", "rtc": "readings", "head": "", "template": "", "svg": "", "canvas": "", "button": "",
    "select": "", "textarea": "", "input": "", "video": "", "audio": "",
}
_HIDDEN = re.compile(r"display\s{0,9}:\s{0,9}none", re.IGNORECASE)
# WeChat shows such boxes by script or sets the size again inside: hidden only where little of the text is in them.
_PERHAPS_HIDDEN = re.compile(
    r"visibility\s{0,9}:\s{0,9}hidden|font-size\s{0,9}:\s{0,9}0(?:px|pt|em)?\s{0,9}(?:;|!|$)", re.IGNORECASE
)
_NAMED_NOISE = re.compile(
    r"(?:^|[\s_-])(?:share|social|related|relate|recommend|breadcrumbs?|crumbs?|copyright|comments?|sidebar|pagination|"
    r"toolbar|hotnews|hot-news|hot-list|prev-next|bdsharebuttonbox|advert|advertisement)(?:$|[\s_-])",
    re.IGNORECASE,
)
_BLOCK = frozenset(re.findall(
    r"\w+",
    "address article blockquote br caption center dd details div dl dt fieldset figcaption figure form h1 h2 h3 h4 h5 h6 "
    "header hr li main ol p pre section summary table tbody tfoot thead title tr ul",
))
_HEADLINE = 40  # characters; a longer link is no headline
_DIGITS = re.compile(r"[-−–+]?[0-9]{1,9}")
_DECIMAL = re.compile(r"[-−–+]?[0-9]{1,9}\.[0-9]{1,9}")  # has no raised point
_NEAR = 8  # characters before an exponent that are looked at
RAISED = str.maketrans("0123456789+-−–", "⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻⁻⁻")


def walk(root: LexborNode, removed: Counter[str]) -> tuple[str, list[LexborNode]]:
    """Text in document order, and the nodes left out; blocks begin and end lines, a space parts cells.

    What only seems hidden, or is only named like noise, is read if nothing else is there to read.
    """
    counted: Counter[str] = Counter()
    text, unseen = _read(root, counted, {})
    if not re.search(r"\w", text) and unseen:
        counted.clear()
        text, unseen = _read(root, counted, None)
    removed.update(counted)
    return text, unseen


def lines(text: str) -> str:
    """The lines that have text, without white space around them."""
    stripped = (line.strip() for line in text.replace("\xa0", " ").splitlines())
    return "\n".join(line for line in stripped if line)


def is_text(node: LexborNode) -> bool:
    """Whether a node that was left out holds text that a reader may have seen."""
    return _UNSEEN.get(node.tag, "navigation") == "navigation"


def _read(root: LexborNode, removed: Counter[str], lengths: dict[int, int] | None) -> tuple[str, list[LexborNode]]:
    """Text, and the nodes left out. Iterative. ``lengths`` is filled when the first box must be measured; None: never."""
    parts = [""]
    unseen: list[LexborNode] = []
    stack: list[LexborNode | str] = [root]
    while stack:
        node = stack.pop()
        if isinstance(node, str):
            parts.append(node)
            continue
        tag = node.tag
        if tag == "-text":
            parent = node.parent
            text = node.text_content or ""
            parts.append(text if parent is not None and parent.tag == "pre" else re.sub(r"[\s\xa0]+", " ", text))
            continue
        if tag in ("-comment", "!--", "_comment"):
            continue
        reason = _why_unseen(node, root, lengths) if node is not root else None
        if reason is not None:
            removed[reason] += bool(reason)
            unseen.append(node)
        elif tag == "sup" and (raised := _raised(node, parts[-1])):
            parts.append(raised)
        else:
            edge = "\n" if tag in _BLOCK else " " if tag in ("td", "th") else ""
            begin, end = (LINK_OPEN, LINK_CLOSE) if _is_link(node) else (edge, edge)
            stack.extend(filter(None, (end, *reversed(_children(node)), begin)))
    return lines("".join(parts)), unseen


def _why_unseen(node: LexborNode, root: LexborNode, lengths: dict[int, int] | None) -> str | None:
    """The name under which a node is left out ("" for what no warning need name); None if it is read."""
    reason = _why_never_seen(node)
    if reason is not None or lengths is None or node.tag in ("html", "body", "article", "main"):
        return reason
    attributes = node.attributes
    names = f"{attributes.get('class') or ''} {attributes.get('id') or ''}"
    named = names != " " and _NAMED_NOISE.search(names)
    if not (named or attributes.get("aria-hidden") == "true" or _PERHAPS_HIDDEN.search(attributes.get("style") or "")):
        return None
    if not lengths:
        lengths.update(_lengths(root))
    return "hidden" if 2 * lengths.get(node.mem_id, 0) < lengths[root.mem_id] else None


def _why_never_seen(node: LexborNode) -> str | None:
    if node.tag in _UNSEEN:
        return _UNSEEN[node.tag]
    attributes = node.attributes
    return "hidden" if "hidden" in attributes or _HIDDEN.search(attributes.get("style") or "") else None


def _lengths(root: LexborNode) -> dict[int, int]:
    """How much text a reader sees in each box, by the node's identity. Headlines that are links do not count: a page may have
    hundreds. A link that is never closed, or is put around a box, may hold the article."""
    lengths: dict[int, int] = {}
    total = 0
    stack: list[tuple[LexborNode, int | None]] = [(root, None)]
    while stack:
        node, before = stack.pop()
        if before is not None:
            lengths[node.mem_id] = total - before
            if node is not root and _is_link(node) and total - before < _HEADLINE:
                total = before
        elif node.tag == "-text":
            total += len("".join((node.text_content or "").split()))
        else:
            stack.append((node, total))
            if node is root or _why_never_seen(node) is None:
                stack.extend((child, None) for child in _children(node))
    return lengths


def _children(node: LexborNode) -> list[LexborNode]:
    children = []
    child = node.child
    while child is not None:
        children.append(child)
        child = child.next
    return children


def _is_link(node: LexborNode) -> bool:
    return node.tag == "a" and "href" in node.attributes


def _raised(node: LexborNode, before: str) -> str:
    """An exponent behind a figure, raised, as 10⁶ is not 106; empty for what else is raised: notes, 1st."""
    if not before[-_NEAR:].rstrip()[-1:].isdecimal():
        return ""
    inner = node.child
    for _ in range(4):  # Word wraps it in a span or two
        if inner is None or inner.next is not None or inner.tag == "a":
            return ""
        if inner.tag == "-text":
            break
        inner = inner.child
    exponent = (inner.text_content or "").strip() if inner is not None else ""
    if _DIGITS.fullmatch(exponent):
        return exponent.translate(RAISED)
    return f"^{exponent}" if _DECIMAL.fullmatch(exponent) else ""
