"""Analysing documents in one process: speed beside the machine's own limit and beside transformers.pipeline, as ratios.

    python benchmarks/analysis.py --corpus DIR [--documents 300] [--peers 20] [--json FILE]

Documents of 100 to 20,000 characters, as many from each of five lengths, nothing truncated. All on all cores, rounds
interleaved, the best round of each, since a neighbour on the machine only ever takes time away:

* the peak: bf16 products of 2,048 x 2,048 matrices in torch, 2 * 2048**3 operations each;
* the network alone, and the whole way from text to JSON, in as many threads as there are cores; that in fp32 too, as on a
  machine without bf16 (with ONEDNN_MAX_CPU_ISA=AVX2 as on an older one). Operations a token are
  ``layers * (8 h**2 + 4 h f + 4 h L)``: h hidden, f feed-forward width, L tokens of its window, padding left out;
* ``transformers.pipeline`` in fp32 with the same encoder, and with one of BERT-base's size (12 x 768, weights at random),
  truncated at 512 tokens, on so many of the documents, at the best of some batch sizes. It gives topics alone.

Then time per 1,000 characters by length, from 200 to 200,000, and what reading a page of HTML takes of its analysis.
"""

from __future__ import annotations

import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.archives import draw_rows
from serving.analysis import analyse
from serving.cores import cores
from serving.errors import ReadingError
from serving.model import Job, Model
from serving.reading import read
from serving.schema import Options
from serving.settings import get_settings
from serving.windows import plan_batches

BANDS = (100, 300, 1_000, 3_000, 8_000, 20_000)  # characters
TOGETHER = 8  # documents
WHOLE = "reading, network, analysis"
PAGE_BYTES = 100_000
LENGTHS = (200, 1_000, 5_000, 20_000, 100_000, 200_000)
ROUNDS = 2
BATCHES = (1, 8, 32)
GEMM = 2048
Figures = dict[str, dict[str, float]]


