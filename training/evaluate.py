"""Score a labelled file with a model folder, as the service would, and print a table a topic.

    python -m training.evaluate --model DIR --data TEST [--json FILE]
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from serving.analysis import choose_sentences, select_topics, sentence_budget
from serving.document import Document
from serving.model import Model, ModelError, read_config
from serving.schema import Options
from serving.settings import get_settings
from training.data import DataError, Row, Topic, try_rows
from training.examples import key_labels, read_documents, readable
from training.metrics import key_sentence_f1, summary_rouge, topic_metrics

_GROUP = 64  # documents scored together


@click.command(help=__doc__)
@click.option("--model", required=True, type=click.Path(path_type=Path), help="Model folder.")
@click.option("--data", required=True, help="Labelled rows, as for training.train.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
def main(model: Path, data: str, json_file: Path | None) -> None:
    """Command line."""
    try:
        config = read_config(model)
        topics = [Topic(topic["id"], topic["name"]) for topic in config["topics"]]
        reading = try_rows(data, single_label=config["single_label"], topics=topics)
        documents = readable(reading, progress=True)
        if reading.problems:
            raise DataError(reading.problems)
        figures = evaluate(model, reading.rows, documents, progress=True)
    except DataError as error:
        click.echo(f"The data can't be used ({len(error.problems)} problems):\n{error}", err=True)
        sys.exit(2)
    except ModelError as error:
        raise click.ClickException(str(error)) from error
    print_table(figures)
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        json_file.write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", "utf-8")


def _threads() -> int:
    return os.cpu_count() or 1


def evaluate(
    model: Model | Path, rows: Sequence[Row], documents: dict[str, Document] | None = None, progress: bool = False
) -> dict[str, Any]:
    """Figures of design.md's ``--json``; null where the rows lack the labels.

    ``documents`` are those of the rows, by ``Row.where``, if they have been read already; rows without one are left out.

    Raises:
        DataError: of ``read_documents``.
    """
    documents = read_documents(rows) if documents is None else documents
    rows = [row for row in rows if row.where in documents]
    if isinstance(model, Path):
        model = Model.load(model, threads=_threads())
    ids = [topic.id for topic in model.topics]
    truth, scores, decided, gold, chosen, references, summaries = [], [], [], [], [], [], []
    bar = tqdm(total=len(rows), desc="evaluating", unit="doc", disable=not progress, mininterval=1)
    for start in range(0, len(rows), _GROUP):
        kept = rows[start : start + _GROUP]
        group = [documents[row.where] for row in kept]
        for document, row, result in zip(group, kept, model.score(group, get_settings().max_batch_tokens)):
            if row.topics is not None and ids:
                given = {topic.id for topic in select_topics(document, result, model, Options())}
                truth.append([topic in row.topics for topic in ids])
                decided.append([topic in given for topic in ids])
                scores.append(result.topics)
            marked = key_labels(document, row)
            sentences = document.sentence_texts()
            budget = sentence_budget(len(document.text))
            picked = choose_sentences(sentences, result.salience, budget, model.redundancy, floor=model.floor)
            gold.append(set(np.flatnonzero(marked).tolist()) if row.key_sentences else set())
            chosen.append(set(picked))
            references.append(row.summary or "\n".join(row.key_sentences or ()))
            summaries.append("\n".join(sentences[i] for i in sorted(picked)))
        bar.update(len(kept))
    bar.close()
    figures: dict[str, Any] = dict.fromkeys(
        ("n", "micro_f1", "macro_f1", "exact_match", "accuracy", "map", "ece", "per_topic")
    )
    if truth:
        figures.update(topic_metrics(np.array(truth, int), np.array(scores), np.array(decided, int), ids, model.single_label))
    figures.update(n=len(rows), key_sentence_f1=key_sentence_f1(gold, chosen), **summary_rouge(references, summaries))
    return {"model": model.name, **figures}


def print_table(figures: dict[str, Any]) -> None:
    """The table a topic, and the totals."""
    table = Table("topic", *(name for name in ("support", "precision", "recall", "F1", "AP")))
    for column in table.columns[1:]:
        column.justify = "right"
    for topic, row in (figures["per_topic"] or {}).items():
        table.add_row(topic, str(row["support"]), *(_number(row[k]) for k in ("precision", "recall", "f1", "average_precision")))
    console = Console()
    if figures["per_topic"]:
        console.print(table)
    names = ("micro_f1", "macro_f1", "exact_match", "accuracy", "map", "ece", "key_sentence_f1", "rouge1", "rouge2", "rougeL")
    console.print(f"n {figures['n']}  " + "  ".join(f"{n} {_number(figures[n])}" for n in names if figures[n] is not None))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
