"""What training minimises: the loss of a document's topics, of their evidence, and of its key sentences."""

from __future__ import annotations

import math

import torch
from torch.nn import functional

from training.examples import Example

SALIENCE_WEIGHT = 1.0
EVIDENCE_WEIGHT = 1.0
TEACHER_SHARE = 0.5  # of the loss, where a reader's label stands beside the teacher's opinion


def document_loss(example: Example, logits: torch.Tensor, sentences: torch.Tensor, single_label: bool) -> torch.Tensor:
    """Pooled ``logits`` [T] and the scores of the sentences [N, T + 1], salience last -> loss of what the row teaches."""
    total = torch.zeros((), device=logits.device)
    share = 1.0 if example.lesson is None else 1 - TEACHER_SHARE
    if example.topics is not None:
        target = torch.from_numpy(example.topics).to(logits.device)
        total = total + share * topic_loss(logits, target, single_label)
        if example.evidence is not None:
            marked = torch.from_numpy(example.evidence).to(logits.device)
            total = total + EVIDENCE_WEIGHT * evidence_loss(target, marked, sentences[:, :-1])
    if example.salience is not None:
        target = torch.from_numpy(example.salience).to(logits.device)
        total = total + share * SALIENCE_WEIGHT * functional.binary_cross_entropy_with_logits(sentences[:, -1], target)
    if example.lesson is not None:
        total = total + lesson_loss(example, logits, sentences, single_label)
    return example.weight * total


def lesson_loss(example: Example, logits: torch.Tensor, sentences: torch.Tensor, single_label: bool) -> torch.Tensor:
    """What the teacher's probabilities teach: cross-entropy, whose optimum is the teacher's own logits (ZLPR's is half of them).

    Topics and salience count in full where no reader's label stands beside them.
    """
    topics, evidence, salience = (
        torch.from_numpy(array).to(logits.device)
        for array in (example.lesson.topics, example.lesson.evidence, example.lesson.salience)
    )
    cross_entropy = functional.binary_cross_entropy_with_logits
    share = 1.0 if example.salience is None else TEACHER_SHARE
    total = share * SALIENCE_WEIGHT * cross_entropy(sentences[:, -1], salience)
    if not len(logits):
        return total
    share = 1.0 if example.topics is None else TEACHER_SHARE
    if single_label:
        return total + share * functional.cross_entropy(logits.unsqueeze(0), topics.unsqueeze(0))
    scale = math.sqrt(len(logits))
    return total + scale * (
        share * cross_entropy(logits, topics) + EVIDENCE_WEIGHT * cross_entropy(sentences[:, :-1], evidence)
    )


def topic_loss(logits: torch.Tensor, target: torch.Tensor, single_label: bool) -> torch.Tensor:
    """``logits`` and labels ``target`` [T] -> loss.

    With one topic a document cross-entropy; else ZLPR (Su et al. 2022, "ZLPR: A novel loss for multi-label classification"),
    which ranks the document's topics above 0 and the others below, and in which few positives are not outweighed by many
    negatives: with 65 topics an epoch teaches what takes binary cross-entropy two.
    """
    if single_label:
        return functional.cross_entropy(logits.unsqueeze(0), target.unsqueeze(0))
    zero = logits.new_zeros(1)
    wrong = torch.logsumexp(torch.cat([logits + torch.log1p(-target), zero]), dim=0)
    missed = torch.logsumexp(torch.cat([torch.log(target) - logits, zero]), dim=0)
    return wrong + missed


def evidence_loss(topics: torch.Tensor, marked: torch.Tensor, logits: torch.Tensor) -> torch.Tensor:
    """``topics`` [T], ``marked`` and ``logits`` [N, T] -> loss.

    Marked sentences prove their topic, and no sentence proves a topic that the document has not. The other sentences are
    left open, since readers mark the most telling ones only.
    """
    missed = (functional.softplus(-logits) * marked).sum(0) / marked.sum(0).clamp_min(1)
    false = functional.softplus(logits).mean(0) * (1 - topics)
    return (missed + false).sum() / math.sqrt(len(topics))
