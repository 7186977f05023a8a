"""The archive report's figures -> what its template draws: plots, the matrix, groups of documents."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import date, timedelta
from typing import Any

from serving.plots import Plot, Tick, columns
from serving.render import Texts, number
from serving.report_figures import LENGTHS, SCORE_BINS, Figure, Period
from serving.settings import get_settings

LEAST_PAIRS = 3  # documents from which a pair of topics is no accident worth leaving out
_BANDS = (0.5, 0.7, 0.9, 0.95)  # borders of the classes of scores that are told apart by colour
_SIZES = 10  # documents from which on clusters share a column


def period_names(period: Period) -> dict[date, str]:
    """Every period from the first to the last, with its name."""
    found, day = {}, period.first
    months = {"month": 1, "quarter": 3, "year": 12}.get(period.unit)
    while day <= period.last:
        found[day] = {
            "month": f"{day:%Y-%m}", "quarter": f"{day.year} Q{(day.month + 2) // 3}", "year": str(day.year),
        }.get(period.unit, f"{day:%Y-%m-%d}")
        if months is None:
            day += timedelta(days=7 if period.unit == "week" else 1)
        else:
            day = date(day.year + (day.month - 1 + months) // 12, (day.month - 1 + months) % 12 + 1, 1)
    return found


def time_plot(figure: Figure, period: Period, texts: Texts) -> Plot:
    """Documents with and without a topic by time."""
    names, rows = period_names(period), {row["period"]: row for row in figure.rows}
    found = [rows.get(day, {"documents": 0, "with_topic": 0}) for day in names]
    layers = [
        ("first", [row["with_topic"] for row in found]), ("third", [row["documents"] - row["with_topic"] for row in found]),
    ]
    tips = [
        f"{name}: {texts('count_of', n=row['documents'])}, {texts('col_with_topic')} {number(row['with_topic'])}"
        for name, row in zip(names.values(), found)
    ]
    return columns(texts("time_text", unit=texts(f"unit_{period.unit}")), list(names.values()), layers, tips)


def topic_plots(
    figure: Figure, period: Period, order: Sequence[str], topic_names: Mapping[str, str], texts: Texts
) -> list[tuple[str, int, Plot]]:
    """(topic, documents shown, plot) of each topic."""
    names = period_names(period)
    counts = {(row["topic"], row["period"]): row["documents"] for row in figure.rows}
    plots = []
    for topic in order:
        values = [counts.get((topic, day), 0) for day in names]
        tips = [f"{name}: {number(value)}" for name, value in zip(names.values(), values)]
        label = f"{topic_names[topic]}: {texts('time_by_topic')}"
        plot = columns(label, list(names.values()), [("first", values)], tips, most_ticks=2)
        plot.x = [Tick(0, names[period.first]), Tick(100, names[period.last])]
        plots.append((topic, sum(values), plot))
    return plots


def matrix(figure: Figure, order: Sequence[str]) -> tuple[list[tuple[str, list[tuple[str, int]]]], dict[str, int]]:
    """Rows (topic, cells (topic, documents of both)) of the topics in ``order``, and the documents of every topic."""
    counts = {(row["topic"], row["other"]): row["documents"] for row in figure.rows}
    own = {topic: n for (topic, other), n in counts.items() if topic == other}
    order = [topic for topic in order if topic in own]
    return [(topic, [(other, counts.get((topic, other), 0)) for other in order]) for topic in order], own


def pairs(figure: Figure, documents: int) -> list[dict[str, Any]]:
    """Pairs of topics that occur together more often than they would by chance, the highest lift first."""
    own = {row["topic"]: row["documents"] for row in figure.rows if row["topic"] == row["other"]}
    found = [
        {**row, "lift": row["documents"] * documents / (own[row["topic"]] * own[row["other"]])}
        for row in figure.rows if row["topic"] < row["other"] and row["documents"] >= LEAST_PAIRS
    ]
    return sorted((row for row in found if row["lift"] > 1), key=lambda row: (-row["lift"], row["topic"], row["other"]))


def cluster_plot(figure: Figure, texts: Texts) -> Plot:
    """How many clusters are of each size; large ones share a column."""
    names = [*map(str, range(2, _SIZES)), texts("size_more", n=_SIZES)]
    values = [0] * len(names)
    for row in figure.rows:
        values[min(row["size"], _SIZES) - 2] += row["clusters"]
    tips = [f"{name}: {number(value)} {texts('col_clusters')}" for name, value in zip(names, values)]
    return columns(texts("cluster_sizes"), names, [("second", values)], tips)


def length_plot(figure: Figure, texts: Texts) -> Plot:
    """Documents by length, in steps that grow with it."""
    rows = {row["at_least"]: row for row in figure.rows}
    used = [i for i, low in enumerate(LENGTHS) if low in rows]
    shown = range(used[0], used[-1] + 1)
    found = [rows.get(LENGTHS[i], {"documents": 0, "reprints": 0}) for i in shown]
    edges = [f"{low:,}" for low in LENGTHS[shown.start : shown.stop + 1]]
    spans = [f"{LENGTHS[i]:,}–{LENGTHS[i + 1]:,}" if i + 1 < len(LENGTHS) else f"≥ {LENGTHS[i]:,}" for i in shown]
    tips = [
        f"{span}: {texts('count_of', n=row['documents'])}, {texts('reprints')} {number(row['reprints'])}"
        for span, row in zip(spans, found)
    ]
    layers = [
        ("first", [row["documents"] - row["reprints"] for row in found]), ("second", [row["reprints"] for row in found]),
    ]
    return columns(texts("lengths_text"), edges, layers, tips, edges=True)


def length_place(figure: Figure) -> Callable[[float], float]:
    """The place, in percent, of a length on a logarithmic axis that holds the middle halves of all topics."""
    known = [row for row in figure.rows if row["half"] is not None]
    low = math.log(max(1, min((row["quarter"] for row in known), default=1))) - 0.2
    high = math.log(max(2, max((row["three_quarters"] for row in known), default=2))) + 0.2
    return lambda length: 100 * (math.log(max(1, length)) - low) / (high - low)


def bands(texts: Texts) -> list[tuple[str, str]]:
    """(class, name) of the classes of scores."""
    names = [texts("band_under", high=f"{_BANDS[0]:g}"), *(f"{a:g}–{b:g}" for a, b in zip(_BANDS, _BANDS[1:]))]
    return [(f"b{i}", name) for i, name in enumerate([*names, texts("band_over", low=f"{_BANDS[-1]:g}")])]


def score_rows(thresholds: Figure, scores: Figure, order: Sequence[str]) -> list[dict[str, Any]]:
    """A row a topic with ``parts``: (class, documents) of its scores."""
    parts = {topic: [0] * (len(_BANDS) + 1) for topic in order}
    for row in scores.rows:
        parts[row["topic"]][sum(row["at_least"] + 0.5 / SCORE_BINS >= border for border in _BANDS)] += row["documents"]
    rows = {row["topic"]: row for row in thresholds.rows}
    return [{**rows[topic], "parts": [(f"b{i}", n) for i, n in enumerate(parts[topic])]} for topic in order if topic in rows]


def grouped(figure: Figure, order: Sequence[str]) -> list[dict[str, Any]]:
    """Documents by topic, in the order of topics; one quotation becomes a list."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in figure.rows:
        quotes = row["evidence"] if isinstance(row["evidence"], list) else [row["evidence"]]
        groups.setdefault(row["topic"], []).append({"summary": None, **row, "evidence": quotes})
    return [{"id": topic, "rows": groups[topic]} for topic in order if topic in groups]


def shown_topics(order: Sequence[str]) -> list[str]:
    """The topics that fit into one plot."""
    return list(order[: get_settings().report_topics])
