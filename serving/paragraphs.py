"""Lines as they stand on printed pages -> paragraphs: what was wrapped at the right edge is joined.

A line goes on in the next one where the first word of the next would not have fitted on it.
"""

from __future__ import annotations

import re
import statistics
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from serving.document import HAN
from serving.pages import Line, Page, same_size, title_size

_WIDE = re.compile(f"[{HAN}\u2e80-\u30ff\uac00-\ud7af\uff00-\uffef“”‘’…—·]")
_ENDED = re.compile(r"[。！？!?：:；;.…][”’」』》）)】\]\"']*$")
_BEGUN_NUMBER, _REST_OF_NUMBER = re.compile(r"\d[-.,–]?$"), re.compile(r"[.,]?\d")
_OPEN_ENDED = re.compile(r"[，,、（(《“「『]$")
_CLOSERS = "，。、；：？！,.;:?!）)】]》〉”’」』%％‰℃…"
_OPENERS = "（(【[《〈“‘「『"
_ITEM = re.compile(
    r"[（(]?[一二三四五六七八九十百]+[、）)．.]|第[一二三四五六七八九十百\d]+[章节条]|[（(]?\d{1,3}[、）)．]|"
    r"\d{1,2}\.(?!\d)|[①-⑳●•■◆▪○·※-]\s?"
)
_HYPHENS = "-‐\x02\xad\ufffe"


@dataclass
class _Place:
    """A line with what is known of its column; ``block`` changes where reading goes on further up or to the left, and
    ``pitch`` is from line to line, in font sizes."""

    line: Line
    block: int
    left: float = 0
    right: float = 0
    pitch: float = 0


def paragraphs(pages: Sequence[Page]) -> list[str]:
    """The text of all pages, a paragraph a line."""
    places = _places(pages)
    indented = _is_indented(places)
    largest = title_size(pages)
    found: list[list[str]] = []
    for i, place in enumerate(places):
        if i and _goes_on(places[i - 1], place, indented, largest):
            found[-1].append(place.line.text)
        else:
            found.append([place.line.text])
    return [join_text(lines) for lines in found]


def _places(pages: Sequence[Page]) -> list[_Place]:
    """Lines in reading order with the edges of their columns."""
    rights: dict[int, list[float]] = defaultdict(list)
    for page in pages:
        rights[round(page.width)] += [line.right for line in page.lines]
    places: list[_Place] = []
    block = 0
    for page in filter(lambda page: page.lines, pages):
        blocks: list[list[_Place]] = []
        above = left = 0.0
        for line in page.lines:
            if not blocks or line.y > above + line.size / 2 or line.left < left - 4 * line.size:
                block, left = block + 1, line.left
                blocks.append([])
            above, left = line.y, min(left, line.left)
            blocks[-1].append(_Place(line, block))
        size = statistics.median(line.size for line in page.lines)
        margin = _edge(rights[round(page.width)], size, share=0.05)
        for mine in blocks:
            _measure(mine, blocks, margin)
            places += mine
    return places


def _measure(mine: list[_Place], blocks: list[list[_Place]], margin: float) -> None:
    """Set the edges of one block's lines. Text to the right of it ends its column; wider lines stand above the columns."""
    middle = statistics.median(place.line.right for place in mine)
    begins = [statistics.median(place.line.left for place in other) for other in blocks if other is not mine and len(other) > 2]
    ends = min((left for left in begins if left > middle - 1), default=float("inf"))
    size = statistics.median(place.line.size for place in mine)
    inside = [place.line.right for place in mine if place.line.right <= ends]
    right = _edge(inside, size) if inside else margin
    left = -_edge([-place.line.left for place in mine], size)
    steps = [(a.line.y - b.line.y) / a.line.size for a, b in zip(mine, mine[1:]) if a.line.size and same_size(a.line, b.line)]
    pitch = statistics.median(steps) if steps else 0
    for place in mine:
        narrow = ends < float("inf") and place.line.right <= ends
        place.left, place.right, place.pitch = left, right if narrow else max(right, margin), pitch


def _edge(values: Sequence[float], size: float, share: float = 0.0) -> float:
    """The outermost value that several lines reach, within a character's width: a single one may hang over."""
    ordered = sorted(values, reverse=True)
    enough = max(3, share * len(ordered))
    for i, value in enumerate(ordered):
        last = i + int(enough) - 1
        if last < len(ordered) and ordered[last] >= value - size:
            return value
    return ordered[0]


def _is_indented(places: Sequence[_Place]) -> bool:
    """Whether paragraphs begin with an indent here: as most lines do that follow one which ends early."""
    pairs = [(a, b) for a, b in zip(places, places[1:]) if a.block == b.block and a.right - a.line.right > 3 * a.line.size]
    return bool(pairs) and sum(_indent(b) for _, b in pairs) >= 0.5 * len(pairs)


def _indent(place: _Place) -> bool:
    return place.line.left - place.left > 1.2 * place.line.size


def _goes_on(a: _Place, b: _Place, indented: bool, largest: float) -> bool:
    """Whether the paragraph of line ``a`` goes on in line ``b``."""
    one, two = a.line, b.line
    if not same_size(one, two) or one.cells or two.cells:
        return False
    step = (one.y - two.y) / max(one.size, 1) if a.block == b.block else 0
    if a.pitch and step > 1.6 * a.pitch:
        return False
    if largest and min(one.size, two.size) >= 0.95 * largest:
        return True
    if a.right - one.right >= _first_word(two.text) * _advance(one) + 0.7 * one.size:
        return bool(_OPEN_ENDED.search(one.text)) and two.left - one.left < 1.2 * one.size and step <= 1.3 * a.pitch
    if indented and _indent(b) and (_ENDED.search(one.text) or _ITEM.match(two.text)):
        return False
    number = re.search(r"\d[.]$", one.text) and two.text[:1].isdigit()
    return indented or bool(number) or not _ENDED.search(one.text)


def _first_word(text: str) -> float:
    """The width, in font sizes, of what can't be parted from the beginning of a line."""
    at = 0
    while at < len(text) and text[at] in _OPENERS:
        at += 1
    word = re.match(r"[^\W\u2e80-\uffff]+", text[at:])
    at += word.end() if word else 1
    while at < len(text) and text[at] in _CLOSERS:
        at += 1
    return _units(text[:at])


def _units(text: str) -> float:
    """The usual width of a text in font sizes."""
    return sum(1.0 if _WIDE.match(c) else 0.55 for c in text)


def _advance(line: Line) -> float:
    """The width of a Chinese character as this line is set, which may be with space between the characters."""
    return min(max((line.right - line.left) / max(_units(line.text), 1), line.size), 1.5 * line.size)


def join_text(lines: Sequence[str]) -> str:
    """One paragraph of wrapped lines: a space between Latin words, none beside Chinese, hyphenated words made whole."""
    text = ""
    for line in lines:
        if not text:
            text = line
        elif _REST_OF_NUMBER.match(line) and _BEGUN_NUMBER.search(text) and re.search(f"[{HAN}]", text + line):
            text += line  # a number that was broken anywhere, as Chinese pages allow
        elif text[-1] in _HYPHENS and text[-2:-1].isalpha() and text[-2:-1].isascii():
            whole = line[:1].isascii() and line[:1].islower()
            text = (text[:-1] if whole else text[:-1] + "-") + line
        else:
            text += ("" if _WIDE.match(text[-1]) or _WIDE.match(line[:1]) else " ") + line
    return re.sub("[\x02\xad\ufffe]", "-", text)
