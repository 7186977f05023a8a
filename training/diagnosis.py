"""Where a model errs, and what would mend it, from scores [documents, topics] and labels: numbers for the evaluation's report."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import precision_recall_curve

from training.metrics import BINS

FEW = 20  # positives below which a topic's figures say little: a recall of 0.8 may then be anything from 0.58 to 0.92
_CURVE_POINTS = 500
_SAME_TOPIC = 5  # most documents proposed for labelling for the sake of one topic


class Bin(NamedTuple):
    """Scores from ``low`` to ``high``: how many, their mean, and the share of them whose label is there."""

    low: float
    high: float
    cells: int
    mean: float
    share: float


class Doubt(NamedTuple):
    """A document (its position) worth labelling, the topic for whose sake, and how much, from 0 to 1."""

    document: int
    topic: int
    worth: float


def curve(truth: np.ndarray, scores: np.ndarray) -> list[tuple[float, float]]:
    """(recall, precision) of one topic at every threshold, recall falling; thinned out where there are very many."""
    precision, recall, _ = precision_recall_curve(truth, scores, drop_intermediate=True)
    step = max(1, len(recall) // _CURVE_POINTS)
    kept = sorted({*range(0, len(recall), step), len(recall) - 1})
    return [(float(recall[i]), float(precision[i])) for i in kept]


def reliability(truth: np.ndarray, scores: np.ndarray) -> list[Bin]:
    """Ten bins of equal width over all cells, those without a score left out: what ``ece`` is the mean gap of."""
    flat_truth, flat_scores = truth.ravel(), scores.ravel()
    bins = np.minimum((flat_scores * BINS).astype(int), BINS - 1)
    found = []
    for b in np.unique(bins):
        inside = bins == b
        mean, share = float(flat_scores[inside].mean()), float(flat_truth[inside].mean())
        found.append(Bin(b / BINS, (b + 1) / BINS, int(inside.sum()), mean, share))
    return found


def confusions(truth: np.ndarray, decided: np.ndarray) -> np.ndarray:
    """[T + 1, T + 1]: documents in which the row's topic was missed and the column's wrongly given. The last row counts those
    with nothing missed, the last column those with nothing wrongly given."""
    missed, wrong = truth & (1 - decided), decided & (1 - truth)
    missed = np.column_stack([missed, missed.sum(axis=1) == 0]).astype(int)
    wrong = np.column_stack([wrong, wrong.sum(axis=1) == 0]).astype(int)
    return missed.T @ wrong


def wilson(part: int, whole: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927); 0 to 1 of nothing."""
    if not whole:
        return 0.0, 1.0
    z, p = 1.96, part / whole
    centre, spread = p + z * z / (2 * whole), z * math.sqrt(p * (1 - p) / whole + z * z / (4 * whole * whole))
    return max(0.0, (centre - spread) / (1 + z * z / whole)), min(1.0, (centre + spread) / (1 + z * z / whole))


def worst(truth: np.ndarray, scores: np.ndarray, decided: np.ndarray, most: int) -> list[int]:
    """Documents with a wrong decision, those first whose score is furthest from the label."""
    gaps = np.where(truth != decided, np.abs(truth - scores), 0).max(axis=1, initial=0)
    return [int(i) for i in np.argsort(-gaps, kind="stable")[:most] if gaps[i] > 0]


def contradicted(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """Bool [documents, topics]: labels that probabilities from a model that has not seen them contradict, topic by topic, as
    cleanlab's confident learning picks them (Northcutt et al. 2021)."""
    from cleanlab.multilabel_classification.filter import find_multilabel_issues_per_class  # takes seconds to import

    issues = np.zeros(truth.shape, dtype=bool)
    varied = np.flatnonzero((truth.min(axis=0) == 0) & (truth.max(axis=0) == 1))  # cleanlab refuses a topic of all documents
    if len(varied):
        labels = [np.flatnonzero(row).tolist() for row in truth[:, varied]]
        issues[:, varied] = find_multilabel_issues_per_class(labels, probabilities[:, varied], n_jobs=1)
    return issues


def credibility(truth: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """How likely each label is as it stands, [documents, topics]."""
    return np.where(truth == 1, probabilities, 1 - probabilities)


def doubts(scores: np.ndarray, thresholds: Sequence[float] | None) -> np.ndarray:
    """How unsure each score is, [documents, topics]: 1 at its topic's threshold, 0 at 0 and 1. Where a document has exactly one
    topic (no thresholds) doubt lies between the best two, and is the best one's."""
    if thresholds is None:
        best = np.sort(scores, axis=1)
        margin = best[:, -1] - best[:, -2] if scores.shape[1] > 1 else np.ones(len(scores))
        return np.where(scores == best[:, -1:], 1 - margin[:, None], 0)
    border = np.clip(np.asarray(thresholds), 1e-6, 1 - 1e-6)
    return 1 - np.abs(scores - border) / np.where(scores < border, border, 1 - border)


def label_next(
    scores: np.ndarray, thresholds: Sequence[float] | None, needs: Sequence[float], openings: Sequence[str], most: int
) -> list[Doubt]:
    """Documents whose labels would teach most: those of which the model is least sure (uncertainty sampling, Lewis and Gale
    1994), times how much the topic needs it.

    Args:
        scores: [documents, topics] of documents without labels.
        thresholds: of the topics; None where a document has exactly one topic, and doubt lies between the best two.
        needs: of the topics, 0 to 1.
        openings: how each document begins; of those alike only one is taken.
        most: documents.
    """
    if not scores.size:
        return []
    worth = doubts(scores, thresholds) * np.asarray(needs)
    found: list[Doubt] = []
    seen: set[str] = set()
    taken = np.zeros(scores.shape[1], int)
    for i in np.argsort(-worth.max(axis=1), kind="stable"):
        topic = int(worth[i].argmax())
        if len(found) < most and worth[i, topic] > 0 and openings[i] not in seen and taken[topic] < _SAME_TOPIC:
            found.append(Doubt(int(i), topic, float(worth[i, topic])))
            seen.add(openings[i])
            taken[topic] += 1
    return found


def interval_rows(truth: np.ndarray, decided: np.ndarray, topic_ids: Sequence[str]) -> list[dict[str, Any]]:
    """A row a topic: how many positives it has, what was hit, missed and wrongly given, and the intervals of its figures."""
    rows = []
    for i, topic in enumerate(topic_ids):
        hits = int((truth[:, i] & decided[:, i]).sum())
        support, given = int(truth[:, i].sum()), int(decided[:, i].sum())
        rows.append({
            "topic": topic, "support": support, "hits": hits, "missed": support - hits, "wrong": given - hits,
            "precision_interval": wilson(hits, given), "recall_interval": wilson(hits, support), "few": support < FEW,
        })
    return rows
