"""What the words alone say about a topic: a linear model on TF-IDF of tokens and pairs of tokens, beside the network.

A fine-tuned encoder sees meaning but is taught by a few thousand documents; a linear model on words needs far fewer to know
that 养老 or 融资 tell a topic. Each errs elsewhere, so their weighted sum is better than either ("wide and deep", Cheng et
al. 2016). The same function gives the score of a document and of each sentence, as evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from serving.windows import Tokens

PAIRS = 1 << 17  # rows of the table for pairs of neighbouring tokens, which share them by hash
_MULTIPLIER = 1_000_003
_FULL_SENTENCE = 56  # tokens (80 characters); a shorter one says less. Best of several on the evidence marked in the dev part


class Lexicon:
    """Weights of tokens and of pairs of them: ``table`` [vocabulary + PAIRS, 1 + T], and ``bias`` [T].

    The first column of the table holds inverse document frequencies.
    """

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
        if table.ndim != 2 or table.shape[1] != 1 + len(bias) or len(table) <= PAIRS or not np.isfinite(table).all():
            raise ValueError(f"{file.name} is no table of {1 + len(bias)} columns and more than {PAIRS} rows")
        return cls(table, np.asarray(bias))

    def score(self, of_document: Tokens, sentences: int) -> tuple[np.ndarray, np.ndarray]:
        """Logits of a document [T] and of each of its sentences [sentences, T], which count by their length up to a limit."""
        vocabulary = len(self._idf) - PAIRS
        tokens, owners = terms(of_document, vocabulary)
        document = self._logits(tokens, np.zeros_like(owners), 1)[0]
        body = owners > 0
        tokens, owners = tokens[body], owners[body] - 1
        length = np.bincount(owners[tokens < vocabulary], minlength=sentences)
        share = np.minimum(length / _FULL_SENTENCE, 1).astype(np.float32)[:, None]
        return document, (self._logits(tokens, owners, sentences) - self._bias) * share + self._bias

    def _logits(self, tokens: np.ndarray, rows: np.ndarray, count: int) -> np.ndarray:
        """Rows of tokens -> logits [count, T]: sublinear term frequency, unit length, as scikit-learn's TfidfVectorizer."""
        size = len(self._idf)
        cells, frequency = np.unique(rows * size + tokens, return_counts=True)
        rows, tokens = np.divmod(cells, size)  # sorted by row
        values = ((1 + np.log(frequency)) * self._idf[tokens]).astype(np.float32)
        length = np.sqrt(np.bincount(rows, values**2, count))
        sums = np.zeros((count, self._weights.shape[1]), dtype=np.float32)
        if len(rows):
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            sums[rows[starts]] = np.add.reduceat(values[:, None] * self._weights[tokens], starts)
        return sums / np.maximum(length, 1e-9)[:, None].astype(np.float32) + self._bias


def terms(of_document: Tokens, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the table for all tokens of a document and for all pairs within a sentence, and the owner of each.

    A token beyond the vocabulary is left out. Pairs are hashed (Weinberger et al. 2009, "Feature hashing").
    """
    tokens, owners = of_document
    known = tokens < vocabulary
    tokens, owners = tokens[known], owners[known]
    beside = owners[:-1] == owners[1:]
    pairs = vocabulary + (tokens[:-1] * _MULTIPLIER + tokens[1:])[beside] % PAIRS
    return np.concatenate([tokens, pairs]), np.concatenate([owners, owners[:-1][beside]])
