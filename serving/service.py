"""The HTTP service: ``bentoml serve serving.service:Wenzhai`` (or ``make serve``).

One BentoML Service, no inner services; documents of concurrent requests are scored together by ``batching.Batcher``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import bentoml
from bentoml._internal.utils.analytics.usage_stats import do_not_track

from serving import logs
from serving.admission import Admission, OverloadedError, Place
from serving.analysis import UnknownTopicError, analyse, check_options
from serving.batching import SCORED, Batcher, in_turns
from serving.charset import decode
from serving.document import Document
from serving.http import RequestMiddleware, fail
from serving.model import Model, ModelError
from serving.reading import ReadingError, read
from serving.routes import Source, site
from serving.schema import Analysis, AnalyzeRequest, AnalyzeResponse, DocumentError, Options
from serving.settings import get_settings

do_not_track.cache_clear()  # bentoml's command line asked before serving/__init__.py could answer, and remembers
logs.install()
settings = get_settings()
logger = logging.getLogger("bentoml.serve")
_CONVERTING = ThreadPoolExecutor(2, "converting")


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
        self.model = Model.load(
            settings.model, threads=settings.threads, streams=settings.streams, precision=settings.precision
        )
        self.admission = Admission(
            settings.streams, settings.turn_tokens, settings.max_slowdown, settings.burst_seconds,
            settings.request_timeout_seconds,
        )
        self.batcher = Batcher(self.model, self.admission, settings.streams, settings.turn_tokens)
        self.model.score([read("预热模型的一句话。")], settings.turn_tokens)
        # Full collections over the framework's many objects took 200 ms; freeze them and collect rarely.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    @bentoml.on_deployment
    @staticmethod
    def check_model() -> None:
        """End ``bentoml serve`` at once if the model can't be loaded: a worker that fails would be restarted for ever."""
        try:
            Model.load(settings.model, threads=1)
        except ModelError as error:
            raise SystemExit(f"wenzhai can't start: {error}") from None

    @bentoml.api(route="/v1/analyze")
    async def analyze(self, request: AnalyzeRequest, /) -> AnalyzeResponse:
        """Topics with their evidence, and a summary, of each document."""
        return await self.answer(sources_of(request), request)

    @bentoml.api(route="/v1/classify")
    async def classify(self, request: AnalyzeRequest, /) -> AnalyzeResponse:
        """Topics with their evidence, of each document."""
        return await self.answer(sources_of(request), request, summary=False)

    @bentoml.api(route="/v1/summarize")
    async def summarize(self, request: AnalyzeRequest, /) -> AnalyzeResponse:
        """An extractive summary of each document."""
        return await self.answer(sources_of(request), request, topics=False)

    @contextmanager
    def place(self, tokens: float) -> Iterator[Place]:
        """A place for a request of about so many tokens; 429 if there is none."""
        try:
            with self.admission.admit(tokens) as place:
                yield place
        except OverloadedError as error:
            fail(429, str(error), retry_after=error.retry_after)

    async def answer(
        self, sources: list[Source], options: Options, place: Place | None = None, *, topics: bool = True, summary: bool = True
    ) -> AnalyzeResponse:
        """Read, score and analyse documents; those for which that fails become errors beside the others.

        ``place`` is the request's, if it has been given one before it was unpacked.
        """
        try:
            check_options(options, self.model)
        except UnknownTopicError as error:
            fail(422, str(error))
        seconds = settings.request_timeout_seconds
        with nullcontext(place) if place else self.place(sum(source.tokens for source in sources)) as place:
            try:
                results = await asyncio.wait_for(self._results(sources, options, place, topics, summary), seconds)
            except asyncio.TimeoutError:
                fail(504, f"no answer within {seconds} seconds: send fewer or shorter documents")
        analyses = [result for result in results if isinstance(result, Analysis)]
        errors = [result for result in results if isinstance(result, DocumentError)]
        SCORED.labels("ok").inc(len(analyses))
        SCORED.labels("error").inc(len(errors))
        return AnalyzeResponse(documents=analyses, errors=errors)

    async def _results(
        self, sources: list[Source], options: Options, place: Place, topics: bool, summary: bool
    ) -> list[Analysis | DocumentError]:
        self.admission.resize(place, sum(source.tokens for source in sources))
        # Files that take long must not hold up the threads in which other requests are read.
        threads = _CONVERTING if any(source.is_file for source in sources) else None
        found = await in_turns(read_source, sources, threads)
        documents = [item for item in found if isinstance(item, Document)]
        scores = iter(await self.batcher.score(documents, place))

        def finish(item: Document | DocumentError) -> Analysis | DocumentError:
            if isinstance(item, DocumentError):
                return item
            score = next(scores)
            if isinstance(score, BaseException):
                return DocumentError(id=item.id, error="the document could not be scored; the service's log says where it failed")
            return analyse(item, score, self.model, options, topics=topics, summary=summary)

        return await in_turns(finish, found)


def sources_of(request: AnalyzeRequest) -> list[Source]:
    """The documents of a request; a document without an id is called by its position."""
    return [Source(d.id or str(i), d.text, d.format, d.title) for i, d in enumerate(request.documents)]


def read_source(source: Source) -> Document | DocumentError:
    """Read one document, or say why it can't be read."""
    if source.error:
        return DocumentError(id=source.id, error=source.error)
    limit = settings.max_document_chars
    too_long = DocumentError(id=source.id, error=f"the document is longer than {limit} characters: split it")
    content = source.content
    try:
        if not source.is_file:
            if len(content) > limit * (1 if isinstance(content, str) else 4):  # no character has more than 4 bytes
                return too_long
            content = content if isinstance(content, str) else decode(content)
            if len(content) > limit:
                return too_long
        document = read(content, format=source.format, title=source.title, id=source.id)
        return too_long if len(document.text) > limit else document
    except ReadingError as error:
        return DocumentError(id=source.id, error=str(error))
    except Exception:  # a fault in reading one document must not fail the others
        logger.exception("reading a document failed")
        return DocumentError(id=source.id, error="the document could not be read; send it as plain text")


Wenzhai.add_asgi_middleware(RequestMiddleware, settings=settings)
