"""What training minimises: the loss of a document's topics, of their evidence, and of its key sentences."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from training.examples import Example

SALIENCE_WEIGHT = 0.5
EVIDENCE_WEIGHT = 0.5


def document_loss(example: Example, logits: torch.Tensor, sentences: torch.Tensor, single_label: bool) -> torch.Tensor:
    """Pooled ``logits`` [T] and the scores of the sentences [N, T + 1], salience last -> loss of what the row teaches."""
    total = torch.zeros((), device=logits.device)
    if example.topics is not None:
        target = torch.from_numpy(example.topics).to(logits.device)
        if single_label:
            total = total + functional.cross_entropy(logits.unsqueeze(0), target.argmax().unsqueeze(0))
        else:
            total = total + functional.binary_cross_entropy_with_logits(logits, target) * math.sqrt(len(target))
        if example.evidence is not None:
            marked = torch.from_numpy(example.evidence).to(logits.device)
            total = total + EVIDENCE_WEIGHT * evidence_loss(target, marked, sentences[:, :-1])
    if example.salience is not None:
        target = torch.from_numpy(example.salience).to(logits.device)
        total = total + SALIENCE_WEIGHT * functional.binary_cross_entropy_with_logits(sentences[:, -1], target)
    return total


def evidence_loss(topics: torch.Tensor, marked: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """``topics`` [T], ``marked`` and ``logits`` [N, T] -> loss.

    Marked sentences prove their topic, and no sentence proves a topic that the document has not. The other sentences are
    left open, since readers mark the most telling ones only.
    """
    missed = (functional.softplus(-logits) * marked).sum(0) / marked.sum(0).clamp_min(1)
    false = functional.softplus(logits).mean(0) * (1 - topics)
    return (missed + false).sum() / math.sqrt(len(topics))
