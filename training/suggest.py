"""The documents of an archive to label next, with a model's guess.

\b
    python -m training.suggest --model DIR --archive INPUT… [--labelled FILE]… [--count N] --output FILE.jsonl

Chosen are documents that the model is unsure of (near a topic's threshold), unlike those of the labelled files and unlike each
other, first for topics that lack examples, and for a topic without any those that the model thinks likeliest; reprints, of
labelled documents too, are left out. Writes a sheet as training.start does: FILE.jsonl (rows, also for the page),
FILE-studio.json and FILE-studio.xml (Label Studio).
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads are ruinous on shared cores

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serving.archive import InputError
from serving.cores import cores
from serving.model import Model
from training.data import Row, read_rows
from training.errors import DataError, faults_told
from training.examples import read_documents
from training.pool import read_pool, say_what_was_read
from training.recipe import ENCODER
from training.selection import choose
from training.sheet import check_place, score_all, thresholds_of, topic_scores, write_sheet
from training.space import Encoder, Space
from training.topics import Topic


@click.command(help=__doc__)
@click.option("--model", "folder", required=True, type=click.Path(path_type=Path), help="Model folder.")
@click.option("--archive", multiple=True, required=True, help="Documents to choose from; several may follow.")
@click.argument("more", nargs=-1, metavar="[INPUT]…")
@click.option("--labelled", multiple=True, help="Rows that are labelled already.")
@click.option("--count", default=60, show_default=True, type=click.IntRange(1), help="Documents to suggest.")
@click.option("--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="JSONL file to write.")
@click.option("--sample", default=2_000, show_default=True, type=click.IntRange(10), help="Documents drawn of the archive.")
@click.option("--encoder", default=ENCODER, show_default="models/encoder", help="In whose space documents are compared.")
@click.option("--seed", default=13, show_default=True)
def main(
    folder: Path, archive: tuple[str, ...], more: tuple[str, ...], labelled: tuple[str, ...], count: int, output: Path,
    sample: int, encoder: str, seed: int,
) -> None:
    """Command line."""
    with faults_told("labelled rows"):
        if output.suffix != ".jsonl":
            raise click.BadParameter(f"{output}: name it FILE.jsonl", param_hint="--output")
        check_place(output, [*archive, *more])
        model = Model.load(folder, threads=cores())
        if not model.topics:
            raise InputError(f"--model {folder}: knows no topics to choose documents for; name a model that does")
        rows = _labelled_rows(labelled)
        documents = read_documents(rows)
        pool = read_pool([*archive, *more], sample, seed, known=list(documents.values()))
        say_what_was_read(pool, sample)
        if not pool.documents:
            raise InputError("all documents of the archive are labelled already, or reprint one that is")
        space = Encoder(encoder)
        vectors = space.vectors(pool.documents, progress=True)
        middle = Space(vectors)
        positives = Counter(topic for row in rows for topic in row.topics or ())
        scores = score_all(model, pool.documents)
        choices = choose(
            middle.place(vectors), topic_scores(scores, len(model.topics)), thresholds_of(model), count,
            middle.place(space.vectors(list(documents.values()))) if documents else None,
            [positives[topic.id] for topic in model.topics] if rows else None,
        )
        topics = [Topic(topic.id, topic.name, topic.description) for topic in model.topics]
        files = write_sheet(output, model, pool.documents, scores, choices, topics)
    table = Table("topic", "labelled", "suggested for its sake")
    for column in table.columns[1:]:
        column.justify = "right"
    for number, topic in enumerate(topics):
        suggested = sum(choice.topic == number for choice in choices)
        table.add_row(escape(topic.id), str(positives[topic.id]), str(suggested))
    Console().print(table)
    click.echo(f"{len(choices)} documents to label: {', '.join(map(str, files))}")


def _labelled_rows(files: tuple[str, ...]) -> list[Row]:
    """The labelled rows of all files, whose topics may be others than the model's.

    Raises:
        DataError: what is wrong with any.
    """
    problems: list[str] = []
    rows: list[Row] = []
    for file in files:
        try:
            rows += read_rows(file)
        except DataError as error:
            problems += error.problems
    if problems:
        raise DataError(problems)
    return rows


if __name__ == "__main__":
    main()
