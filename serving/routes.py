"""What is no JSON call on documents: the page, uploads, topics, limits, and answers for unknown addresses."""

from __future__ import annotations

import asyncio
import platform
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import bentoml
from bentoml.exceptions import BentoMLException
from pydantic import BaseModel, ValidationError
from python_multipart.multipart import parse_options_header
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from serving import archive, corrections, openapi
from serving.body import misshapen
from serving.http import fail
from serving.metrics import render
from serving.reading import FILES, kind_of, read
from serving.schema import InfoResponse, Options, TopicDescription, TopicsResponse
from serving.settings import ROOT, get_settings

settings = get_settings()
PAGE = Path(__file__).parent / "page"
_PAGE_FILES = {file.name: file for file in PAGE.iterdir() if file.suffix in (".js", ".css")}
_MEDIA_TYPES = {".js": "text/javascript", ".css": "text/css"}
_SEEDS = {file.name: file for file in sorted((ROOT / "seeds").glob("*.txt"))}
_ASCII = bytes(range(128))
_TOKENS_OF_ASCII = 0.05  # where there is much of it, it is mostly mark-up
# The browser itself sees to it that the page loads nothing from elsewhere.
_POLICY = "default-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"


class Source(NamedTuple):
    """A document as it came: its content, or the error that kept it from being unpacked."""

    id: str
    content: bytes | str
    format: str = "auto"
    title: str = ""
    error: str = ""

    @property
    def is_file(self) -> bool:
        """Whether it is no text: its characters can be counted only once it has been read."""
        return self.format in FILES

    @property
    def is_plain(self) -> bool:
        """Whether it can hold no mark-up: to read a page of 2,000 characters may take 200 ms, and the first one half a second."""
        return ("<" if isinstance(self.content, str) else b"<") not in self.content and self.format != "html"

    @property
    def tokens(self) -> float:
        """How much work it is likely to be, before it is read."""
        if self.is_file:  # most of their bytes are no text
            tokens = 0.03 * len(self.content)
        elif isinstance(self.content, str):
            beyond = len(self.content) - len(self.content.encode("ascii", "ignore"))
            tokens = 0.75 * beyond + _TOKENS_OF_ASCII * (len(self.content) - beyond)
        else:
            beyond = len(self.content.translate(None, _ASCII))
            tokens = 0.3 * beyond + _TOKENS_OF_ASCII * (len(self.content) - beyond)
        return min(tokens, 0.75 * settings.max_document_chars)


async def index(request: Request) -> Response:
    """The page: paste a document, see its topics, evidence and summary. It loads nothing from elsewhere."""
    return FileResponse(PAGE / "index.html", media_type="text/html", headers={"Content-Security-Policy": _POLICY})


async def page_file(request: Request) -> Response:
    """A script or a style of the page."""
    file = _PAGE_FILES.get(request.path_params["name"])
    if file is None:
        raise HTTPException(404)
    headers = {"Cache-Control": "no-cache", "Content-Security-Policy": _POLICY}
    return FileResponse(file, media_type=_MEDIA_TYPES[file.suffix], headers=headers)


async def seeds(request: Request) -> Response:
    """The example documents that the page offers: names, and titles or how they begin."""
    return JSONResponse({"seeds": await asyncio.to_thread(_described_seeds)})


@lru_cache(maxsize=1)
def _described_seeds() -> list[dict[str, str]]:
    documents = {name: read(file.read_bytes()) for name, file in _SEEDS.items()}
    return [{"name": name, "title": d.title or d.sentence_texts()[0]} for name, d in documents.items()]


async def seed(request: Request) -> Response:
    """An example document, as it was found."""
    file = _SEEDS.get(request.path_params["name"])
    if file is None:
        raise HTTPException(404)
    return FileResponse(file, media_type="text/plain")


async def topics(request: Request) -> Response:
    """The model's topics, with their thresholds."""
    model = bentoml.get_current_service().model
    described = [TopicDescription(id=t.id, name=t.name, description=t.description, threshold=t.threshold) for t in model.topics]
    return _json(TopicsResponse(model=model.name, topics=described))


async def info(request: Request) -> Response:
    """Model, limits and versions."""
    service = bentoml.get_current_service()
    model = service.model
    return _json(InfoResponse(
        model=model.name, single_label=model.single_label, corrections=settings.corrections is not None,
        window_tokens=model.windows.max_tokens, metrics=model.config.get("metrics", {}), limits=settings.limits(),
        model_refused=service.switch.refused,
        versions={"python": platform.python_version(), **{n: version(n) for n in ("bentoml", "openvino", "tokenizers")}},
    ))


async def metrics(request: Request) -> Response:
    """The metrics of all workers."""
    return Response(await asyncio.to_thread(render), media_type="text/plain; version=0.0.4; charset=utf-8")


def _json(answer: BaseModel) -> Response:
    return Response(answer.model_dump_json(), media_type="application/json")


