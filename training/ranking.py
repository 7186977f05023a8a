"""Fits the layer over a document's sentences (``context.py``) above a network that stays as it is.

It comes last: within its windows the network has learned what makes a sentence key, and this corrects it by what the other
windows hold.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from tqdm import tqdm

from serving.context import BLOCK
from training.context import Context
from training.examples import Example, epoch_batches
from training.heads import salience_loss, with_features
from training.vectors import Vectors

_EPOCHS, _BATCH, _RATE, _DECAY = 12, 32, 1e-3, 0.05


def fit_context(examples: Sequence[Example], vectors: Sequence[Vectors], head: nn.Module, seed: int, progress: bool) -> Context:
    """Learn to correct what the salience ``head`` says of the documents that have key sentences. The loss is the head's own."""
    marked = [(e, one) for e, one in zip(examples, vectors) if e.salience is not None and e.salience.any()]
    documents = [_Document(e, one, head) for e, one in marked]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        context = Context(documents[0].inputs.shape[1])
        optimizer = torch.optim.AdamW(context.parameters(), lr=_RATE, weight_decay=_DECAY)
        plan = [batch for epoch in range(_EPOCHS) for batch in epoch_batches([e for e, _ in marked], _BATCH, seed, epoch)]
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=len(plan) + 1, pct_start=0.1)
        context.train()
        for batch in tqdm(plan, desc="sentences in context", unit="step", disable=not progress, mininterval=1):
            optimizer.zero_grad()
            _loss(context, [documents[i] for i in batch]).backward()
            nn.utils.clip_grad_norm_(context.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    return context.eval()


class _Document:
    """Inputs of the layer, those of the title first; what the head says of each sentence; and which are key."""

    def __init__(self, example: Example, vectors: Vectors, head: nn.Module) -> None:
        self.titles, self.weight = vectors.titles, example.weight
        inputs = with_features(example, vectors)[: self.titles + BLOCK]
        with torch.no_grad():
            self.salience = head(inputs[self.titles :]).squeeze(1)
        self.inputs = inputs.half()  # thousands are kept
        self.key = torch.from_numpy(example.salience[:BLOCK])


def _loss(context: Context, batch: Sequence[_Document]) -> torch.Tensor:
    inputs = nn.utils.rnn.pad_sequence([one.inputs for one in batch], batch_first=True).float()
    titles, lengths = torch.tensor([one.titles for one in batch]), torch.tensor([len(one.key) for one in batch])
    places = torch.arange(inputs.shape[1])
    there = places < (titles + lengths).unsqueeze(1)
    corrections = context(context.inputs(context.dropout(inputs)), there)[there & (places >= titles.unsqueeze(1))]
    salience, key = torch.cat([one.salience for one in batch]), torch.cat([one.key for one in batch])
    return salience_loss(salience + corrections, key, lengths, torch.tensor([one.weight for one in batch]))
