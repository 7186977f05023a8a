"""How good the labels are that training.start makes without any: names and a description of a sentence each, and an archive.

    python benchmarks/zero_labels.py --bench DIR [--task NAME]… [--archive N] [--dev N] [--seed N]

``DIR/NAME/{train,dev}.parquet`` are thucnews_title and xwlb_topics_multilabel; their topics stand in benchmarks/topics. N rows of
the train part are the archive, whose labels are looked at only to say how right the weak ones are. The linear model that learned
from the votes alone is measured on the dev part, which nothing was chosen by.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table
from sklearn.metrics import f1_score

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from serving.document import Document
from training.space import Encoder
from training.topics import Topic, read_topics
from training.votes import YES, WeakLabels, label_without

SINGLE = {"thucnews_title": True, "xwlb_topics_multilabel": False}


class Part(NamedTuple):
    """Documents, and their true topics bool [documents, topics]."""

    documents: list[Document]
    truth: np.ndarray


def topics_of(task: str) -> list[Topic]:
    """The task's topics: ids are its labels, the descriptions are written for this benchmark."""
    return read_topics(ROOT / "benchmarks" / "topics" / f"{task}.yaml")


def load(bench: Path, task: str, part: str, count: int, seed: int) -> Part:
    """So many rows, drawn with the seed."""
    rows = pq.read_table(bench / task / f"{part}.parquet").to_pylist()
    rows = random.Random(seed).sample(rows, min(count, len(rows)))
    return part_of([{**row, "topics": row["labels"]} for row in rows], topics_of(task))


def part_of(rows: Sequence[dict[str, Any]], topics: Sequence[Topic]) -> Part:
    """Rows with text, topics and, where they have one, a title."""
    truth = np.array([[topic.id in row["topics"] for topic in topics] for row in rows])
    return Part([Document(row["text"], title=row.get("title") or "") for row in rows], truth)


def decide(weak: WeakLabels, documents: Sequence[Document], vectors: np.ndarray, single: bool) -> np.ndarray:
    """Bool [documents, topics]: what the linear model that learned from the votes gives to other documents."""
    scores = weak.model.score([f"{document.title} {document.text}" for document in documents], vectors)
    return scores >= (scores.max(axis=1, keepdims=True) if single else weak.cuts)


def zero_labels(archive: Part, dev: Part, topics: Sequence[Topic], encoder: Encoder, single: bool) -> dict[str, Any]:
    """Figures of the weak labels on the archive, and of the linear model on the dev part."""
    start = time.monotonic()
    vectors = encoder.vectors(archive.documents, progress=True)
    weak = label_without(archive.documents, vectors, topics, encoder, single)
    seconds = time.monotonic() - start
    labels, used = weak.labels == YES, weak.used()
    decided = decide(weak, dev.documents, encoder.vectors(dev.documents, progress=True), single)
    return {
        "archive": len(archive.documents), "used": len(used) / len(archive.documents),
        "precision": float((labels & archive.truth).sum() / max(labels.sum(), 1)),
        "weak_micro_f1": f1_score(archive.truth[used], labels[used], average="micro"), "dev": len(dev.documents),
        "micro_f1": f1_score(dev.truth, decided, average="micro"),  # which is accuracy where each has one topic
        "macro_f1": f1_score(dev.truth, decided, average="macro", zero_division=0), "seconds": seconds,
    }


@click.command(help=__doc__)
@click.option("--bench", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--task", "tasks", multiple=True, type=click.Choice(list(SINGLE)), help="Only these.")
@click.option("--archive", default=4_000, show_default=True, help="Rows of the train part, without labels.")
@click.option("--dev", default=10_000, show_default=True, help="Rows of the dev part.")
@click.option("--seed", default=1, show_default=True)
@click.option("--encoder", default=str(ROOT / "models" / "encoder"), show_default="models/encoder")
def main(bench: Path, tasks: tuple[str, ...], archive: int, dev: int, seed: int, encoder: str) -> None:
    """Command line."""
    table = Table("task", "archive", "used", "weak labels: precision", "micro-F1", "dev", "micro-F1 (accuracy)", "macro-F1", "s")
    space = Encoder(encoder)
    for task in tasks or SINGLE:
        parts = load(bench, task, "train", archive, seed), load(bench, task, "dev", dev, seed)
        figures = zero_labels(*parts, topics_of(task), space, SINGLE[task])
        table.add_row(task, *(str(value) if isinstance(value, int) else f"{value:.3f}" for value in figures.values()))
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
