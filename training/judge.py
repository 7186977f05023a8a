"""What a model says of labelled documents, and the figures that follow: the ground of ``training.evaluate`` and its report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from serving.analysis import evidence_worth, select_topics
from serving.document import Document
from serving.model import Model
from serving.schema import Options
from serving.settings import get_settings
from serving.summary import choose_sentences, sentence_budget
from training.data import Row
from training.examples import key_labels
from training.metrics import key_sentence_f1, summary_rouge, topic_metrics

_GROUP = 64  # documents scored together


@dataclass(frozen=True)
class Judged:
    """A document and what the model says of it: ``scores`` [T], ``given`` [T] (0/1), ``proofs`` [T] (the sentence that speaks
    most for each topic) and ``picked``, the sentences of its summary."""

    row: Row
    document: Document
    scores: np.ndarray
    given: np.ndarray
    proofs: np.ndarray
    picked: list[int]


def judge(model: Model, rows: Sequence[Row], documents: dict[str, Document], progress: bool = False) -> list[Judged]:
    """Score the rows that have a document (by ``Row.where``), as the service would."""
    rows = [row for row in rows if row.where in documents]
    ids = [topic.id for topic in model.topics]
    judged = []
    bar = tqdm(total=len(rows), desc="evaluating", unit="doc", disable=not progress, mininterval=1)
    for start in range(0, len(rows), _GROUP):
        kept = rows[start : start + _GROUP]
        group = [documents[row.where] for row in kept]
        for document, row, result in zip(group, kept, model.score(group, get_settings().max_batch_tokens)):
            given = {topic.id for topic in select_topics(document, result, model, Options())} if ids else set()
            sentences = document.sentence_texts()
            budget = sentence_budget(len(document.text))
            picked = choose_sentences(sentences, result.salience, budget, model.rule)
            decided = np.array([topic in given for topic in ids], int)
            judged.append(Judged(row, document, result.topics, decided, evidence_worth(result).argmax(axis=0), picked))
        bar.update(len(kept))
    bar.close()
    return judged


def truth_of(judged: Sequence[Judged], topic_ids: Sequence[str]) -> np.ndarray:
    """0/1 [documents, topics]; a document without labels has none."""
    return np.array([[topic in (one.row.topics or ()) for topic in topic_ids] for one in judged], int)


def figures_of(model: Model, judged: Sequence[Judged]) -> dict[str, Any]:
    """Figures of design.md's ``--json``; null where the rows lack the labels."""
    return {"model": model.name, **figures([topic.id for topic in model.topics], judged, model.single_label)}


def totals(found: dict[str, Any]) -> dict[str, float]:
    """Those of the figures that are one number each."""
    return {name: value for name, value in found.items() if isinstance(value, (int, float))}


def figures(ids: Sequence[str], judged: Sequence[Judged], single_label: bool) -> dict[str, Any]:
    """The same for whatever judged the documents; ``ids`` are the topics'."""
    labelled = [one for one in judged if one.row.topics is not None and ids]
    found: dict[str, Any] = dict.fromkeys(
        ("n", "micro_f1", "macro_f1", "exact_match", "accuracy", "map", "ece", "per_topic")
    )
    if labelled:
        scores, decided = np.array([one.scores for one in labelled]), np.array([one.given for one in labelled])
        found.update(topic_metrics(truth_of(labelled, ids), scores, decided, ids, single_label))
    gold, references, summaries = [], [], []
    for one in judged:
        sentences = one.document.sentence_texts()
        gold.append(set(np.flatnonzero(key_labels(one.document, one.row)).tolist()) if one.row.key_sentences else set())
        references.append(one.row.summary or "\n".join(one.row.key_sentences or ()))
        summaries.append("\n".join(sentences[i] for i in sorted(one.picked)))
    key_f1 = key_sentence_f1(gold, [set(one.picked) for one in judged])
    found.update(n=len(judged), key_sentence_f1=key_f1, **summary_rouge(references, summaries))
    return found
