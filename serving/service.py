"""The HTTP service: ``bentoml serve serving.service:Wenzhai`` (or ``make serve``).

One BentoML Service, no inner services; documents of concurrent requests are scored together by ``batching.Batcher``.
"""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext

import bentoml
from bentoml._internal.utils.analytics.usage_stats import do_not_track
from starlette.middleware.cors import CORSMiddleware

from serving import connections, corrections, logs
from serving.access import ID_HEADER, AccessMiddleware
from serving.admission import Admission, OverloadedError, Place
from serving.analysis import UnknownTopicError, analyse, check_options
from serving.batching import Here, in_turns
from serving.charset import decode
from serving.document import Document
from serving.errors import ModelError
from serving.http import RequestMiddleware, fail
from serving.keys import Keys, KeysError
from serving.metrics import DOCUMENT_ERRORS, SCORED
from serving.model import Model
from serving.reading import ReadingError, read
from serving.routes import Source, site
from serving.schema import Analysis, AnalyzeRequest, AnalyzeResponse, DocumentError, Options
from serving.settings import get_settings
from serving.switching import Loaded, Switch

do_not_track.cache_clear()  # bentoml's command line asked before serving/__init__.py could answer, and remembers
settings = get_settings()
logs.install(settings.log_format)
connections.install()
logger = logging.getLogger("bentoml.serve")
_LITTLE = 2_000  # characters or bytes of plain text, which are read in a few milliseconds whatever they are
_CONVERTING, _HERE = ThreadPoolExecutor(2, "converting"), Here()
# For which the event loop waits when a thread reads or finishes a document; by default ten times as long, at each of its steps.
_SWITCH_SECONDS = 0.0005


@bentoml.service(
    name="wenzhai",
    workers=settings.workers,
    http={"host": str(settings.host)},
    traffic={"timeout": settings.receive_seconds + settings.request_timeout_seconds + 5},
    # BentoML's own would name each address that callers make up; serving/access.py counts and logs instead.
    metrics={"enabled": False},
    logging={"access": {"enabled": False}},
    endpoints={"livez": "/livez", "readyz": "/readyz"},
)
@bentoml.asgi_app(site, path="/")
class Wenzhai:
    """Topics with evidence, and an extractive summary, of messy Chinese documents."""

    def __init__(self) -> None:
        sys.setswitchinterval(_SWITCH_SECONDS)
        self.admission = Admission(
            settings.streams, settings.turn_tokens, settings.max_slowdown, settings.burst_seconds,
            settings.request_timeout_seconds,
        )
        self.switch = Switch(settings, self.admission)
        self._settle()

    @property
    def model(self) -> Model:
        """The model in use."""
        return self.switch.current.model

    @bentoml.on_startup
    async def watch(self) -> None:
        """Take a new model into use when there is one."""
        self._watching = asyncio.create_task(self.switch.watch(self._settle))

    @staticmethod
    def _settle() -> None:
        # Full collections over the framework's many objects took 200 ms; freeze them and collect rarely.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    @bentoml.on_deployment
    @staticmethod
    def check_model() -> None:
        """End ``bentoml serve`` at once if the model, the keys or the file for corrections can't be used: a worker that fails
        would be restarted for ever."""
        try:
            Model.load(settings.model, threads=1)
            Keys(settings)
            corrections.check_file()
        except (ModelError, KeysError) as error:
            raise SystemExit(f"wenzhai can't start: {error}") from None
        except OSError as error:
            raise SystemExit(f"wenzhai can't start: WENZHAI_CORRECTIONS={settings.corrections}: {error.strerror}") from None

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
        with self.switch.current as loaded:
            return await self._answer(loaded, sources, options, place, topics, summary)

    async def _answer(
        self, loaded: Loaded, sources: list[Source], options: Options, place: Place | None, topics: bool, summary: bool
    ) -> AnalyzeResponse:
        try:
            check_options(options, loaded.model)
        except UnknownTopicError as error:
            fail(422, str(error))
        seconds = settings.request_timeout_seconds
        with nullcontext(place) if place else self.place(sum(source.tokens for source in sources)) as place:
            try:
                results = await asyncio.wait_for(self._results(loaded, sources, options, place, topics, summary), seconds)
            except asyncio.TimeoutError:
                fail(504, f"no answer within {seconds} seconds: send fewer or shorter documents")
        analyses = [result for result in results if isinstance(result, Analysis)]
        errors = [result for result in results if isinstance(result, DocumentError)]
        SCORED.labels("ok").inc(len(analyses))
        SCORED.labels("error").inc(len(errors))
        return AnalyzeResponse(documents=analyses, errors=errors)

    async def _results(
        self, loaded: Loaded, sources: list[Source], options: Options, place: Place, topics: bool, summary: bool
    ) -> list[Analysis | DocumentError]:
        tokens = sum(source.tokens for source in sources)
        self.admission.resize(place, tokens)
        # Files that take long must not hold up the threads in which other requests are read.
        files = any(source.is_file for source in sources)
        little = tokens <= settings.turn_tokens and all(source.is_plain for source in sources) and (
            sum(len(source.content) + len(source.title) for source in sources) <= _LITTLE
        )
        threads = _CONVERTING if files else _HERE if little else None
        found = await in_turns(read_source, sources, threads)
        documents = [item for item in found if isinstance(item, Document)]
        scores = iter(await loaded.batcher.score(documents, place, None if files else threads))

        def finish(item: Document | DocumentError) -> Analysis | DocumentError:
            if isinstance(item, DocumentError):
                return item
            score = next(scores)
            if isinstance(score, BaseException):
                return _failed("scoring", item.id, "the document could not be scored; the service's log says where it failed")
            try:
                return analyse(item, score, loaded.model, options, topics=topics, summary=summary)
            except Exception:  # as in reading
                logger.exception("analysing a document failed")
                return _failed("analysing", item.id, "the document could not be analysed; the service's log says where it failed")

        return await in_turns(finish, found, None if files else threads)


