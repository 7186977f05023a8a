"""Documents of an archive to learn from or to be labelled: a random sample of what can be read, without reprints."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from tqdm import tqdm

from serving.archive import InputError, expand
from serving.document import Document
from serving.duplicates import DuplicateIndex
from serving.parts import Inputs, Key, Part
from serving.rows import Fields, Item
from serving.scoring import prepare
from serving.signatures import fold, signature
from training.sources import draw

_MAX_SHOWN = 5  # errors printed; the rest are counted


@dataclass(frozen=True)
class Pool:
    """A sample of an archive: its documents in the archive's order, and how many there were."""

    documents: list[Document]
    found: int  # documents of the archive
    reprints: int  # documents of the sample that were left out because they reprint another
    errors: list[str]  # of the documents drawn, those that can't be read


def read_pool(inputs: Sequence[str], sample: int, seed: int, known: Sequence[Document] = (), progress: bool = True) -> Pool:
    """Read a sample of at most ``sample`` documents, each with the same chance.

    Only documents that are drawn are read, so that an archive of millions costs little more than passing through it. What
    reprints one of ``known`` is left out too.

    Raises:
        InputError: there is no such input, or none holds a document that can be read.
    """
    archive = Inputs(expand(inputs), Fields())
    rng = random.Random(seed)
    kept: list[tuple[int, Document, bytes | None]] = []
    errors: list[str] = []
    found = drawn = 0
    with tqdm(total=archive.count(), desc="reading", unit="doc", disable=not progress, mininterval=1) as bar:
        for part in archive.parts():
            slots: list[int] = []
            items: list[Item] = []
            for item in part.items:
                found += 1
                if (slot := draw(rng, found, sample)) is not None:
                    slots.append(slot)
                    items.append(item)
            stated, prepared = prepare(Part(Key(0, 0), items))
            errors += [f"{error['input']}: {error['member']}: {error['reason']}" for error in prepared.errors]
            signatures = dict(zip(stated.positions, stated.signatures))
            for position, slot in enumerate(slots):
                drawn += 1
                document = prepared.documents.get(position)
                kept[slot : slot + 1] = [(drawn, document, signatures.get(position))] if document else [(drawn, None, None)]
            bar.update(len(part.items))
    problems = [f"{problem['input']}: {problem['reason']}" for problem in archive.problems]
    read = sorted((entry for entry in kept if entry[1] is not None), key=lambda entry: entry[0])
    if not read:
        raise InputError("; ".join([*problems, *errors][:_MAX_SHOWN]) or "the archive holds no document")
    originals = _without_reprints(read, known)
    return Pool(originals, found, len(read) - len(originals), [*problems, *errors])


def _without_reprints(read: Sequence[tuple[int, Document, bytes | None]], known: Sequence[Document]) -> list[Document]:
    """The documents that neither reprint one of ``known`` nor one before them; of texts too short to tell, equal ones go."""
    short = {fold(document.text) for document in known}
    originals = []
    with tempfile.TemporaryDirectory() as folder, DuplicateIndex(Path(folder) / "originals.sqlite") as index:
        index.resolve(0, [document.id for document in known], [signature(document) for document in known])
        answers = index.resolve(1, [document.id for _, document, _ in read], [own for *_, own in read])
    for (_, document, own), original in zip(read, answers):
        if original is None and (own or (folded := fold(document.text)) not in short):
            originals.append(document)
            if not own:
                short.add(folded)
    return originals


def say_what_was_read(pool: Pool, sample: int) -> None:
    """One line on standard output, and the first errors on standard error."""
    drawn = f"a random sample of {sample:,} of them" if pool.found > sample else "all of them"
    click.echo(f"{pool.found:,} documents in the archive; {drawn}, {pool.reprints} reprints left out: {len(pool.documents):,}")
    for error in pool.errors[:_MAX_SHOWN]:
        click.echo(f"left out: {error}", err=True)
    if len(pool.errors) > _MAX_SHOWN:
        click.echo(f"… and {len(pool.errors) - _MAX_SHOWN} more", err=True)
