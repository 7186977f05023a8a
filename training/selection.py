"""Which documents to label next: those that a model is unsure of, unlike what is labelled and unlike each other, for the sake of
topics that lack examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from training.diagnosis import doubts

_STRONG = 0.5  # exponent of a topic's want of examples: 0 asks for all topics alike, 1 for the scarcest before all others
_SPREAD = 0.5  # exponent of novelty beside doubt
_PRIOR = 4.0  # examples that a topic without any counts as having


class Choice(NamedTuple):
    """A document (its position), and the topic for whose sake it is to be labelled."""

    document: int
    topic: int


def choose(
    places: np.ndarray, scores: np.ndarray, thresholds: Sequence[float] | None, count: int,
    labelled: np.ndarray | None = None, positives: Sequence[float] | None = None,
) -> list[Choice]:
    """At most ``count`` documents, one after another, each the best beside those already chosen.

    Doubt (uncertainty sampling, Lewis and Gale 1994) is weighed by how much the topic lacks examples, those expected of the
    documents chosen so far included, and by the distance to the nearest document that is labelled or chosen (k-centre, Sener
    and Savarese 2018): a batch of the most doubtful alone holds the same case many times.

    Args:
        places: [documents, hidden], of length 1, as ``space.Space`` gives them.
        scores: [documents, topics] of the model.
        thresholds: of the topics; None where a document has exactly one topic.
        count: documents.
        labelled: [n, hidden], places of documents that are labelled.
        positives: of the topics, how many of these have it.
    """
    unsure = doubts(scores, thresholds)
    have = np.array(positives if positives is not None else np.zeros(scores.shape[1]), dtype=float)
    nearest = np.full(len(places), -1.0)  # cosine with the nearest of the labelled and chosen
    if labelled is not None and len(labelled):
        for start in range(0, len(labelled), 1024):
            nearest = np.maximum(nearest, (places @ labelled[start : start + 1024].T).max(axis=1))
    left = np.ones(len(places), dtype=bool)
    chosen: list[Choice] = []
    for _ in range(min(count, len(places))):
        worth = unsure * (_PRIOR + have) ** -_STRONG
        novelty = np.maximum((1 - nearest) / 2, 0) ** _SPREAD
        value = np.where(left, worth.max(axis=1) * novelty, -1)
        best = int(value.argmax())
        chosen.append(Choice(best, int(worth[best].argmax())))
        left[best] = False
        have += scores[best]
        nearest = np.maximum(nearest, places @ places[best])
    return chosen
