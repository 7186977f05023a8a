"""How much a reader needs each sentence -> the sentences that make the summary."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from functools import cache
from itertools import chain, islice, pairwise
from typing import NamedTuple

import numpy as np

from serving.windows import normalise

_SAME = 0.8  # share of the shorter sentence's bigrams from which two sentences say the same
_LIKELIEST = 20  # sentences that a reader may have in mind, and that are tried for each place of the summary


class Rule(NamedTuple):
    """How a model chooses; it was tuned with this one.

    Attributes:
        redundancy: what likeness to a chosen sentence costs, if there is no sharpness.
        floor: a further sentence is of at least this relevance; with a sharpness, it leaves at least this share of the overlap
            that is expected without it.
        sharpness: None where readers mark sentences; where they write summaries, how much the relevant ones outweigh the others
            as what a reader has in mind.
    """

    redundancy: float
    floor: float
    sharpness: float | None = None


def sentence_budget(characters: int) -> int:
    """Sentences of a summary for a text of so many characters: the rule by which readers mark key sentences."""
    return 1 if characters < 200 else 2 if characters < 500 else 3 if characters < 1500 else 5


def choose_sentences(
    sentences: Sequence[str], relevance: np.ndarray, budget: int, rule: Rule, max_chars: int | None = None
) -> list[int]:
    """Indices of the chosen sentences, the best first. Of more or fewer the first ones are the same.

    Never empty, even where ``max_chars`` is too small for one.
    """
    left = math.inf if max_chars is None else max_chars
    if rule.sharpness is None:
        return _by_relevance(sentences, relevance, budget, rule, left)
    return _by_overlap(sentences, relevance, budget, rule, left)


def _by_relevance(sentences: Sequence[str], relevance: np.ndarray, budget: int, rule: Rule, left: float) -> list[int]:
    """Maximal marginal relevance (Carbonell & Goldstein 1998): a sentence's value is its relevance less its likeness to those
    already chosen, times the redundancy weight."""
    chosen: list[int] = []
    likeness = _Likeness(sentences, chosen)
    order = sorted(range(len(sentences)), key=lambda i: (-relevance[i], i))
    while order and len(chosen) < budget:
        best, most, kept = -1, -math.inf, []
        for place, i in enumerate(order):
            if relevance[i] < most:  # nothing from here on can be worth more: few sentences are compared at all
                kept += order[place:]
                break
            if likeness.of(i) >= _SAME:
                continue
            kept.append(i)
            value = relevance[i] - rule.redundancy * likeness.of(i)
            if (value, -i) > (most, -best):
                best, most = i, value
        if best < 0:
            break
        chosen.append(best)
        left -= len(sentences[best]) + 1  # and the line end between two
        order = [i for i in kept if i != best and len(sentences[i]) <= left and relevance[i] >= rule.floor]
    return chosen


def _by_overlap(sentences: Sequence[str], relevance: np.ndarray, budget: int, rule: Rule, left: float) -> list[int]:
    """Minimum Bayes risk (Kumar & Byrne 2004), greedily: the sentences that in expectation share most with what a reader writes.

    That may be any of the likeliest sentences, with the odds of its relevance to the power of the sharpness; shared are
    characters and pairs of them (F1, as in ROUGE-1 and -2). So a sentence is added for what it says beyond the first, but
    not one whose length costs more than that.
    """
    order = sorted(range(len(sentences)), key=lambda i: (-relevance[i], i))
    expected = _Expected([sentences[i] for i in order[:_LIKELIEST]], relevance[order[:_LIKELIEST]], rule.sharpness)
    counts = cache(lambda i: expected.counts(sentences[i]))
    chosen: list[int] = []
    likeness = _Likeness(sentences, chosen)
    total, reached = expected.counts(""), 0.0
    while len(chosen) < budget:
        tried = list(islice((i for i in order if likeness.of(i) < _SAME), _LIKELIEST))
        if not tried:
            break
        values = expected.overlap(total + np.stack([counts(i) for i in tried]))
        best = tried[int(values.argmax())]
        if values.max() < rule.floor * reached:
            break
        chosen.append(best)
        total, reached = total + counts(best), float(values.max())
        left -= len(sentences[best]) + 1
        order = [i for i in order if i != best and len(sentences[i]) <= left]
    return chosen


class _Likeness:
    """Of sentences to those that are chosen by now; each pair is compared once."""

    def __init__(self, sentences: Sequence[str], chosen: list[int]) -> None:
        self._chosen = chosen
        self._found, self._compared = [0.0] * len(sentences), [0] * len(sentences)
        self._bigrams = cache(lambda i: _bigrams(sentences[i]))

    def of(self, i: int) -> float:
        """Share of the shorter sentence's bigrams, of the likest pair."""
        for other in self._chosen[self._compared[i] :]:
            self._found[i] = max(self._found[i], _overlap(self._bigrams(i), self._bigrams(other)))
        self._compared[i] = len(self._chosen)
        return self._found[i]


class _Expected:
    """What a reader may have in mind, as counts of characters and pairs; the last column holds the sum of all."""

    def __init__(self, texts: Sequence[str], relevance: np.ndarray, sharpness: float) -> None:
        inside = np.clip(relevance.astype(np.float64), 1e-6, 1 - 1e-6)
        odds = (inside / (1 - inside)) ** sharpness
        self._shares = odds / odds.sum()
        grams = sorted(set(chain.from_iterable(_grams(text) for text in texts)))
        self._columns = {gram: column for column, gram in enumerate(grams)}
        self._likely = np.stack([self.counts(text) for text in texts]) if len(texts) else np.zeros((0, 1))

    def counts(self, text: str) -> np.ndarray:
        """Of a text, [grams + 1]."""
        row = np.zeros(len(self._columns) + 1)
        for gram, count in _grams(text).items():
            row[-1] += count
            if gram in self._columns:
                row[self._columns[gram]] = count
        return row

    def overlap(self, counts: np.ndarray) -> np.ndarray:
        """Expected F1 of texts with such counts [texts, grams + 1]: [texts]."""
        shared = np.minimum(counts[:, None, :-1], self._likely[None, :, :-1]).sum(axis=2)
        both = counts[:, None, -1] + self._likely[None, :, -1]
        return (2 * shared / np.maximum(both, 1)) @ self._shares


def _bare(text: str) -> str:
    return "".join(filter(str.isalnum, normalise(text)))


def _grams(text: str) -> Counter[str]:
    bare = _bare(text)
    return Counter(chain(bare, map("".join, pairwise(bare))))


def _bigrams(text: str) -> set[str]:
    bare = _bare(text)
    return {bare[i : i + 2] for i in range(len(bare) - 1)} or {bare or text}


def _overlap(a: set[str], b: set[str]) -> float:
    return len(a & b) / max(min(len(a), len(b)), 1)
