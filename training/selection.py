"""Which documents to label next: those that a model is unsure of, unlike what is labelled and unlike each other, for the sake of
topics that lack examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from sklearn.cluster import KMeans

from training.diagnosis import doubts

_PRIOR = 4.0  # examples that a topic without any counts as having
_CANDIDATES = 10  # for each document that is chosen,
_CANDIDATES_AT_FIRST = 20  # and where nothing is labelled yet, and doubts are hardly to be trusted
_ALIKE = 0.3  # a document at a smaller cosine distance from a labelled one is worth less


class Choice(NamedTuple):
    """A document (its position), and the topic for whose sake it is to be labelled: the model's, or one that it does not know."""

    document: int
    topic: int
    unknown: str = ""


def choose(
    places: np.ndarray, scores: np.ndarray, thresholds: Sequence[float] | None, count: int,
    labelled: np.ndarray | None = None, positives: Sequence[float] | None = None,
) -> list[Choice]:
    """At most ``count`` documents, the most worth first: one of each cluster of the documents most worth a label.

    A label's worth is the model's doubt (uncertainty sampling, Lewis and Gale 1994), the more the fewer examples the topic
    has, and less where the document is like one that is labelled. For a topic that has none the likeliest document is worth most,
    not the most doubtful: of those many would be none. The most worth alone would be the same case many times, or
    odd ones out; so candidates are clustered by k-means, weighted by worth, and the one nearest to each centre is taken
    (Zhdanov 2019, "Diverse mini-batch active learning").

    Args:
        places: [documents, hidden], of length 1, as ``space.Space`` gives them.
        scores: [documents, topics] of the model.
        thresholds: of the topics; None where a document has exactly one topic.
        count: documents.
        labelled: [n, hidden], places of documents that are labelled.
        positives: of the topics, how many of these have it, where that is known.
    """
    if not len(places):
        return []
    wanted = doubts(scores, thresholds)
    if positives is not None:
        have = np.asarray(positives, dtype=float)
        wanted = np.where(have > 0, wanted, scores) / (_PRIOR + have)
    worth = wanted.max(axis=1) * _novelty(places, labelled)
    share = _CANDIDATES_AT_FIRST if labelled is None or not len(labelled) else _CANDIDATES
    candidates = np.argsort(-worth, kind="stable")[: share * count]
    if len(candidates) > count:
        candidates = candidates[_nearest_to_centres(places[candidates], worth[candidates], count)]
    return [Choice(int(i), int(wanted[i].argmax())) for i in sorted(candidates, key=lambda i: -worth[i])]


def _novelty(places: np.ndarray, labelled: np.ndarray | None) -> np.ndarray:
    """From 0, the same as a labelled document, to 1, unlike any."""
    nearest = np.full(len(places), -1.0)
    for start in range(0, 0 if labelled is None else len(labelled), 1024):  # so many at once, for the memory's sake
        nearest = np.maximum(nearest, (places @ labelled[start : start + 1024].T).max(axis=1))
    return np.clip((1 - nearest) / _ALIKE, 0, 1)


def _nearest_to_centres(places: np.ndarray, worth: np.ndarray, count: int) -> list[int]:
    means = KMeans(count, n_init=1, max_iter=20, random_state=0).fit(places, sample_weight=np.maximum(worth, 1e-9))
    distances = means.transform(places)
    members = (np.flatnonzero(means.labels_ == cluster) for cluster in range(count))
    return [int(inside[distances[inside, cluster].argmin()]) for cluster, inside in enumerate(members) if len(inside)]
