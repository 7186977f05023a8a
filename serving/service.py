"""The HTTP service: ``bentoml serve serving.service:Wenzhai`` (or ``make serve``).

One BentoML Service, no inner services; documents of concurrent requests are scored together by ``batching.Batcher``.
"""

from __future__ import annotations

import os

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")

import asyncio
import gc
import logging
from typing import Any

import bentoml
from pydantic import BaseModel, ConfigDict, Field

from serving.analysis import UnknownTopicError, analyse, check_options
from serving.batching import SCORED, Batcher, OverloadedError
from serving.document import Document
from serving.http import RequestMiddleware, fail
from serving.model import Model, ModelError, read_config
from serving.reading import ReadingError, read
from serving.routes import site
from serving.schema import Analysis, AnalyzeResponse, DocumentError, Options
from serving.settings import get_settings

settings = get_settings()
logger = logging.getLogger("bentoml.serve")


class DocumentInput(BaseModel):
    """One document as it was found."""

    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True, strict=True)

    id: str = Field("", max_length=settings.max_id_chars, description="copied to the answer; left out: its position")
    title: str = Field("", max_length=settings.max_title_chars, description="left out: taken from the document")
    text: str = Field(description="text, Markdown with or without front matter, or HTML")
    format: str = Field("auto", pattern="^(auto|text|markdown|html)$", description="auto tells by the content")


class Request(Options):
    """Documents, and options for all of them."""

    documents: list[DocumentInput] = Field(min_length=1, max_length=settings.max_documents)


@bentoml.service(
    name="wenzhai",
    workers=settings.workers,
    traffic={"timeout": settings.request_timeout_seconds + 5},
    endpoints={"livez": "/livez", "readyz": "/readyz"},
)
@bentoml.asgi_app(site, path="/")
class Wenzhai:
    """Topics with evidence, and an extractive summary, of messy Chinese documents."""

    def __init__(self) -> None:
        self.model = Model.load(settings.model, threads=settings.threads, precision=settings.precision)
        self.batcher = Batcher(self.model, settings.max_batch_tokens, settings.max_waiting_documents)
        self.model.score([read("预热模型的一句话。")], settings.max_batch_tokens)
        # Full collections over the framework's many objects took 200 ms; freeze them and collect rarely.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    @bentoml.on_deployment
    @staticmethod
    def check_model() -> None:
        """End ``bentoml serve`` at once if there is no usable model: a worker that fails would be restarted for ever."""
        try:
            read_config(settings.model)
        except ModelError as error:
            raise SystemExit(f"wenzhai can't start: {error}") from error

    @bentoml.api(route="/v1/analyze")
    async def analyze(self, request: Request, /) -> AnalyzeResponse:
        """Topics with their evidence, and a summary, of each document."""
        return AnalyzeResponse(**await self.run(request, topics=True, summary=True))

    @bentoml.api(route="/v1/classify")
    async def classify(self, request: Request, /) -> AnalyzeResponse:
        """Topics with their evidence, of each document."""
        return AnalyzeResponse(**await self.run(request, topics=True, summary=False))

    @bentoml.api(route="/v1/summarize")
    async def summarize(self, request: Request, /) -> AnalyzeResponse:
        """An extractive summary of each document."""
        return AnalyzeResponse(**await self.run(request, topics=False, summary=True))

    async def run(self, request: Request, *, topics: bool, summary: bool) -> dict[str, Any]:
        """Read, score and analyse; documents that can't be read become errors beside the others."""
        sources = [(d.id or str(i), d.text, d.format, d.title) for i, d in enumerate(request.documents)]
        return await self.analyse_all(sources, request, topics=topics, summary=summary)

    async def analyse_all(
        self, sources: list[tuple[str, bytes | str, str, str]], options: Options, *, topics: bool = True, summary: bool = True
    ) -> dict[str, Any]:
        """(id, content, format, title) of each document -> ``{"documents": [Analysis], "errors": [DocumentError]}``."""
        try:
            check_options(options, self.model)
        except UnknownTopicError as error:
            fail(422, str(error))
        documents, errors = await asyncio.to_thread(read_all, sources)
        try:
            scores = await asyncio.wait_for(self.batcher.score(documents), settings.request_timeout_seconds)
        except OverloadedError:
            fail(429, f"the service is busy: try again in {settings.retry_after_seconds} seconds")
        except asyncio.TimeoutError:
            fail(504, f"no answer within {settings.request_timeout_seconds} seconds: send fewer or shorter documents")
        analyses: list[Analysis] = await asyncio.to_thread(
            lambda: [analyse(d, s, self.model, options, topics=topics, summary=summary) for d, s in zip(documents, scores)]
        )
        SCORED.labels("ok").inc(len(documents))
        SCORED.labels("error").inc(len(errors))
        return {"documents": analyses, "errors": errors}


def read_all(sources: list[tuple[str, bytes | str, str, str]]) -> tuple[list[Document], list[DocumentError]]:
    """Read documents; those that can't be read come back as errors, in order."""
    documents: list[Document] = []
    errors: list[DocumentError] = []
    for id, content, format, title in sources:
        try:
            if len(content) > settings.max_document_chars * (1 if isinstance(content, str) else 4):
                raise ReadingError(f"the document is longer than {settings.max_document_chars} characters: split it")
            documents.append(read(content, format=format, title=title, id=id))
        except ReadingError as error:
            errors.append(DocumentError(id=id, error=str(error)))
        except Exception as error:  # a fault in reading one document must not fail the others
            logger.error("reading a document failed: %s", type(error).__name__)
            errors.append(DocumentError(id=id, error="the document could not be read; send it as plain text"))
    return documents, errors


Wenzhai.add_asgi_middleware(RequestMiddleware, settings=settings)
