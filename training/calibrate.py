"""What is fitted on the dev part once the weights are fixed: calibration, thresholds, and the rule of summaries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np
from scipy.optimize import minimize

from serving.calibration import Calibration, sigmoid
from serving.summary import Rule, choose_sentences, sentence_budget
from training.examples import Example
from training.metrics import key_sentence_f1
from training.passes import Prediction
from training.rouge import rouge_1_2

_SHIFT = 10.0  # times that a topic is taken to be rarer or more frequent than among the labels, at most: a count may miss it
_OFFSET_PENALTY = 2.0  # keeps the offsets of scarce topics near the common one
_LEXICON_PRIOR = 0.1  # of the lexicon's weight, beside the slope's
_PRIOR = 0.5  # keeps slope and common offset finite where the dev part is told apart without error, or has no positive
_GRID = np.round(np.arange(0.1, 0.91, 0.02), 2)
_POOLED_SHARE = 8.0  # weight of all topics' counts in the choice of one topic's threshold; best on halves of a dev part of 294
_REDUNDANCY = (0.0, 0.1, 0.2, 0.3, 0.5, 0.8)
_FLOORS = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_SHARPNESS = (0.35, 0.5, 0.7, 1.0)  # beside a floor of 1: no sentence that makes a summary worse


def stacked(
    predictions: Sequence[Prediction], lexical: Sequence[np.ndarray | None]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Logits of network and lexicon, [documents, topics] each; of the lexicon None unless it judged all of them."""
    words = None if any(row is None for row in lexical) else np.stack(lexical)
    return np.stack([prediction.logits for prediction in predictions]), words


