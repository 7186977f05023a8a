"""Labelled rows -> tokenised examples: the same reading, sentences and windows as in serving."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from tokenizers import Tokenizer
from tqdm import tqdm

from serving.document import Document, split_sentences
from serving.features import sentence_features
from serving.reading import ReadingError, read
from serving.summary import sentence_budget
from serving.windows import Window, WindowConfig, document_tokens, split_windows
from training.data import DataError, Reading, Row, set_aside
from training.rouge import greedy_oracle


@dataclass(frozen=True)
class Lesson:
    """A teacher's probabilities, float32: ``topics`` [T], ``evidence`` [sentences, T], ``salience`` [sentences]."""

    topics: np.ndarray
    evidence: np.ndarray
    salience: np.ndarray


@dataclass(frozen=True)
class Example:
    """One document for the network: ``topics`` float32 [T] or None, ``salience`` float32 [sentences] or None.

    ``evidence`` float32 [sentences, T] is 1 where a sentence is marked as proof of a topic, or None. ``lesson`` is what a
    teacher says of the same, if there is one. ``weight`` is what it counts for in the loss, beside a row with a real label.
    """

    document: Document
    windows: list[Window]
    features: np.ndarray
    topics: np.ndarray | None
    salience: np.ndarray | None
    row: Row
    evidence: np.ndarray | None = None
    lesson: Lesson | None = None
    weight: float = 1.0

    @property
    def tokens(self) -> int:
        """Tokens over all windows."""
        return sum(len(window.token_ids) for window in self.windows)


@dataclass(frozen=True)
class Parts:
    """The examples: with labels, with weak labels, without any, and those that are judged by."""

    train: Sequence[Example]
    weak: Sequence[Example]
    unlabelled: Sequence[Example]
    dev: Sequence[Example]

    def __str__(self) -> str:
        kinds = (self.weak, "weakly labelled"), (self.unlabelled, "unlabelled")
        extra = "".join(f", {len(part)} {name}" for part, name in kinds if part)
        return f"{len(self.train)} training{extra} and {len(self.dev)} dev documents"


def readable(reading: Reading, progress: bool = False) -> dict[str, Document]:
    """Documents of a source's rows, by ``Row.where``. Rows in which nothing is left once navigation and mark-up are gone leave
    the reading: with a note where they are few, as problems where they are many."""
    documents = {}
    for row in tqdm(reading.rows, desc="reading", unit="doc", disable=not progress, mininterval=1):
        try:
            documents[row.where] = read(row.text, title=row.title, id=row.id)
        except ReadingError as error:
            reading.unreadable.append(f"{row.where}: {error}")
    reading.rows = [row for row in reading.rows if row.where in documents]
    set_aside(reading, progress)
    return documents


def read_documents(rows: Sequence[Row]) -> dict[str, Document]:
    """Documents by ``Row.where``, without a few rows that have no readable text.

    Raises:
        DataError: these are many.
    """
    reading = Reading(list(rows))
    documents = readable(reading, progress=True)
    if reading.problems:
        raise DataError(reading.problems)
    return documents


def make_examples(
    rows: Sequence[Row], topic_ids: Sequence[str], tokenizer: Tokenizer, config: WindowConfig,
    documents: dict[str, Document] | None = None,
) -> list[Example]:
    """Split and tokenise the rows' documents, read here unless they are given; rows without one are left out.

    Raises:
        DataError: of ``read_documents``.
    """
    documents = read_documents(rows) if documents is None else documents
    index = {topic: i for i, topic in enumerate(topic_ids)}
    examples = []
    for row in rows:
        if (document := documents.get(row.where)) is None:
            continue
        topics = None
        if row.topics is not None:
            topics = np.zeros(len(topic_ids), dtype=np.float32)
            topics[[index[topic] for topic in row.topics if topic in index]] = 1
        windows = split_windows(document, tokenizer, config)
        features, evidence = sentence_features(document, document_tokens(windows)), evidence_labels(document, row, index)
        examples.append(Example(document, windows, features, topics, key_labels(document, row), row, evidence))
    return examples


