"""Calibration recovers what distorted the scores; thresholds favour F1."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize

from serving.calibration import sigmoid
from serving.reading import read
from serving.summary import Rule
from training import calibrate
from training.calibrate import choose_keys, choose_summary, choose_thresholds, fit_calibration, importance
from training.data import Row
from training.examples import Example
from training.metrics import expected_calibration_error
from training.passes import Prediction

PLAIN = Rule(0.0, 0.0)


def test_a_known_distortion_is_found() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 2, (4000, 3))
    truth = (rng.random(true.shape) < sigmoid(true)).astype(float)
    distorted = (true - 0.5) * 3
    fitted = fit_calibration(distorted, None, truth, single_label=False)
    assert fitted.slope == pytest.approx(1 / 3, rel=0.1) and fitted.lexicon == 0
    assert fitted.offsets == pytest.approx(np.full(3, 0.5), abs=0.2)
    after = expected_calibration_error(truth, fitted.probabilities(distorted, None, False))
    assert after < 0.02 < expected_calibration_error(truth, sigmoid(distorted))


def test_the_lexicon_is_weighed_by_what_it_adds() -> None:
    rng = np.random.default_rng(0)
    seen, words = rng.normal(0, 2, (2, 3000, 3))
    truth = (rng.random(seen.shape) < sigmoid(seen + 0.5 * words)).astype(float)
    fitted = fit_calibration(seen, words, truth, single_label=False)
    assert (fitted.slope, fitted.lexicon) == (pytest.approx(1, rel=0.1), pytest.approx(0.5, rel=0.1))
    assert expected_calibration_error(truth, fitted.probabilities(seen, words, False)) < 0.02
    assert fit_calibration(seen, -words, truth, single_label=False).lexicon == 0, "what misleads is left out"


def test_temperature_for_single_label() -> None:
    rng = np.random.default_rng(0)
    true = rng.normal(0, 1.5, (4000, 4))
    shares = np.exp(true) / np.exp(true).sum(1, keepdims=True)
    truth = np.eye(4)[[rng.choice(4, p=p) for p in shares]]
    fitted = fit_calibration(true * 5, None, truth, single_label=True)
    assert fitted.slope == pytest.approx(0.2, rel=0.1) and not fitted.offsets.any()


def test_hundreds_of_topics_are_fitted_to_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a gradient by differences the search gave up on so many parameters, far from the minimum."""
    ends = []
    monkeypatch.setattr(calibrate, "minimize", lambda *a, **options: ends.append(minimize(*a, **options)) or ends[-1])
    rng = np.random.default_rng(0)
    truth = (rng.random((100, 400)) < 0.03).astype(np.float32)
    logits, words = rng.normal(4 * truth - 6, 1), rng.normal(truth - 1, 0.3)
    fitted = fit_calibration(logits.astype(np.float32), words.astype(np.float32), truth, single_label=False)
    assert ends[0].success and np.abs(ends[0].jac).max() < 1e-3

    def loss(slope: float, lexicon: float, offsets: np.ndarray) -> float:
        z = logits * slope + words * lexicon + offsets
        spread = 2 * ((offsets - offsets.mean()) ** 2).sum() + 0.5 * (np.log(slope) ** 2 + 0.1 * lexicon**2 + offsets.mean() ** 2)
        return (np.logaddexp(0, z) - z * truth).sum() + spread

    least, steps = loss(fitted.slope, fitted.lexicon, fitted.offsets), rng.normal(0, 0.05, (20, 400))
    others = [loss(fitted.slope * s, fitted.lexicon * w, fitted.offsets) for s, w in ((0.97, 1), (1.03, 1), (1, 0.97), (1, 1.03))]
    assert least < min(*others, *(loss(fitted.slope, fitted.lexicon, fitted.offsets + step) for step in steps))
    fit_calibration(logits, words, np.eye(400)[:100], single_label=True)
    assert len(ends[1].x) == 2, "no offsets to look for"


@pytest.mark.parametrize("single", [True, False])
def test_a_perfectly_separated_dev_part_leaves_scores_finite(single: bool) -> None:
    truth = np.eye(2)[[0, 1] * 10]
    fitted = fit_calibration(truth * 8 - 4, truth * 2 - 1, truth, single)
    assert 0 < fitted.slope < 5 and 0 <= fitted.lexicon < 10 and np.isfinite(fitted.offsets).all()


def test_a_dev_part_without_positives_does_not_silence_the_model() -> None:
    truth, logits = np.zeros((3, 2)), np.array([[-1.0, -2.0], [-3.0, -1.0], [-2.0, -2.0]])
    fitted = fit_calibration(logits, None, truth, single_label=False)
    assert fitted.slope < 10 and (fitted.offsets > -3).all()
    assert choose_thresholds(fitted.probabilities(logits, None, False), truth).tolist() == [0.5, 0.5]


