"""Scoring archives: documents and tokens a second, and peak memory, of each way to do it over the same files.

    python benchmarks/archives.py --corpus ../shared/corpus [--documents 2000] [--ray] [--pipeline 200] [--json FILE]
    python benchmarks/archives.py --memory 1000 --memory 10000 --memory 1000000 [--model DIR]

First table, one run after another on a quiet machine: the model alone, in this process, on documents that are read already;
``serving.score`` with one worker on all cores, one worker on one core, two on one each, and the same on Ray, on this machine and
on a cluster of two nodes started on it; ``transformers.pipeline`` with the same network in fp32 (its own windows, truncated at
512 tokens, topics only) over so many of the documents. The documents lie in ``FILES`` files, since Ray reads each by one task.
Seconds of ``serving.score`` are those of its run.json: starting processes, reading, scoring and storing.

``--memory``: peak memory of the command over so many short documents made from templates, reprints looked for.
Memory is the proportional set size of all processes of the command, looked at ten times a second.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click
from rich.console import Console
from rich.table import Table

from benchmarks.kills import sentences, session_of
from benchmarks.ray_nodes import OPEN, two_nodes
from serving.archive import documents
from serving.model import Model
from serving.reading import ReadingError, read
from serving.settings import get_settings

PIPELINE_BATCH = 16
FILES = 8


def draw_rows(corpus: Path, count: int, seed: int = 0) -> list[dict[str, str]]:
    """Rows from all files of the corpus, in random order."""
    items = (item for item in documents(corpus) if isinstance(item.content, str) and not item.error)
    rows = [{"id": item.id, "title": item.title, "text": str(item.content)} for item in items]
    random.Random(seed).shuffle(rows)
    return rows[:count]


def write_rows(folder: Path, rows: list[dict[str, str]]) -> str:
    """As JSONL, in some files: -> pattern that names them."""
    for number in range(FILES):
        with (folder / f"rows{number}.jsonl").open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[number::FILES])
    return str(folder / "rows*.jsonl")


def command(inputs: str, output: Path, model: Path, *options: str) -> dict[str, float]:
    """Run ``serving.score``: seconds by its own record, documents scored, and peak memory in MB."""
    log = output.with_suffix(".log")
    with log.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "serving.score", inputs, "--output", str(output), "--model", str(model), *options],
            cwd=ROOT, start_new_session=True, stdout=subprocess.DEVNULL, stderr=stderr, env={**os.environ, **OPEN},
        )
    peak = 0.0
    while process.poll() is None:
        peak = max(peak, sum(map(_memory, session_of(process.pid))))
        time.sleep(0.1)
    if process.returncode > 1:
        raise click.ClickException(log.read_text("utf-8", "replace"))
    run = json.loads((output / "run.json").read_text("utf-8"))
    return {"seconds": run["runs"][-1]["seconds"], "documents": run["runs"][-1]["scored"], "memory": peak}


def _memory(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def in_process(rows: list[dict[str, str]], model: Path) -> tuple[dict[str, float], int]:
    """The model alone on all cores, a part at a time: figures, and the tokens of all documents."""
    read_already = []
    for row in rows:
        with contextlib.suppress(ReadingError):
            read_already.append(read(row["text"], title=row["title"]))
    loaded = Model.load(model, threads=os.cpu_count() or 1)
    size = get_settings().part_documents
    loaded.score(read_already[:size], get_settings().max_batch_tokens)
    started = time.perf_counter()
    for at in range(0, len(read_already), size):
        loaded.score(read_already[at : at + size], get_settings().max_batch_tokens)
    seconds = time.perf_counter() - started
    tokens = sum(len(window.token_ids) for document in read_already for window in loaded.split(document))
    return {"seconds": seconds, "documents": len(read_already), "memory": _memory(os.getpid())}, tokens


def pipeline(rows: list[dict[str, str]], model: Path) -> dict[str, float]:
    """``transformers.pipeline`` with the encoder of the model and a classification head, fp32."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers import pipeline as make

    from training.encoder import load_encoder

    torch.set_num_threads(os.cpu_count() or 1)
    with tempfile.TemporaryDirectory() as folder:
        encoder, _, _ = load_encoder(str(model))
        encoder.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(str(ROOT / "models" / "encoder"))
        network = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=17)
        classify = make("text-classification", model=network, tokenizer=tokenizer, top_k=None, batch_size=PIPELINE_BATCH)
        texts = [row["text"] for row in rows]
        classify(texts[:PIPELINE_BATCH], truncation=True, max_length=512)
        started = time.perf_counter()
        classify(texts, truncation=True, max_length=512)
        seconds = time.perf_counter() - started
    return {"seconds": seconds, "documents": len(texts), "memory": _memory(os.getpid())}


