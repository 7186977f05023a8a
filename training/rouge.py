"""ROUGE on characters, and how much of a reference summary each sentence gives.

``rouge_score``'s own tokenizer drops Chinese, so it is given one that yields characters (and runs of Latin or digits)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from rouge_score.rouge_scorer import RougeScorer

_TOKEN = re.compile(r"[A-Za-z0-9]+|[^\W_]")


class CharacterTokenizer:
    """What ``RougeScorer(tokenizer=…)`` asks for."""

    def tokenize(self, text: str) -> list[str]:
        """Chinese characters one by one, Latin words and numbers whole, no punctuation."""
        return _TOKEN.findall(text.lower())


_scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], tokenizer=CharacterTokenizer())


def rouge(reference: str, candidate: str) -> dict[str, float]:
    """F-measures of rouge1, rouge2 and rougeL."""
    return {name: score.fmeasure for name, score in _scorer.score(reference, candidate).items()}


def relative_rouge(sentences: Sequence[str], reference: str) -> list[float]:
    """Of each sentence alone ROUGE-1 + ROUGE-2 (F), over the best one's: how near it comes to being the summary."""
    tokenize = CharacterTokenizer().tokenize
    target = [_counts(tokenize(reference), n) for n in (1, 2)]
    scores = [sum(_f1(_counts(tokenize(sentence), n), target[n - 1]) for n in (1, 2)) for sentence in sentences]
    best = max(scores, default=0.0)
    return [score / best if best else 0.0 for score in scores]


def rouge_1_2(reference: str, candidate: str) -> float:
    """Mean of the F-measures of rouge1 and rouge2: what is tuned for, without the slow longest common subsequence."""
    tokens = [CharacterTokenizer().tokenize(text) for text in (reference, candidate)]
    return sum(_f1(*(_counts(side, n) for side in tokens)) for n in (1, 2)) / 2


def _counts(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[i:] for i in range(n))))


def _f1(candidate: Counter, target: Counter) -> float:
    overlap = sum((candidate & target).values())
    return 2 * overlap / max(sum(candidate.values()) + sum(target.values()), 1)
