"""Reprints: how many planted ones are found, how many of the pairs reported are ones, and what it costs.

    python benchmarks/duplicates.py --corpus DIR [--documents 5000] [--reprinted 1000] [--seed 0] [--pairs]
    python benchmarks/duplicates.py --scale 1000000

Draws documents from every ``DIR/*.parquet`` (columns ``text`` and perhaps ``title``), of each up to an equal share, and
plants reprints of some: another headline; source lines, an editor's note and noise; a paragraph cut (none longer than
half the text; a fifth of the sentences where there is none); traditional script, half the time with Taiwan's words, and
other punctuation; two of these at once. Recall is measured with one reprint of each source, shuffled among all documents.
Precision is measured with all of them: pairs within a family are right, and for pairs of the corpus' own, ``JUDGED`` holds
what a reader made of such pairs in 61,411 documents; ``--pairs`` prints the beginnings of those found, to be judged anew.

``--scale`` times the index alone on made-up signatures: every twentieth a reprint, and a tenth of the bands shared by
hundreds of documents, as in an archive with much boiler-plate.
"""

from __future__ import annotations

import random
import resource
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import click
import numpy as np
import pyarrow.parquet as pq
from datasketch import MinHash

from benchmarks.reprints import KINDS
from serving import signatures
from serving.document import Document
from serving.duplicates import DuplicateIndex
from serving.errors import ReadingError
from serving.reading import read
from serving.signatures import fold, signature, similarities

PART = 128
# Lower ends of bands of containment -> share that a reader took for reprints, of 12, 65, 69, 80, 58 and 14 pairs read. Those
# that are not are amended versions of a law, rules that many cities made from one template, and short notices alike but for
# a figure or a name. Below 0.8 hardly any pair is one.
JUDGED = {0.8: 0.33, 0.84: 0.48, 0.88: 0.57, 0.92: 0.79, 0.96: 0.96, 0.99: 1.0}


class Member(NamedTuple):
    """A document of a family: a source (kind is empty) and its reprints."""

    family: int
    kind: str
    document: Document
    signature: bytes | None


def draw(corpus: Path, count: int, rng: random.Random) -> list[tuple[str, str]]:
    """(title, text) of ``count`` documents; collections that have fewer than an equal share give all they have."""
    left = sorted(corpus.glob("*.parquet"), key=lambda path: (pq.read_metadata(path).num_rows, path.name))
    rows: list[tuple[str, str]] = []
    while left and len(rows) < count:
        share = (count - len(rows)) // len(left)
        path = left.pop(0)
        names = [name for name in ("text", "title") if name in pq.read_schema(path).names]
        found = [(row.get("title") or "", row["text"]) for row in pq.read_table(path, columns=names).to_pylist() if row["text"]]
        rows += rng.sample(found, min(share, len(found)))
    return rows


def readable(title: str, text: str) -> Document | None:
    """The document, or None where nothing is left of it."""
    try:
        return read(text, title=title)
    except ReadingError:
        return None