def importance(truth: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """What each label [documents, topics] counts for, so that a topic is as frequent as ``shares`` [T] says.

    Importance weighting (Shimodaira 2000), within a limit.
    """
    own = np.clip(truth.mean(axis=0), 1e-6, 1 - 1e-6)
    shares = np.clip(shares, own / _SHIFT, np.minimum(own * _SHIFT, 1 - (1 - own) / _SHIFT))
    return np.where(truth > 0, shares / own, (1 - shares) / (1 - own))


def fit_calibration(
    logits: np.ndarray, lexical: np.ndarray | None, truth: np.ndarray, single_label: bool, weights: np.ndarray | None = None
) -> Calibration:
    """Weights of network and lexicon, and an offset a topic, that minimise the log loss of [documents, topics] logits.

    Platt scaling (1999) of the sum of both, with one weight of each for all topics and penalised offsets, since a topic may
    have few positives; temperature scaling (Guo et al. 2017), without offsets, where each document has one topic. ``weights`` of
    the labels: see ``importance``.
    """
    topics = logits.shape[1]
    logits, truth = logits.astype(np.float64), truth.astype(np.float64)
    words = np.zeros_like(logits) if lexical is None else lexical.astype(np.float64)
    counts = np.ones_like(truth) if weights is None else weights

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        """With its gradient: differences a parameter would take minutes of many topics, and stop before the minimum."""
        log_slope, lexicon, offsets = parameters[0], parameters[1], parameters[2:]
        slope, mean = np.exp(log_slope), offsets.mean() if len(offsets) else 0.0
        total = _PRIOR * (log_slope**2 + _LEXICON_PRIOR * lexicon**2 + mean**2)
        z = logits * slope + words * lexicon
        if single_label:
            norm = np.logaddexp.reduce(z, axis=1, keepdims=True)
            total += norm.sum() - (z * truth).sum()
            wrong = np.exp(z - norm) - truth
            shifts = offsets
        else:
            z, spread = z + offsets, offsets - mean
            total += (counts * (np.logaddexp(0, z) - z * truth)).sum() + _OFFSET_PENALTY * (spread @ spread)
            wrong = counts * (sigmoid(z) - truth)
            shifts = wrong.sum(axis=0) + 2 * _PRIOR * mean / max(topics, 1) + 2 * _OFFSET_PENALTY * spread
        by_slope = (wrong * logits).sum() * slope + 2 * _PRIOR * log_slope
        by_lexicon = (wrong * words).sum() + 2 * _PRIOR * _LEXICON_PRIOR * lexicon
        return float(total) / len(truth), np.array([by_slope, by_lexicon, *shifts]) / len(truth)

    free = 0 if single_label else topics
    bounds = [(None, None), (0.0, None if lexical is not None else 0.0), *[(None, None)] * free]
    fitted = minimize(loss, np.zeros(2 + free), jac=True, method="L-BFGS-B", bounds=bounds).x
    offsets = np.zeros(topics) if single_label else fitted[2:]
    return Calibration(float(np.exp(fitted[0])), float(fitted[1]), offsets.astype(np.float32))


def fit_decisions(
    examples: Sequence[Example], predictions: Sequence[Prediction], lexical: Sequence[np.ndarray | None], single_label: bool,
    shares: np.ndarray | None = None,
) -> tuple[Calibration, np.ndarray]:
    """Calibration and a threshold a topic, from the documents among these that have topics, some of which must.

    With ``shares`` [T], as if topics were so frequent.
    """
    labelled = [i for i, example in enumerate(examples) if example.topics is not None]
    truth = np.stack([examples[i].topics for i in labelled])
    logits, words = stacked([predictions[i] for i in labelled], [lexical[i] for i in labelled])
    weights = None if shares is None else importance(truth, shares)
    calibration = fit_calibration(logits, words, truth, single_label, weights)
    if single_label:
        return calibration, np.full(truth.shape[1], 0.5)
    return calibration, choose_thresholds(calibration.probabilities(logits, words, False), truth, weights)


def choose_thresholds(scores: np.ndarray, truth: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """The threshold a topic that is best for F1 of its own counts plus a share of all topics' counts.

    The share keeps a topic with few positives from an extreme threshold that happens to fit them. ``weights`` as above.
    """
    weights = np.ones_like(scores) if weights is None else weights
    counts = np.stack([_counts(scores, truth, t, weights) for t in _GRID])  # [grid, topics, (tp, wrong)]
    pooled = counts.sum(axis=1, keepdims=True) * (_POOLED_SHARE / scores.shape[1])
    mixed = counts + pooled
    f1 = 2 * mixed[..., 0] / np.maximum(2 * mixed[..., 0] + mixed[..., 1], 1e-9)
    smooth = np.apply_along_axis(lambda column: np.convolve(np.pad(column, 1, "edge"), np.ones(3) / 3, "valid"), 0, f1)
    best = smooth >= smooth.max(axis=0) - 1e-9
    return np.array([_GRID[np.flatnonzero(column)[column.sum() // 2]] for column in best.T])  # the middle of equally good ones


def _counts(scores: np.ndarray, truth: np.ndarray, threshold: float, weights: np.ndarray) -> np.ndarray:
    decided = scores >= threshold
    parts = decided & (truth > 0), decided != (truth > 0)
    return np.stack([(part * weights).sum(axis=0) for part in parts], axis=1)


def choose_summary(examples: Sequence[Example], predictions: Sequence[Prediction]) -> Rule:
    """The rule that makes the best summaries: redundancy and floor in turn; without marks, a sharpness if better."""

    @cache  # the choices below ask for some rules twice
    def value(rule: Rule) -> float | None:
        return summary_score(examples, predictions, rule)

    def best(rules: Iterable[Rule]) -> Rule:
        return max(rules, key=value)

    if value(Rule(_REDUNDANCY[0], _FLOORS[0])) is None:
        return Rule(_REDUNDANCY[3], _FLOORS[0])
    rule = best(Rule(weight, _FLOORS[0]) for weight in _REDUNDANCY)
    rule = best(rule._replace(floor=floor) for floor in _FLOORS)
    rule = best(rule._replace(redundancy=weight) for weight in _REDUNDANCY)
    if any(example.row.key_sentences for example in examples):
        return rule
    return best([rule, *(Rule(0.0, 1.0, sharpness) for sharpness in _SHARPNESS)])


def summary_score(
    examples: Sequence[Example], predictions: Sequence[Prediction], rule: Rule = Rule(0.0, 0.0)
) -> float | None:
    """F1 of the marked key sentences; where none is marked, mean of ROUGE-1 and ROUGE-2 with the summaries given; else None."""
    chosen = [choose_keys(e, p.sentences[:, -1], rule) for e, p in zip(examples, predictions)]
    marked = [(set(np.flatnonzero(e.salience).tolist()), keys) for e, keys in zip(examples, chosen) if e.row.key_sentences]
    if any(gold for gold, _ in marked):
        return key_sentence_f1(*zip(*marked))
    pairs = [
        (e.row.summary, "\n".join(e.document.sentence_texts()[i] for i in sorted(keys)))
        for e, keys in zip(examples, chosen) if e.row.summary
    ]
    return float(np.mean([rouge_1_2(*pair) for pair in pairs])) if pairs else None


def choose_keys(example: Example, salience_logits: np.ndarray, rule: Rule) -> set[int]:
    """The sentences that the service would take for the summary."""
    relevance = sigmoid(salience_logits.astype(np.float64))
    document = example.document
    return set(choose_sentences(document.sentence_texts(), relevance, sentence_budget(len(document.text)), rule))
