"""What readers correct on the page: checked and appended to a file, and exchanged with Label Studio.

A correction is a row as ``training.train --data`` takes it. Rows are appended under a lock, each line whole or absent, so that
any number of workers may write to one file.
"""

from __future__ import annotations

import asyncio
import errno
import json
import os
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import bentoml
from pydantic import BaseModel, Field, ValidationError, model_validator
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

try:
    import fcntl
except ImportError:  # Windows: there one worker alone may store
    fcntl = None  # type: ignore[assignment]

from serving import label_studio
from serving.errors import InputError
from serving.http import fail
from serving.model import Model
from serving.reading import is_misdecoded
from serving.schema import STRICT, DocumentError
from serving.settings import get_settings

settings = get_settings()
_ERRORS = 1_000  # of fields, that are told one by one


class Correction(BaseModel):
    """A labelled row. What a reader has not judged is left out: ``topics``, ``key_sentences``, or ``evidence`` of a topic."""

    model_config = STRICT

    id: str = Field("", max_length=settings.max_id_chars)
    title: str = Field("", max_length=settings.max_title_chars)
    text: str = Field(min_length=1, max_length=settings.max_document_chars, description="as the analysis returned it")
    topics: list[str] | None = Field(None, description="topic ids; empty: the document has none")
    key_sentences: list[str] | None = Field(None, min_length=1, max_length=settings.max_marked_sentences)
    evidence: dict[str, list[str]] | None = Field(None, description="sentences that prove a topic")
    model: str = Field("", max_length=settings.max_id_chars, description="name@version of the model that was corrected")

    @model_validator(mode="after")
    def _consistent(self) -> Correction:
        if not self.text.strip():
            raise ValueError("'text' is blank: send the text that the analysis returned")
        if any(map(is_misdecoded, (self.text, self.title, self.id))):
            raise ValueError("text, title or id holds U+FFFD or halves of surrogate pairs, which training refuses: "
                             "decode it with the right encoding")
        if self.topics is None and not self.key_sentences:
            raise ValueError("give 'topics' or 'key_sentences', else the row teaches nothing")
        if set(self.evidence or {}) - set(self.topics or []):
            raise ValueError("there is evidence for a topic that is not among 'topics'")
        if any(len(sentences) > settings.max_marked_sentences for sentences in (self.evidence or {}).values()):
            raise ValueError(f"more than {settings.max_marked_sentences} sentences of evidence for one topic")
        marked = [*(self.key_sentences or []), *(s for sentences in (self.evidence or {}).values() for s in sentences)]
        if any(not sentence.strip() or sentence not in self.text for sentence in marked):
            raise ValueError("a marked sentence is not in 'text'")
        return self


class CorrectionsRequest(BaseModel):
    """Corrections to store."""

    model_config = STRICT

    rows: list[Correction] = Field(min_length=1, max_length=settings.max_documents)


class CorrectionsResponse(BaseModel):
    """How many were stored: all of them."""

    stored: int


class ExportRequest(BaseModel):
    """What is to become tasks: analyses with ``text`` (predictions), and labelled rows (annotations)."""

    model_config = STRICT

    documents: list[dict[str, Any]] = Field(min_length=1, max_length=settings.max_documents)


class ExportResponse(BaseModel):
    """Label Studio's tasks, and the labelling configuration of the project to import them into."""

    tasks: list[dict[str, Any]]
    config: str
    errors: list[DocumentError]


class ImportRequest(BaseModel):
    """Annotated tasks, as Label Studio exports them ("JSON")."""

    model_config = STRICT

    tasks: list[dict[str, Any]] = Field(min_length=1)


class ImportResponse(BaseModel):
    """Labelled rows, and the tasks of which none could be made."""

    rows: list[dict[str, Any]]
    errors: list[DocumentError]


def check_file() -> None:
    """Raise OSError if corrections are to be stored in a file that can't be written."""
    if settings.corrections is not None:
        settings.corrections.parent.mkdir(parents=True, exist_ok=True)
        with settings.corrections.open("ab"):
            pass


