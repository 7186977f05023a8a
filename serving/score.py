"""Score whole archives, and go on where a stopped run left off.

    python -m serving.score INPUT… --output DIR [--model DIR] [--format parquet|jsonl|csv] [--workers N] [--restart]

Results are written in parts; a part is either whole or absent, so the same command after a stop scores only what is
missing. Exit code 0: all scored; 1: finished, some documents or inputs are in errors.jsonl; 2: nothing could be done, or
not to the end, for the reason stated; 130: interrupted.
"""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from tqdm import tqdm

from serving import archive
from serving.analysis import analyse
from serving.archive import InputError, Item
from serving.document import Document
from serving.model import Model, ModelError, read_config
from serving.progress import ERRORS, Progress
from serving.reading import ReadingError, read
from serving.results import WRITERS
from serving.schema import Options
from serving.settings import get_settings
from serving.workers import WorkerError, Workers

Errors = list[dict[str, str]]


@click.command(help=__doc__)
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
@click.option("--model", default=get_settings().model, type=click.Path(path_type=Path), help="Model folder.")
@click.option("--format", "kind", default="parquet", show_default=True, type=click.Choice(list(WRITERS)))
@click.option("--workers", default=os.cpu_count() or 1, show_default="cores", type=click.IntRange(1))
@click.option("--include-text", is_flag=True, help="Also store the cleaned text that the offsets refer to.")
@click.option("--restart", is_flag=True, help="Delete what an earlier run has done.")
def main(inputs: tuple[Path, ...], output: Path, model: Path, kind: str, workers: int, include_text: bool, restart: bool) -> None:
    """Command line."""
    try:
        read_config(model)
        missing = [str(path) for path in inputs if not path.exists()]
        if missing:
            raise InputError(f"no such file or folder: {', '.join(missing)}")
        progress = Progress(output, kind)
        with progress.alone():
            progress.begin(_identity(inputs, model, kind, include_text), restart)
            code = _score(inputs, progress, model, workers, include_text)
    except (ModelError, InputError) as error:
        click.echo(f"Error: {error}", err=True)
        code = 2
    except (WorkerError, OSError) as error:
        click.echo(f"Error: {error}\nthe same command, perhaps with fewer --workers, goes on from here", err=True)
        code = 2
    except KeyboardInterrupt:
        click.echo("\nstopped; the same command goes on from here", err=True)
        code = 130
    sys.exit(code)


def _identity(inputs: tuple[Path, ...], model: Path, kind: str, include_text: bool) -> dict[str, Any]:
    """What must be the same for a run to go on: with anything else, parts would hold other documents or other answers."""
    settings = get_settings()
    return {
        "inputs": [_fingerprint(path) for path in inputs], "format": kind, "include_text": include_text,
        "model": hashlib.sha256((model / "config.json").read_bytes()).hexdigest(),
        "part_documents": settings.part_documents, "max_file_bytes": settings.max_file_bytes,
    }


def _fingerprint(path: Path) -> list[Any]:
    """What tells an input from a changed one: its place, and size and time, for a folder of each file."""
    place = str(path.resolve()).encode("utf-8", "surrogateescape").hex()
    if not path.is_dir():
        info = path.stat()
        return [place, info.st_size, info.st_mtime_ns]
    digest = hashlib.sha256()
    for file in archive.files(path):
        try:
            info = file.stat()
            stated = f"{info.st_size}\0{info.st_mtime_ns}"
        except OSError:  # a link to nowhere
            stated = "absent"
        digest.update(f"{file.relative_to(path)}\0{stated}\n".encode("utf-8", "surrogateescape"))
    return [place, digest.hexdigest()]


