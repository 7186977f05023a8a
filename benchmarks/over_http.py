"""What HTTP costs: throughput at saturation beside the model in this process, latency added, latency at half load, memory.

    python benchmarks/over_http.py [--corpus ../shared/corpus] [--documents 300] [--json FILE]

Client and service run on the same machine and share its cores, so the client's own work counts against the service. In process:
reading, scoring in batches as archives are scored, and analysis, in as many threads as the service has forward passes at a
time. The rounds of both alternate, and medians count, so that a neighbour on the machine slows both. Saturation:
``--connections`` callers that each wait for an answer before they ask again, one document a request. Half load: arrivals at
random (Poisson) at half the requests a second of saturation; a latency counts from when the request was due, not from when it
could be sent.
"""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click
from rich.console import Console
from rich.table import Table

from benchmarks.analysis import Here
from benchmarks.archives import draw_rows
from benchmarks.served import Served, ask, connect, make_text, percentiles
from serving.settings import get_settings

ROUNDS = 3
SHORT, MEDIUM = 150, 1_000  # characters


def choose(corpus: Path | None, count: int) -> list[str]:
    """Documents of 100 to 20,000 characters: the corpus' own, or made ones whose lengths are spread likewise."""
    if corpus:
        texts = (row["text"] for row in draw_rows(corpus, 4 * count))
        return [text for text in texts if 100 <= len(text) <= 20_000][:count]
    draw = random.Random(0)
    return [make_text(draw, int(min(max(draw.lognormvariate(6.8, 1.0), 100), 20_000))) for _ in range(count)]


async def saturate(url: str, texts: list[str], connections: int) -> tuple[float, int]:
    """Seconds in which so many callers get all documents answered, and how often they were told to come again."""
    waiting, refused = iter(texts), 0

    async def caller() -> None:
        nonlocal refused
        for text in waiting:
            while (status := await ask(client, url, text)) != 200:
                if status != 429:
                    raise click.ClickException(f"the service answered {status}")
                refused += 1
                await asyncio.sleep(0.1)

    async with connect() as client:
        started = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(connections)))
        return time.perf_counter() - started, refused


async def arrive(url: str, texts: list[str], rate: float) -> tuple[list[float], int]:
    """Milliseconds of each answer when documents arrive at random at this rate, and how many were refused."""
    draw, took, refused = random.Random(1), list[float](), 0

    async def one(text: str, due: float) -> None:
        nonlocal refused
        if await ask(client, url, text) == 200:
            took.append((time.perf_counter() - due) * 1000)
        else:
            refused += 1

    async with connect() as client:
        due, running = time.perf_counter(), []
        for text in texts:
            due += draw.expovariate(rate)
            await asyncio.sleep(max(due - time.perf_counter(), 0))
            running.append(asyncio.create_task(one(text, due)))
        await asyncio.gather(*running)
    return took, refused


async def added(url: str, here: Here, text: str, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of one caller's requests and of the same work without HTTP, in turn."""
    over, within = [], []
    async with connect() as client:
        for _ in range(count):
            started = time.perf_counter()
            await ask(client, url, text)
            between = time.perf_counter()
            here.answer(text)
            over.append((between - started) * 1000)
            within.append((time.perf_counter() - between) * 1000)
    return over, within


@click.command(help=__doc__)
@click.option("--corpus", type=click.Path(path_type=Path, exists=True), help="Else documents are made from templates.")
@click.option("--documents", "number", default=300, show_default=True)
@click.option("--connections", default=4, show_default=True, help="Enough to keep two forward passes busy.")
@click.option("--model", default=ROOT / "models" / "default", show_default="models/default", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(1), help="Of the service; by default its own choice.")
@click.option("--streams", type=click.IntRange(1), help="Likewise.")
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    corpus: Path | None, number: int, connections: int, model: Path, workers: int | None, streams: int | None,
    json_file: Path | None,
) -> None:
    """Command line."""
    texts, settings = choose(corpus, number), get_settings()
    workers = workers or settings.workers
    streams = streams or max(settings.workers * settings.streams // workers, 1)
    here = Here(model, workers * streams)
    here.answer_all(texts[:20])
    with Served(model, WENZHAI_WORKERS=str(workers), WENZHAI_STREAMS=str(streams)) as served:
        asyncio.run(saturate(served.url, texts[:20], connections))
        figures = measure(served, here, texts, connections)
        figures |= {"ready after, s": served.seconds, "memory of the largest worker, MB": max(served.memory())}
    show(figures, workers, streams)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")


def measure(served: Served, here: Here, texts: list[str], connections: int) -> dict[str, float]:
    """All figures that need both sides."""
    within, over, refused = [], [], 0
    for _ in range(ROUNDS):
        started = time.perf_counter()
        here.answer_all(texts)
        within.append(time.perf_counter() - started)
        seconds, more = asyncio.run(saturate(served.url, texts, connections))
        over.append(seconds)
        refused += more
    ratio = statistics.median(a / b for a, b in zip(within, over))
    figures = {
        "documents/s in process": len(texts) / statistics.median(within),
        "documents/s over HTTP at saturation": len(texts) / statistics.median(over),
        "share of in-process throughput": ratio,
        "told to come again at saturation": refused,
    }
    draw = random.Random(2)
    for name, size in (("short", SHORT), ("medium", MEDIUM)):
        slow, fast = asyncio.run(added(served.url, here, make_text(draw, size), min(len(texts), 200)))
        figures |= {
            f"{name} ({size} characters), p50 over HTTP, ms": statistics.median(slow),
            f"{name}, p50 in process, ms": statistics.median(fast),
            f"{name}, p50 added, ms": statistics.median(slow) - statistics.median(fast),
        }
    for name, some in (("medium", [make_text(draw, MEDIUM) for _ in texts]), ("all sizes", texts)):
        seconds, _ = asyncio.run(saturate(served.url, some, connections))
        took, refused = asyncio.run(arrive(served.url, some, len(some) / seconds / 2))
        p50, p99 = percentiles(took)
        figures |= {
            f"{name} at half load, p50, ms": p50, f"{name} at half load, p99, ms": p99, f"{name}, p99 / p50": p99 / p50,
            f"{name}, refused at half load": refused,
        }
    return figures


def show(figures: dict[str, float], workers: int, streams: int) -> None:
    """The table."""
    table = Table(title=f"{workers} worker(s) of {streams} forward pass(es) at a time")
    table.add_column("figure")
    table.add_column("value", justify="right")
    for name, value in figures.items():
        table.add_row(name, f"{value:,.2f}" if value < 10 else f"{value:,.0f}")
    Console(width=100).print(table)


if __name__ == "__main__":
    main()