def show(figures: dict[str, dict[str, float]], tokens_each: float) -> None:
    """As a table, beside the model alone."""
    table = Table("", "documents", "seconds", "documents/s", "tokens/s", "of the model alone", "peak MB")
    alone = next(iter(figures.values()))
    for name, row in figures.items():
        speed = row["documents"] / row["seconds"]
        ratio = speed / (alone["documents"] / alone["seconds"])
        table.add_row(
            name, f"{row['documents']:,.0f}", f"{row['seconds']:.1f}", f"{speed:.1f}", f"{speed * tokens_each:,.0f}",
            f"{ratio:.0%}", f"{row['memory']:,.0f}",
        )
    Console(width=120).print(table)


def memory_curve(counts: tuple[int, ...], model: Path) -> None:
    """Peak memory over ever more documents."""
    table = Table("documents", "seconds", "documents/s", "peak MB")
    for count in counts:
        with tempfile.TemporaryDirectory() as folder:
            draw = random.Random(count)
            path = Path(folder) / "rows.jsonl"
            with path.open("w", encoding="utf-8") as file:
                for i in range(count):
                    file.write(json.dumps({"id": str(i), "text": sentences(draw, 2)}, ensure_ascii=False) + "\n")
            row = command(str(path), Path(folder) / "out", model)
        speed = row["documents"] / row["seconds"]
        table.add_row(f"{count:,}", f"{row['seconds']:,.1f}", f"{speed:,.1f}", f"{row['memory']:,.0f}")
    Console(width=120).print(table)


@click.command(help=__doc__)
@click.option("--corpus", type=click.Path(path_type=Path, exists=True))
@click.option("--documents", "number", default=2000, show_default=True)
@click.option("--model", default=ROOT / "models" / "default", show_default="models/default", type=click.Path(path_type=Path))
@click.option("--ray", is_flag=True)
@click.option("--pipeline", "piped", default=0, show_default=True, help="Documents for transformers.pipeline.")
@click.option("--memory", multiple=True, type=int)
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    corpus: Path | None, number: int, model: Path, ray: bool, piped: int, memory: tuple[int, ...], json_file: Path | None
) -> None:
    """Command line."""
    if memory:
        memory_curve(memory, model)
    if corpus is None:
        return
    rows = draw_rows(corpus, number)
    figures = {}
    figures["the model alone"], tokens = in_process(rows, model)
    ways = {
        "1 worker, all cores": ("--workers", "1"), "1 worker, 1 thread": ("--workers", "1", "--threads", "1"),
        "2 workers, 1 thread each": ("--workers", "2", "--threads", "1"),
    }
    on_ray = ("--threads", "1", "--engine", "ray")
    if ray:
        ways |= {"Ray, 1 worker": ("--workers", "1", *on_ray), "Ray, 2 workers": ("--workers", "2", *on_ray)}
    with tempfile.TemporaryDirectory() as folder:
        inputs = write_rows(Path(folder), rows)
        for name, options in ways.items():
            figures[name] = command(inputs, Path(folder) / name, model, *options)
        if ray:
            with two_nodes() as address:
                options = ("--workers", "2", *on_ray, "--address", address)
                figures["Ray, two nodes of 1 core"] = command(inputs, Path(folder) / "nodes", model, *options)
    if piped:
        figures["transformers.pipeline, fp32, 512 tokens"] = pipeline(rows[:piped], model)
    show(figures, tokens / figures["the model alone"]["documents"])
    if json_file:
        json_file.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
