"""Learning from documents without labels by one's own judgement (self-training, Yarowsky 1995), with two views.

Vectors of meaning and the words themselves err elsewhere, so what both are sure of together is nearly always right, and teaches
each what the other knew (co-training, Blum & Mitchell 1998): words that no labelled document holds get their weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.examples import Example

ROUNDS = 3
_SURE = 0.7  # the share of documents that are learned from
_WEIGHT = 0.33  # of one of them, beside a labelled one
_SLOPES = (2.0, 1.5)  # of both views' logits, in deviations, when they are added


def judged(
    bare: Sequence[Example], logits: np.ndarray, words: np.ndarray | None, truth: np.ndarray, single_label: bool
) -> list[tuple[int, Example]]:
    """The documents that both views [documents, T] together are sure of, with their topics: position and example.

    ``truth`` [labelled, T] tells how frequent each topic is.
    """
    views = [(logits, _SLOPES[0])] + ([(words, _SLOPES[1])] if words is not None else [])
    if single_label:
        scores = sum(slope * view / max(float(view.std()), 1e-6) for view, slope in views)
        return _one_each(bare, scores, truth)
    scores = sum(slope * view / np.maximum(view.std(axis=0), 1e-6) for view, slope in views)
    share = truth.mean(axis=0)
    border = np.array([np.quantile(column, 1 - s) for column, s in zip(scores.T, share)])
    topics = (scores > border).astype(np.float32)
    sureness = np.abs(scores - border).min(axis=1)
    chosen = np.argsort(-sureness, kind="stable")[: round(_SURE * len(bare))]
    return [(int(i), _labelled(bare[i], topics[i])) for i in sorted(chosen)]


def _one_each(bare: Sequence[Example], scores: np.ndarray, truth: np.ndarray) -> list[tuple[int, Example]]:
    """One topic each, all topics as frequent as among the labelled rows, and of each topic the surest."""
    share = truth.mean(axis=0)
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    odds = odds / odds.sum(axis=1, keepdims=True)
    odds = odds * (share / np.maximum(odds.mean(axis=0), 1e-9))
    odds = odds / np.maximum(odds.sum(axis=1, keepdims=True), 1e-9)
    best, sureness = odds.argmax(axis=1), odds.max(axis=1)
    chosen: list[int] = []
    for topic, part in enumerate(share):
        own = np.flatnonzero(best == topic)
        chosen.extend(own[np.argsort(-sureness[own], kind="stable")][: round(_SURE * part * len(bare))])
    return [(int(i), _labelled(bare[i], np.eye(len(share), dtype=np.float32)[best[i]])) for i in sorted(chosen)]


def _labelled(example: Example, topics: np.ndarray) -> Example:
    return replace(example, topics=topics, weight=_WEIGHT)
