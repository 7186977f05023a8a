"""One part of an archive: read its documents, then score those that are to be scored, and store them.

Two steps, because whether a document reprints an earlier one is decided between them, by one process for all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from serving.analysis import analyse
from serving.document import Document
from serving.model import Model
from serving.parts import Part, printable
from serving.progress import Progress
from serving.provenance import content_hash, script_of
from serving.reading import ReadingError, read
from serving.rows import Item
from serving.schema import Options
from serving.settings import get_settings
from serving.signatures import signature

Errors = list[dict[str, str]]
Mark = Callable[[int | None], None]


class Stated(NamedTuple):
    """What decides on reprints: positions of a part's documents, their ids and signatures (None: too short to have one)."""

    positions: list[int]
    ids: list[str]
    signatures: list[bytes | None]


@dataclass
class Prepared:
    """A part that has been read: its documents by the positions of their items, and the errors of the others."""

    part: Part
    documents: dict[int, Document] = field(default_factory=dict)
    errors: Errors = field(default_factory=list)


def prepare(part: Part, mark: Mark | None = None) -> tuple[Stated, Prepared]:
    """Read a part's documents. ``mark`` hears of each before it is touched."""
    prepared, stated = Prepared(part), Stated([], [], [])
    for position, item in enumerate(part.items):
        if mark:
            mark(position)
        try:
            if item.error:
                raise ReadingError(item.error)
            document = read(item.content, title=item.title, id=item.id, format=item.format)
            document_signature = signature(document)
        except ReadingError as error:
            prepared.errors.append(_error(item, str(error)))
        except Exception as error:  # a fault in reading one document must not lose the others
            prepared.errors.append(_error(item, f"could not be read ({type(error).__name__}); convert it to plain text"))
        else:
            prepared.documents[position] = document
            stated.positions.append(position)
            stated.ids.append(item.id)
            stated.signatures.append(document_signature)
    return stated, prepared


class Scorer:
    """Reads and scores parts; made in the process that works.

    Args:
        model: model folder.
        progress: where results go.
        include_text: whether rows hold the cleaned text.
        skip_duplicates: whether reprints stay unscored.
        threads: of the model.
    """

    def __init__(self, model: Path, progress: Progress, include_text: bool, skip_duplicates: bool, threads: int) -> None:
        os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each worker has its own cores
        self._model = Model.load(model, threads=threads, precision=get_settings().precision)
        self._progress, self._skip = progress, skip_duplicates
        self._options = Options(include_text=include_text)

    def prepare(self, part: Part, mark: Mark | None = None) -> tuple[Stated, Prepared]:
        """As the function, which needs no model."""
        return prepare(part, mark)

    def finish(self, prepared: Prepared, originals: Mapping[int, str], mark: Mark | None = None) -> tuple[int, int]:
        """Score and store a part: -> documents found, documents scored.

        ``originals`` are the ids of what reprints reprint, by the positions of the reprints.
        """
        part = prepared.part
        wanted = [position for position in prepared.documents if not (self._skip and position in originals)]
        analyses = self._analyse(prepared, wanted, mark)
        rows = [
            self._row(part.items[position], document, analyses.get(position), originals.get(position))
            for position, document in prepared.documents.items()
            if position in analyses or position not in wanted
        ]
        self._progress.save(part, rows, prepared.errors)
        return len(part.items), len(analyses)

    def _analyse(self, prepared: Prepared, wanted: Sequence[int], mark: Mark | None) -> dict[int, dict[str, Any]]:
        """Analyses by position; what can't be analysed becomes an error."""
        if mark is None:
            try:
                return dict(zip(wanted, self._analyse_documents([prepared.documents[position] for position in wanted])))
            except Exception:  # a fault in scoring one document must not lose the others: find it
                pass
        analyses: dict[int, dict[str, Any]] = {}
        for position in wanted:
            if mark:
                mark(position)
            try:
                analyses[position] = self._analyse_documents([prepared.documents[position]])[0]
            except Exception as error:
                reason = f"could not be scored ({type(error).__name__}); please report it"
                prepared.errors.append(_error(prepared.part.items[position], reason))
        return analyses

    def _analyse_documents(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        scores = self._model.score(documents, get_settings().max_batch_tokens)
        return [analyse(d, s, self._model, self._options).model_dump() for d, s in zip(documents, scores)]

    def _row(
        self, item: Item, document: Document, analysis: dict[str, Any] | None, duplicate_of: str | None
    ) -> dict[str, Any]:
        row = {
            "id": item.id, "input": item.input, "member": item.member, "title": document.title,
            "date": item.date or document.date, "source": document.source, "sha256": content_hash(item.content),
            "script": script_of(document.text), "length": len(document.text), "duplicate_of": duplicate_of,
            "topics": None, "summary": None, "warnings": list(document.warnings), "model": self._model.name,
        }
        return row | analysis if analysis else row


def _error(item: Item, reason: str) -> dict[str, str]:
    return {"input": item.input, "member": item.member or item.id, "id": item.id, "reason": printable(reason)}
