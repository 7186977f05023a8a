"""Join the labels of corpus documents with their text, add the written documents, and write the training files.

    python -m training.prepare --corpus DIR --output DIR [--unlabelled N]

``DIR/*.parquet`` need the columns ``id``, ``title`` and ``text``. Writes train.jsonl, dev.jsonl, test.jsonl, and the test
split's two parts test_real.jsonl and test_written.jsonl. The split of each document is fixed in the label files; that no
near-duplicates straddle two splits is checked here (MinHash of character 4-grams, Jaccard of at least 0.6). With
``--unlabelled`` N other documents are written to unlabelled.jsonl, the same ones each time, none near to one of dev or test.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from datasketch import MinHash, MinHashLSH
from tqdm import tqdm

DATA = Path(__file__).parent / "data"
SPLITS = ("train", "dev", "test")
_FIELDS = ("id", "title", "text", "topics", "key_sentences", "evidence")
_JACCARD, _PERMUTATIONS, _PREFIX = 0.6, 64, 3_000
_SPARE = 100  # documents drawn beyond a tenth more than are asked for, since some are empty or near-duplicates


@click.command(help=__doc__)
@click.option("--corpus", required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", required=True, type=click.Path(path_type=Path))
@click.option("--unlabelled", default=0, show_default=True, help="Also so many documents without labels.")
def main(corpus: Path, output: Path, unlabelled: int) -> None:
    """Command line."""
    labels = {row["id"]: row for row in read_jsonl(DATA / "corpus_labels.jsonl")}
    rows: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in corpus_rows(corpus, labels):
        rows[row.pop("split")].append(row)
    found = sum(map(len, rows.values()))
    if found < len(labels):
        click.echo(f"{len(labels) - found} of {len(labels)} labelled documents are not in {corpus}", err=True)
        sys.exit(2)
    output.mkdir(parents=True, exist_ok=True)
    write_jsonl(output / "test_real.jsonl", rows["test"])
    for split in SPLITS:
        written = [{key: row[key] for key in _FIELDS if key in row} for row in read_jsonl(DATA / f"written_{split}.jsonl")]
        if split == "test":
            write_jsonl(output / "test_written.jsonl", written)
        rows[split].extend(written)
    straddling = list(straddling_pairs(rows))
    for first, second in straddling:
        click.echo(f"near-duplicates in two splits: {first} and {second}", err=True)
    if straddling:
        sys.exit(1)
    for split in SPLITS:
        write_jsonl(output / f"{split}.jsonl", rows[split])
        click.echo(f"{output / split}.jsonl: {len(rows[split])} documents")
    if unlabelled:
        more = other_rows(corpus, labels, [*rows["dev"], *rows["test"]], unlabelled)
        write_jsonl(output / "unlabelled.jsonl", more)
        click.echo(f"{output / 'unlabelled.jsonl'}: {len(more)} documents")


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """All rows of a file."""
    return [json.loads(line) for line in path.read_text("utf-8").split("\n") if line]


def write_jsonl(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    """Write rows, UTF-8."""
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")


def corpus_rows(corpus: Path, labels: dict[str, dict[str, Any]]) -> Iterable[dict[str, Any]]:
    """Training rows of the labelled documents; key sentences become text by their offsets (code points)."""
    seen: set[str] = set()
    wanted = pa.array(list(labels), pa.string())
    for table in _tables(corpus):
        for raw in table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist():
            if raw["id"] in seen:
                continue
            seen.add(raw["id"])
            label, text = labels[raw["id"]], raw["text"]
            row = {
                "id": raw["id"], "title": raw.get("title") or "", "text": text, "topics": label["topics"],
                "key_sentences": _quotes(text, label["key_sentences"]), "split": label["split"],
            }
            if "evidence" in label:
                row["evidence"] = {topic: _quotes(text, spans) for topic, spans in label["evidence"].items()}
            yield row


def other_rows(corpus: Path, labels: Collection[str], held: Iterable[dict[str, Any]], count: int) -> list[dict[str, str]]:
    """``count`` documents without labels, none a near-duplicate of one of ``held``.

    They are taken from all files in turn, so that a small source is not lost beside a large one, in the order of a hash.
    """
    index = MinHashLSH(threshold=_JACCARD, num_perm=_PERMUTATIONS)
    for row in held:
        index.insert(row["id"], _signature(row["text"]))
    order = {}
    for place, table in enumerate(_tables(corpus)):
        ids = sorted(set(table["id"].to_pylist()) - set(labels), key=lambda i: hashlib.sha256(i.encode()).digest())
        order.update({i: (rank, place) for rank, i in enumerate(ids)})
    drawn = sorted(order, key=lambda i: order[i])[: count + count // 10 + _SPARE]
    wanted, rows = pa.array(drawn, pa.string()), {}
    for table in _tables(corpus):
        for raw in table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist():
            if raw["text"] and raw["text"].strip() and not index.query(_signature(raw["text"])):
                rows.setdefault(raw["id"], {"id": raw["id"], "title": raw.get("title") or "", "text": raw["text"]})
    return [rows[i] for i in drawn if i in rows][:count]


def _tables(corpus: Path) -> Iterator[pa.Table]:
    for path in tqdm(sorted(corpus.glob("*.parquet")), desc="corpus", unit="file"):
        names = set(pq.read_schema(path).names)
        if {"id", "text"} <= names:
            yield pq.read_table(path, columns=[name for name in ("id", "title", "text") if name in names])


def _quotes(text: str, spans: Iterable[Sequence[int]]) -> list[str]:
    return [text[offset : offset + length] for offset, length in spans]


def straddling_pairs(rows: dict[str, list[dict[str, Any]]]) -> Iterable[tuple[str, str]]:
    """Pairs of near-duplicates of which one is in another split than the other."""
    index = MinHashLSH(threshold=_JACCARD, num_perm=_PERMUTATIONS)
    where: dict[str, str] = {}
    for split, items in rows.items():
        for row in items:
            signature = _signature(row["text"])
            for other in index.query(signature):
                if where[other] != split:
                    yield other, row["id"]
            index.insert(row["id"], signature)
            where[row["id"]] = split


def _signature(text: str) -> MinHash:
    bare = "".join(c for c in text[: 2 * _PREFIX] if c.isalnum())[:_PREFIX]
    signature = MinHash(_PERMUTATIONS)
    signature.update_batch([bare[i : i + 4].encode() for i in range(max(1, len(bare) - 3))])
    return signature


if __name__ == "__main__":
    main()
