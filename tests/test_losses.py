"""What each kind of label teaches."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from serving.document import Document
from training.data import Row
from training.examples import Example, Lesson
from training.losses import EVIDENCE_WEIGHT, SALIENCE_WEIGHT, document_loss, evidence_loss, topic_loss

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
    arrays = {name: np.asarray(value, np.float32) for name, value in labels.items() if name != "lesson"}
    return Example(Document("甲。乙。丙。"), [], np.zeros((4, 5), np.float32), arrays.get("topics"), arrays.get("salience"), row,
                   arrays.get("evidence"), labels.get("lesson"))


def test_rows_teach_only_what_they_label() -> None:
    scores = torch.cat([LOGITS, torch.tensor([[1.0], [-1.0], [2.0]])], dim=1)
    pooled = torch.tensor([2.0, -1.0])

    def loss(single: bool = False, **labels) -> float:
        return float(document_loss(example(**labels), pooled, scores, single))

    topics = softplus(-2.0) + softplus(-1.0)
    salience = SALIENCE_WEIGHT * (softplus(-1.0) + softplus(-1.0) + softplus(2.0)) / 3
    assert loss() == 0
    assert loss(topics=[1, 0]) == pytest.approx(topics, rel=1e-5)
    assert loss(salience=[1, 0, 0]) == pytest.approx(salience, rel=1e-5)
    assert loss(topics=[1, 0], salience=[1, 0, 0]) == pytest.approx(topics + salience, rel=1e-5)
    marked = [[1, 0], [0, 0], [0, 0]]
    evidence = EVIDENCE_WEIGHT * float(evidence_loss(torch.tensor([1.0, 0.0]), torch.tensor(marked), LOGITS))
    assert loss(topics=[1, 0], evidence=marked) == pytest.approx(topics + evidence, rel=1e-5)
    assert loss(single=True, topics=[1, 0]) == pytest.approx(softplus(-3.0), rel=1e-5)


def test_topics_are_ranked_above_zero_and_the_others_below() -> None:
    logits = torch.tensor([2.0, -1.0, 0.5], requires_grad=True)
    target = torch.tensor([1.0, 0.0, 0.0])
    loss = topic_loss(logits, target, False)
    expected = math.log(1 + math.exp(-1) + math.exp(0.5)) + math.log(1 + math.exp(-2))  # Su et al. 2022, equation 5
    assert loss.item() == pytest.approx(expected, rel=1e-6)
    loss.backward()
    assert torch.isfinite(logits.grad).all() and (torch.sign(logits.grad) == torch.tensor([-1.0, 1.0, 1.0])).all()
    for target in (torch.zeros(3), torch.ones(3)):
        assert torch.isfinite(topic_loss(logits, target, False))


def test_a_teacher_teaches_what_no_label_says_and_moves_what_one_does() -> None:
    scores = torch.cat([LOGITS, torch.tensor([[1.0], [-1.0], [2.0]])], dim=1).requires_grad_()
    pooled = torch.tensor([0.0, 0.0], requires_grad=True)
    evidence = np.array([[0.9, 0.1], [0.1, 0.1], [0.1, 0.9]], np.float32)
    lesson = Lesson(np.array([0.9, 0.1], np.float32), evidence, np.array([0.9, 0.2, 0.1], np.float32))
    document_loss(example(lesson=lesson), pooled, scores, False).backward()
    assert pooled.grad[0] < 0 < pooled.grad[1]
    assert (torch.sign(scores.grad[:, :2]) == torch.sign(torch.sigmoid(LOGITS) - torch.from_numpy(evidence))).all()
    assert scores.grad[0, 2] < 0 < scores.grad[2, 2]
    labelled = example(topics=[0, 1], lesson=lesson)
    plain, moved = (float(document_loss(e, pooled.detach(), scores.detach(), True)) for e in (example(topics=[0, 1]), labelled))
    unsure = example(lesson=Lesson(lesson.topics * 0, evidence, lesson.salience))
    salience = float(document_loss(unsure, pooled.detach(), scores.detach(), True))
    assert moved == pytest.approx(plain / 2 + math.log(2) / 2 + salience, rel=1e-5), "half the reader's, half the teacher's"


def test_a_network_that_thinks_as_its_teacher_stays() -> None:
    """The optimum of what a lesson teaches is the teacher's own logits, of the document and of each sentence alike."""
    topics, evidence, salience = torch.tensor([2.0, -3.0]), LOGITS, torch.tensor([0.5, -1.0, 2.0])
    lesson = Lesson(*(torch.sigmoid(x).numpy() for x in (topics, evidence, salience)))
    pooled = topics.clone().requires_grad_()
    scores = torch.cat([evidence, salience[:, None]], dim=1).requires_grad_()
    document_loss(example(lesson=lesson), pooled, scores, False).backward()
    assert torch.allclose(pooled.grad, torch.zeros(2), atol=1e-6) and torch.allclose(scores.grad, torch.zeros(3, 3), atol=1e-6)


def test_a_teacher_of_summaries_alone_teaches_salience() -> None:
    lesson = Lesson(np.zeros(0, np.float32), np.zeros((3, 0), np.float32), np.full(3, 0.5, np.float32))
    assert torch.isfinite(document_loss(example(lesson=lesson), torch.zeros(0), torch.ones(3, 1), False))