def test_thresholds_maximise_f1_and_scarce_topics_stay_near_the_others() -> None:
    rng = np.random.default_rng(1)
    truth = (rng.random((400, 2)) < 0.3).astype(float)
    scores = np.where(truth > 0, rng.uniform(0.25, 0.6, truth.shape), rng.uniform(0, 0.2, truth.shape))
    thresholds = choose_thresholds(scores, truth)
    assert ((thresholds > 0.18) & (thresholds < 0.3)).all()
    truth[:, 1] = 0
    truth[0, 1], scores[0, 1] = 1, 0.89
    assert choose_thresholds(scores, truth)[1] < 0.7


def example(text: str, marked: list[int]) -> Example:
    document = read(text)
    salience = np.zeros(len(document.sentences), np.float32)
    salience[marked] = 1
    sentences = document.sentence_texts()
    row = Row(text, None, tuple(sentences[i] for i in marked) or None, None, "", "", "f:1")
    return Example(document, [], np.zeros((1, 5), np.float32), None, salience, row)


def test_redundancy_is_chosen_where_repetition_hurts() -> None:
    text = "医院启动了新的基因筛查项目工作。\n医院启动基因筛查项目工作安排。\n费用全部由市政府财政承担。\n"
    text += "其他内容与此无关紧要，仅作凑数之用。\n" * 14
    repeated = example(text, [0, 2])
    logits = np.full((len(repeated.document.sentences), 1), -6.0)
    logits[:3, 0] = 3.0, 2.5, 1.5
    assert len(choose_keys(repeated, logits[:, 0], PLAIN)) == 2
    rule = choose_summary([repeated], [Prediction(np.zeros(0), logits)])
    assert choose_keys(repeated, logits[:, 0], PLAIN) == {0, 1}
    assert choose_keys(repeated, logits[:, 0], rule) == {0, 2}


def test_redundancy_has_a_default_without_marks() -> None:
    assert choose_summary([example("甲。", [])], [Prediction(np.zeros(0), np.zeros((1, 1)))]) == Rule(0.3, 0.0)


def test_the_floor_is_chosen_where_fewer_sentences_carry_the_document() -> None:
    text = "全市医保基金支出下降三成。" + "".join(f"第{i}位来宾走上了台来讲话了。" for i in range(40))
    long = example(text, [0])
    logits = np.full((len(long.document.sentences), 1), -3.0)
    logits[0, 0] = 2.0
    assert len(choose_keys(long, logits[:, 0], PLAIN)) == 2  # the others are alike
    rule = choose_summary([long], [Prediction(np.zeros(0), logits)])
    assert choose_keys(long, logits[:, 0], rule) == {0}


def test_the_floor_is_chosen_by_the_summaries_where_no_sentence_is_marked() -> None:
    text = "全市医保基金支出下降三成。费用由财政承担五千万元。" + "".join(f"第{i}位来宾走上了台来讲话了。" for i in range(40))
    document = read(text)
    logits = np.linspace(1.0, -3.0, len(document.sentences))[:, None]
    for summary, expected in (("医保基金支出下降三成", {0}), ("医保基金支出下降三成，财政承担五千万元", {0, 1})):
        row = Row(text, None, None, summary, "", "", "f:1")
        short = Example(document, [], np.zeros((1, 5), np.float32), None, None, row)
        rule = choose_summary([short], [Prediction(np.zeros(0), logits)])
        assert choose_keys(short, logits[:, 0], rule) == expected


def test_what_is_said_twice_is_summarised_where_readers_write_summaries() -> None:
    text = "费用由财政承担五千万元。市医院今天宣布启动新生儿基因筛查项目。市医院启动的新生儿基因筛查项目覆盖全市。天气转晴。"
    document = read(text)
    logits = np.array([0.3, 0.2, 0.0, -3.0])[:, None]
    row = Row(text, None, None, "市医院启动新生儿基因筛查项目", "", "", "f:1")
    told = Example(document, [], np.zeros((1, 5), np.float32), None, None, row)
    rule = choose_summary([told], [Prediction(np.zeros(0), logits)])
    assert rule.sharpness is not None and choose_keys(told, logits[:, 0], rule) == {1}
    assert choose_keys(told, logits[:, 0], PLAIN) == {0}


def test_labels_drawn_evenly_are_fitted_to_an_archive_where_a_topic_is_rare() -> None:
    """Of the rows half have the topic, of the archive a tenth: scores mean what they say there, and fewer pass."""
    rng = np.random.default_rng(0)
    truth = (np.arange(4_000) % 2)[:, None].astype(np.float32)
    logits = rng.normal(2 * truth - 1, 1.5)
    weights = importance(truth, np.array([0.1]))
    assert np.average(truth, weights=weights) == pytest.approx(0.1)
    assert weights.sum() == pytest.approx(len(truth))
    even, rare = (fit_calibration(logits, None, truth, False, counts) for counts in (None, weights))
    assert np.average(even.probabilities(logits, None, False), weights=weights) > 0.25
    scores = rare.probabilities(logits, None, False)
    assert np.average(scores, weights=weights) == pytest.approx(0.1, abs=0.01)
    before, after = choose_thresholds(scores, truth), choose_thresholds(scores, truth, weights)
    assert (scores >= after).mean() < 0.8 * (scores >= before).mean()
    nearly_none = importance(truth, np.array([0.0]))
    assert np.average(truth, weights=nearly_none) == pytest.approx(0.05), "a count of few documents may miss a topic altogether"
