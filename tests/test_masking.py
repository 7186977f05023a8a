"""Packing of text and hiding of spans, for pre-training."""

from __future__ import annotations

import numpy as np

from training.masking import IGNORED, hide_spans, pack

CLS, SEP, MASK, WORDS = 0, 2, 9, range(10, 500)


def test_pack_keeps_the_order_and_marks_ends() -> None:
    sequences = pack([[11, 12, 13], [14], [15, 16, 17, 18]], 5, CLS, SEP)
    assert sequences.tolist() == [[CLS, 11, 12, 13, SEP], [CLS, 14, SEP, 15, 16]]  # 17 and 18 do not fill a sequence


def test_pack_of_nothing() -> None:
    assert pack([], 8, CLS, SEP).shape == (0, 8)


def hidden(share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    sequences = np.random.default_rng(1).choice(WORDS, size=(200, 64))
    sequences[:, 0], sequences[:, 30] = CLS, SEP
    inputs, labels = hide_spans(sequences, share, MASK, (CLS, SEP, MASK), 500, np.random.default_rng(seed))
    return sequences, inputs, labels


def test_the_share_of_hidden_tokens() -> None:
    for share in (0.1, 0.2, 0.3):
        sequences, _, labels = hidden(share)
        free = ~np.isin(sequences, (CLS, SEP))
        assert abs((labels != IGNORED).sum() / free.sum() - share) < 0.1 * share


def test_labels_are_what_was_hidden_and_the_rest_is_untouched() -> None:
    sequences, inputs, labels = hidden(0.2)
    chosen = labels != IGNORED
    assert (labels[chosen] == sequences[chosen]).all()
    assert (inputs[~chosen] == sequences[~chosen]).all()
    assert not chosen[:, [0, 30]].any()


def test_most_hidden_tokens_become_the_mask_and_a_few_stay() -> None:
    sequences, inputs, labels = hidden(0.2)
    chosen = labels != IGNORED
    assert abs((inputs[chosen] == MASK).mean() - 0.8) < 0.03
    assert abs((inputs[chosen] == sequences[chosen]).mean() - 0.1) < 0.03


def test_spans_are_hidden_not_scattered_tokens() -> None:
    _, _, labels = hidden(0.2)
    chosen = labels != IGNORED
    after = chosen[:, 1:][chosen[:, :-1]].mean()
    assert after > 0.4  # scattered tokens would give the share itself, 0.2


def test_the_same_seed_hides_the_same() -> None:
    assert (hidden(0.2)[1] == hidden(0.2)[1]).all()
    assert (hidden(0.2)[1] != hidden(0.2, seed=1)[1]).any()
