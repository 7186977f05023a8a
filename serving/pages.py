"""Pages as they are printed: lines with their places; headers, footers and page numbers found, and the title.

Lengths are in points, and heights count from the page's foot.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

_PAGE_NUMBER = re.compile(
    r"(?:第|page)?\s*[-–—·~]*\s*(?:\d{1,4}|[ivxlc]{1,6})\s*[-–—·~]*\s*页?\s*(?:[,，/]?\s*(?:/|of|共)\s*\d{1,4}\s*页?)?",
    re.IGNORECASE,
)
# What browsers print above and below a page: time and title, address and page number.
_BROWSER = re.compile(r"\d{1,4}/\d{1,2}/\d{1,4},?\s*(?:[上下]午|[AP]M)?\s*\d{1,2}:\d{2}.{0,200}|(?:https?|file)://\S{1,2000}(?:\s*\d+/\d+)?")
_ZONE = 0.12  # share of the page's height in which headers and footers stand
_MOST_RUNNING = 4  # lines of one header or footer
_TITLE_LINES, _ABOVE_TITLE = 4, 120  # lines of a title, and characters that may stand above it


@dataclass
class Line:
    """A printed line: its left and right edge, the height of its baseline above the page's foot, and its font size."""

    text: str
    left: float
    right: float
    y: float
    size: float
    cells: bool = False  # whether wide gaps part it, as in a table


@dataclass
class Page:
    """The lines of a page in reading order."""

    width: float
    height: float
    lines: list[Line] = field(default_factory=list)


def remove_running(pages: Sequence[Page], removed: Counter[str]) -> None:
    """Take out headers, footers and page numbers: outermost lines that stand in the same place on several pages."""
    edges = [(page, top, _outermost(page, top)) for page in pages for top in (True, False)]
    found = Counter(key for page, top, lines in edges for key in {_key(page, line, top) for line in lines})
    enough = 2 if len(pages) <= 5 else 3
    place = {id(page): i for i, page in enumerate(pages)}
    counted = Counter(int(line.text) - place[id(page)] for page, _, lines in edges for line in lines if line.text.isdecimal())
    for page, top, lines in edges:
        for line, inner in zip(lines, [*lines[1:], None]):
            times = found[_key(page, line, top)]
            if inner is not None and _is_text(line, inner) and times < 0.8 * len(pages):
                times = 0
            number = bool(_PAGE_NUMBER.fullmatch(line.text)) and (len(pages) > 1 or not line.text.isalnum() or not top)
            if number and line.text.isdecimal():  # a figure, unless the pages are counted so
                start = int(line.text) - place[id(page)]
                number = start == 1 or counted[start] >= 2
                times = 0
            running = (times >= enough and re.search(r"[^\W\d_]", line.text)) or _BROWSER.fullmatch(line.text)
            if not number and not running:
                break
            removed["page_numbers" if number else "page_headers" if top else "page_footers"] += 1
            page.lines.remove(line)


def _is_text(line: Line, inner: Line) -> bool:
    """Whether a line may be one of the text: printed like the line further in, and near it or part of a sentence."""
    near = 0.5 < abs(line.y - inner.y) / line.size < 2.2
    return same_size(line, inner) and (near or bool(re.search("[，。；！？]", line.text)))


def _outermost(page: Page, top: bool) -> list[Line]:
    """The lines in the header's or footer's zone, the outermost first."""
    zone = _ZONE * page.height
    lines = [line for line in page.lines if line.size and (line.y > page.height - zone if top else line.y < zone)]
    return sorted(lines, key=lambda line: (-line.y if top else line.y, line.left))[:_MOST_RUNNING]


def _key(page: Page, line: Line, top: bool) -> tuple[str, int, bool]:
    return re.sub(r"\d+", "#", re.sub(r"\s", "", line.text)), round((page.height - line.y if top else line.y) / 3), top


def title_size(pages: Sequence[Page]) -> float:
    """The size of the first page's largest lines, if it is clearly larger than that of the text; else 0."""
    largest = max((line.size for page in pages[:1] for line in page.lines if re.search(r"\w", line.text)), default=0)
    return largest if largest >= 1.15 * body_size(pages) else 0


def title_lines(pages: Sequence[Page]) -> list[str]:
    """The title as the first page prints it: its largest lines, if they are clearly larger than the rest and begin it."""
    size = title_size(pages)
    if not size:
        return []
    lines = pages[0].lines
    at = next(i for i, line in enumerate(lines) if line.size == size)
    end = at + 1
    while end < len(lines) and same_size(lines[end], lines[at]):
        end += 1
    above = sum(len(line.text) for line in lines[:at])
    return [line.text for line in lines[at:end]] if end - at <= _TITLE_LINES and above <= _ABOVE_TITLE else []


def body_size(pages: Sequence[Page]) -> float:
    """The size in which most of the characters are printed."""
    weights: Counter[float] = Counter()
    for page in pages:
        for line in page.lines:
            weights[round(line.size * 2) / 2] += len(line.text)
    return weights.most_common(1)[0][0] if weights else 0


def same_size(one: Line, two: Line) -> bool:
    """Whether two lines are printed in about the same size."""
    return abs(one.size - two.size) <= 0.12 * max(one.size, two.size)
