"""Model folders side by side: quality on labelled rows against speed on the same documents.

    python benchmarks/models.py --data FILE [--threads 2] [--documents 200] MODEL…

Quality is ``training.evaluate``'s over all rows. Speed is that of analysis in one process, reading not included, on the first
documents; the models take turns, and the median of the rounds counts.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click
from rich.console import Console
from rich.table import Table

from serving.analysis import analyse
from serving.model import Model
from serving.schema import Options
from serving.settings import get_settings
from training.data import read_rows
from training.evaluate import evaluate
from training.examples import read_documents

FIGURES = ("micro_f1", "macro_f1", "map", "exact_match", "key_sentence_f1", "ece")


@click.command(help=__doc__)
@click.option("--data", required=True)
@click.option("--threads", default=2, show_default=True)
@click.option("--documents", default=200, show_default=True)
@click.option("--rounds", default=5, show_default=True)
@click.argument("models", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
def main(data: str, threads: int, documents: int, rounds: int, models: tuple[Path, ...]) -> None:
    """Command line."""
    rows = read_rows(data)
    read = read_documents(rows)
    loaded = {folder: Model.load(folder, threads=threads) for folder in models}
    chosen = list(read.values())[:documents]
    times: dict[Path, list[float]] = {folder: [] for folder in loaded}
    for _ in range(rounds + 1):  # the first one warms up
        for folder, model in loaded.items():
            start = time.perf_counter()
            for document, scores in zip(chosen, model.score(chosen, get_settings().max_batch_tokens)):
                analyse(document, scores, model, Options())
            times[folder].append(time.perf_counter() - start)
    table = Table("model", "MB", "tokens/s", "documents/s", "against the first", *FIGURES)
    base = statistics.median(times[models[0]][1:])
    for folder in models:
        model, seconds = loaded[folder], statistics.median(times[folder][1:])
        tokens = sum(len(window.token_ids) for document in chosen for window in model.split(document))
        megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
        figures = evaluate(model, rows, read, progress=True)
        table.add_row(
            str(folder), f"{megabytes:.0f}", f"{tokens / seconds:,.0f}", f"{len(chosen) / seconds:.1f}", f"{base / seconds:.2f}×",
            *("–" if figures[name] is None else f"{figures[name]:.3f}" for name in FIGURES),
        )
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
