"""ROUGE on characters, and the greedy oracle that turns a reference summary into key sentences.

``rouge_score``'s own tokenizer drops Chinese, so it is given one that yields characters (and runs of Latin or digits).
The oracle follows Nallapati et al. 2017 ("SummaRuNNer"): add the sentence that raises ROUGE-1 + ROUGE-2 most, until
none does.
"""

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


def greedy_oracle(sentences: Sequence[str], reference: str, most: int) -> list[int]:
    """Indices of at most ``most`` sentences, in document order."""
    tokenize = CharacterTokenizer().tokenize
    target = [_counts(tokenize(reference), n) for n in (1, 2)]
    parts = [[_counts(tokenize(sentence), n) for n in (1, 2)] for sentence in sentences]
    chosen: list[int] = []
    total = [Counter(), Counter()]
    best = 0.0
    while len(chosen) < most:
        gains = []
        for i, part in enumerate(parts):
            if i not in chosen:
                gains.append((sum(_f1(total[n] + part[n], target[n]) for n in (0, 1)), -i))
        if not gains or max(gains)[0] <= best + 1e-9:
            break
        best, negative = max(gains)
        chosen.append(-negative)
        total = [total[n] + parts[-negative][n] for n in (0, 1)]
    return sorted(chosen)


def rouge_1_2(reference: str, candidate: str) -> float:
    """Mean of the F-measures of rouge1 and rouge2: what is tuned for, without the slow longest common subsequence."""
    tokens = [CharacterTokenizer().tokenize(text) for text in (reference, candidate)]
    return sum(_f1(*(_counts(side, n) for side in tokens)) for n in (1, 2)) / 2


def _counts(tokens: Sequence[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(zip(*(tokens[i:] for i in range(n))))


def _f1(candidate: Counter, target: Counter) -> float:
    overlap = sum((candidate & target).values())
    return 2 * overlap / max(sum(candidate.values()) + sum(target.values()), 1)