async def docs(request: Request) -> Response:
    """The OpenAPI document, with this model's topics; it takes the place of the one that BentoML would generate."""
    known = [topic.id for topic in bentoml.get_current_service().model.topics]
    secured = bool(settings.api_key or settings.api_keys or settings.api_keys_file)
    return JSONResponse(openapi.describe(known, secured=secured))


async def files(request: Request) -> Response:
    """Uploads: any number of ``files`` (documents, or zips of them), and ``options`` as a JSON object."""
    uploads, options_text = await _form(request)
    if not uploads:
        fail(422, "send at least one file in the form field 'files'")
    if misshapen(options_text, settings.max_json_depth, settings.max_json_values):
        fail(422, f"options: nested more than {settings.max_json_depth} deep, or more than {settings.max_json_values} values")
    try:
        options = Options.model_validate_json(options_text or b"{}")
    except ValidationError as error:
        found = [
            {"field": ".".join(["options", *map(str, item["loc"])]), "problem": item["msg"]}
            for item in error.errors(include_input=False, include_url=False)
        ]
        fail(422, f"{found[0]['field']}: {found[0]['problem']}", detail=found)
    service = bentoml.get_current_service()
    with service.place(await asyncio.to_thread(_tokens, uploads)) as place:
        sources = await asyncio.to_thread(_unpack, uploads)
        if isinstance(sources, str):
            fail(413, f"{sources}: send fewer, or use python -m serving.score")
        if not sources:
            fail(422, f"there is no document in the upload: a zip's documents end in {', '.join(archive.DOCUMENT_SUFFIXES)}")
        return _json(await service.answer(sources, options, place))


async def _form(request: Request) -> tuple[list[tuple[str, bytes]], bytes]:
    """(name, content) of each upload, and the text of the options."""
    uploads: list[tuple[str, bytes]] = []
    options = b""
    boundary = parse_options_header(request.headers["content-type"])[1].get(b"boundary", b"")
    if b"--" + boundary + b"--" not in await request.body():  # the parser would leave out what is not whole, and say nothing
        fail(400, "the multipart body ends before its last boundary: send it again, whole")
    try:
        async with request.form(max_files=settings.max_documents + 1, max_fields=10) as form:
            for field, value in form.multi_items():
                content = value.encode() if isinstance(value, str) else await value.read()
                if field == "options":
                    options = content
                elif field != "files" or isinstance(value, str):
                    fail(422, f"the form field '{field[:80]}' is not a file named 'files', nor 'options': leave it out")
                elif value.filename or content:  # a browser sends an empty part for a field in which no file was chosen
                    uploads.append(((value.filename or str(len(uploads))).encode("utf-8", "replace").decode(), content))
    except (UnicodeError, LookupError) as error:
        fail(400, f"the multipart body is not in the charset that its Content-Type states: leave charset out ({error})")
    except (MultiPartException, HTTPException) as error:
        reason = getattr(error, "message", None) or getattr(error, "detail", "")
        if reason.startswith("Too many files"):
            fail(413, f"more than {settings.max_documents} files: send fewer at a time")
        fail(400, f"the multipart body can't be read: {reason}")
    return uploads, options


def _tokens(uploads: list[tuple[str, bytes]]) -> float:
    return sum(Source(name, content, kind_of(content, "auto")).tokens for name, content in uploads)


def _unpack(uploads: list[tuple[str, bytes]]) -> list[Source] | str:
    """The documents of all uploads; what is too much, if they pass a limit. A zip is read no further than that."""
    sources: list[Source] = []
    size = 0
    for name, content in uploads:
        for item in archive.read_upload(name, content):
            format = kind_of(item.content, item.format) if isinstance(item.content, bytes) else item.format
            sources.append(Source(item.id, item.content, format, item.title, item.error))
            size += len(item.content)
            if len(sources) > settings.max_documents:
                return f"more than {settings.max_documents} documents"
            if size > settings.max_upload_bytes:
                return f"more than {settings.max_upload_bytes} bytes once unpacked"
    return sources


async def on_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own errors."""
    status: int = getattr(error, "status_code", 500)
    return Response(status_code=status, headers=getattr(error, "headers", None))


async def on_failure(request: Request, error: Exception) -> Response:
    """``http.fail``: the middleware sends what it was given."""
    return Response(status_code=500)


handlers: dict[Any, Any] = {HTTPException: on_http_error, BentoMLException: on_failure}
site = Starlette(
    routes=[
        Route("/", index), Route("/page/{name}", page_file), Route("/docs.json", docs),
        Route("/metrics", metrics), Route("/seeds", seeds), Route("/seeds/{name}", seed),
        Route("/v1/topics", topics), Route("/v1/info", info),
        Route("/v1/files", files, methods=["POST"]), *corrections.routes,
    ],
    exception_handlers=handlers,
)
