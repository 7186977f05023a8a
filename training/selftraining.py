"""Learning from documents without labels by one's own judgement (self-training, Yarowsky 1995), with two views.

Vectors of meaning and the words themselves err elsewhere, so what both are sure of together is nearly always right, and teaches
each what the other knew (co-training, Blum & Mitchell 1998): words that no labelled document holds get their weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from training.examples import Example

ROUNDS = {True: 3, False: 1}  # by whether each document has one topic; with several, more rounds change nothing
_SURE = 0.7  # the share of documents that are learned from, where each has one topic
_WEIGHT = 0.33  # of one of them, beside a labelled one
_SLOPES = (2.0, 1.5)  # of both views' logits, in deviations, when they are added


def judged(
    bare: Sequence[Example], logits: np.ndarray, words: np.ndarray | None, shares: np.ndarray, single_label: bool
) -> list[tuple[int, Example]]:
    """Documents with the topics that both views [documents, T] together find most likely, a topic in as many as ``shares`` [T]
    says: position and example. Where each has one topic, those alone of which both views are sure."""
    views = [(logits, _SLOPES[0])] + ([(words, _SLOPES[1])] if words is not None else [])
    if single_label:
        scores = sum(slope * view / max(float(view.std()), 1e-6) for view, slope in views)
        return _one_each(bare, scores, shares)
    scores = sum(slope * (view - view.mean(axis=0)) / np.maximum(view.std(axis=0), 1e-6) for view, slope in views)
    border = np.array([np.quantile(column, 1 - share) for column, share in zip(scores.T, shares)])
    topics = (scores > border).astype(np.float32)
    return [(i, _labelled(example, topics[i])) for i, example in enumerate(bare)]


def _one_each(bare: Sequence[Example], scores: np.ndarray, shares: np.ndarray) -> list[tuple[int, Example]]:
    """One topic each, a topic in as many as its share says, and of each topic the surest."""
    odds = np.exp(scores - scores.max(axis=1, keepdims=True))
    odds = odds / odds.sum(axis=1, keepdims=True)
    odds = odds * (shares / np.maximum(odds.mean(axis=0), 1e-9))
    odds = odds / np.maximum(odds.sum(axis=1, keepdims=True), 1e-9)
    best, sureness = odds.argmax(axis=1), odds.max(axis=1)
    chosen: list[int] = []
    for topic, part in enumerate(shares):
        own = np.flatnonzero(best == topic)
        chosen.extend(own[np.argsort(-sureness[own], kind="stable")][: round(_SURE * part * len(bare))])
    return [(int(i), _labelled(bare[i], np.eye(len(shares), dtype=np.float32)[best[i]])) for i in sorted(chosen)]


def _labelled(example: Example, topics: np.ndarray) -> Example:
    return replace(example, topics=topics, weight=_WEIGHT)
