"""Score whole archives, and go on where a stopped run left off.

    python -m serving.score INPUT… --output DIR [--model DIR] [--format parquet|jsonl|csv] [--workers N] [--restart]

Results are written in parts of a fixed number of documents; a part is either whole or absent, so the same command after
a stop scores only what is missing. Exit code 0: all scored; 1: finished, some documents are in errors.jsonl; 2: nothing
could be done; 130: interrupted.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table
from tqdm import tqdm

from serving import archive
from serving.analysis import analyse
from serving.archive import InputError, Item
from serving.model import Model, ModelError, read_config
from serving.reading import ReadingError, read
from serving.results import WRITERS, write_jsonl, write_whole
from serving.schema import Options
from serving.settings import get_settings

PART_DOCUMENTS = 128  # documents of one part: what a stop can cost
_STATE = ".progress"
_model: Model | None = None  # of a worker process


@click.command(help=__doc__)
@click.argument("inputs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path, file_okay=False), help="Folder for the results.")
@click.option("--model", default=get_settings().model, type=click.Path(path_type=Path), help="Model folder.")
@click.option("--format", "kind", default="parquet", show_default=True, type=click.Choice(list(WRITERS)))
@click.option("--workers", default=os.cpu_count() or 1, show_default="cores", type=click.IntRange(1))
@click.option("--include-text", is_flag=True, help="Also store the cleaned text that the offsets refer to.")
@click.option("--restart", is_flag=True, help="Forget what an earlier run has done.")
def main(inputs: tuple[Path, ...], output: Path, model: Path, kind: str, workers: int, include_text: bool, restart: bool) -> None:
    """Command line."""
    try:
        read_config(model)
        missing = [str(path) for path in inputs if not path.exists()]
        if missing:
            raise InputError(f"no such file or folder: {', '.join(missing)}")
        _prepare(inputs, output, model, kind, include_text, restart)
        code = _score(inputs, output, model, kind, workers, include_text)
    except (ModelError, InputError) as error:
        click.echo(f"Error: {error}", err=True)
        code = 2
    except KeyboardInterrupt:
        click.echo("\nstopped; the same command goes on from here", err=True)
        code = 130
    except BrokenProcessPool:
        click.echo("Error: a worker process died (out of memory?); the same command with fewer --workers goes on from here", err=True)
        code = 2
    sys.exit(code)


def _prepare(inputs: tuple[Path, ...], output: Path, model: Path, kind: str, include_text: bool, restart: bool) -> None:
    """Make the output folder, or check that what is in it comes from the same inputs, model and format."""
    state = output / _STATE / "run.json"
    if restart:
        shutil.rmtree(output / _STATE, ignore_errors=True)
        for old in [*output.glob("part-*"), *output.glob("errors.jsonl")]:
            old.unlink()
    identity = {
        "inputs": [_fingerprint(path) for path in inputs], "format": kind, "include_text": include_text,
        "model": hashlib.sha256((model / "config.json").read_bytes()).hexdigest(), "part_documents": PART_DOCUMENTS,
    }
    if state.is_file():
        if json.loads(state.read_text("utf-8")) != identity:
            raise InputError(f"{output} holds results of other inputs, another model or format: use --restart or another folder")
        return
    if output.is_dir() and any(output.glob("part-*")):
        raise InputError(f"{output} holds results that this command did not begin: use --restart or another folder")
    state.parent.mkdir(parents=True, exist_ok=True)
    write_whole(state, lambda path: path.write_text(json.dumps(identity), "utf-8"))


def _fingerprint(path: Path) -> list[Any]:
    """What tells an input from a changed one: its place, and size and time, for a folder of each file."""
    if path.is_dir():
        digest = hashlib.sha256()
        for file in archive.files(path):
            info = file.stat()
            digest.update(f"{file}\0{info.st_size}\0{info.st_mtime_ns}\n".encode("utf-8", "surrogateescape"))
        return [str(path.resolve()), digest.hexdigest()]
    info = path.stat()
    return [str(path.resolve()), info.st_size, info.st_mtime_ns]


def _score(inputs: tuple[Path, ...], output: Path, model: Path, kind: str, workers: int, include_text: bool) -> int:
    started = time.monotonic()
    counts = [archive.count(path) for path in inputs]
    total = None if None in counts else sum(filter(None, counts))
    problems: list[dict[str, str]] = []
    done_before = scored = 0
    bar = tqdm(total=total, unit="doc", desc="scoring", mininterval=0.5)
    context = get_context("spawn")  # OpenVINO's threads do not survive a fork
    with ProcessPoolExecutor(workers, context, _start_worker, (model,)) as pool:
        running: dict[Future[int], int] = {}
        try:
            for number, items in enumerate(_parts(_all_items(inputs, problems))):
                if (output / f"part-{number:06d}.{kind}").is_file():
                    done_before += len(items)
                    bar.update(len(items))
                    continue
                if len(running) >= 2 * workers:
                    scored += _collect(running, bar)
                running[pool.submit(_score_part, items, output, number, kind, include_text)] = len(items)
            while running:
                scored += _collect(running, bar)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    bar.close()
    errors = _write_errors(output, problems)
    _report(output, kind, errors, done_before, scored, time.monotonic() - started)
    return 1 if errors else 0


def _all_items(inputs: tuple[Path, ...], problems: list[dict[str, str]]) -> Iterator[Item]:
    """Items of all inputs; an input that breaks off is reported, and the others go on."""
    for path in inputs:
        try:
            yield from archive.documents(path)
        except InputError as error:
            problems.append({"id": str(path), "error": str(error)})


def _parts(items: Iterable[Item]) -> Iterator[list[Item]]:
    iterator = iter(items)
    while part := list(itertools.islice(iterator, PART_DOCUMENTS)):
        yield part


def _collect(running: dict[Future[int], int], bar: tqdm) -> int:
    """Wait for a part, and return how many documents have been dealt with."""
    finished, _ = wait(running, return_when=FIRST_COMPLETED)
    count = 0
    for future in finished:
        future.result()
        count += running.pop(future)
    bar.update(count)
    return count


def _start_worker(model: Path) -> None:
    global _model
    _model = Model.load(model, threads=1, precision=get_settings().precision)


def _score_part(items: list[Item], output: Path, number: int, kind: str, include_text: bool) -> int:
    """Score one part and write its errors, then its results, whose presence says that the part is done."""
    assert _model is not None
    documents, errors = [], []
    for item in items:
        try:
            if item.error:
                raise ReadingError(item.error)
            documents.append(read(item.content, title=item.title, id=item.id))
        except ReadingError as error:
            errors.append({"id": item.id, "error": str(error)})
        except Exception as error:  # a fault in reading one document must not lose the others
            errors.append({"id": item.id, "error": f"could not be read ({type(error).__name__}); convert it to plain text"})
    scores = _model.score(documents, get_settings().max_batch_tokens)
    options = Options(include_text=include_text)
    rows = [analyse(d, s, _model, options).model_dump() for d, s in zip(documents, scores)]
    if errors:
        write_whole(output / _STATE / f"errors-{number:06d}.jsonl", lambda path: write_jsonl(path, errors))
    counts = Counter(topic["id"] for row in rows for topic in row["topics"])
    stated = {"documents": len(rows), "topics": counts}
    write_whole(output / _STATE / f"counts-{number:06d}.json", lambda path: path.write_text(json.dumps(stated), "utf-8"))
    write_whole(output / f"part-{number:06d}.{kind}", lambda path: WRITERS[kind](path, rows))
    return len(rows)


def _write_errors(output: Path, problems: list[dict[str, str]]) -> int:
    """Gather the parts' errors in errors.jsonl; returns how many there are."""
    errors = list(problems)
    for file in sorted((output / _STATE).glob("errors-*.jsonl")):
        errors.extend(json.loads(line) for line in file.read_text("utf-8").splitlines())
    write_whole(output / "errors.jsonl", lambda path: write_jsonl(path, errors))
    return len(errors)


def _report(output: Path, kind: str, errors: int, before: int, scored: int, seconds: float) -> None:
    """The table at the end."""
    topics: Counter[str] = Counter()
    documents = 0
    for file in (output / _STATE).glob("counts-*.json"):
        stated = json.loads(file.read_text("utf-8"))
        documents += stated["documents"]
        topics.update(stated["topics"])
    table = Table("topic", "documents", title=f"{documents} documents in {output}/part-*.{kind}")
    table.columns[1].justify = "right"
    for topic, number in topics.most_common():
        table.add_row(topic, str(number))
    console = Console()
    console.print(table)
    console.print(f"{scored} scored now in {seconds:.1f} s ({scored / max(seconds, 1e-9):.1f} a second), {before} before; {errors} errors")
    if errors:
        console.print(f"see {output}/errors.jsonl")


if __name__ == "__main__":
    main()