def _score(inputs: tuple[Path, ...], progress: Progress, model: Path, workers: int, include_text: bool) -> int:
    started = time.monotonic()
    done = progress.done()
    counts = [archive.count(path) for path in inputs]
    total = None if None in counts else sum(filter(None, counts))
    problems: Errors = []
    scored = 0

    def tasks() -> Iterator[tuple[int, list[Item]]]:
        return ((number, items) for number, items in enumerate(_parts(_all_items(inputs, problems))) if number not in done)

    # A terminal sees the bar move; a log file gets a line now and then.
    pace = 0.5 if sys.stderr.isatty() else 10
    with (
        tqdm(total=total, initial=sum(done.values()), unit="doc", desc="scoring", mininterval=pace) as bar,
        Workers(workers, _start, (model, progress, include_text)) as pool,
    ):
        for found, documents in pool.run(tasks()):
            bar.update(found)
            scored += documents
    errors = progress.finish(problems)
    if not progress.done():
        raise InputError("; ".join(problem["error"] for problem in problems))
    _report(progress, errors, scored, time.monotonic() - started)
    return 1 if errors else 0


def _all_items(inputs: tuple[Path, ...], problems: Errors) -> Iterator[Item]:
    """Items of all inputs; an input that breaks off is reported, and the others go on."""
    for path in inputs:
        empty = True
        try:
            for item in archive.documents(path):
                empty = False
                yield item
            if empty:
                raise InputError(f"{path}: holds no documents ({', '.join(archive.DOCUMENT_SUFFIXES)}, or rows)")
        except InputError as error:
            problems.append({k: str(v).encode("utf-8", "replace").decode() for k, v in (("id", path), ("error", error))})


def _parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    """Parts of so many documents, fewer where they are large; the same at every start."""
    settings = get_settings()
    part: list[Item] = []
    size = 0
    for item in items:
        part.append(item)
        size += len(item.content)
        if len(part) == settings.part_documents or size >= settings.max_file_bytes:
            yield part
            part, size = [], 0
    if part:
        yield part


def _start(model_folder: Path, progress: Progress, include_text: bool) -> Callable[[int, list[Item]], tuple[int, int]]:
    """In a worker process: load the model, and return what scores one part: -> (documents found, documents scored)."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each worker has a core of its own
    model = Model.load(model_folder, threads=1, precision=get_settings().precision)
    options = Options(include_text=include_text)

    def score_part(number: int, items: list[Item]) -> tuple[int, int]:
        rows, errors = _analyse_items(items, model, options)
        progress.save(number, rows, errors)
        return len(items), len(rows)

    return score_part


def _analyse_items(items: list[Item], model: Model, options: Options) -> tuple[list[dict[str, Any]], Errors]:
    documents: list[Document] = []
    errors: Errors = []
    for item in items:
        try:
            if item.error:
                raise ReadingError(item.error)
            documents.append(read(item.content, title=item.title, id=item.id))
        except ReadingError as error:
            errors.append({"id": item.id, "error": str(error)})
        except Exception as error:  # a fault in reading one document must not lose the others
            errors.append({"id": item.id, "error": f"could not be read ({type(error).__name__}); convert it to plain text"})
    try:
        return _analyse_documents(documents, model, options), errors
    except Exception:  # nor a fault in scoring one: find it
        rows = []
        for document in documents:
            try:
                rows += _analyse_documents([document], model, options)
            except Exception as error:
                errors.append({"id": document.id, "error": f"could not be scored ({type(error).__name__}); please report it"})
        return rows, errors


def _analyse_documents(documents: list[Document], model: Model, options: Options) -> list[dict[str, Any]]:
    scores = model.score(documents, get_settings().max_batch_tokens)
    return [analyse(d, s, model, options).model_dump() for d, s in zip(documents, scores)]


def _report(progress: Progress, errors: int, scored: int, seconds: float) -> None:
    """The table at the end."""
    totals = progress.totals()
    table = Table("topic", "documents", title=escape(f"{totals.documents} documents in {progress.output}/part-*.{progress.kind}"))
    table.columns[1].justify = "right"
    for topic, number in totals.topics.most_common():
        table.add_row(escape(topic), str(number))
    Console().print(table)
    click.echo(
        f"{scored} scored now in {seconds:.1f} s ({scored / max(seconds, 1e-9):.1f} a second), "
        f"{totals.documents - scored} before; {errors} errors"
    )
    if errors:
        click.echo(f"see {progress.output}/{ERRORS}")


if __name__ == "__main__":
    main()
