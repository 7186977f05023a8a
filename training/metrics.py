"""Figures of a model or a baseline on labelled documents: topics, calibration, key sentences, summaries."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.metrics import average_precision_score

from training.rouge import rouge

BINS = 10


def topic_metrics(
    truth: np.ndarray, scores: np.ndarray, decided: np.ndarray, topic_ids: Sequence[str], single_label: bool
) -> dict[str, Any]:
    """Metrics of [documents, topics] arrays: 0/1 truth, scores in [0, 1], 0/1 decisions.

    ``map`` is the mean over topics with a positive of average precision; ``macro_f1`` is over those topics too.
    """
    # Counted here: scikit-learn takes a single column for a binary problem, and averages its two classes.
    hits, support, given = (truth * decided).sum(axis=0), truth.sum(axis=0), decided.sum(axis=0)
    precision, recall, f1 = _ratio(hits, given), _ratio(hits, support), _ratio(2 * hits, support + given)
    per_topic = {}
    for i, topic in enumerate(topic_ids):
        ap = float(average_precision_score(truth[:, i], scores[:, i])) if support[i] else None
        per_topic[topic] = {
            "support": int(support[i]), "precision": float(precision[i]), "recall": float(recall[i]), "f1": float(f1[i]),
            "average_precision": ap,
        }
    present = [row for row in per_topic.values() if row["support"]]
    return {
        "n": len(truth),
        "micro_f1": float(_ratio(2 * hits.sum(), support.sum() + given.sum())),
        "macro_f1": float(np.mean([row["f1"] for row in present])) if present else None,
        "exact_match": float((truth == decided).all(axis=1).mean()),
        "accuracy": float((truth.argmax(1) == scores.argmax(1)).mean()) if single_label else None,
        "map": float(np.mean([row["average_precision"] for row in present])) if present else None,
        "ece": expected_calibration_error(truth, scores),
        "per_topic": per_topic,
    }


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return part / np.maximum(whole, 1)


def expected_calibration_error(truth: np.ndarray, scores: np.ndarray) -> float:
    """Mean gap between score and share of positives over ten bins of equal width (Guo et al. 2017), over all cells."""
    flat_truth, flat_scores = truth.ravel(), scores.ravel()
    bins = np.minimum((flat_scores * BINS).astype(int), BINS - 1)
    gaps = [
        abs(flat_truth[bins == b].mean() - flat_scores[bins == b].mean()) * (bins == b).sum()
        for b in range(BINS)
        if (bins == b).any()
    ]
    return float(sum(gaps) / len(flat_truth))


def key_sentence_f1(gold: Sequence[set[int]], chosen: Sequence[set[int]]) -> float | None:
    """Micro-F1 of chosen against marked sentences, over all documents that have marks; None without any."""
    pairs = [(g, c) for g, c in zip(gold, chosen) if g]
    if not pairs:
        return None
    hits = sum(len(g & c) for g, c in pairs)
    return 2 * hits / sum(len(g) + len(c) for g, c in pairs)


def summary_rouge(references: Sequence[str], summaries: Sequence[str]) -> dict[str, float | None]:
    """Mean ROUGE F-measures on characters; None without references."""
    scores = [rouge(reference, summary) for reference, summary in zip(references, summaries) if reference]
    names = ("rouge1", "rouge2", "rougeL")
    return {name: float(np.mean([s[name] for s in scores])) if scores else None for name in names}
