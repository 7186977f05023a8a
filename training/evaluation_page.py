"""What a model says of labelled documents -> the page of ``python -m training.evaluate --report``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from serving.model import Model
from serving.parts import printable
from serving.plots import Line, Plot, unit_square
from serving.render import PAGE, Texts, render
from serving.settings import get_settings
from training.diagnosis import (
    FEW,
    Bin,
    confusions,
    contradicted,
    credibility,
    curve,
    interval_rows,
    label_next,
    reliability,
    worst,
)
from training.examples import opening
from training.judge import Judged, truth_of
from training.metrics import expected_calibration_error

_OWN = Path(__file__).resolve().parent / "report_page"
_WORST, _NEXT = 20, 20  # documents shown
_TEXT = 3_000  # characters shown of a document's text
_MISTAKES = 500  # rows of the table of all mistakes
_TILES = (
    "micro_f1", "macro_f1", "exact_match", "accuracy", "map", "ece", "key_sentence_f1", "rouge1", "rouge2", "rougeL",
)
SECTIONS = (
    "figures", "topics", "curves", "reliability", "confusions", "worst", "mistakes", "suspects", "few", "next", "about",
)


def build(
    model: Model, judged: Sequence[Judged], others: Sequence[Judged], figures: dict[str, Any], data: str, language: str
) -> str:
    """The page, as HTML.

    Args:
        model: that was evaluated.
        judged: what it says of the rows; those without labels are candidates for labelling.
        others: what it says of further rows without labels.
        figures: of ``figures_of``.
        data: the rows' name, to be shown.
        language: of the page.
    """
    texts, settings = Texts([PAGE, _OWN], language), get_settings()
    labelled = [one for one in judged if one.row.topics is not None and model.topics]
    values: dict[str, Any] = {
        "title": texts("title"), "made": f"{datetime.now():%Y-%m-%d %H:%M}", "data": printable(data), "figures": figures,
        "names": {topic.id: topic.name for topic in model.topics}, "tiles": [key for key in _TILES if figures[key] is not None],
        "sections": SECTIONS if labelled else ("figures", "about"), "rows": [],
        "limits": {
            "worst": _WORST, "next": _NEXT, "text": _TEXT, "mistakes": _MISTAKES, "few": FEW, "rows": settings.report_rows,
            "quote": settings.report_quote_chars,
        },
    }
    if labelled:
        pool = [*(one for one in judged if one.row.topics is None), *others]
        values |= _topics(model, labelled, figures, texts) | _cases(model, labelled) | _next(model, pool, figures)
    return render("evaluation.html", texts, [_OWN, PAGE], values)


def _topics(model: Model, labelled: Sequence[Judged], figures: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """Tables and plots a topic, and of all together."""
    ids = [topic.id for topic in model.topics]
    truth, scores, decided = truth_of(labelled, ids), *_arrays(labelled)
    rows, curves = [], []
    for i, row in enumerate(interval_rows(truth, decided, ids)):
        row = {**figures["per_topic"][ids[i]], **row, "threshold": model.topics[i].threshold}
        row["ece"] = expected_calibration_error(truth[:, [i]], scores[:, [i]])
        rows.append(row)
        if row["support"]:
            points = [(100 * recall, 100 * precision) for recall, precision in curve(truth[:, i], scores[:, i])]
            here = f"{texts('col_precision')} {row['precision']:.3f}, {texts('col_recall')} {row['recall']:.3f}"
            lines = [Line(points, "curve"), Line([(100 * row["recall"], 100 * row["precision"])], "dots", here, dots=True)]
            label = f"{model.topics[i].name}: {here}"
            curves.append((ids[i], row["average_precision"], unit_square(label, lines)))
    order = sorted(range(len(rows)), key=lambda i: -rows[i]["support"])
    matrix, bins = confusions(truth, decided), reliability(truth, scores)
    names = [topic.name for topic in model.topics]
    return {
        "rows": [rows[i] for i in order], "widest": max(row["support"] + row["wrong"] for row in rows) or 1, "curves": curves,
        "thresholds": not model.single_label, "flat": [row["topic"] for row in rows if not row["support"]],
        "few": sorted((row for row in rows if row["few"]), key=lambda row: row["support"]),
        "bins": bins, "reliability": _reliability(bins, texts), "columns": [*names, texts("nothing_wrong")],
        "confusions": [
            (name, row.tolist(), max(int(row.sum()), 1)) for name, row in zip([*names, texts("nothing_missed")], matrix)
            if row.any()
        ],
    }


def _reliability(bins: Sequence[Bin], texts: Texts) -> Plot:
    points = [(100 * b.mean, 100 * b.share) for b in bins]
    tips = [f"{b.low:.1f} – {b.high:.1f}: {b.mean:.3f} / {b.share:.3f} ({b.cells:,})" for b in bins]
    dots = [Line([point], "dots first", tip, dots=True) for point, tip in zip(points, tips)]
    return unit_square(texts("reliability_text"), [Line([(0, 0), (100, 100)], "rule"), Line(points, "curve"), *dots])


def _cases(model: Model, labelled: Sequence[Judged]) -> dict[str, Any]:
    """Documents with mistakes, and labels that are likely wrong."""
    ids = [topic.id for topic in model.topics]
    truth, scores, decided = truth_of(labelled, ids), *_arrays(labelled)
    doubted, credible = contradicted(truth, scores), credibility(truth, scores)
    suspects = sorted(zip(*np.nonzero(doubted)), key=lambda cell: credible[cell])
    mistakes = []
    for i in np.flatnonzero((truth != decided).any(axis=1)):
        cells = np.flatnonzero(truth[i] != decided[i])
        mistakes.append({
            **_shown(labelled[i]), "missed": [(ids[t], float(scores[i, t])) for t in cells if truth[i, t]],
            "wrong": [(ids[t], float(scores[i, t])) for t in cells if not truth[i, t]],
        })
    return {
        "worst": [_case(labelled[i], truth[i], ids) for i in worst(truth, scores, decided, _WORST)], "mistakes": mistakes,
        "suspects": [
            {**_shown(labelled[i]), "topic": ids[t], "label": bool(truth[i, t]), "probability": float(scores[i, t])}
            for i, t in suspects
        ],
    }


def _case(one: Judged, truth: np.ndarray, ids: Sequence[str]) -> dict[str, Any]:
    """A document with its mistakes, the gravest first, and the sentence that speaks most for each topic."""
    wrong = sorted(np.flatnonzero(truth != one.given), key=lambda t: -abs(truth[t] - one.scores[t]))
    sentences = one.document.sentence_texts()
    return {
        **_shown(one), "length": len(one.document.text), "labels": [(topic, None) for topic in one.row.topics or ()],
        "given": [(ids[t], float(one.scores[t])) for t in np.flatnonzero(one.given)],
        "mistakes": [
            {"kind": "missed" if truth[t] else "wrong", "topic": ids[t], "score": float(one.scores[t]),
             "proof": sentences[one.proofs[t]]}
            for t in wrong
        ],
    }


def _next(model: Model, pool: Sequence[Judged], figures: dict[str, Any]) -> dict[str, Any]:
    """Which of the documents without labels to label next."""
    ids = [topic.id for topic in model.topics]
    needs = [1 - figures["per_topic"][topic]["f1"] for topic in ids]
    thresholds = None if model.single_label else [topic.threshold for topic in model.topics]
    scores = np.array([one.scores for one in pool]).reshape(len(pool), len(ids))
    doubts = label_next(scores, thresholds, needs, [opening(one.document.text) for one in pool], _NEXT)
    return {
        "pool": len(pool),
        "next": [
            {**_shown(pool[d.document]), "topic": ids[d.topic], "score": float(scores[d.document, d.topic]), "worth": d.worth}
            for d in doubts
        ],
    }


def _shown(one: Judged) -> dict[str, Any]:
    return {"id": one.row.id, "where": one.row.where, "title": one.document.title, "text": one.document.text}


def _arrays(judged: Sequence[Judged]) -> tuple[np.ndarray, np.ndarray]:
    """Scores and decisions, [documents, topics] each."""
    return np.array([one.scores for one in judged]), np.array([one.given for one in judged])
