"""The heads fitted on vectors of sentences, while the encoder stays as it is: linear topics, and salience.

A linear head is written into the network's head, which has a hidden layer, without loss: GELU(z) - GELU(-z) = z, so two hidden
units carry one linear function. For more topics than half its units the hidden layer is made wider.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from serving.features import FEATURES
from training.examples import Example
from training.network import Network
from training.passes import Prediction
from training.proofs import proof_weights
from training.vectors import Vectors

_LEAST_DEVIATION = np.float32(1e-4)
_STEPS = 60  # of L-BFGS; the loss moves by less than a thousandth afterwards
_SALIENCE_STEPS, _SALIENCE_RATE, _SALIENCE_DECAY = 150, 3e-3, 0.1


@dataclass(frozen=True)
class Heads:
    """Topics ``weight`` [T, 2 H] and ``bias`` [T] of a vector; ``salience`` is a network's."""

    weight: torch.Tensor
    bias: torch.Tensor
    salience: nn.Module

    @torch.no_grad()
    def predict(self, examples: Sequence[Example], vectors: Sequence[Vectors]) -> list[Prediction]:
        """What the network with these heads says."""
        found = []
        for example, one in zip(examples, vectors):
            rows = torch.from_numpy(one.rows)
            logits = rows @ self.weight.T + self.bias
            sentences = torch.cat([logits[one.titles :], self.salience(with_features(example, one)[one.titles :])], dim=1)
            found.append(Prediction(_pooled(logits, [len(rows)])[0].numpy(), sentences.numpy()))
        return found

    @torch.no_grad()
    def put_into(self, network: Network) -> None:
        """Make them the network's, whose hidden layer grows where it holds fewer pairs of units than they need."""
        room, (topics, size) = network.topic_head[0].out_features // 2, self.weight.shape
        up, basis = torch.eye(topics), self.weight
        if topics > max(room, size):  # there are no more directions than a vector has numbers
            u, s, v = torch.linalg.svd(self.weight, full_matrices=False)
            up, basis = u * s, v
        if len(basis) > room:
            room = len(basis)
            network.resize_topic_head(2 * room)
        first, _, last = network.topic_head
        for parameter in (first.weight, first.bias, last.weight):
            parameter.zero_()
        used = len(basis)
        first.weight[:used], first.weight[room : room + used] = basis, -basis
        last.weight[:, :used], last.weight[:, room : room + used] = up, -up
        last.bias.copy_(self.bias)
        network.log_sharpness.zero_()
        network.salience_head.load_state_dict(self.salience.state_dict())


