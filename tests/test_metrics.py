"""Figures against scikit-learn and hand-computed values."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_recall_fscore_support

from training.metrics import expected_calibration_error, key_sentence_f1, summary_rouge, topic_metrics


def test_topics_against_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((60, 4)) < 0.3).astype(int)
    truth[:, 3] = 0
    scores = np.clip(truth * 0.4 + rng.random((60, 4)) * 0.6, 0, 1)
    decided = (scores > 0.5).astype(int)
    figures = topic_metrics(truth, scores, decided, list("abcd"), single_label=False)
    for i, topic in enumerate("abcd"):
        p, r, f, s = precision_recall_fscore_support(truth[:, i], decided[:, i], average="binary", zero_division=0)
        row = figures["per_topic"][topic]
        assert (row["precision"], row["recall"], row["f1"]) == pytest.approx((p, r, f))
        assert row["support"] == truth[:, i].sum()
    micro = precision_recall_fscore_support(truth, decided, average="micro")
    assert figures["micro_f1"] == pytest.approx(micro[2])
    assert figures["macro_f1"] == pytest.approx(np.mean([figures["per_topic"][t]["f1"] for t in "abc"]))
    assert figures["map"] == pytest.approx(np.mean([average_precision_score(truth[:, i], scores[:, i]) for i in range(3)]))
    assert figures["exact_match"] == pytest.approx((truth == decided).all(1).mean())
    assert figures["per_topic"]["d"]["average_precision"] is None
    assert figures["accuracy"] is None


def test_one_topic_alone() -> None:
    truth, scores = np.array([[1], [0], [1], [0]]), np.array([[0.9], [0.8], [0.2], [0.1]])
    figures = topic_metrics(truth, scores, (scores > 0.5).astype(int), ["a"], single_label=False)
    assert figures["per_topic"]["a"] == {
        "support": 2, "precision": 0.5, "recall": 0.5, "f1": 0.5, "average_precision": pytest.approx((1 + 2 / 3) / 2),
    }
    assert figures["micro_f1"] == figures["macro_f1"] == figures["exact_match"] == 0.5


def test_single_label_accuracy() -> None:
    truth = np.eye(3, dtype=int)
    scores = np.array([[0.6, 0.3, 0.1], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]])
    figures = topic_metrics(truth, scores, (scores == scores.max(1, keepdims=True)).astype(int), list("abc"), single_label=True)
    assert figures["accuracy"] == pytest.approx(2 / 3)


def test_no_decision_and_no_positive() -> None:
    nothing = np.zeros((3, 2), int)
    figures = topic_metrics(nothing, np.zeros((3, 2)), nothing, ["a", "b"], single_label=False)
    assert figures["micro_f1"] == 0 and figures["macro_f1"] is None and figures["map"] is None and figures["exact_match"] == 1


def test_calibration_error_by_hand() -> None:
    truth, scores = np.array([[1, 0], [1, 0]]), np.array([[0.95, 0.05], [0.75, 0.15]])
    assert expected_calibration_error(truth, scores) == pytest.approx((0.05 + 0.05 + 0.25 + 0.15) / 4)
    assert expected_calibration_error(np.array([[1]]), np.array([[1.0]])) == 0


def test_key_sentence_f1_by_hand() -> None:
    assert key_sentence_f1([{0, 1}, {2}, set()], [{0}, {2, 3}, {1}]) == pytest.approx(2 * 2 / (3 + 3))
    assert key_sentence_f1([set()], [{1}]) is None


def test_rouge_is_null_without_references() -> None:
    assert summary_rouge([""], ["甲"]) == {"rouge1": None, "rouge2": None, "rougeL": None}
    assert summary_rouge(["甲乙", ""], ["甲丙", "丁"])["rouge1"] == pytest.approx(0.5)