def append(path: Path, rows: list[dict[str, Any]], limit: int) -> None:
    """Append a line a row, all of them or none, and flush to the disk.

    Raises:
        OSError: it can't be written, or would pass ``limit`` bytes; what was there before stays as it was.
    """
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode("utf-8")
    with path.open("ab+", buffering=0) as file:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX)  # released when the file is closed, however the process ends
        size = file.seek(0, os.SEEK_END)
        if size and os.pread(file.fileno(), 1, size - 1) != b"\n":
            lines = b"\n" + lines  # a write was cut off by a power cut
        if size + len(lines) > limit:
            raise OSError(errno.EFBIG, f"the file has reached its limit of {limit} bytes, move it away")
        try:
            left = memoryview(lines)
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


async def store(request: Request) -> Response:
    """Append corrections to the service's file."""
    if settings.corrections is None:
        fail(404, "corrections are not stored here: download them, or start the service with WENZHAI_CORRECTIONS=FILE.jsonl")
    return await _answer(request, CorrectionsRequest, _store)


def _store(body: CorrectionsRequest, model: Model) -> CorrectionsResponse:
    assert settings.corrections is not None
    known = [topic.id for topic in model.topics]
    for number, row in enumerate(body.rows):
        if model.single_label and row.topics is not None and len(row.topics) != 1:
            raise InputError(f"rows.{number}: {len(row.topics)} topics; this model gives a document exactly one")
        if unknown := sorted(set(row.topics or []) - set(known)):
            raise InputError(f"rows.{number}: unknown topic '{unknown[0][:80]}'; this model knows: {', '.join(known)}")
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    rows = [{**row.model_dump(exclude_defaults=True), "time": now} for row in body.rows]
    append(settings.corrections, rows, settings.max_corrections_bytes)
    return CorrectionsResponse(stored=len(rows))


async def export_tasks(request: Request) -> Response:
    """Analyses and labelled rows as Label Studio's tasks."""
    return await _answer(request, ExportRequest, _export)


def _export(body: ExportRequest, model: Model) -> ExportResponse:
    tasks, errors = [], []
    for position, document in enumerate(body.documents):
        try:
            tasks.append(label_studio.to_task(document))
        except InputError as error:
            errors.append(DocumentError(id=str(document.get("id", position))[:80], error=str(error)))
    return ExportResponse(tasks=tasks, config=label_studio.labelling_config(_names(model).items()), errors=errors)


async def import_tasks(request: Request) -> Response:
    """Label Studio's annotated tasks as labelled rows."""
    return await _answer(request, ImportRequest, _import)


def _import(body: ImportRequest, model: Model) -> ImportResponse:
    rows, errors = label_studio.to_rows(body.tasks, {name: id for id, name in _names(model).items()})
    return ImportResponse(rows=rows, errors=[DocumentError(id=id, error=error) for id, error in errors])


def _names(model: Model) -> dict[str, str]:
    return {topic.id: topic.name for topic in model.topics}


async def _answer(request: Request, shape: type[Any], work: Callable[[Any, Model], BaseModel]) -> Response:
    """Validate the body, do the work in a thread, and answer; pydantic's findings get their shape in ``http.py``."""
    content = await request.body()
    model = bentoml.get_current_service().model

    def run() -> bytes:
        return work(shape.model_validate_json(content), model).model_dump_json().encode("utf-8")

    try:
        return Response(await asyncio.to_thread(run), media_type="application/json")
    except ValidationError as error:
        if error.error_count() > _ERRORS:  # to tell them all would take seconds
            fail(422, f"more than {_ERRORS} fields are wrong: see /docs.json")
        return JSONResponse({"detail": error.errors(include_input=False, include_url=False, include_context=False)}, 422)
    except InputError as error:
        fail(422, str(error))
    except OSError as error:
        fail(503, f"the corrections can't be stored ({error.strerror}): download them")


routes = [
    Route("/v1/corrections", store, methods=["POST"]),
    Route("/v1/label-studio/export", export_tasks, methods=["POST"]),
    Route("/v1/label-studio/import", import_tasks, methods=["POST"]),
]