def sources_of(request: AnalyzeRequest) -> list[Source]:
    """The documents of a request; a document without an id is called by its position."""
    return [Source(d.id or str(i), d.text, d.format, d.title) for i, d in enumerate(request.documents)]


def read_source(source: Source) -> Document | DocumentError:
    """Read one document, or say why it can't be read."""
    if source.error:
        return _failed("unpacking", source.id, source.error)
    limit = settings.max_document_chars
    content = source.content
    try:
        if not source.is_file:
            if len(content) > limit * (1 if isinstance(content, str) else 4):  # no character has more than 4 bytes
                return _too_long(source)
            content = content if isinstance(content, str) else decode(content)
            if len(content) > limit:
                return _too_long(source)
        document = read(content, format=source.format, title=source.title, id=source.id)
        return _too_long(source) if len(document.text) > limit else document
    except ReadingError as error:
        return _failed("unreadable", source.id, str(error))
    except Exception:  # a fault in reading one document must not fail the others
        logger.exception("reading a document failed")
        return _failed("reading", source.id, "the document could not be read; send it as plain text")


def _too_long(source: Source) -> DocumentError:
    return _failed("too_long", source.id, f"the document is longer than {settings.max_document_chars} characters: split it")


def _failed(kind: str, id: str, error: str) -> DocumentError:
    DOCUMENT_ERRORS.labels(kind).inc()
    return DocumentError(id=id, error=error)


if settings.cors_origins:
    Wenzhai.add_asgi_middleware(
        CORSMiddleware, allow_origins=[origin.strip() for origin in settings.cors_origins.split(",")],
        allow_methods=["GET", "POST"], allow_headers=["Authorization", "Content-Type", ID_HEADER],
        expose_headers=[ID_HEADER, "Retry-After"],
    )
Wenzhai.add_asgi_middleware(AccessMiddleware)
Wenzhai.add_asgi_middleware(RequestMiddleware, settings=settings)
