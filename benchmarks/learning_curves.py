"""Learning curves: what each method reaches with 8, 32 and 128 examples a topic, and with none, on three tasks.

    python benchmarks/learning_curves.py --bench DIR --data DIR --output FILE [--task NAME] [--method NAME] [--shots N] …

``--bench`` holds ``thucnews_title`` and ``xwlb_topics_multilabel`` (train.parquet and dev.parquet each), ``--data`` is what
``training.prepare`` wrote. Figures are of dev parts (2,000 titles, 600 news items and 294 of the desk's documents, drawn
once; those in the repository are of the 294 that there were), never of the desk's test split: accuracy where each document
has one topic, else micro-F1. A cell (task, method, examples a topic, seed) is a line of FILE (JSONL); a second call goes on
from there. The training rows of a cell are drawn at random until each topic has so many, or all there are. Methods:

* TF-IDF: character n-grams and LinearSVC (decisions at 0).
* frozen: logistic regression on the standardised mean vector of the encoder (decisions at 0.5).
* SetFit: the library, on the same encoder; asks for ``pip install setfit sentence-transformers``, and is left out without.
* linear, contrastive, full, auto: ``training.train --recipe`` with the defaults; ``unlabelled``: with training documents outside
  the cell (8,000 titles, 2,000 of the other tasks) as text without labels.
* zero: what ``training.start`` makes of the topics' names and descriptions alone.
"""
from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.few_labels import METHODS, TASKS, load, zero

SHOTS = (8, 32, 128)


@click.command(help=__doc__)
@click.option("--bench", required=True, type=click.Path(path_type=Path))
@click.option("--data", required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--task", "tasks", multiple=True, type=click.Choice(TASKS), help="Only these.")
@click.option("--method", "methods", multiple=True, type=click.Choice(["zero", *METHODS]), help="Only these.")
@click.option("--shots", multiple=True, type=click.IntRange(1), help="Examples a topic. Default: 8, 32, 128.")
@click.option("--seeds", default=3, show_default=True)
@click.option("--plot", "plot_file", type=click.Path(path_type=Path), help="Draw the curves, of what is there in the end.")
@click.option("--table", "table_only", is_flag=True, help="Print what is there, measure nothing.")
def main(
    bench: Path, data: Path, output: Path, tasks: tuple[str, ...], methods: tuple[str, ...], shots: tuple[int, ...], seeds: int,
    plot_file: Path | None, table_only: bool,
) -> None:
    """Command line."""
    lines = output.read_text("utf-8").splitlines() if output.is_file() else []
    found = {_key(cell): cell for cell in map(json.loads, lines)}
    wanted = list(_cells(tasks or TASKS, methods or ("zero", *METHODS), shots or SHOTS, seeds))
    for cell in [] if table_only else wanted:
        if cell in found:
            continue
        name, method, count, seed = cell
        task, start = load(name, bench, data), time.monotonic()
        figures = zero(task, seed) if method == "zero" else METHODS[method](task, count, seed)
        if figures is None:
            continue
        found[cell] = {"task": name, "method": method, "shots": count, "seed": seed, **figures,
                       "seconds": round(time.monotonic() - start, 1)}
        with output.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found[cell], ensure_ascii=False) + "\n")
        click.echo(f"{' / '.join(map(str, cell))}: {found[cell]['figure']:.3f}, {found[cell]['seconds']:.0f} s")
    show(list(found.values()))
    if plot_file:
        plot(list(found.values()), plot_file)


def _cells(
    tasks: Sequence[str], methods: Sequence[str], shots: Sequence[int], seeds: int
) -> Iterator[tuple[str, str, int, int]]:
    """The first seed of all before the next, few examples before many: a table is of use early."""
    for seed in range(seeds):
        for count in shots:
            for task in tasks:
                yield from ((task, method, count, seed) for method in METHODS if method in methods)
        if "zero" in methods:
            yield from ((task, "zero", 0, seed) for task in tasks)


def _key(cell: dict[str, Any]) -> tuple[str, str, int, int]:
    return cell["task"], cell["method"], cell["shots"], cell["seed"]


def show(cells: Sequence[dict[str, Any]]) -> None:
    """The table: mean, spread and number of seeds of each cell."""
    shots = sorted({cell["shots"] for cell in cells})
    table = Table("task", "method", *(f"{count} a topic" for count in shots), title="dev parts, mean ± deviation (seeds)")
    for task in TASKS:
        for method in ("zero", *METHODS):
            own = [cell for cell in cells if (cell["task"], cell["method"]) == (task, method)]
            if own:
                table.add_row(task, method, *(_entry([c["figure"] for c in own if c["shots"] == count]) for count in shots))
    Console().print(table)


def plot(cells: Sequence[dict[str, Any]], file: Path) -> None:
    """A panel a task: mean and range over the seeds, by examples a topic; what needs none is a dashed line."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    tasks = [task for task in TASKS if any(cell["task"] == task for cell in cells)]
    figure, panels = pyplot.subplots(1, len(tasks), figsize=(5 * len(tasks), 4), layout="constrained", squeeze=False)
    for panel, task in zip(panels[0], tasks):
        for number, method in enumerate(("zero", *METHODS)):
            points: dict[int, list[float]] = {}
            for cell in cells:
                if (cell["task"], cell["method"]) == (task, method):
                    points.setdefault(cell["shots"], []).append(cell["figure"])
            if not points:
                continue
            means = {count: float(np.mean(points[count])) for count in sorted(points)}
            if method == "zero":
                panel.axhline(means[0], color="black", linestyle="--", label="no label")
                continue
            panel.plot(list(means), list(means.values()), marker="o", color=f"C{number}", label=method)
            low, high = ([edge(points[count]) for count in means] for edge in (min, max))
            panel.fill_between(list(means), low, high, color=f"C{number}", alpha=0.15, linewidth=0)
        measure = "accuracy" if task == "thucnews_title" else "micro-F1"
        panel.set(xscale="log", xlabel="examples a topic", ylabel=measure, title=task)
        panel.set_xticks(SHOTS, [str(count) for count in SHOTS])
        panel.minorticks_off()
        panel.legend(fontsize="small")
    figure.savefig(file, dpi=120)


def _entry(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ± {np.std(values):.3f} ({len(values)})" if values else "–"


if __name__ == "__main__":
    main()
