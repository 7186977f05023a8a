"""Take labelled rows and analyses to Label Studio, and annotated tasks from there to training.

\b
    python -m training.label_studio export ROWS.jsonl --output TASKS.json [--config CONFIG.xml] [--topics FILE]
    python -m training.label_studio import TASKS.json --output ROWS.jsonl [--topics FILE]

``export`` takes rows as ``training.train --data`` does (they become annotations), and results of
``serving.score --format jsonl --include-text`` (they become predictions, to be corrected there); CONFIG.xml is the labelling
configuration for the project. ``import`` takes the export called JSON, not JSON-MIN. What can't be used is listed, and the
exit code is then 1; the rest is written.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from serving.errors import InputError
from serving.label_studio import labelling_config, to_rows, to_task
from training.data import DataError, Topic, with_lists
from training.prepare import DATA, write_jsonl
from training.sources import raw_rows
from training.topics import read_topics

_topics = click.option(
    "--topics", "topics_file", default=DATA / "topics.yaml", show_default=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False), help="YAML with the topics' ids and names.",
)
_output = click.option("--output", required=True, type=click.Path(path_type=Path, dir_okay=False), help="File to write.")


@click.group(help=__doc__)
def main() -> None:
    """Command line."""


@main.command("export")
@click.argument("rows")
@_output
@click.option("--config", type=click.Path(path_type=Path, dir_okay=False), help="Write the labelling configuration here.")
@_topics
def export_rows(rows: str, output: Path, config: Path | None, topics_file: Path) -> None:
    """Labelled rows or analyses (JSONL, CSV, Parquet) as Label Studio's tasks."""
    topics = _topics_of(topics_file)
    problems: list[str] = []
    tasks = []
    for where, row in raw_rows(rows, problems):
        try:
            tasks.append(to_task(with_lists(row)))
        except InputError as error:
            problems.append(f"{where}: {error}")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(tasks, ensure_ascii=False, indent=1) + "\n", "utf-8")
    if config:
        config.parent.mkdir(parents=True, exist_ok=True)
        config.write_text(labelling_config((topic.id, topic.name) for topic in topics), "utf-8")
    _finish(f"{len(tasks)} tasks: {output}", problems)


@main.command("import")
@click.argument("tasks", type=click.Path(path_type=Path, exists=True, dir_okay=False))
@_output
@_topics
def import_tasks(tasks: Path, output: Path, topics_file: Path) -> None:
    """Label Studio's annotated tasks as rows for ``training.train --data``."""
    names = {topic.name: topic.id for topic in _topics_of(topics_file)}
    try:
        found = json.loads(tasks.read_text("utf-8-sig"))
    except ValueError as error:
        raise click.ClickException(f"{tasks}: not JSON in UTF-8: {error}") from error
    if not isinstance(found, list):
        raise click.ClickException(f"{tasks}: not a list of tasks: export from Label Studio as JSON")
    rows, errors = to_rows(found, names)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(output, rows)
    _finish(f"{len(rows)} rows: {output}", [f"{tasks}: task {id}: {error}" for id, error in errors])


def _topics_of(path: Path) -> list[Topic]:
    try:
        return read_topics(path)
    except DataError as error:
        raise click.ClickException(str(error)) from error


def _finish(done: str, problems: Sequence[str]) -> None:
    click.echo(done)
    for problem in problems:
        click.echo(problem, err=True)
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()
