"""What each kind of label teaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from serving.document import Document
from training.data import Row
from training.examples import Example
from training.losses import EVIDENCE_WEIGHT, SALIENCE_WEIGHT, document_loss, evidence_loss

LOGITS = torch.tensor([[3.0, -1.0], [-2.0, 0.5], [0.0, -4.0]])


def softplus(x: float) -> float:
    return math.log1p(math.exp(x))


def test_evidence_raises_marked_sentences_and_lowers_absent_topics() -> None:
    topics, marked = torch.tensor([1.0, 0.0]), torch.tensor([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])
    missed = (softplus(-3.0) + softplus(0.0)) / 2
    false = (softplus(-1.0) + softplus(0.5) + softplus(-4.0)) / 3
    assert float(evidence_loss(topics, marked, LOGITS)) == pytest.approx((missed + false) / math.sqrt(2), rel=1e-5)
    logits = LOGITS.clone().requires_grad_()
    evidence_loss(topics, marked, logits).backward()
    assert logits.grad[1, 0] == 0, "a sentence that is not marked is left open"
    assert (logits.grad[[0, 2], 0] < 0).all() and (logits.grad[:, 1] > 0).all()


def example(**labels) -> Example:
    row = Row("甲。乙。丙。", None, None, None, "", "", "")
    arrays = {name: np.asarray(value, np.float32) for name, value in labels.items()}
    return Example(Document("甲。乙。丙。"), [], np.zeros((4, 5), np.float32), arrays.get("topics"), arrays.get("salience"), row,
                   arrays.get("evidence"))


def test_rows_teach_only_what_they_label() -> None:
    scores = torch.cat([LOGITS, torch.tensor([[1.0], [-1.0], [2.0]])], dim=1)
    pooled = torch.tensor([2.0, -1.0])

    def loss(single: bool = False, **labels) -> float:
        return float(document_loss(example(**labels), pooled, scores, single))

    topics = (softplus(-2.0) + softplus(-1.0)) / 2 * math.sqrt(2)
    salience = SALIENCE_WEIGHT * (softplus(-1.0) + softplus(-1.0) + softplus(2.0)) / 3
    assert loss() == 0
    assert loss(topics=[1, 0]) == pytest.approx(topics, rel=1e-5)
    assert loss(salience=[1, 0, 0]) == pytest.approx(salience, rel=1e-5)
    assert loss(topics=[1, 0], salience=[1, 0, 0]) == pytest.approx(topics + salience, rel=1e-5)
    marked = [[1, 0], [0, 0], [0, 0]]
    evidence = EVIDENCE_WEIGHT * float(evidence_loss(torch.tensor([1.0, 0.0]), torch.tensor(marked), LOGITS))
    assert loss(topics=[1, 0], evidence=marked) == pytest.approx(topics + evidence, rel=1e-5)
    assert loss(single=True, topics=[1, 0]) == pytest.approx(softplus(-3.0), rel=1e-5)
