"""What the words alone say about a topic: a linear model on TF-IDF of the tokens, beside the network.

A fine-tuned encoder sees meaning but is taught by a few thousand documents; a linear model on words needs far fewer to know
that 养老 or 融资 tell a topic. Each errs elsewhere, so their weighted sum is better than either ("wide and deep", Cheng et
al. 2016). The same function gives the score of a document and of each sentence, as evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.windows import TITLE, Window


class Lexicon:
    """Weights of tokens: ``table`` float32 [vocabulary, 1 + T], inverse document frequencies first, and ``bias`` [T]."""

    def __init__(self, table: np.ndarray, bias: np.ndarray) -> None:
        self._idf, self._weights = table[:, 0].astype(np.float32), table[:, 1:].astype(np.float32)
        self._bias = bias.astype(np.float32)

    @classmethod
    def load(cls, file: Path, bias: Sequence[float]) -> Lexicon:
        """Read the table that training wrote (no pickle).

        Raises:
            ValueError: it is not such a table.
        """
        table = np.load(file, allow_pickle=False)
        if table.ndim != 2 or table.shape[1] != 1 + len(bias) or not np.isfinite(table).all():
            raise ValueError(f"{file.name} is no table of {1 + len(bias)} columns")
        return cls(table, np.asarray(bias))

    def score(self, windows: Sequence[Window], sentences: int) -> tuple[np.ndarray, np.ndarray]:
        """Logits of a document [T] and of each of its sentences [sentences, T]."""
        tokens, owners = document_tokens(windows)
        document = self._logits(tokens, np.zeros_like(owners), 1)[0]
        body = owners > 0
        return document, self._logits(tokens[body], owners[body] - 1, sentences)

    def _logits(self, tokens: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
        """Rows of tokens -> logits [count, T]: sublinear term frequency, unit length, as scikit-learn's TfidfVectorizer."""
        size = len(self._idf)
        known = tokens < size
        cells, frequency = np.unique(rows[known] * size + tokens[known], return_counts=True)
        rows, tokens = np.divmod(cells, size)
        values = ((1 + np.log(frequency)) * self._idf[tokens]).astype(np.float32)
        length = np.sqrt(np.bincount(rows, values**2, count))
        sums = np.zeros((count, self._weights.shape[1]), dtype=np.float32)
        np.add.at(sums, rows, values[:, None] * self._weights[tokens])
        return sums / np.maximum(length, 1e-9)[:, None].astype(np.float32) + self._bias


def document_tokens(windows: Sequence[Window]) -> tuple[np.ndarray, np.ndarray]:
    """All tokens of a document and the row of each: 0 for the title, which is counted once, then the sentences."""
    tokens: list[int] = []
    owners: list[int] = []
    for number, window in enumerate(windows):
        for piece in window.pieces:
            if piece.sentence != TITLE or number == 0:
                part = window.token_ids[piece.start : piece.end]
                tokens.extend(part)
                owners.extend([piece.sentence - TITLE] * len(part))
    return np.asarray(tokens, dtype=np.int64), np.asarray(owners, dtype=np.int64)
