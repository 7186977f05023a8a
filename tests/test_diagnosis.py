"""The numbers of the evaluation's report, on a handful of documents counted by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.diagnosis import (
    Bin,
    confusions,
    contradicted,
    curve,
    interval_rows,
    label_next,
    reliability,
    wilson,
    worst,
)
from training.metrics import expected_calibration_error

# Documents a to e, topics x, y, z: x of b is missed and y wrongly given; z of d is missed; x is wrongly given to e.
TRUTH = np.array([[1, 0, 0], [1, 0, 0], [0, 1, 0], [0, 1, 1], [0, 0, 0]])
SCORES = np.array([[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.1, 0.95, 0.3], [0.0, 0.6, 0.45], [0.85, 0.2, 0.1]])
DECIDED = (SCORES >= 0.5).astype(int)


def test_confusions() -> None:
    assert confusions(TRUTH, DECIDED).tolist() == [
        [0, 1, 0, 0],  # x missed: y wrongly given in b
        [0, 0, 0, 0],
        [0, 0, 0, 1],  # z missed in d, nothing wrongly given
        [1, 0, 0, 2],  # nothing missed: x wrongly given to e; a and c are right
    ]


def test_worst_are_the_furthest_from_their_label() -> None:
    assert worst(TRUTH, SCORES, DECIDED, 9) == [4, 1, 3]  # 0.85, 0.8, 0.55
    assert worst(TRUTH, SCORES, DECIDED, 1) == [4]
    assert worst(TRUTH, TRUTH * 1.0, TRUTH, 9) == []


def test_a_curve_runs_from_all_found_to_none() -> None:
    assert curve(TRUTH[:, 0], SCORES[:, 0]) == [
        (1.0, pytest.approx(2 / 5)), (1.0, pytest.approx(2 / 3)), (0.5, 0.5), (0.5, 1.0), (0.0, 1.0),
    ]
    rng = np.random.default_rng(0)
    many = curve(rng.integers(0, 2, 5000), rng.random(5000))
    assert len(many) <= 1002 and many[0][0] == 1 and many[-1] == (0, 1)


def test_reliability_is_what_ece_averages() -> None:
    bins = reliability(TRUTH, SCORES)
    assert sum(b.cells for b in bins) == TRUTH.size
    assert bins[0] == Bin(0.0, 0.1, 2, 0.0, 0.0) and bins[-1] == Bin(0.9, 1.0, 2, pytest.approx(0.925), 1.0)
    gaps = sum(b.cells * abs(b.mean - b.share) for b in bins) / TRUTH.size
    assert gaps == pytest.approx(expected_calibration_error(TRUTH, SCORES))


def test_intervals() -> None:
    low, high = wilson(16, 20)
    assert low == pytest.approx(0.584, abs=1e-3) and high == pytest.approx(0.919, abs=1e-3)
    assert wilson(0, 0) == (0, 1) and wilson(5, 5)[1] == 1 and wilson(0, 5)[0] == pytest.approx(0)
    x, y, z = interval_rows(TRUTH, DECIDED, ["x", "y", "z"])
    assert [x[key] for key in ("support", "hits", "missed", "wrong", "few")] == [2, 1, 1, 1, True]
    assert [z[key] for key in ("support", "hits", "missed", "wrong")] == [1, 0, 1, 0] and y["recall_interval"][1] == 1


def test_planted_label_errors_are_found() -> None:
    truth = np.zeros((300, 3), int)
    truth[np.arange(300), np.arange(300) % 3] = 1
    scores = np.where(truth, 0.97, 0.02)
    wrong = [(7, 0), (7, 1), (50, 2), (111, 0)]
    for cell in wrong:
        truth[cell] = 1 - truth[cell]
    assert sorted(zip(*np.nonzero(contradicted(truth, scores)))) == wrong
    truth[:, 2] = 1  # cleanlab refuses such a topic
    assert not contradicted(truth, scores)[:, 2].any()


def test_what_to_label_next() -> None:
    scores = np.array([[0.5, 0.0], [0.9, 0.0], [0.5, 0.0], [0.0, 0.45], [0.1, 0.1]])
    openings = ["a", "b", "a", "c", "d"]
    found = label_next(scores, [0.5, 0.5], [0.4, 0.8], openings, 9)
    assert [(d.document, d.topic) for d in found] == [(3, 1), (0, 0), (4, 1), (1, 0)]  # 2 begins like 0
    assert found[0].worth == pytest.approx(0.9 * 0.8) and found[1].worth == pytest.approx(0.4)
    assert [d.document for d in label_next(scores, [0.5, 0.5], [0.4, 0.8], openings, 1)] == [3]
    single = np.array([[0.34, 0.33, 0.33], [0.98, 0.01, 0.01]])
    assert [(d.document, d.topic) for d in label_next(single, None, [1, 1, 1], ["a", "b"], 9)] == [(0, 0), (1, 0)]
    many = label_next(np.full((40, 2), 0.5) * [1, 0.9], [0.5, 0.5], [1, 1], [str(i) for i in range(40)], 40)
    assert len(many) == 5  # for the sake of one topic
    assert label_next(np.zeros((0, 2)), [0.5, 0.5], [1, 1], [], 9) == []
