"""One part of an archive: read its documents, then score those that are to be scored, and store them.

Two steps, because whether a document reprints an earlier one is decided between them, by one process for all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from serving.analysis import analyse
from serving.document import Document
from serving.duplicates import signature
from serving.model import Model
from serving.parts import Part, printable
from serving.progress import Progress
from serving.provenance import content_hash, script_of
from serving.reading import ReadingError, read
from serving.rows import Item
from serving.schema import Options
from serving.settings import get_settings

Errors = list[dict[str, str]]
Mark = Callable[[int | None], None]


class Stated(NamedTuple):
    """What decides on reprints: the ids of a part's documents, and their signatures (None: too short to have one)."""

    ids: list[str]
    signatures: list[bytes | None]


@dataclass
class Prepared:
    """A part that has been read: its documents with the items they came from, and the errors of the others."""

    part: Part
    documents: list[tuple[Item, Document]] = field(default_factory=list)
    errors: Errors = field(default_factory=list)


def prepare(part: Part, mark: Mark | None = None) -> tuple[Stated, Prepared]:
    """Read a part's documents. ``mark`` hears of each before it is touched."""
    prepared, stated = Prepared(part), Stated([], [])
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
            prepared.documents.append((item, document))
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

    def finish(self, prepared: Prepared, duplicates: Sequence[str | None], mark: Mark | None = None) -> tuple[int, int]:
        """Score and store a part, whose reprints are known: -> documents found, documents scored."""
        part = prepared.part
        wanted = [i for i in range(len(prepared.documents)) if not (self._skip and duplicates[i] is not None)]
        analyses = self._analyse(prepared, wanted, mark)
        rows = []
        for i, (item, document) in enumerate(prepared.documents):
            if i not in wanted or analyses[i] is not None:
                rows.append(self._row(item, document, analyses.get(i), duplicates[i]))
        self._progress.save(part, rows, prepared.errors)
        return len(part.items), sum(analysis is not None for analysis in analyses.values())

    def _analyse(self, prepared: Prepared, wanted: Sequence[int], mark: Mark | None) -> dict[int, dict[str, Any] | None]:
        documents = [document for _, document in prepared.documents]
        if mark is None:
            try:
                found = self._analyse_documents([documents[i] for i in wanted])
                return dict(zip(wanted, found))
            except Exception:  # a fault in scoring one document must not lose the others: find it
                pass
        analyses: dict[int, dict[str, Any] | None] = {}
        for i in wanted:
            item, document = prepared.documents[i]
            if mark:
                mark(next(position for position, other in enumerate(prepared.part.items) if other is item))
            try:
                analyses[i] = self._analyse_documents([document])[0]
            except Exception as error:
                analyses[i] = None
                prepared.errors.append(_error(item, f"could not be scored ({type(error).__name__}); please report it"))
        return analyses

    def _analyse_documents(self, documents: Sequence[Document]) -> list[dict[str, Any]]:
        scores = self._model.score(documents, get_settings().max_batch_tokens)
        return [analyse(d, s, self._model, self._options).model_dump() for d, s in zip(documents, scores)]

    def _row(
        self, item: Item, document: Document, analysis: dict[str, Any] | None, duplicate_of: str | None
    ) -> dict[str, Any]:
        row = {
            "id": item.id, "input": item.input, "member": item.member, "title": document.title,
            "date": document.date or item.date, "source": document.source, "sha256": content_hash(item.content),
            "script": script_of(document.text), "length": len(document.text), "duplicate_of": duplicate_of,
            "topics": None, "summary": None, "warnings": list(document.warnings), "model": self._model.name,
        }
        return row | analysis if analysis else row


def _error(item: Item, reason: str) -> dict[str, str]:
    return {"input": item.input, "member": item.member or item.id, "id": item.id, "reason": printable(reason)}
