"""Folds for cross-validation of few rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from training.examples import Example, opening


def make_folds(examples: Sequence[Example], count: int, seed: int) -> list[list[int]]:
    """Indices of the documents in each of at most ``count`` folds, the same shares of each topic in all.

    Iterative stratification (Sechidis et al. 2011, "On the stratification of multi-label data"): the rarest topic is dealt out
    first, each document to the fold that has fewest of it. Those with the same opening (near-duplicates) stay together.
    """
    groups: dict[str, list[int]] = {}
    for i, example in enumerate(examples):
        groups.setdefault(opening(example.document.text), []).append(i)
    keys = sorted(groups)
    random.Random(seed).shuffle(keys)
    topics = {key: {topic for i in groups[key] for topic in examples[i].row.topics or ()} for key in keys}
    common = Counter(topic for key in keys for topic in topics[key])
    rarest = {key: min(topics[key], key=lambda topic: (common[topic], topic), default="") for key in keys}
    keys.sort(key=lambda key: (not rarest[key], common[rarest[key]], rarest[key]))
    folds: list[list[int]] = [[] for _ in range(min(count, len(keys)))]
    held = [Counter() for _ in folds]
    for key in keys:
        place = min(range(len(folds)), key=lambda f: (held[f][rarest[key]], len(folds[f])))
        folds[place].extend(groups[key])
        held[place].update(topics[key])
    return [sorted(fold) for fold in folds if fold]
