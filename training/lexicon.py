"""Fits the lexicon that stands beside the network: a linear support vector machine a topic on TF-IDF of tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.svm import LinearSVC

from serving.lexicon import PAIRS, Lexicon, terms
from serving.windows import document_tokens
from training.examples import Example
from training.proofs import proof_windows

_MIN_DOCUMENTS = 2  # a token or pair seen in fewer tells nothing
_C = 2.0  # pairs included; for tokens alone 1 was best
_PROOF_WEIGHT = 0.5  # of a window that proves topics, beside its document; between 0.2 and 1 it hardly matters


def fit_lexicon(
    examples: Sequence[Example], vocabulary: int, topics: int, special: Sequence[int] = ()
) -> tuple[np.ndarray, np.ndarray] | None:
    """``table`` float16 [vocabulary + PAIRS, 1 + T] and ``bias`` float32 [T] for ``serving.lexicon``; None without labels.

    ``special`` are ids that are no words: a window may hold one in place of a sentence without any token. Windows of long
    documents that prove topics are learned from too, but don't count for how rare a word is.
    """
    labelled = [example for example in examples if example.topics is not None]
    if not labelled or not topics:
        return None
    parts = [part for example in labelled if len(example.windows) > 1 for part in proof_windows(example)]
    learned = [*labelled, *(replace(part, weight=part.weight * _PROOF_WEIGHT) for part in parts)]
    truth, weights = np.stack([example.topics for example in learned]), np.array([example.weight for example in learned])
    counts = _counts(learned, vocabulary)
    whole = counts[: len(labelled)]
    transformer = TfidfTransformer(sublinear_tf=True).fit(whole)
    rare = np.bincount(whole.indices, minlength=counts.shape[1]) < _MIN_DOCUMENTS
    rare[list(special)] = True
    transformer.idf_ = np.where(rare, 0.0, transformer.idf_)
    features = transformer.transform(counts)
    table, bias = np.zeros((counts.shape[1], 1 + topics), dtype=np.float16), np.zeros(topics, dtype=np.float32)
    table[:, 0] = transformer.idf_
    for topic in range(topics):
        having = truth[:, topic].sum()
        if having in (0, len(truth)):  # nothing to tell apart: what a machine says of rows without a topic, or with it
            bias[topic] = 1.0 if having else -1.0
        else:
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
