"""Numbers -> plots as plain data, which the macros of ``report_page/plots.html`` draw as inline SVG and HTML.

Drawn here rather than by a plotting library, because none gives static SVG whose colours follow the page (light, dark,
print), whose labels stay readable at phone width, and that needs no script: matplotlib's and Vega's carry their colours
and sizes within. The marks are stretched to the box they are given; labels are text of the page beside it.

All positions are percent of the plot's width and height, counted from the lower left corner.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

_LABELS = 8  # most on an x axis
_GAP = 0.14  # of a column's width


@dataclass(frozen=True)
class Tick:
    """A label at a place of an axis."""

    at: float
    text: str


@dataclass(frozen=True)
class Box:
    """A filled rectangle; ``kind`` is its class in the style sheet, ``tip`` says what it stands for."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    tip: str


@dataclass(frozen=True)
class Line:
    """A line through points, or with ``dots`` a dot at each."""

    points: list[tuple[float, float]]
    kind: str
    tip: str = ""
    dots: bool = False

    @property
    def path(self) -> str:
        """As SVG writes it, whose y axis points down; a dot is a line of no length with a round end."""
        pairs = [f"{x:.2f} {100 - y:.2f}" for x, y in self.points]
        return "".join(f"M{pair}h0" for pair in pairs) if self.dots else "M" + "L".join(pairs)


@dataclass
class Plot:
    """A plot; ``label`` says in words what it shows, for those who can't see it."""

    label: str
    x: list[Tick] = field(default_factory=list)
    y: list[Tick] = field(default_factory=list)
    boxes: list[Box] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)


def ticks(top: float, most: int = 4) -> list[float]:
    """Round numbers from 0 to the first one that reaches ``top``, in steps of 1, 2 or 5 times a power of ten; whole numbers."""
    if top <= 0:
        return [0, 1]
    raw = top / most
    power = 10 ** math.floor(math.log10(raw))
    step = max(1, next(f * power for f in (1, 2, 5, 10) if f * power >= raw * (1 - 1e-9)))
    return [i * step for i in range(math.ceil(top / step - 1e-9) + 1)]


def columns(
    label: str, names: Sequence[str], layers: Sequence[tuple[str, Sequence[float]]], tips: Sequence[str], *,
    most_ticks: int = 4, edges: bool = False,
) -> Plot:
    """Columns side by side, each of layers one upon the other.

    Args:
        label: what the plot shows.
        names: of the columns; with ``edges`` of the borders between them, one more than there are columns.
        layers: (class, a number for each column), the lowest first.
        tips: one a column.
        most_ticks: on the y axis.
        edges: whether labels belong to borders.
    """
    plot, width = Plot(label), 100 / max(len(tips), 1)
    marks = ticks(max((sum(values) for values in zip(*(values for _, values in layers))), default=0), most_ticks)
    plot.y = [Tick(100 * mark / marks[-1], f"{mark:,.0f}") for mark in marks]
    for i, tip in enumerate(tips):
        low = 0.0
        for kind, values in layers:
            if values[i]:
                high = 100 * values[i] / marks[-1]
                plot.boxes.append(Box((i + _GAP / 2) * width, low, (1 - _GAP) * width, high, kind, tip))
                low += high
    step = math.ceil(len(names) / _LABELS)
    plot.x = [Tick((i if edges else i + 0.5) * width, names[i]) for i in range(0, len(names), step)]
    return plot


def unit_square(label: str, lines: Sequence[Line]) -> Plot:
    """Lines over shares from 0 to 1 on both axes."""
    marks = [Tick(at, f"{at / 100:g}") for at in (0, 25, 50, 75, 100)]
    return Plot(label, x=marks, y=marks, lines=list(lines))
