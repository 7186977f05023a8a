"""The default recipe on public tasks, beside TF-IDF + LinearSVC (topics) or LEAD (summaries), and beside published figures.

    python benchmarks/public_tasks.py --bench DIR --output DIR [--task NAME …] [--encoder DIR]

``DIR/NAME/{train,dev}.parquet`` are duee_multilabel, thucnews_title, xwlb_topics_multilabel and xwlb_summary (of which the rows
whose ``kind`` is multi are used). Each task is trained by ``training.train`` with no other options than the task needs, and
scored by ``training.evaluate`` on the dev part. A tenth of the training part is split off to stop and calibrate by, so the
dev part is not looked at. A task that is in OUTPUT already is not trained again with the same encoder.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import f1_score
from sklearn.preprocessing import MultiLabelBinarizer
from sklearn.svm import LinearSVC

from serving.document import Document
from training.metrics import summary_rouge
from training.prepare import write_jsonl

PUBLISHED = {
    "duee_multilabel": "DuEE's test set: BERT-base 0.946, BERT-wwm-ext 0.950, with FGM 0.958",
    "thucnews_title": "180,000 training titles: BERT 0.948, ERNIE 0.946, FastText 0.922",
    "xwlb_topics_multilabel": "LinearSVC 0.808 / 0.616",
    "xwlb_summary": "LEAD-1 0.368/0.218/0.296, TextRank 0.341/0.191/0.262, oracle 0.519/0.355/0.433",
}
FIGURES = ("micro_f1", "macro_f1", "accuracy", "rouge1", "rouge2", "rougeL")


@click.command(help=__doc__)
@click.option("--bench", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--task", "tasks", multiple=True, type=click.Choice(list(PUBLISHED)), help="Only these.")
@click.option("--encoder", help="Instead of the shipped one.")
def main(bench: Path, output: Path, tasks: tuple[str, ...], encoder: str | None) -> None:
    """Command line."""
    table = Table("task", "method", *FIGURES, "minutes", title="dev parts")
    for task in tasks or PUBLISHED:
        folder = output / task
        folder.mkdir(parents=True, exist_ok=True)
        parts = [_rows(bench / task / f"{part}.parquet", folder / f"{part}.jsonl") for part in ("train", "dev")]
        summaries = task == "xwlb_summary"
        table.add_row(task, *(("LEAD-1", *_lead(parts[1])) if summaries else ("TF-IDF + LinearSVC", *_linear(task, parts))), "")
        table.add_row("", "training.train", *_ours(task, folder, encoder))
    Console(width=120).print(table, *(f"published, {task}: {PUBLISHED[task]}" for task in tasks or PUBLISHED), sep="\n")


def _rows(source: Path, target: Path) -> list[dict[str, Any]]:
    """The rows as JSONL in the fields that ``training.train`` reads."""
    rows = [row for row in pq.read_table(source).to_pylist() if row.get("kind", "multi") == "multi"]
    names = {"text": "text", "title": "title", "labels": "topics", "summary": "summary"}
    rows = [{new: row[old] for old, new in names.items() if row.get(old) is not None} for row in rows]
    write_jsonl(target, rows)
    return rows


def _ours(task: str, folder: Path, encoder: str | None) -> list[str]:
    figures, fresh = folder / "figures.json", folder / "evaluation.json"
    found = json.loads(figures.read_text("utf-8")) if figures.is_file() else {}
    if found.get("encoder", "") != encoder:
        options = ["--single-label"] if task == "thucnews_title" else []
        options += ["--encoder", encoder] if encoder else []
        start = time.monotonic()
        _run("training.train", "--data", folder / "train.jsonl", "--output", folder / "model", *options)
        minutes = (time.monotonic() - start) / 60
        _run("training.evaluate", "--model", folder / "model", "--data", folder / "dev.jsonl", "--json", fresh)
        found = {**json.loads(fresh.read_text("utf-8")), "minutes": minutes, "encoder": encoder}
        figures.write_text(json.dumps(found), "utf-8")
    return [*_cells(found), f"{found['minutes']:.1f}"]


def _run(module: str, *arguments: object) -> None:
    subprocess.run([sys.executable, "-m", module, *map(str, arguments)], cwd=ROOT, check=True)


def _linear(task: str, parts: list[list[dict[str, Any]]]) -> list[str]:
    vectorizer = TfidfVectorizer(analyzer="char", ngram_range=(1, 3), min_df=2, sublinear_tf=True, max_features=300_000)
    texts = [[f"{row.get('title', '')} {row['text']}" for row in rows] for rows in parts]
    train, dev = vectorizer.fit_transform(texts[0]), vectorizer.transform(texts[1])
    if task == "thucnews_title":
        labels = [[row["topics"][0] for row in rows] for rows in parts]
        decided = LinearSVC().fit(train, labels[0]).predict(dev)
        return _cells({"accuracy": float((decided == labels[1]).mean())})
    binarizer = MultiLabelBinarizer().fit([row["topics"] for row in parts[0]])
    truth = [binarizer.transform([row["topics"] for row in rows]) for rows in parts]
    decided = np.stack([LinearSVC().fit(train, column).predict(dev) for column in truth[0].T], axis=1)
    present = truth[1].any(axis=0)  # macro-F1 is over the topics that the dev part has, as in training.evaluate
    return _cells({
        "micro_f1": f1_score(truth[1], decided, average="micro"),
        "macro_f1": f1_score(truth[1][:, present], decided[:, present], average="macro", zero_division=0),
    })


def _lead(rows: list[dict[str, Any]]) -> list[str]:
    first = [Document(row["text"]).sentence_texts()[0] for row in rows]
    return _cells(summary_rouge([row["summary"] for row in rows], first))


def _cells(figures: dict[str, Any]) -> list[str]:
    return ["–" if figures.get(name) is None else f"{figures[name]:.3f}" for name in FIGURES]


if __name__ == "__main__":
    main()
