"""All that a training run reads: topics, rows, documents. What is wrong with them is said at once, before a model loads."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click

from serving.document import Document
from training.data import DataError, Reading, Row, Topic, topics_of, try_rows, unknown_topics, without_positive
from training.examples import key_labels, opening, readable
from training.folds import split_dev
from training.topics import read_topics

DEV_SHARE = 0.1
BARE_ROWS = 40_000  # without labels, where labels are few: more than enough of the shortest for what is learned from (few.py)


@dataclass(frozen=True)
class Inputs:
    """Topics, the rows of the training and the dev part, those without labels and those with weak ones, and the documents of all
    by ``Row.where``."""

    topics: list[Topic]
    train: list[Row]
    dev: list[Row]
    unlabelled: list[Row]
    documents: dict[str, Document]
    weak: list[Row] = field(default_factory=list)


def load_inputs(
    data: str, dev: str | None, topics_file: Path | None, single_label: bool, seed: int, unlabelled: str | None = None,
    progress: bool = False, weak: Sequence[str] = (), whole_up_to: int = 0,
) -> Inputs:
    """Read and check everything; split a dev part off where none is given, but of up to ``whole_up_to`` rows.

    ``weak`` files hold rows whose labels nobody has read. Those that open as a row with a real label does are left out.

    Raises:
        DataError: all problems of all files.
    """
    problems: list[str] = []
    topics = _given_topics(topics_file, problems)
    train = try_rows(data, single_label=single_label, topics=topics)
    documents = readable(train, progress)
    guessed = [try_rows(source, single_label=single_label, topics=topics) for source in weak]
    held = try_rows(dev, single_label=single_label, topics=topics) if dev else Reading()
    few = len(train.rows) <= whole_up_to
    bare = try_rows(unlabelled, labelled=False, at_most=BARE_ROWS if few else None, seed=seed) if unlabelled else Reading()
    if bare.seen > BARE_ROWS and progress:
        click.echo(f"note: of the {bare.seen} rows of {unlabelled} {BARE_ROWS} at random are read", err=True)
    for part in (held, bare, *guessed):
        documents |= readable(part, progress and bool(part.rows))
    real = {opening(documents[row.where].text) for row in [*train.rows, *held.rows]}
    guesses = [row for part in guessed for row in part.rows if opening(documents[row.where].text) not in real]
    # Only now is known which rows of a topic stay.
    present = train.topics.union(*(part.flawed_topics for part in guessed), *(row.topics or () for row in guesses))
    lost = sum(len(part.rows) for part in guessed) - len(guesses)
    if lost and progress:
        gone = sorted(set[str]().union(*(part.topics for part in guessed)) - present)
        which = f"; with them goes all that there was of {', '.join(gone)}" if gone else ""
        click.echo(f"note: {lost} weakly labelled rows are left out, which begin as a row with a label does{which}", err=True)
    if topics is not None:
        problems.extend(without_positive(present, topics, data))
    elif not topics_file:
        found = ((row.where, problem) for row in held.rows for problem in unknown_topics(row.topics or (), present))
        held.problems.extend(f"{where}: {problem}" for where, problem in found)
        problems.extend(_joined([*train.rows, *guesses]))
    problems.extend(problem for part in (train, held, bare, *guessed) for problem in part.problems)
    if not problems:
        topics = topics or topics_of([*train.rows, *guesses])
        if not topics and any(row.topics is not None for row in train.rows):
            problems.append(f"{data}: no row has a topic; name the topics with --topics, and label some rows")
        elif not topics and single_label:
            problems.append(f"{data}: no row has 'topics', of which --single-label gives each document one; leave it out")
    if problems:
        raise DataError(problems)
    whole = bool(dev) or (few and len(train.rows) >= 4)
    rows, dev_rows = (train.rows, held.rows) if whole else _split(train.rows, documents, data, seed)
    judged = dev_rows if dev or not whole else rows
    if not any(row.topics or row.key_sentences or row.summary for row in judged):
        raise DataError([
            f"{dev or data}: no row of the dev part has a topic, a key sentence or a summary to choose the best epoch by; "
            + ("give it some" if dev else "add some, or give a dev part with --dev")
        ])
    if any(row.topics for row in rows) and dev_rows and all(row.topics is None for row in dev_rows):
        raise DataError([
            f"{dev}: no row has 'topics', by which thresholds are chosen; give it some, or leave --dev out" if dev else
            f"{data}: so few rows have 'topics' that the dev part split off has none to choose thresholds by; label more rows of "
            "each topic, give a dev part with --dev, or take 'topics' out of the rows"
        ])
    inputs = Inputs(topics or [], rows, dev_rows, bare.rows, documents, guesses)
    _note_lost_keys(inputs, progress)
    return inputs


def _given_topics(topics_file: Path | None, problems: list[str]) -> list[Topic] | None:
    try:
        return read_topics(topics_file) if topics_file else None
    except DataError as error:
        problems.extend(error.problems)
        return None


def _joined(rows: Sequence[Row]) -> Iterator[str]:
    """Problems: topics that look like several, each of which other rows have, as where a table's cell joins them by commas."""
    known = {topic for row in rows for topic in row.topics or ()}
    for row in rows:
        for topic in row.topics or ():
            parts = [part.strip() for part in re.split("[,，、]", topic) if part.strip()]
            if parts and parts != [topic] and known.issuperset(parts):
                yield (
                    f"{row.where}: '{topic}' looks like {' and '.join(parts)}: topics are joined by | or ; in a cell (if it is "
                    "one topic, name it in a file for --topics)"
                )


def _split(rows: list[Row], documents: dict[str, Document], data: str, seed: int) -> tuple[list[Row], list[Row]]:
    train, dev = split_dev(rows, documents, DEV_SHARE, seed)
    if len(rows) < 4 or not dev or not train:
        raise DataError([f"{data}: {len(rows)} rows are too few, or too alike, to split a dev part off; give one with --dev"])
    return train, dev


def _note_lost_keys(inputs: Inputs, progress: bool) -> None:
    """Key sentences may stand in what cleaning removes; such rows teach that nothing is worth a summary, so say so."""
    rows = [row for row in inputs.train + inputs.dev if row.key_sentences]
    lost = [row.where for row in rows if not key_labels(inputs.documents[row.where], row).any()]
    if lost and progress:
        click.echo(f"note: none of the key sentences of {len(lost)} rows is left in the cleaned text, first {lost[0]}", err=True)
