"""Overload: several times what the service can do, for a while, short and long documents mixed, some callers giving up.

    python benchmarks/overload.py [--seconds 600] [--times 4] [--give-up 0.1] [--quick] [--plot FILE.png] [--json FILE]

First each size alone, one request at a time; then capacity, by callers that ask again as soon as they are answered, or a
tenth of a second after a refusal; then requests that arrive at random (Poisson) at ``--times`` that rate whatever becomes of
them, of which ``--give-up`` hang up within two seconds; then each size alone again. Nobody who is refused asks again. A
latency counts from when the request was due. Client and service share the machine's cores. Documents are made from templates.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import aiohttp
import click
from rich.console import Console
from rich.table import Table

from benchmarks.served import Served, ask, connect, make_text, percentiles

# name, characters, share of requests, how many are asked alone
SIZES = (("short", 150, 0.85, 200), ("medium", 1_500, 0.12, 60), ("long", 20_000, 0.03, 12))
CALLERS, CAPACITY_SECONDS = 6, 60  # that measure capacity
GIVE_UP_SECONDS = 2.0  # within which those give up who do


@dataclass
class Outcome:
    """What became of one request: seconds since the start when it was due, and that it took; status 0: gave up."""

    size: str
    due: float
    took: float
    status: int
    retry_after: int = 0


@dataclass
class Run:
    """All that was seen."""

    alone: dict[str, list[float]] = field(default_factory=dict)
    after: dict[str, list[float]] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)
    memory: list[tuple[float, float]] = field(default_factory=list)
    capacity: float = 0.0


class Load:
    """Requests of random sizes."""

    def __init__(self, url: str, give_up: float, quick: bool) -> None:
        self._url, self._give_up, self._draw = url, give_up, random.Random(0)
        self._part = 10 if quick else 1
        self._texts = {name: [make_text(self._draw, size) for _ in range(20)] for name, size, _, _ in SIZES}

    def text(self, size: str) -> str:
        """A document of this size."""
        return self._draw.choice(self._texts[size])

    def size(self) -> str:
        """A size by its share."""
        return self._draw.choices([name for name, *_ in SIZES], [share for _, _, share, _ in SIZES])[0]

    async def alone(self) -> dict[str, list[float]]:
        """Milliseconds of each size, one request at a time."""
        took: dict[str, list[float]] = {}
        async with connect() as client:
            for name, _, _, count in SIZES:
                took[name] = []
                for _ in range(count // self._part + 3):
                    started = time.perf_counter()
                    await ask(client, self._url, self.text(name))
                    took[name].append((time.perf_counter() - started) * 1000)
                del took[name][:2]  # until it is warm
        return took

    async def capacity(self) -> float:
        """Requests a second that a few patient callers get answered."""
        done, end = 0, time.perf_counter() + CAPACITY_SECONDS / self._part

        async def caller() -> None:
            nonlocal done
            while time.perf_counter() < end:
                if await ask(client, self._url, self.text(self.size())) == 200:
                    done += 1
                else:  # to ask again at once would only keep the service busy with refusing
                    await asyncio.sleep(0.1)

        async with connect() as client:
            started = time.perf_counter()
            await asyncio.gather(*(caller() for _ in range(CALLERS)))
            return done / (time.perf_counter() - started)

    async def overload(self, rate: float, seconds: float, run: Run) -> None:
        """Requests at this rate, for so long."""
        start = due = time.perf_counter()
        running: set[asyncio.Task[None]] = set()
        async with connect() as client:
            while (due := due + self._draw.expovariate(rate)) < start + seconds:
                await asyncio.sleep(max(due - time.perf_counter(), 0))
                task = asyncio.create_task(self._one(client, self.size(), due, start, run))
                running.add(task)
                task.add_done_callback(running.discard)
            await asyncio.gather(*running)

    async def _one(self, client: aiohttp.ClientSession, size: str, due: float, start: float, run: Run) -> None:
        patience = self._draw.random() * GIVE_UP_SECONDS if self._draw.random() < self._give_up else 600
        body = {"documents": [{"text": self.text(size)}]}
        limit = aiohttp.ClientTimeout(total=patience)
        status = retry_after = 0
        try:
            async with client.post(f"{self._url}/v1/analyze", json=body, timeout=limit) as answer:
                await answer.read()
                status, retry_after = answer.status, int(answer.headers.get("Retry-After", 0))
        except asyncio.TimeoutError:
            pass
        run.outcomes.append(Outcome(size, due - start, (time.perf_counter() - due) * 1000, status, retry_after))


async def watch(served: Served, run: Run) -> None:
    """Memory, twice a second, until cancelled."""
    start = time.perf_counter()
    while True:
        run.memory.append((time.perf_counter() - start, sum(await asyncio.to_thread(served.memory))))
        await asyncio.sleep(0.5)


async def perform(served: Served, load: Load, rate: float, seconds: float) -> Run:
    """The whole course, at this many times capacity."""
    run = Run()
    run.alone = await load.alone()
    run.capacity = await load.capacity()
    watching = asyncio.create_task(watch(served, run))
    await load.overload(rate * run.capacity, seconds, run)
    watching.cancel()
    run.after = await load.alone()
    return run


def show(run: Run, seconds: float) -> dict[str, float]:
    """Tables; the figures as they stand there."""
    figures: dict[str, float] = {"capacity, requests/s": run.capacity, "offered, requests/s": len(run.outcomes) / seconds}
    table = Table(title=f"capacity {run.capacity:,.1f} requests/s, offered {len(run.outcomes) / seconds:,.1f}, for {seconds:g} s")
    keys = ("offered", "taken in", "gave up", "refused", "p50 alone", "p99 alone", "p50", "p99", "p99 / alone", "p50 after")
    table.add_column("ms")
    for key in keys:
        table.add_column(key, justify="right")
    for name in [name for name, *_ in SIZES]:
        found = [outcome for outcome in run.outcomes if outcome.size == name]
        took = [outcome.took for outcome in found if outcome.status == 200]
        refused = sum(outcome.status in (429, 503) for outcome in found)
        gone = sum(outcome.status == 0 for outcome in found)
        (p50, p99), (alone50, alone99), after50 = percentiles(took), percentiles(run.alone[name]), percentiles(run.after[name])[0]
        times = (alone50, alone99, p50, p99, p99 / alone99, after50)
        counts = (len(found), len(took), gone, refused)
        table.add_row(name, *map(str, counts), *(f"{value:,.1f}" for value in times))
        figures |= {f"{name}: {key}": value for key, value in zip(keys, (*counts, *times))}
    Console(width=120).print(table)
    refusals = [outcome for outcome in run.outcomes if outcome.status in (429, 503)]
    p50, p99 = percentiles([outcome.took for outcome in refusals])
    other = sum(outcome.status not in (0, 200, 429, 503) for outcome in run.outcomes)
    memory = [value for _, value in run.memory]
    figures |= {
        "answered otherwise": other, "refusal, p50 ms": p50, "refusal, p99 ms": p99,
        "refusals without Retry-After": sum(not outcome.retry_after for outcome in refusals),
        "memory at the start, MB": memory[0], "largest memory, MB": max(memory), "memory at the end, MB": memory[-1],
    }
    for name in list(figures)[-7:]:
        print(f"{name}: {figures[name]:,.1f}")
    return figures


def plot(run: Run, file: Path) -> None:
    """Latencies of those taken in, what was taken in and refused, and memory, over time."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (latency, rates, memory) = pyplot.subplots(
        3, 1, sharex=True, figsize=(9, 9), height_ratios=(3, 2, 1), layout="constrained"
    )
    colours = dict(zip((name for name, *_ in SIZES), ("tab:blue", "tab:orange", "tab:green")))
    for name, size, _, _ in SIZES:
        taken = [outcome for outcome in run.outcomes if outcome.size == name and outcome.status == 200]
        points = [outcome.due for outcome in taken], [outcome.took / 1000 for outcome in taken]
        latency.scatter(*points, s=5, alpha=0.5, color=colours[name], label=f"{size:,} characters", linewidths=0)
        latency.axhline(3 * percentiles(run.alone[name])[1] / 1000, color=colours[name], linestyle="--", linewidth=1)
    latency.set(yscale="log", ylabel="seconds to the answer", title="Requests taken in (dashed: three times the p99 alone)")
    latency.legend(loc="upper right")
    end = max(outcome.due for outcome in run.outcomes)
    width = max(end / 100, 1)
    kinds = (("taken in", "tab:blue", (200,)), ("refused", "tab:red", (429, 503)), ("gave up", "tab:gray", (0,)))
    for name, colour, statuses in kinds:
        counts = [0.0] * (int(end / width) + 1)
        for outcome in run.outcomes:
            if outcome.status in statuses:
                counts[int(outcome.due / width)] += 1 / width
        rates.step([i * width for i in range(len(counts))], counts, where="post", color=colour, label=name)
    rates.axhline(run.capacity, color="black", linestyle="--", linewidth=1, label="capacity")
    rates.set(ylabel="requests a second", ylim=(0, None))
    rates.legend(loc="upper right")
    memory.plot(*zip(*run.memory), color="tab:purple")
    memory.set(ylabel="memory, MB", xlabel="seconds", ylim=(0, None))
    figure.savefig(file, dpi=120)


@click.command(help=__doc__)
@click.option("--seconds", default=600.0, show_default=True)
@click.option("--times", default=4.0, show_default=True, help="What capacity is offered.")
@click.option("--give-up", default=0.1, show_default=True, help="Share of callers that hang up.")
@click.option("--quick", is_flag=True, help="A tenth of what precedes and follows the overload.")
@click.option("--model", default=ROOT / "models" / "default", show_default="models/default", type=click.Path(path_type=Path))
@click.option("--plot", "plot_file", type=click.Path(path_type=Path))
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(
    seconds: float, times: float, give_up: float, quick: bool, model: Path, plot_file: Path | None, json_file: Path | None
) -> None:
    """Command line."""
    with Served(model) as served:
        run = asyncio.run(perform(served, Load(served.url, give_up, quick), times, seconds))
    figures = show(run, seconds)
    if json_file:
        json_file.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if plot_file:
        plot(run, plot_file)


if __name__ == "__main__":
    main()
