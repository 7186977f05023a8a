"""Contrastive pairs: documents of a topic are drawn together in the encoder's space, others apart, before heads are fitted.

As SetFit does it (Tunstall et al. 2022, "Efficient few-shot learning without prompts"): n labels make n² pairs, so few of them
teach the upper layers much. All pairs of a batch count at once, with the supervised contrastive loss (Khosla et al. 2020); where
documents have several topics, a pair counts by how far the two sets agree (their Jaccard index). Where the sentences that prove
each topic are marked, the windows that hold them stand for the document, each with its own topics.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from torch.nn import functional

from serving.windows import collate
from training.devices import fastest_attention
from training.encoder import layer_groups
from training.examples import Example, flat_windows, trim
from training.passes import SHAPE_STEP
from training.proofs import proof_windows
from training.vectors import Body, window_means

_BATCH, _WINDOWS = 32, 1  # documents, and windows of each
_EPOCHS, _STEPS = 10, (20, 80)  # so many epochs, within bounds of steps
_TOKENS = 128  # of a document, for the upper bound; short ones get more steps (128 titles a topic: accuracy 0.858 -> 0.862)
_RATE, _DECAY, _TEMPERATURE = 1e-4, 0.8, 0.05


def tune(body: Body, examples: Sequence[Example], seed: int) -> None:
    """Train the upper layers of ``body``, from where they are, on the pairs of the rows that have a topic."""
    labelled = [example for example in examples if example.topics is not None and example.topics.any()]
    learned = [part for example in labelled for part in proof_windows(example) or [trim(example, _WINDOWS, seed)]]
    if len(learned) < 2:
        return
    body.keep(learned)
    per_epoch = -(-len(learned) // _BATCH)
    read = max(sum(part.tokens for part in learned), 1) / len(learned)
    most = int(_STEPS[1] * len(learned) / len(labelled) * _TOKENS / read)
    steps = min(max(per_epoch * _EPOCHS, _STEPS[0]), most)
    parameters = [p for p in body.encoder.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(layer_groups(body.encoder, _RATE, _DECAY), weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: min((step + 1) / (0.1 * steps), 1 - step / steps))
    rng, order = random.Random(seed), []
    body.encoder.train()
    longest = max(len(window.token_ids) for _, window in flat_windows(learned))
    with fastest_attention(body.encoder, body.accelerator.device, longest):
        for _ in range(steps):
            if len(order) < min(_BATCH, len(learned)):
                order = rng.sample(range(len(learned)), len(learned))
            batch = [learned[order.pop()] for _ in range(min(_BATCH, len(order)))]
            optimizer.zero_grad()
            _loss(_embed(body, batch), batch).backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            schedule.step()
    body.encoder.eval()


def _embed(body: Body, examples: Sequence[Example]) -> torch.Tensor:
    """A vector of length 1 for each document: [documents, H]."""
    flat = list(flat_windows(examples))
    batch = collate(flat, [example.features for example in examples], body.pad, SHAPE_STEP)
    ids, mask = (torch.from_numpy(array).to(body.accelerator.device) for array in (batch.input_ids, batch.attention_mask))
    means = window_means(body.states([window for _, window in flat], ids, mask), mask)
    owners = torch.tensor([position for position, _ in flat], device=means.device)
    sums = torch.zeros(len(examples), means.shape[1], device=means.device).index_add(0, owners, means)
    return functional.normalize(sums, dim=1)


def _loss(vectors: torch.Tensor, examples: Sequence[Example]) -> torch.Tensor:
    """Cross-entropy of each document's neighbours against those that share its topics, a document by its weight."""
    truth = torch.from_numpy(np.stack([example.topics for example in examples]))
    common = truth @ truth.T
    agreement = common / (truth.sum(1) + truth.sum(1, keepdim=True) - common)
    agreement.fill_diagonal_(0)
    weights = torch.tensor([example.weight for example in examples], dtype=torch.float32)
    pairs = (agreement * weights * weights.unsqueeze(1)).to(vectors.device)
    itself = torch.eye(len(vectors), dtype=torch.bool, device=vectors.device)
    near = functional.log_softmax((vectors @ vectors.T / _TEMPERATURE).masked_fill(itself, -1e9), dim=1)
    return -(pairs * near).sum() / pairs.sum().clamp_min(1e-9)
