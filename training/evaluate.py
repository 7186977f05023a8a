"""Score a labelled file with a model folder, as the service would, and print a table a topic.

\b
    python -m training.evaluate --model DIR --data TEST [--json FILE] [--report FILE.html [--unlabelled FILE]]
                                [--predictions FILE.jsonl]

--report writes a page for people to read: curves, calibration, confusions, the worst cases with their text, labels that are
likely wrong, and which of the documents without labels (those of TEST, and of --unlabelled) to label next. --predictions
writes a line a document with its labels, what the model gives and all scores, from which everything can be counted again.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serving.cores import cores
from serving.document import Document
from serving.folder import read_config
from serving.model import Model
from serving.render import LANGUAGES
from training.data import Row, Topic, try_rows
from training.errors import DataError, faults_told
from training.evaluation_page import build
from training.examples import read_documents, readable
from training.judge import Judged, figures_of, judge
from training.prepare import write_jsonl


@click.command(help=__doc__)
@click.option("--model", required=True, type=click.Path(path_type=Path), help="Model folder.")
@click.option("--data", required=True, help="Labelled rows, as for training.train.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures here too.")
@click.option("--report", "report_file", type=click.Path(path_type=Path), help="Write a page to read here.")
@click.option("--language", default="zh", show_default=True, type=click.Choice(LANGUAGES), help="Of that page.")
@click.option("--unlabelled", help="Rows with text alone, of which the page names those to label next.")
@click.option("--predictions", type=click.Path(path_type=Path), help="Write what the model says of each document here.")
def main(
    model: Path, data: str, json_file: Path | None, report_file: Path | None, language: str, unlabelled: str | None,
    predictions: Path | None,
) -> None:
    """Command line."""
    with faults_told():
        if unlabelled and not report_file:
            raise click.UsageError("--unlabelled: the report says what to label next; name one with --report")
        config = read_config(model)
        topics = [Topic(topic["id"], topic["name"]) for topic in config["topics"]]
        reading = try_rows(data, single_label=config["single_label"], topics=topics)
        documents = readable(reading, progress=True)
        bare = try_rows(unlabelled, labelled=False) if unlabelled else None
        pool = readable(bare, progress=True) if bare else {}
        problems = [*reading.problems, *(bare.problems if bare else ())]
        if problems:
            raise DataError(problems)
        loaded = Model.load(model, threads=cores())
        judged = judge(loaded, reading.rows, documents, progress=True)
        figures = figures_of(loaded, judged)
        if report_file:
            others = judge(loaded, bare.rows, pool, progress=True) if bare else []
            _write(report_file, build(loaded, judged, others, figures, data, language))
        if json_file:
            _write(json_file, json.dumps(figures, ensure_ascii=False, indent=1) + "\n")
        if predictions:
            predictions.parent.mkdir(parents=True, exist_ok=True)
            write_jsonl(predictions, (_line(one, loaded) for one in judged))
    print_table(figures)


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")


def _line(one: Judged, model: Model) -> dict[str, Any]:
    ids = [topic.id for topic in model.topics]
    return {
        "where": one.row.where, "id": one.row.id, "topics": one.row.topics,
        "given": [topic for topic, given in zip(ids, one.given) if given],
        "scores": {topic: round(float(score), 6) for topic, score in zip(ids, one.scores)},
    }


def evaluate(
    model: Model | Path, rows: Sequence[Row], documents: dict[str, Document] | None = None, progress: bool = False
) -> dict[str, Any]:
    """Figures of design.md's ``--json``; null where the rows lack the labels.

    ``documents`` are those of the rows, by ``Row.where``, if they have been read already; rows without one are left out.

    Raises:
        DataError: of ``read_documents``.
    """
    documents = read_documents(rows) if documents is None else documents
    if isinstance(model, Path):
        model = Model.load(model, threads=cores())
    return figures_of(model, judge(model, rows, documents, progress))


def print_table(figures: dict[str, Any]) -> None:
    """The table a topic, and the totals."""
    table = Table("topic", *(name for name in ("support", "precision", "recall", "F1", "AP")))
    for column in table.columns[1:]:
        column.justify = "right"
    for topic, row in (figures["per_topic"] or {}).items():
        numbers = (_number(row[name]) for name in ("precision", "recall", "f1", "average_precision"))
        table.add_row(escape(topic), str(row["support"]), *numbers)
    console = Console()
    if figures["per_topic"]:
        console.print(table)
    names = ("micro_f1", "macro_f1", "exact_match", "accuracy", "map", "ece", "key_sentence_f1", "rouge1", "rouge2", "rougeL")
    console.print(f"n {figures['n']}  " + "  ".join(f"{n} {_number(figures[n])}" for n in names if figures[n] is not None))


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    main()
