"""Text for masked-language-model pre-training: packed sequences of tokens, and spans of them hidden."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

_SPAN_LENGTHS, _SPAN_SHARES = (1, 2, 3, 4), (0.4, 0.3, 0.2, 0.1)  # of MacBERT (Cui et al. 2020)
_REPLACED, _KEPT = 0.1, 0.1  # of the hidden tokens: another token, the same token (Devlin et al. 2019)
IGNORED = -100  # where nothing is to be predicted


def pack(documents: Iterable[Sequence[int]], length: int, cls: int, sep: int) -> np.ndarray:
    """Documents one after another, each ended by ``sep``, cut to sequences that begin with ``cls``: int32 [N, length].

    The tokens left over at the end are dropped.
    """
    stream = np.fromiter((token for tokens in documents for token in (*tokens, sep)), dtype=np.int32)
    room = length - 1
    body = stream[: len(stream) // room * room].reshape(-1, room)
    return np.concatenate([np.full((len(body), 1), cls, dtype=np.int32), body], axis=1)


def hide_spans(
    sequences: np.ndarray, share: float, mask: int, special: Sequence[int], vocabulary: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Hide spans of one to four tokens. Tokens of this vocabulary are mostly words, so whole words go.

    Args:
        sequences: int [N, L].
        share: of the tokens that are not ``special`` to hide, at most 0.3; met to a tenth of it.

    Returns:
        ``input_ids`` int64 [N, L], and ``labels`` int64 [N, L], which hold the hidden tokens and ``IGNORED`` elsewhere.
    """
    inputs = sequences.astype(np.int64)
    free = ~np.isin(inputs, special)
    hidden = np.zeros_like(free)
    mean = float(np.dot(_SPAN_LENGTHS, _SPAN_SHARES))
    starts = rng.random(inputs.shape) < -np.log1p(-share) / mean  # spans overlap; their union is the share, to a tenth of it
    lengths = rng.choice(_SPAN_LENGTHS, size=inputs.shape, p=_SPAN_SHARES)
    for offset in range(max(_SPAN_LENGTHS)):
        reaches = starts & (lengths > offset)
        hidden[:, offset:] |= reaches[:, : inputs.shape[1] - offset]
    hidden &= free
    labels = np.where(hidden, inputs, IGNORED)
    fate = rng.random(inputs.shape)
    other = rng.integers(0, vocabulary, size=inputs.shape)
    inputs = np.where(hidden & (fate >= _REPLACED + _KEPT), mask, inputs)
    return np.where(hidden & (fate < _REPLACED), other, inputs), labels
