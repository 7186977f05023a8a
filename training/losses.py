"""What training minimises: the loss of a document's topics, of their evidence, and of its key sentences."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch.nn import functional

from training.examples import Example

SALIENCE_WEIGHT = 0.5
EVIDENCE_WEIGHT = 0.5
TEACHER_SHARE = 0.5  # of the teacher's opinion in the target, where a reader's label stands beside it


def document_loss(example: Example, logits: torch.Tensor, sentences: torch.Tensor, single_label: bool) -> torch.Tensor:
    """Pooled ``logits`` [T] and the scores of the sentences [N, T + 1], salience last -> loss of what the row teaches."""
    total = torch.zeros((), device=logits.device)
    lesson, device = example.lesson, logits.device
    target = _target(example.topics, None if lesson is None else lesson.topics, device)
    if target is not None:
        total = total + topic_loss(logits, target, single_label)
        if example.evidence is not None and example.topics is not None:
            marked, topics = (torch.from_numpy(labels).to(device) for labels in (example.evidence, example.topics))
            total = total + EVIDENCE_WEIGHT * evidence_loss(topics, marked, sentences[:, :-1])
        if lesson is not None and not single_label:
            taught = torch.from_numpy(lesson.evidence).to(device)
            losses = functional.binary_cross_entropy_with_logits(sentences[:, :-1], taught)
            total = total + EVIDENCE_WEIGHT * losses * math.sqrt(len(logits))
    target = _target(example.salience, None if lesson is None else lesson.salience, device)
    if target is not None:
        total = total + SALIENCE_WEIGHT * functional.binary_cross_entropy_with_logits(sentences[:, -1], target)
    return total


def _target(labels: np.ndarray | None, taught: np.ndarray | None, device: torch.device) -> torch.Tensor | None:
    """A reader's labels, a teacher's probabilities, or what lies between."""
    if taught is not None and labels is not None:
        labels = TEACHER_SHARE * taught + (1 - TEACHER_SHARE) * labels
    elif labels is None:
        labels = taught
    return None if labels is None else torch.from_numpy(labels).to(device)


def topic_loss(logits: torch.Tensor, target: torch.Tensor, single_label: bool) -> torch.Tensor:
    """``logits`` and ``target`` (labels or probabilities) [T] -> loss.

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
