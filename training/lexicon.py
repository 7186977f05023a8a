"""Fits the lexicon that stands beside the network: a linear support vector machine a topic on TF-IDF of tokens."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.svm import LinearSVC

from serving.lexicon import PAIRS, Lexicon, terms
from serving.windows import document_tokens
from training.examples import Example

_MIN_DOCUMENTS = 2  # a token or pair seen in fewer tells nothing
_C = 2.0  # pairs included; for tokens alone 1 was best


def fit_lexicon(
    examples: Sequence[Example], vocabulary: int, topics: int, special: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray] | None:
    """``table`` float16 [vocabulary + PAIRS, 1 + T] and ``bias`` float32 [T] for ``serving.lexicon``; None without labels.

    ``special`` are ids that are no words: a window may hold one in place of a sentence without any token.
    """
    labelled = [example for example in examples if example.topics is not None]
    if not labelled or not topics:
        return None
    truth, weights = np.stack([example.topics for example in labelled]), np.array([example.weight for example in labelled])
    counts = _counts(labelled, vocabulary)
    transformer = TfidfTransformer(sublinear_tf=True).fit(counts)
    rare = np.bincount(counts.indices, minlength=counts.shape[1]) < _MIN_DOCUMENTS
    rare[list(special)] = True
    transformer.idf_ = np.where(rare, 0.0, transformer.idf_)
    features = transformer.transform(counts)
    table, bias = np.zeros((counts.shape[1], 1 + topics), dtype=np.float16), np.zeros(topics, dtype=np.float32)
    table[:, 0] = transformer.idf_
    for topic in range(topics):
        if 0 < truth[:, topic].sum() < len(truth):  # else there is nothing to tell apart
            machine = LinearSVC(C=_C, random_state=0).fit(features, truth[:, topic], sample_weight=weights)
            table[:, 1 + topic], bias[topic] = machine.coef_[0], machine.intercept_[0]
    return table, bias


def _counts(examples: Sequence[Example], vocabulary: int) -> csr_matrix:
    """Counts of tokens and pairs, a row a document."""
    indices, lengths = [], [0]
    for example in examples:
        found, _ = terms(document_tokens(example.windows), vocabulary)
        indices.append(found)
        lengths.append(len(found))
    columns = np.concatenate(indices)
    counts = csr_matrix((np.ones(len(columns)), columns, np.cumsum(lengths)), shape=(len(examples), vocabulary + PAIRS))
    counts.sum_duplicates()
    return counts


def lexical_logits(lexicon: tuple[np.ndarray, np.ndarray] | None, examples: Sequence[Example]) -> list[np.ndarray | None]:
    """The lexicon's logits [T] of each document; None without a lexicon."""
    if lexicon is None:
        return [None] * len(examples)
    reader = Lexicon(*lexicon)
    return [reader.score(document_tokens(example.windows), len(example.document.sentences))[0] for example in examples]
