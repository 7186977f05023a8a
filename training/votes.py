"""Weak labels where nothing is labelled: three votes a topic on each document, and what the majority agrees on.

The votes are the topic's words (``keywords.py``), likeness to its description in the encoder's space (``space.py``), and a
linear model that learns from what the two agree on and from its own further agreements (self-training, Yarowsky 1995).
Label models for weak supervision with several labels a document do no better than the majority (Argilla's experience), so it
decides. Cuts need no labels either: two votes are cut where they agree best with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from serving.document import Document
from serving.windows import normalise
from training.keywords import keyword_scores, phrases, vetoes
from training.space import Encoder, Space, unit
from training.topics import Topic

YES, NO, OPEN = 1, 0, -1  # of a label: agreed that it is there, that it is not, or not agreed
_RIVALS = 0.5  # so much of the best topic's score is taken from a document's scores, since topics compete for it
_CUTS = 14  # numbers of documents at which a vote is tried to be cut, from
_FEWEST, _MOST = 0.003, 0.4  # these shares of the archive
_ROUNDS = 6  # of self-training, at most
_SETTLED = 0.002  # share of labels that change in a round, below which it ends
_FOLDS = 3
_RIDGE = 1.0
_COMPONENTS, _CHARACTERS = 200, 2_000  # of the words' part of the linear model: its size, and how much of a text it reads
_SHARPNESS = 40.0  # of soft clusters: how much nearer a document must be to one topic than to the others


@dataclass(frozen=True)
class WeakLabels:
    """What is agreed on documents without labels.

    ``labels`` int8 [documents, topics] holds YES, NO or OPEN, ``votes`` int8 how many of three say yes, ``scores`` float
    [documents, topics] what the linear model says, ``cuts`` float [topics] from where on that means yes, and ``likeness`` float
    [documents, topics] the cosine of document and description.
    """

    labels: np.ndarray
    votes: np.ndarray
    scores: np.ndarray
    cuts: np.ndarray
    likeness: np.ndarray
    model: LinearModel
    single_label: bool

    def used(self) -> np.ndarray:
        """Positions of the documents that can teach: those with a topic, and, where a document may have none, those of which
        all is agreed that they have none."""
        given = (self.labels == YES).any(axis=1)
        return np.flatnonzero(given if self.single_label else given | (self.votes == 0).all(axis=1))


class LinearModel:
    """Ridge regression on a document's place in the encoder's space and on its characters' TF-IDF (reduced: LSA)."""

    def __init__(self, space: Space, seed: int = 0) -> None:
        self._space = space
        self._tfidf = TfidfVectorizer(analyzer="char", ngram_range=(1, 2), min_df=2, sublinear_tf=True, max_features=50_000)
        self._svd: TruncatedSVD | None = None
        self._seed = seed
        self._ridge = Ridge(_RIDGE)

    def features(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """[documents, features]; the first call decides which character n-grams there are."""
        heads = [text[:_CHARACTERS] for text in texts]
        if self._svd is None:
            counts = self._tfidf.fit_transform(heads)
            size = min(_COMPONENTS, min(counts.shape) - 1)
            self._svd = TruncatedSVD(max(size, 1), random_state=self._seed).fit(counts)
        words = unit(self._svd.transform(self._tfidf.transform(heads)))
        return np.hstack([self._space.place(vectors), words])

    def held_out(self, features: np.ndarray, targets: np.ndarray, taught: np.ndarray) -> np.ndarray:
        """Scores of each document by a model that has not learned from it; ``taught`` says which to learn from."""
        folds = np.arange(len(features)) % _FOLDS
        scores = np.zeros(targets.shape)
        for fold in range(_FOLDS):
            inside = folds == fold
            learned = taught & ~inside
            if learned.any():
                self._ridge.fit(features[learned], targets[learned])
                scores[inside] = self._predict(features[inside])
        return scores

    def learn(self, features: np.ndarray, targets: np.ndarray, taught: np.ndarray) -> None:
        """Fit on all that teaches."""
        self._ridge.fit(features[taught], targets[taught])

    def score(self, texts: Sequence[str], vectors: np.ndarray) -> np.ndarray:
        """[documents, topics], of documents that need not be of the archive."""
        return self._predict(self.features([plain(text) for text in texts], vectors))

    def _predict(self, features: np.ndarray) -> np.ndarray:
        return self._ridge.predict(features).reshape(len(features), -1)  # of one topic alone it is flat


def plain(text: str) -> str:
    """Text as the votes see it."""
    return normalise(text).lower()


def label_without(
    documents: Sequence[Document], vectors: np.ndarray, topics: Sequence[Topic], encoder: Encoder, single_label: bool
) -> WeakLabels:
    """Weak labels of an archive's documents, whose vectors are ``encoder.vectors(documents)``."""
    space = Space(vectors)
    titles, texts = ([plain(text) for text in part] for part in zip(*((d.title, d.text) for d in documents)))
    likeness = space.place(vectors) @ describe(topics, encoder, space).T
    stated = keyword_scores(titles, texts, topics)
    excluded = vetoes(titles, texts, topics)
    stated[excluded] = 0
    model = LinearModel(space)
    features = model.features([f"{title} {text}" for title, text in zip(titles, texts)], vectors)
    decide = _decide_one if single_label else _decide_many
    votes, scores, cuts = decide(stated, likeness, excluded, space.place(vectors), model, features)
    votes[excluded] = 0
    return WeakLabels(_agreed(votes, single_label), votes, scores, cuts, likeness, model, single_label)


def describe(topics: Sequence[Topic], encoder: Encoder, space: Space) -> np.ndarray:
    """float32 [topics, hidden]: the mean place of the phrases of each topic's name and description, and of its examples.

    One vector of the whole description is a worse picture: it says mostly that this is a definition.
    """
    places = []
    for topic in topics:
        parts = [space.place(encoder.texts(phrases(topic) or [topic.name])).mean(axis=0, keepdims=True)]
        if topic.examples:
            parts.append(space.place(encoder.texts(topic.examples)).mean(axis=0, keepdims=True))
        places.append(unit(np.vstack([unit(part) for part in parts]).mean(axis=0, keepdims=True))[0])
    return np.stack(places)


def _agreed(votes: np.ndarray, single_label: bool) -> np.ndarray:
    labels = np.where(votes >= 2, YES, np.where(votes == 0, NO, OPEN)).astype(np.int8)
    if single_label:
        labels[(labels == YES).any(axis=1)[:, None] & (labels != YES)] = NO
    return labels


def _decide_many(
    stated: np.ndarray, likeness: np.ndarray, _out: np.ndarray, _places: np.ndarray, model: LinearModel, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes, scores and cuts where a document may have any number of topics."""
    words = np.where(stated > 0, _against_rivals(np.sqrt(stated)), -np.inf)
    like = _against_rivals(likeness)
    first, second = np.zeros(stated.shape, bool), np.zeros(stated.shape, bool)
    for topic in range(stated.shape[1]):
        first[:, topic], second[:, topic] = _best_agreement(words[:, topic], like[:, topic])
    votes = first.astype(np.int8) + second
    labels = votes == 2
    third = np.zeros_like(first)
    scores, cuts = np.zeros(stated.shape), np.full(stated.shape[1], np.inf)
    for _ in range(_ROUNDS):
        taught = labels.any(axis=1) | (votes == 0).all(axis=1)
        scores = model.held_out(features, labels.astype(float), taught)
        for topic in np.flatnonzero(labels.any(axis=0)):
            cuts[topic] = _cut(scores[:, topic], labels[:, topic])
            third[:, topic] = scores[:, topic] >= cuts[topic]
        votes = first.astype(np.int8) + second + third
        settled = ((votes >= 2) != labels).mean() < _SETTLED
        labels = votes >= 2
        if settled:
            break
    model.learn(features, labels.astype(float), labels.any(axis=1) | (votes == 0).all(axis=1))
    return votes, scores, cuts


def _decide_one(
    stated: np.ndarray, likeness: np.ndarray, excluded: np.ndarray, places: np.ndarray, model: LinearModel, features: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Votes, scores and cuts (none) where each document has exactly one topic: each voter names its best of those left."""
    first = _best(stated, excluded) & (stated > 0)
    second = _best(_clusters(likeness, places), excluded)
    labels = first & second
    scores = np.zeros(stated.shape)
    votes = first.astype(np.int8) + second
    for _ in range(_ROUNDS):
        taught = labels.any(axis=1)
        scores = model.held_out(features, labels.astype(float), taught)
        votes = first.astype(np.int8) + second + (_best(scores, excluded) & bool(taught.any()))
        settled = ((votes >= 2) != labels).mean() < _SETTLED
        labels = votes >= 2
        if settled:
            break
    model.learn(features, labels.astype(float), labels.any(axis=1))
    return votes, scores, np.full(stated.shape[1], -np.inf)


def _clusters(likeness: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Likeness to topics that have moved to where the documents nearest to them lie: soft spherical k-means, seeded (Basu et al.
    2002, "Semi-supervised clustering by seeding"), each centre held back by its description."""
    seeds = np.linalg.lstsq(places, likeness, rcond=None)[0].T
    for _ in range(10):
        share = np.exp(_SHARPNESS * (likeness - likeness.max(axis=1, keepdims=True)))
        share /= share.sum(axis=1, keepdims=True)
        centres = unit(0.7 * unit(share.T @ places) + 0.3 * unit(seeds))
        likeness = places @ centres.T
    return likeness


def _best(scores: np.ndarray, excluded: np.ndarray) -> np.ndarray:
    """Bool: the best topic of each document, of those that are not excluded."""
    best = np.zeros(scores.shape, bool)
    best[np.arange(len(scores)), np.where(excluded, -np.inf, scores).argmax(axis=1)] = True
    return best & ~excluded


def _against_rivals(scores: np.ndarray) -> np.ndarray:
    return scores - _RIVALS * scores.max(axis=1, keepdims=True)


def _counts(documents: int) -> np.ndarray:
    return np.unique(np.geomspace(max(3, _FEWEST * documents), max(4, _MOST * documents), _CUTS).astype(int))


def _cuts(scores: np.ndarray) -> list[float]:
    order = np.sort(scores)[::-1]
    cuts = {float(order[min(count, len(order)) - 1]) for count in _counts(len(scores))}
    return sorted(cut for cut in cuts if np.isfinite(cut))


def _best_agreement(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two votes on one topic, each cut where they agree best (phi coefficient); none says yes where they never agree."""
    best, found = 0.0, (np.zeros(len(one), bool), np.zeros(len(one), bool))
    for low in _cuts(one):
        first = one >= low
        for cut in _cuts(other):
            second = other >= cut
            if (value := _phi(first, second)) > best:
                best, found = value, (first, second)
    return found


def _cut(scores: np.ndarray, labels: np.ndarray) -> float:
    return max(_cuts(scores), key=lambda cut: _phi(scores >= cut, labels))


def _phi(one: np.ndarray, other: np.ndarray) -> float:
    p, q, both = one.mean(), other.mean(), (one & other).mean()
    return float((both - p * q) / np.sqrt(max(p * (1 - p) * q * (1 - q), 1e-12)))
