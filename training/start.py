"""From topics and an archive without any label to a first model, and to the documents whose labels would teach it most.

    python -m training.start --topics topics.yaml --archive INPUT… --output DIR [--single-label] [--count N] [--sample N]

Three votes a topic on each document (the topic's words, likeness to its description, a linear model taught by what both agree
on) make weak labels where the majority agrees. Writes in DIR: weak.jsonl (rows with these labels), model/ (trained on them),
and the sheet to label by hand: label.jsonl (rows, also for the page), label-studio.json and label-studio.xml (Label Studio).

INPUT: what serving.score reads (folders, archives, tables, PDF, DOCX, HTML …). Of a long archive a random sample is used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # spinning threads are ruinous on shared cores

import click
import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from serving.cores import cores
from serving.document import Document
from serving.errors import InputError
from serving.model import Model
from training import train
from training.errors import DataError, faults_told
from training.pool import Pool, read_pool, say_what_was_read
from training.prepare import write_jsonl
from training.recipe import ENCODER
from training.selection import Choice, choose
from training.sheet import check_place, score_all, thresholds_of, topic_scores, write_sheet
from training.space import Encoder, Space
from training.topics import Topic, read_topics, write_topics
from training.votes import NO, OPEN, YES, WeakLabels, label_without

_SHEET, _TOPICS = "label.jsonl", "topics.yaml"
FEWEST = 5  # agreed documents below which a topic's weak labels teach little
# Weak labels are wrong often enough that a longer run would learn their errors.
_STEPS, _EPOCHS, _BATCH = 250, (2, 8), 16
_WINDOWS = 2  # of a document


@click.command(help=__doc__)
@click.option("--topics", "topics_file", required=True, type=click.Path(path_type=Path), help="YAML; see docs/own-topics.md.")
@click.option("--archive", multiple=True, required=True, help="Documents without labels; several may follow.")
@click.argument("more", nargs=-1, metavar="[INPUT]…")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder to write.")
@click.option("--single-label", is_flag=True, help="Each document has exactly one topic.")
@click.option("--count", default=60, show_default=True, type=click.IntRange(1), help="Documents of the labelling sheet.")
@click.option("--sample", default=2_000, show_default=True, type=click.IntRange(10), help="Documents drawn of the archive.")
@click.option("--encoder", default=ENCODER, show_default="models/encoder", help="Local folder, model folder or hub id.")
@click.option("--seed", default=13, show_default=True)
@click.option("--device", default="auto", show_default=True, type=click.Choice(["auto", "cpu", "cuda"]))
def main(
    topics_file: Path, archive: tuple[str, ...], more: tuple[str, ...], output: Path, single_label: bool, count: int,
    sample: int, encoder: str, seed: int, device: str,
) -> None:
    """Command line."""
    inputs = [*archive, *more]
    with faults_told("topics"):
        topics = read_topics(topics_file)
        if single_label and len(topics) < 2:
            raise DataError([f"{topics_file}: --single-label needs two topics or more to choose from"])
        check_place(output / _SHEET, inputs)
        if topics_file.resolve() == (output / _TOPICS).resolve():
            raise InputError(f"--output {output}: {_TOPICS} of the model would take the place of --topics; name another folder")
        pool = read_pool(inputs, sample, seed)
        say_what_was_read(pool, sample)
        space = Encoder(encoder)
        vectors = space.vectors(pool.documents, progress=True)
        weak = label_without(pool.documents, vectors, topics, space, single_label)
        known = _known_topics(weak, topics)
        _print_votes(weak, topics)
        output.mkdir(parents=True, exist_ok=True)
        used = write_weak(output / "weak.jsonl", pool.documents, weak, topics)
        click.echo(f"{used} documents teach the first model: {output / 'weak.jsonl'}\n")
        write_topics(output / _TOPICS, known)
        train_first(output, used, single_label, encoder, seed, device)
        likest = _likest(weak, topics, known, count)
        _write_sheet(output, pool, Space(vectors).place(vectors), topics, count, likest)
    _say_what_next(output, topics_file, known, topics, inputs, single_label)


def write_weak(file: Path, documents: Sequence[Document], weak: WeakLabels, topics: Sequence[Topic]) -> int:
    """Training rows with the agreed labels; returns how many."""
    used = weak.used()
    write_jsonl(file, (
        {
            "id": documents[i].id, "title": documents[i].title,
            "topics": [topic.id for topic, label in zip(topics, weak.labels[i]) if label == YES], "text": documents[i].text,
        }
        for i in used
    ))
    return len(used)


def train_first(output: Path, rows: int, single_label: bool, encoder: str, seed: int, device: str) -> None:
    """Train ``output/model`` on the rows of ``output/weak.jsonl`` by the usual command."""
    epochs = min(max(round(_STEPS * _BATCH / rows), _EPOCHS[0]), _EPOCHS[1])
    arguments = [
        "--data", output / "weak.jsonl", "--topics", output / _TOPICS, "--output", output / "model", "--encoder", encoder,
        "--seed", seed, "--device", device, "--epochs", epochs, "--max-windows", _WINDOWS,
        *(["--single-label"] if single_label else []),
    ]
    train.main([str(argument) for argument in arguments], standalone_mode=False)


def _known_topics(weak: WeakLabels, topics: Sequence[Topic]) -> list[Topic]:
    """The topics that the first model can learn: of which anything is agreed.

    Raises:
        DataError: nothing is, of any.
    """
    agreed = (weak.labels == YES).sum(axis=0)
    if not agreed.any():
        raise DataError(["the votes agree on no document of the archive: state keywords of the topics, or another archive"])
    return [topic for topic, number in zip(topics, agreed) if number]


def _print_votes(weak: WeakLabels, topics: Sequence[Topic]) -> None:
    table = Table("topic", "name", "agreed", "not agreed", "agreed that not", title="weak labels")
    for column in table.columns[2:]:
        column.justify = "right"
    few = []
    for number, topic in enumerate(topics):
        counts = [int((weak.labels[:, number] == label).sum()) for label in (YES, OPEN, NO)]
        table.add_row(escape(topic.id), escape(topic.name), *map(str, counts))
        if counts[0] < FEWEST:
            few.append(f"{topic.id} ({counts[0]})")
    Console().print(table)
    if few:
        click.echo(
            f"note: on few documents the votes agree that they are on {', '.join(few)}: state more keywords or examples of these "
            "topics, or label some of their documents by hand", err=True,
        )


def _likest(weak: WeakLabels, topics: Sequence[Topic], known: Sequence[Topic], count: int) -> list[Choice]:
    """For topics that the first model does not know, the documents most like their descriptions: up to half of the sheet."""
    unknown = [number for number, topic in enumerate(topics) if topic not in known]
    each = min(-(-count // len(topics)), max(count // (2 * max(len(unknown), 1)), 1))
    chosen: dict[int, Choice] = {}
    for number in unknown:
        order = [int(i) for i in np.argsort(-weak.likeness[:, number], kind="stable") if int(i) not in chosen]
        chosen.update((i, Choice(i, -1, topics[number].id)) for i in order[:each])
    return list(chosen.values())[:count]


def _write_sheet(
    output: Path, pool: Pool, places: np.ndarray, topics: Sequence[Topic], count: int, likest: Sequence[Choice]
) -> None:
    model = Model.load(output / "model", threads=cores())
    scores = score_all(model, pool.documents)
    choices = choose(
        places, topic_scores(scores, len(model.topics)), thresholds_of(model), count, positives=[0] * len(model.topics)
    )
    taken = {choice.document for choice in likest}
    choices = [*likest, *(choice for choice in choices if choice.document not in taken)][:count]
    write_sheet(output / _SHEET, model, pool.documents, scores, choices, topics)


def _say_what_next(
    output: Path, topics_file: Path, known: Sequence[Topic], topics: Sequence[Topic], inputs: Sequence[str], single_label: bool
) -> None:
    left_out = [topic.id for topic in topics if topic not in known]
    if left_out:
        click.echo(f"\nnote: the first model does not know {', '.join(left_out)}, on which the votes agree nowhere; the "
                   "documents most like their descriptions are on the sheet", err=True)
    single = " --single-label" if single_label else ""
    takes_weak = any("--weak" in parameter.opts for parameter in train.main.params)
    python = os.path.relpath(sys.executable) if Path(sys.executable).is_relative_to(Path.cwd()) else "python"
    beside = f"--weak {output / 'weak.jsonl'}" if takes_weak else f"--encoder {output / 'model'}"
    click.echo(f"""
A first model from weak labels: {output / 'model'}. Its figures above compare it with weak labels, not with a reader's.
Next:
1. Label the documents of the sheet, {output / _SHEET}: fill in "topics" ([] if it has none; "guess" is the model's),
   or import it on the page (WENZHAI_MODEL={output / 'model'} make serve), or {output / 'label-studio.json'} into Label Studio.
2. {python} -m training.train --data {output / _SHEET} --topics {topics_file} {beside} \\
       --output {output / 'second'}{single}
3. {python} -m training.suggest --model {output / 'second'} --archive {' '.join(inputs)} \\
       --labelled {output / _SHEET} --output {output / 'next.jsonl'}""")


if __name__ == "__main__":
    main()
