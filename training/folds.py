"""How rows are parted: into those learned from and a dev part, and into folds for cross-validation of few rows."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence

from serving.document import Document
from training.data import Row
from training.examples import Example, opening


def split_dev(
    rows: Sequence[Row], documents: dict[str, Document], share: float, seed: int
) -> tuple[list[Row], list[Row]]:
    """Split off a dev part by document; rows with the same opening (near-duplicates) stay on one side.

    No topic loses its last positive to the dev part. Rows that have a topic, key sentence or summary are in it in proportion,
    at least one of two, those that teach the summary alone apart from the others. Rows with one opening that would more than
    double the dev part's share stay to be learned from, unless nothing else is left.
    """
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(opening(documents[row.where].text), []).append(row)
    keys = sorted(groups)
    random.Random(seed).shuffle(keys)
    whole, bare, empty = [], [], []  # with labels, with labels of the summary alone, without any topic or key sentence
    for key in keys:
        full = any(row.topics or row.key_sentences or row.summary for row in groups[key])
        stated = any(row.topics is not None for row in groups[key])
        (empty if not full else whole if stated else bare).append(key)
    left = Counter(topic for row in rows for topic in row.topics or ())
    dev: list[Row] = []

    def deal(key: str) -> int:
        """How many rows the dev part gets; none where a topic would lose its last positive, or no row would be left."""
        taken = Counter(topic for row in groups[key] for topic in row.topics or ())
        if len(dev) + len(groups[key]) >= len(rows) or any(left[topic] <= count for topic, count in taken.items()):
            return 0
        dev.extend(groups[key])
        left.subtract(taken)
        return len(groups[key])

    leasts = int(len(whole) > 1 or not bare), int(len(bare) > 1 or not whole), int(not whole and not bare)
    for part, least in zip((whole, bare, empty), leasts):
        wanted, dealt, large = max(least, round(sum(len(groups[key]) for key in part) * share)), 0, []
        for key in reversed(part):
            if dealt < wanted and dealt + len(groups[key]) <= 2 * wanted:
                dealt += deal(key)
            else:
                large.append(key)
        if least and not dealt:
            next(filter(deal, sorted(large, key=lambda key: len(groups[key]))), None)
    chosen = {id(row) for row in dev}
    return [row for row in rows if id(row) not in chosen], dev


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
