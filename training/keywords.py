"""What a topic's words say of each document, weighed by how telling they are in this archive."""

from __future__ import annotations

import logging
import re
from collections import Counter
from collections.abc import Sequence

import jieba
import numpy as np
from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS

from serving.windows import normalise
from training.topics import Topic

_K1, _B = 1.2, 0.75  # of BM25 (Robertson and Zaragoza 2009), their usual values
_TITLE = 2  # a word in the title counts as so many more in the text
_STATED = 2.0  # a stated keyword beside a word of the name or the description
_COMMON = 0.6  # a word in more than this share of the documents tells nothing
_LONGEST_PHRASE = 8  # characters of a phrase of the description that is looked for as it stands
# What a description excludes says nothing of what it is about.
_EXCLUDED = re.compile(
    r"[^,。;.]*(?:不算|除外|不在内)[^。;.]*|(?:不包括|不包含|不含|不是|而非|but not|not:).*?(?=[。;.]|$)", re.IGNORECASE
)
_LEAD_IN = re.compile(
    r"applies when the document is about|such as|例如|比如|譬如|包括|以及|有关|关于|等等|的新闻|的消息|的报道", re.IGNORECASE
)
_BREAK = re.compile(r"[·、，。；：！？,;:!?()“”《》]+")  # normalised text: most full-width marks have become half-width ones


def phrases(topic: Topic) -> list[str]:
    """The name and the pieces of the description between its punctuation marks."""
    description = _LEAD_IN.sub("，", _EXCLUDED.sub("", normalise(topic.description)))
    found = [normalise(topic.name), *_BREAK.split(normalise(topic.name)), *_BREAK.split(description)]
    return list(dict.fromkeys(piece.strip() for piece in found if len(piece.strip()) > 1))


def words(topic: Topic) -> dict[str, float]:
    """Words that tell a topic, each with its weight: the keywords, and those of name and description."""
    jieba.setLogLevel(logging.WARNING)
    found: dict[str, float] = {}
    for phrase in phrases(topic):
        short = [phrase] if len(phrase) <= _LONGEST_PHRASE else []
        found.update((word.lower(), 1.0) for word in [*short, *jieba.cut(phrase)] if len(word) > 1)
    found = {word: weight for word, weight in found.items() if word not in ENGLISH_STOP_WORDS}
    return found | {normalise(keyword).lower(): _STATED for keyword in topic.keywords}


def keyword_scores(titles: Sequence[str], texts: Sequence[str], topics: Sequence[Topic]) -> np.ndarray:
    """[documents, topics]: the sum of BM25 over the topic's words; those of several topics are shared among them.

    ``titles`` and ``texts`` are as ``serving.windows.normalise`` gives them, in lower case.
    """
    own = [words(topic) for topic in topics]
    owners = Counter(word for found in own for word in found)
    count = len(texts)
    lengths = np.array([len(text) for text in texts], dtype=float)
    norm = 1 - _B + _B * lengths / max(lengths.mean(), 1)
    scores = np.zeros((count, len(topics)))
    for word, shared in owners.items():
        frequency = np.array([text.count(word) + _TITLE * title.count(word) for title, text in zip(titles, texts)], dtype=float)
        present = int((frequency > 0).sum())
        if not 0 < present <= max(_COMMON * count, 1):
            continue
        gain = np.log((count + 1) / (present + 0.5)) * frequency * (_K1 + 1) / (frequency + _K1 * norm) / shared
        for topic, found in enumerate(own):
            if word in found:
                scores[:, topic] += found[word] * gain
    return scores


def vetoes(titles: Sequence[str], texts: Sequence[str], topics: Sequence[Topic]) -> np.ndarray:
    """Bool [documents, topics]: whether a word that rules the topic out stands in the document."""
    ruled_out = [[normalise(word).lower() for word in topic.must_not] for topic in topics]
    rows = [[any(word in title or word in text for word in found) for found in ruled_out] for title, text in zip(titles, texts)]
    return np.array(rows, dtype=bool).reshape(len(texts), len(topics))