def key_labels(document: Document, row: Row) -> np.ndarray | None:
    """1 for the key sentences of a document, from the row's ``key_sentences`` or, failing those, its ``summary``."""
    sentences = document.sentence_texts()
    if row.key_sentences:
        return _marked(sentences, row.key_sentences)
    if row.summary:
        labels = np.zeros(len(sentences), dtype=np.float32)
        labels[greedy_oracle(sentences, row.summary, sentence_budget(len(document.text)))] = 1
        return labels
    return None


def evidence_labels(document: Document, row: Row, index: dict[str, int]) -> np.ndarray | None:
    """1 where a sentence is marked as proof of a topic; None where the row marks none."""
    if row.evidence is None:
        return None
    sentences = document.sentence_texts()
    labels = np.zeros((len(sentences), len(index)), dtype=np.float32)
    for topic, marked in row.evidence:
        if topic in index:
            labels[:, index[topic]] = _marked(sentences, marked)
    return labels


def _marked(sentences: Sequence[str], keys: Sequence[str]) -> np.ndarray:
    """1 for the sentences that are, hold or are part of one of ``keys``; the reader may have cut either differently."""
    labels = np.zeros(len(sentences), dtype=np.float32)
    wanted = {_bare(piece) for key in keys for piece in _pieces(key)} - {""}
    for i, sentence in enumerate(sentences):
        bare = _bare(sentence)
        if any(bare == want or (len(want) > 8 and (want in bare or (len(bare) > 8 and bare in want))) for want in wanted):
            labels[i] = 1
    return labels


def _pieces(text: str) -> list[str]:
    return [text[s.start : s.end] for s in split_sentences(text)]


def _bare(text: str) -> str:
    return "".join(c for c in text if c.isalnum())


def opening(text: str) -> str:
    """What near-duplicates have in common: the first letters and digits. Of text that was read: pages of one site begin alike."""
    return _bare(text)[:60]


def epoch_batches(examples: Sequence[Example], batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Shuffled batches of example indices, documents of like length together; a function of seed and epoch alone."""
    rng = random.Random(f"{seed}-{epoch}")
    order = list(range(len(examples)))
    rng.shuffle(order)
    batches: list[list[int]] = []
    pool = batch_size * 16
    for start in range(0, len(order), pool):
        chunk = sorted(order[start : start + pool], key=lambda i: examples[i].tokens)
        batches.extend(chunk[i : i + batch_size] for i in range(0, len(chunk), batch_size))
    rng.shuffle(batches)
    return batches


def trim(example: Example, windows: int, seed: int) -> Example:
    """The example with at most so many of its windows, to learn from: the first, one that proves each topic, then those with
    the most marked sentences, then any.

    ``salience``, ``evidence`` and ``lesson`` keep the sentences that are left.
    """
    if len(example.windows) <= windows:
        return example
    rng = random.Random(f"{seed}-{example.row.text}")
    sentences = [window.sentences for window in example.windows]
    proofs = np.zeros((len(sentences), 0)) if example.evidence is None else np.stack(
        [example.evidence[inside].sum(axis=0) for inside in sentences]
    )
    keys = [0.0 if example.salience is None else float(example.salience[inside].sum()) for inside in sentences]
    worth = [(proofs[i].sum() + keys[i], rng.random()) for i in range(len(sentences))]
    kept = {0}
    for topic in range(proofs.shape[1]):
        if proofs[:, topic].any() and not proofs[sorted(kept), topic].any() and len(kept) < windows:
            kept.add(max(range(len(sentences)), key=lambda i: (proofs[i, topic], worth[i])))
    rest = sorted(set(range(len(sentences))) - kept, key=lambda i: worth[i], reverse=True)
    kept.update(rest[: windows - len(kept)])
    lesson = example.lesson
    left = sorted({sentence for i in kept for sentence in sentences[i]})
    return replace(
        example, windows=[example.windows[i] for i in sorted(kept)],
        salience=None if example.salience is None else example.salience[left],
        evidence=None if example.evidence is None else example.evidence[left],
        lesson=None if lesson is None else Lesson(lesson.topics, lesson.evidence[left], lesson.salience[left]),
    )


def flat_windows(examples: Sequence[Example]) -> Iterator[tuple[int, Window]]:
    """(position of the document, window) over all windows."""
    for position, example in enumerate(examples):
        for window in example.windows:
            yield position, window