def resolve(members: Sequence[Member], rng: random.Random) -> tuple[list[Member], list[int | None]]:
    """The members shuffled, and for each the number of the first one that it reprints."""
    mixed = rng.sample(members, len(members))
    answers: list[str | None] = []
    with tempfile.TemporaryDirectory() as folder, DuplicateIndex(Path(folder) / "index.sqlite") as index:
        for start in range(0, len(mixed), PART):
            part = [member.signature for member in mixed[start : start + PART]]
            answers += index.resolve(start // PART, [str(start + i) for i in range(len(part))], part)
    return mixed, [None if answer is None else int(answer) for answer in answers]


def costs(documents: Sequence[Document]) -> None:
    """Milliseconds a document of about 1,000 characters: ours, and MinHash of datasketch on the same shingles."""
    chosen = [document for document in documents if 900 <= len(document.text) <= 1_100][:300]

    def peer(document: Document) -> None:
        body = fold(document.text)
        shingles = [body[i : i + signatures.SHINGLE].encode() for i in range(len(body) - signatures.SHINGLE + 1)]
        MinHash(signatures.PERMUTATIONS).update_batch(shingles)

    for name, function in (("signature", signature), ("fold alone", lambda d: fold(d.text)), ("datasketch", peer)):
        times = []
        for document in chosen:
            start = time.perf_counter()
            function(document)
            times.append(time.perf_counter() - start)
        print(f"{name:<20}{statistics.median(times) * 1000:>10.3f} ms a document of 1,000 characters")


def scale(count: int) -> None:
    """Cost of the index at a tenth, a half and all of ``count`` documents."""
    rng = np.random.default_rng(0)
    width = signatures.ROWS * signatures.BANDS
    common = rng.integers(0, 1 << 16, (2_000, width), dtype=np.uint16)
    kept: list[np.ndarray] = []
    base, spent, busy, since = _peak(), 0.0, 0.0, 0
    with tempfile.TemporaryDirectory() as folder, DuplicateIndex(Path(folder) / "index.sqlite") as index:
        for number in range(count // PART):
            rows = np.zeros(PART, signatures.SIGNATURE)
            rows["digest"] = np.frombuffer(rng.bytes(8 * PART), "V8")
            rows["shingles"] = rng.integers(100, 3_000, PART)
            rows["minima"] = rng.integers(0, 1 << 16, rows["minima"].shape, dtype=np.uint16)
            usual = np.repeat(rng.random((PART, signatures.BANDS)) < 0.1, signatures.ROWS, axis=1)
            of = np.repeat(rng.integers(0, len(common), (PART, signatures.BANDS)), signatures.ROWS, axis=1)
            rows["minima"][:, :width] = np.where(usual, common[of, np.arange(width)], rows["minima"][:, :width])
            for place in range(0, PART, 20) if len(kept) == 1_000 else ():
                changed = rng.random(signatures.PERMUTATIONS) < 0.1
                old = kept[rng.integers(len(kept))]
                rows["minima"][place] = np.where(changed, rows["minima"][place], old["minima"])
                rows["shingles"][place] = old["shingles"]
            if len(kept) < 1_000:
                kept.append(rows[1].copy())
            start, cpu = time.perf_counter(), time.process_time()
            index.resolve(number, [f"folder/{number}-{i}.txt" for i in range(PART)], [row.tobytes() for row in rows])
            spent, busy, since = spent + time.perf_counter() - start, busy + time.process_time() - cpu, since + PART
            done = (number + 1) * PART
            if any(done - PART < mark <= done for mark in (count // 10, count // 2, count // PART * PART)):
                size = sum(file.stat().st_size for file in Path(folder).iterdir())
                print(f"{done:>9} documents: {spent / since * 1000:.3f} ms a document since the last line "
                      f"({busy / since * 1000:.3f} of one core), {size / 2**20:.0f} MiB on disk, "
                      f"{(_peak() - base) / 2**10:.0f} MiB of memory beyond {base / 2**10:.0f}", flush=True)
                spent, busy, since = 0.0, 0.0, 0


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # KiB


@click.command(help=__doc__)
@click.option("--corpus", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--documents", default=5_000, show_default=True)
@click.option("--reprinted", default=1_000, show_default=True, help="Documents that are reprinted, each in all ways.")
@click.option("--seed", default=0, show_default=True)
@click.option("--pairs", is_flag=True, help="Print the pairs that were not planted.")
@click.option("--scale", "count", default=0, help="Only time the index, on so many made-up signatures.")
def main(corpus: Path | None, documents: int, reprinted: int, seed: int, pairs: bool, count: int) -> None:
    """Command line."""
    if count or not corpus:
        return scale(count or 100_000)
    rng = random.Random(seed)
    sources = [document for row in draw(corpus, documents, rng) if (document := readable(*row))]
    costs(sources)
    pool = [Member(family, "", document, signature(document)) for family, document in enumerate(sources)]
    planted: list[Member] = []
    for source_ in rng.sample([member for member in pool if member.signature], reprinted):
        for kind, change in KINDS.items():
            if document := readable(*change(source_.document.title, source_.document.text, rng)):
                planted.append(Member(source_.family, kind, document, signature(document)))
    found = planted_ = 0
    for kind in KINDS:
        of_kind = [member for member in planted if member.kind == kind]
        mixed, answers = resolve([*pool, *of_kind], rng)
        hits = sum(answer is not None and mixed[answer].family == member.family for member, answer in zip(mixed, answers))
        hits += _with_source(mixed, answers, {member.family for member in of_kind})
        print(f"{kind:<20}recall {hits / len(of_kind):.4f} of {len(of_kind)}")
        found, planted_ = found + hits, planted_ + len(of_kind)
    print(f"{'all':<20}recall {found / planted_:.4f} of {planted_}\n")
    _precision(*resolve([*pool, *planted], rng), pairs)


def _with_source(mixed: Sequence[Member], answers: Sequence[int | None], families: set[int]) -> int:
    """Families whose two members both point to the same document of the corpus' own."""
    foreign = Counter(
        (member.family, answer) for member, answer in zip(mixed, answers)
        if answer is not None and member.family in families and mixed[answer].family != member.family
    )
    return sum(number == 2 for number in foreign.values())


def _precision(mixed: Sequence[Member], answers: Sequence[int | None], pairs: bool) -> None:
    right, others = 0, []
    for member, answer in zip(mixed, answers):
        if answer is not None and mixed[answer].family == member.family:
            right += 1
        elif answer is not None:
            others.append((similarities(member.signature, [mixed[answer].signature])[1, 0], member, mixed[answer]))
    judged = sum(max((share for low, share in JUDGED.items() if low <= containment), default=0) for containment, *_ in others)
    print(f"{right} pairs within a family, {len(others)} of the corpus' own, of which {judged:.0f} are reprints by JUDGED")
    print(f"{'precision':<20}{(right + judged) / (right + len(others)):.4f}")
    for low, high in zip(JUDGED, [*list(JUDGED)[1:], 1.01]):
        print(f"containment {low:.2f}-{min(high, 1):.2f}: {sum(low <= c < high for c, *_ in others):>5} of the corpus' own")
    for containment, *both in sorted(others, key=lambda other: other[0]) if pairs else ():
        print(f"\n{containment:.3f}", *(f"  {m.document.title}: {m.document.text[:80]!r}" for m in both), sep="\n")


if __name__ == "__main__":
    main()