def draw(corpus: Path, count: int) -> list[str]:
    """Texts, as many from each band of lengths."""
    rows = draw_rows(corpus, 1 << 40)
    texts: list[str] = []
    for low, high in zip(BANDS, BANDS[1:]):
        band = [row["text"] for row in rows if low <= len(row["text"]) < high]
        texts += band[: count // (len(BANDS) - 1)]
    random.Random(0).shuffle(texts)
    return texts


def peak() -> float:
    """Operations a second of bf16 matrix products."""
    a, b = (torch.randn(GEMM, GEMM).bfloat16() for _ in range(2))
    return 2 * GEMM**3 / best(lambda: a @ b, 20)


def best(run: Callable[[], Any], rounds: int) -> float:
    """Seconds of the fastest of some rounds, after one to warm up."""
    run()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return min(times)


def operations(lengths: Sequence[int], layers: int, hidden: int, inner: int) -> float:
    """Of one pass over windows of so many tokens."""
    return float(sum(n * layers * (8 * hidden**2 + 4 * hidden * inner + 4 * hidden * n) for n in lengths))


class Here:
    """The whole way from text to answer, in this process: some documents at a time in each of so many threads."""

    def __init__(self, folder: Path, streams: int, precision: str = "auto") -> None:
        self.model, self.streams = Model.load(folder, streams=streams, precision=precision), streams
        self._budget = get_settings().max_batch_tokens

    def answer(self, *texts: str) -> list[str]:
        """What the service would send."""
        documents = [read(text) for text in texts]
        scores = self.model.score(documents, self._budget)
        return [analyse(d, s, self.model, Options()).model_dump_json() for d, s in zip(documents, scores)]

    def answer_all(self, texts: Sequence[str]) -> None:
        """Each of them."""
        with ThreadPoolExecutor(self.streams) as pool:
            list(pool.map(lambda at: self.answer(*texts[at : at + TOGETHER]), range(0, len(texts), TOGETHER)))

    def forward_all(self, jobs: Sequence[Job]) -> None:
        """The network alone, over documents that are split already."""
        flat = [(job, window) for job in jobs for window in job.windows]
        batches = plan_batches([window for _, window in flat], self._budget)
        with ThreadPoolExecutor(self.streams) as pool:
            list(pool.map(lambda batch: self.model.forward([flat[i] for i in batch]), batches))


def ours(texts: Sequence[str], folder: Path, encoder: Any) -> Figures:
    """The network alone, and the whole way; that without bf16 too, as on a machine that lacks AMX."""
    here = Here(folder, cores())
    jobs = [here.model.begin(read(text)) for text in texts]
    lengths = [len(window.token_ids) for job in jobs for window in job.windows]
    runs = {"the network alone": partial(here.forward_all, jobs), WHOLE: partial(here.answer_all, texts)}
    figures = {name: figure(len(texts), lengths, encoder, best(run, ROUNDS)) for name, run in runs.items()}
    some = texts[: len(texts) // 5]
    lengths = [len(window.token_ids) for job in jobs[: len(some)] for window in job.windows]
    plain = Here(folder, cores(), "f32")
    return figures | {f"{WHOLE}, fp32": figure(len(some), lengths, encoder, best(partial(plain.answer_all, some), 1))}


def figure(documents: int, lengths: Sequence[int], encoder: Any, seconds: float) -> dict[str, float]:
    """A row."""
    work = operations(lengths, encoder.num_hidden_layers, encoder.hidden_size, encoder.intermediate_size)
    return {"documents": documents, "tokens": sum(lengths), "operations": work, "seconds": seconds}


def pipeline(texts: Sequence[str], encoder: Any, weights: str) -> dict[str, float]:
    """``transformers.pipeline`` at its best batch size; ``weights``: a folder, or "" for random ones."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer
    from transformers import pipeline as make

    tokenizer = AutoTokenizer.from_pretrained(str(ROOT / "models" / "encoder"))
    source = AutoModelForSequenceClassification
    network = source.from_pretrained(weights, num_labels=17) if weights else source.from_config(encoder)
    found = {}
    for size in BATCHES:
        classify = make("text-classification", model=network, tokenizer=tokenizer, top_k=None, batch_size=size, device="cpu")
        found[size] = best(partial(classify, list(texts), truncation=True, max_length=512), 1)
    lengths = [min(len(tokenizer(text)["input_ids"]), 512) for text in texts]
    return figure(len(texts), lengths, encoder, min(found.values()))


def show(figures: Figures, limit: float) -> None:
    """As a table; ratios are tokens a second."""
    table = Table("", "documents", "seconds", "tokens/s", "GFLOP/s", "of the peak", "beside the whole way")
    whole = figures[WHOLE]
    for name, row in figures.items():
        speed = row["tokens"] / row["seconds"]
        table.add_row(
            name, f"{row['documents']:,}", f"{row['seconds']:.1f}", f"{speed:,.0f}",
            f"{row['operations'] / row['seconds'] / 1e9:,.0f}", f"{row['operations'] / row['seconds'] / limit:.0%}",
            f"{speed / (whole['tokens'] / whole['seconds']):.3f}",
        )
    Console(width=120).print(table)


def by_length(texts: Sequence[str], folder: Path) -> dict[str, dict[str, float]]:
    """Milliseconds per 1,000 characters of documents made of such sentences; then a page of 100 kB."""
    here = Here(folder, 1)
    body = "\n".join(texts)
    table = Table("characters", "ms", "ms per 1,000")
    figures: dict[str, float] = {}
    for length in LENGTHS:
        text = body[:length]
        seconds = best(partial(here.answer, text), ROUNDS)
        figures[f"{length:,}"] = 1e6 * seconds / length
        table.add_row(f"{length:,}", f"{1000 * seconds:,.1f}", f"{1e6 * seconds / length:.2f}")
    Console(width=120).print(table)
    paragraphs = "".join(f'<p class="text">{line}</p>\n' for line in body.splitlines())
    page = paragraphs.encode()[:PAGE_BYTES].decode("utf-8", "ignore")
    page = f"<!doctype html><html><head><title>页</title></head><body><div>{page}</div></body></html>"
    reading, whole = best(lambda: read(page), ROUNDS), best(lambda: here.answer(page), ROUNDS)
    share = reading / (whole - reading)
    print(f"page of {len(page.encode()) // 1000} kB: reading {1000 * reading:.0f} ms, {share:.1%} of the analysis that follows")
    return {"ms per 1,000 characters": figures, "page": {"reading": reading, "rest": whole - reading}}


@click.command(help=__doc__)
@click.option("--corpus", required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--documents", "number", default=300, show_default=True)
@click.option("--peers", default=20, show_default=True, help="Documents for transformers.pipeline.")
@click.option("--model", "folder", default=ROOT / "models" / "default", type=click.Path(path_type=Path))
@click.option("--json", "json_file", type=click.Path(path_type=Path))
def main(corpus: Path, number: int, peers: int, folder: Path, json_file: Path | None) -> None:
    """Command line."""
    from transformers import BertConfig

    from training.encoder import load_encoder

    torch.set_num_threads(cores())
    texts = []
    for text in draw(corpus, number):
        try:
            read(text)
            texts.append(text)
        except ReadingError:
            pass
    encoder, _, _ = load_encoder(str(folder))
    limit = peak()
    figures = ours(texts, folder, encoder.config)
    limit = max(limit, peak())
    print(f"bf16 peak: {limit / 1e9:,.0f} GFLOP/s on {torch.get_num_threads()} threads")
    if peers:
        with tempfile.TemporaryDirectory() as weights:
            encoder.save_pretrained(weights)
            figures["transformers.pipeline, same encoder, fp32"] = pipeline(texts[:peers], encoder.config, weights)
        base = BertConfig(vocab_size=encoder.config.vocab_size, num_labels=17)
        figures["transformers.pipeline, BERT-base size, fp32"] = pipeline(texts[:peers], base, "")
    show(figures, limit)
    lengths = by_length(texts, folder)
    if json_file:
        json_file.write_text(json.dumps({"peak": limit, **figures, **lengths}, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
