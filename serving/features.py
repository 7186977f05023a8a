"""What tells a key sentence apart beside its meaning: place, length, and how much of the title and of the document it holds.

These are the features of classic extractive summarisation (Edmundson 1969: title words, location; Radev et al. 2004:
centrality), given to the salience head beside the sentence's vector.
"""

from __future__ import annotations

import math

import numpy as np

from serving.document import Document
from serving.windows import Tokens

FEATURES = (
    "is_title", "is_first", "reciprocal_position", "relative_position", "log_length", "relative_length", "log_count",
    "title_recall", "title_precision", "centrality", "top_centrality", "digits", "quotation", "whole",
)  # fmt: skip
_TOP = 10  # tokens of a sentence that the document repeats most
_QUOTES, _ENDS = frozenset("“”\"「」『』"), frozenset("。！？!?；;")


def sentence_features(document: Document, tokens: Tokens) -> np.ndarray:
    """Features of the title (row 0) and each sentence, all near [0, 1]: float32 [1 + sentences, len(FEATURES)].

    ``title_recall`` and ``title_precision`` are the share of the title's distinct tokens in the sentence, and of the
    sentence's in the title. ``centrality`` is the mean number of other sentences that share a token of the sentence, over the
    square root of the sentences; ``top_centrality`` the share of sentences that hold its most repeated tokens.
    """
    texts = document.sentence_texts()
    rows = np.zeros((1 + len(texts), len(FEATURES)), dtype=np.float32)
    rows[0, 0] = 1.0
    if not texts:
        return rows
    count, mean_length = len(texts), sum(map(len, texts)) / len(texts)
    shared = _shared_tokens(tokens, count)
    for index, text in enumerate(texts):
        ending = text.rstrip()[-1:]
        rows[1 + index] = (
            0.0, float(index == 0), 1 / (1 + index), index / max(count - 1, 1), math.log1p(len(text)) / 5,
            min(len(text) / max(mean_length, 1) / 3, 2.0), math.log1p(count) / 5, *shared[index],
            min(5 * sum(map(str.isdigit, text)) / max(len(text), 1), 2.0), float(not _QUOTES.isdisjoint(text)),
            float(ending in _ENDS),
        )  # fmt: skip
    return rows


def _shared_tokens(of_document: Tokens, count: int) -> np.ndarray:
    """[sentences, 4]: recall and precision of the title's tokens, centrality, top centrality."""
    tokens, owners = of_document
    size = int(tokens.max(initial=0)) + 1
    owners, tokens = np.divmod(np.unique(owners * size + tokens), size)  # distinct tokens of each sentence, in its order
    body = np.searchsorted(owners, 1)
    title, tokens, owners = tokens[:body], tokens[body:], owners[body:]
    frequency, in_title = np.bincount(tokens)[tokens], np.isin(tokens, title)
    result = np.zeros((count, 4), dtype=np.float32)
    bounds = np.searchsorted(owners, np.arange(1, count + 2))
    for index, (start, end) in enumerate(zip(bounds, bounds[1:])):
        if start < end:
            inside, hits = frequency[start:end], in_title[start:end].sum()
            top = np.sort(inside)[-_TOP:]
            central = min((inside - 1).mean() / math.sqrt(count), 2.0)
            result[index] = hits / max(len(title), 1), hits / (end - start), central, top.mean() / count
    return result