def fit_topics(
    examples: Sequence[Example], vectors: Sequence[Vectors], penalty: float, single_label: bool, topics: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Weights [T, 2 H] and bias [T] that fit the rows' topics: logistic regression on the pooled logits, by L-BFGS.

    ``penalty`` is what half the squared weights of standardised vectors count for, a dimension, beside the loss of a row. Where
    documents have several topics, sentences marked as proof of one should say so by themselves, too.
    """
    means = np.stack([one.rows.mean(axis=0) for one in vectors])
    mean, deviation = torch.from_numpy(means.mean(axis=0)), torch.from_numpy(means.std(axis=0) + _LEAST_DEVIATION)
    chosen = [i for i, example in enumerate(examples) if example.topics is not None]
    if not chosen or not topics:
        return torch.zeros(topics, len(mean)), torch.zeros(topics)
    truth = torch.from_numpy(np.stack([examples[i].topics for i in chosen]))
    counts = torch.tensor([examples[i].weight for i in chosen], dtype=torch.float32).unsqueeze(1)
    rows = (torch.from_numpy(np.concatenate([vectors[i].rows for i in chosen])) - mean) / deviation
    lengths = [len(vectors[i].rows) for i in chosen]
    marked = None if single_label else proof_weights([examples[i] for i in chosen], [vectors[i] for i in chosen])
    proofs = None if marked is None else torch.from_numpy(marked)
    weight = torch.zeros(topics, rows.shape[1], requires_grad=True)
    bias = torch.zeros(topics, requires_grad=True)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=_STEPS, line_search_fn="strong_wolfe", tolerance_change=1e-6)
    strength = penalty * rows.shape[1] / 2

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        scores = rows @ weight.T + bias
        logits = _pooled(scores, lengths)
        if single_label:
            parts = functional.cross_entropy(logits, truth, reduction="none").unsqueeze(1)
        else:
            parts = functional.binary_cross_entropy_with_logits(logits, truth, reduction="none")
        total = ((parts * counts).sum() + strength * (weight**2).sum()) / len(chosen)
        if proofs is not None:
            total = total + (proofs * functional.softplus(-scores)).sum() / len(chosen)
        total.backward()
        return total

    optimizer.step(loss)
    with torch.no_grad():
        scaled = weight / deviation
        return scaled, bias - scaled @ mean


def pooled_logits(vectors: Vectors, weight: torch.Tensor, bias: torch.Tensor) -> np.ndarray:
    """A document's logits [T]."""
    logits = torch.from_numpy(vectors.rows) @ weight.T + bias
    return _pooled(logits, [len(logits)])[0].numpy()


def _pooled(logits: torch.Tensor, lengths: Sequence[int]) -> torch.Tensor:
    """Smooth maximum over each document's rows, with sharpness 1: [rows, T] -> [documents, T]; see ``Network.pool``."""
    if len(logits) == len(lengths):
        return logits
    owners = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths)).unsqueeze(1).expand_as(logits)
    top = torch.full((len(lengths), logits.shape[1]), -torch.inf).scatter_reduce(0, owners, logits.detach(), "amax")
    sums = torch.zeros_like(top).scatter_add(0, owners, torch.exp(logits - top.gather(0, owners)))
    return top + torch.log(sums / torch.tensor(lengths, dtype=logits.dtype).unsqueeze(1))


def fit_salience(
    examples: Sequence[Example], vectors: Sequence[Vectors], head: nn.Module, steps: int = _SALIENCE_STEPS,
    rate: float = _SALIENCE_RATE,
) -> nn.Module:
    """The salience head, trained from where it is on the rows that have key sentences, if any has.

    Binary cross-entropy says how likely a sentence is key; beside it a softmax over the document's sentences ranks them (Cao et
    al. 2007, "Learning to rank: from pairwise approach to listwise approach"), since a summary takes the first few.
    """
    head.eval()
    chosen = [(e, one) for e, one in zip(examples, vectors) if e.salience is not None and len(e.salience)]
    if not chosen:
        return head
    inputs = torch.cat([with_features(e, one)[one.titles :] for e, one in chosen])
    target = torch.from_numpy(np.concatenate([e.salience for e, _ in chosen]))
    lengths, weights = torch.tensor([len(e.salience) for e, _ in chosen]), torch.tensor([e.weight for e, _ in chosen])
    optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=_SALIENCE_DECAY)
    for _ in range(steps):
        optimizer.zero_grad()
        salience_loss(head(inputs).squeeze(1), target, lengths, weights).backward()
        optimizer.step()
    return head


def salience_loss(logits: torch.Tensor, target: torch.Tensor, lengths: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
    """Logits and labels of the sentences of documents, one after another; each document's number of sentences, and weight."""
    owners = torch.repeat_interleave(lengths)
    marked = torch.zeros(len(lengths)).index_add(0, owners, target).clamp_min(1)
    parts = functional.binary_cross_entropy_with_logits(logits, target, reduction="none") * (weights / lengths)[owners]
    sums = _pooled(logits.unsqueeze(1), lengths.tolist()).squeeze(1) + torch.log(lengths)
    ranks = (sums[owners] - logits) * target * (weights / marked)[owners]
    return (parts + ranks).sum() / weights.sum()


def with_features(example: Example, vectors: Vectors) -> torch.Tensor:
    """The salience head's inputs of the title, if there is one, and the sentences: their own mean, and ``serving.features``."""
    rows = torch.from_numpy(vectors.rows)
    left = sorted({sentence for window in example.windows for sentence in window.sentences})
    places = [0] * vectors.titles + [1 + sentence for sentence in left]
    return torch.cat([rows[:, : rows.shape[1] // 2], torch.from_numpy(example.features[places, : len(FEATURES)])], dim=1)
