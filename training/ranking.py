"""Fits the layer over a document's sentences (``context.py``) above a network that stays as it is.

It comes last: within its windows the network has learned what makes a sentence key, and this corrects it by what the other
windows hold.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional
from tqdm import tqdm

from serving.context import BLOCK
from training.context import Context
from training.examples import Example
from training.heads import with_features
from training.vectors import Vectors

_EPOCHS, _BATCH, _RATE, _DECAY = 12, 32, 1e-3, 0.05


def fit_context(examples: Sequence[Example], vectors: Sequence[Vectors], head: nn.Module, seed: int, progress: bool) -> Context:
    """Learn to correct what the salience ``head`` says of the documents that have key sentences.

    The loss is that of ``heads.fit_salience``: how likely a sentence is key, and its rank among the document's.
    """
    documents = [_Document(e, one, head) for e, one in zip(examples, vectors) if e.salience is not None and e.salience.any()]
    rng = random.Random(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        context = Context(documents[0].inputs.shape[1])
        optimizer = torch.optim.AdamW(context.parameters(), lr=_RATE, weight_decay=_DECAY)
        plan = [batch for _ in range(_EPOCHS) for batch in _batches(documents, rng)]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=len(plan) + 1, pct_start=0.1)
        context.train()
        for batch in tqdm(plan, desc="sentences in context", unit="step", disable=not progress, mininterval=1):
            optimizer.zero_grad()
            _loss(context, batch).backward()
            nn.utils.clip_grad_norm_(context.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return context.eval()


class _Document:
    """Inputs of the layer, title first; what the head says of each row; and which rows are key, the title none."""

    def __init__(self, example: Example, vectors: Vectors, head: nn.Module) -> None:
        inputs, self.titles, end = with_features(example, vectors), vectors.titles, vectors.titles + BLOCK
        with torch.no_grad():
            self.salience = head(inputs[:end]).squeeze(1)
        self.inputs, self.weight = inputs[:end].half(), example.weight  # thousands are kept
        self.key = functional.pad(torch.from_numpy(example.salience), (vectors.titles, 0))[:end]


def _batches(documents: Sequence[_Document], rng: random.Random) -> list[list[_Document]]:
    """All documents once, those of like length together."""
    order = rng.sample(documents, len(documents))
    pools = (sorted(order[i : i + 16 * _BATCH], key=lambda one: len(one.key)) for i in range(0, len(order), 16 * _BATCH))
    found = [pool[i : i + _BATCH] for pool in pools for i in range(0, len(pool), _BATCH)]
    return rng.sample(found, len(found))


def _loss(context: Context, batch: Sequence[_Document]) -> torch.Tensor:
    longest = max(len(one.key) for one in batch)
    there = torch.tensor([[i < len(one.key) for i in range(longest)] for one in batch])
    judged = torch.tensor([[one.titles <= i < len(one.key) for i in range(longest)] for one in batch])
    inputs = torch.stack([functional.pad(one.inputs, (0, 0, 0, longest - len(one.key))) for one in batch]).float()
    salience, key = (torch.stack([functional.pad(x, (0, longest - len(x))) for x in part]) for part in (
        [one.salience for one in batch], [one.key for one in batch]
    ))  # fmt: skip
    logits = salience + context(context.inputs(context.dropout(inputs)), there)
    likely = functional.binary_cross_entropy_with_logits(logits, key, reduction="none")
    likely = (likely * judged).sum(1) / judged.sum(1)
    total = torch.logsumexp(logits.masked_fill(~judged, -torch.inf), 1, keepdim=True)
    ranks = ((total - logits) * key).sum(1) / key.sum(1).clamp_min(1)
    weights = torch.tensor([one.weight for one in batch], dtype=torch.float32)
    return ((likely + ranks) * weights).sum() / weights.sum()
