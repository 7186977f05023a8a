"""HTML made fit to parse: stock charts and comments out, nothing left that would swallow text or the parser's time."""

from __future__ import annotations

import re
from collections import Counter

# A "<" that begins no tag: p<0.05, CRP<ULN时. Lexbor would take what follows, up to the next ">", for a tag.
_STRAY = re.compile(
    r"<(?!!--|!doctype|!\[|\?|/?[a-z][a-z0-9:-]{0,30}(?:\s*/?>|\s+[a-z_:@][\w:.-]{0,60}\s{0,9}[=/>\s]))", re.IGNORECASE
)
_STOCK = re.compile(r"<!--\s{0,9}EM_StockImg_(Start|End)\s{0,9}-->", re.IGNORECASE)
_COMMENT = re.compile(r"<!--|<(script|style)\b", re.IGNORECASE)
_NESTING = re.compile(
    r"<(/?)(?!/|!|\?|(?:p|li|td|th|tr|dt|dd|br|hr|img|input|meta|link|wbr|col|area|base|source|embed|option|tbody|thead)\b)[a-z]",
    re.IGNORECASE,
)
_MAX_DEPTH = 1000


def mend(text: str) -> tuple[str, Counter[str]]:
    """Take out stock charts and comments, and make good what would swallow text: stray "<", a comment without an end."""
    removed: Counter[str] = Counter()
    pieces, start, open_ = [], 0, None
    for mark in _STOCK.finditer(text):
        if mark[1].lower() == "start":
            open_ = mark if open_ is None else open_
        elif open_ is not None:
            pieces.append(text[start : open_.start()])
            start, open_ = mark.end(), None
            removed["stock_charts"] += 1
    text = "".join(pieces) + text[start:]
    pieces, start, at, looked_for = [], 0, 0, _COMMENT
    while (mark := looked_for.search(text, at)) is not None:
        begin = mark.start()
        if mark[1]:  # what is a comment in a page is none in a script
            ended = re.compile(rf"</{mark[1]}\b", re.IGNORECASE).search(text, mark.end())
            if ended is None:  # a script without an end: only comments are looked for from here on
                looked_for = re.compile("<!--()")
            at = ended.end() if ended else mark.end()
            continue
        end = text.find("-->", begin + 2)
        pieces.append(text[start:begin])
        removed["comments"] += 1
        if end < 0:
            start = begin
            break
        start = at = end + 3
    text = "".join(pieces) + text[start:].replace("<!--", "")
    text = _STRAY.sub("&lt;", text)
    return (re.sub(r"<[^<>]{0,4000}>", "<br>", text) if _is_too_deep(text) else text), removed


def _is_too_deep(text: str) -> bool:
    """Whether more tags stand open at once than any page has: the parser's time grows with the square of it."""
    depth = 0
    for tag in _NESTING.finditer(text):
        depth = max(depth + (-1 if tag[1] else 1), 0)
        if depth > _MAX_DEPTH:
            return True
    return False
