"""What is no JSON call on documents: the page, uploads, topics, limits, and answers for unknown addresses."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bentoml
from bentoml.exceptions import BentoMLException
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Route

from serving import archive
from serving.http import fail
from serving.schema import AnalyzeResponse, DocumentError, Options
from serving.settings import get_settings

settings = get_settings()
PAGE = Path(__file__).parent / "page"
_PAGE_FILES = {"app.js": "text/javascript", "style.css": "text/css"}


async def index(request: Request) -> Response:
    """The page: paste a document, see its topics, evidence and summary. It loads nothing from elsewhere."""
    return FileResponse(PAGE / "index.html", media_type="text/html")


async def page_file(request: Request) -> Response:
    """The page's script and style."""
    name = request.path_params["name"]
    if name not in _PAGE_FILES:
        raise HTTPException(404)
    return FileResponse(PAGE / name, media_type=_PAGE_FILES[name])


async def topics(request: Request) -> Response:
    """The model's topics, with their thresholds."""
    model = bentoml.get_current_service().model
    return JSONResponse({
        "model": model.name,
        "topics": [{"id": t.id, "name": t.name, "description": t.description, "threshold": t.threshold} for t in model.topics],
    })


async def info(request: Request) -> Response:
    """Model, limits and versions."""
    model = bentoml.get_current_service().model
    limits = ("max_documents", "max_document_chars", "max_request_bytes", "max_id_chars", "max_title_chars",
              "max_summary_sentences", "max_waiting_documents", "request_timeout_seconds")
    return JSONResponse({
        "model": model.name,
        "single_label": model.single_label,
        "window_tokens": model.windows.max_tokens,
        "metrics": model.config.get("metrics", {}),
        "limits": {name: getattr(settings, name) for name in limits},
        "versions": {"python": platform.python_version(), **{n: version(n) for n in ("bentoml", "openvino", "tokenizers")}},
    })


async def files(request: Request) -> Response:
    """Uploads: any number of ``files`` (documents, or archives of them), and ``options`` as a JSON object."""
    service = bentoml.get_current_service()
    try:
        async with request.form(max_files=settings.max_documents) as form:
            uploads = [item for item in form.getlist("files") if not isinstance(item, str)]
            contents = [(item.filename or str(i), await item.read()) for i, item in enumerate(uploads)]
            options_text = form.get("options")
    except (MultiPartException, HTTPException) as error:
        fail(400, f"the multipart body can't be read: {getattr(error, 'message', None) or getattr(error, 'detail', '')}")
    if not contents:
        fail(422, "send at least one file in the form field 'files'")
    try:
        options = Options.model_validate_json(options_text if isinstance(options_text, str) and options_text else "{}")
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        fail(422, f"options.{'.'.join(map(str, first['loc']))}: {first['msg']}")
    sources: list[tuple[str, bytes | str, str, str]] = []
    errors: list[DocumentError] = []
    for name, content in contents:
        for item in archive.read_upload(name, content):
            if item.error:
                errors.append(DocumentError(id=item.id, error=item.error))
            else:
                sources.append((item.id, item.content, "auto", item.title))
    if len(sources) > settings.max_documents:
        fail(413, f"{len(sources)} documents are more than {settings.max_documents}: send fewer, or use python -m serving.score")
    result = await service.analyse_all(sources, options)
    result["errors"] = [*errors, *result["errors"]]
    return Response(AnalyzeResponse(**result).model_dump_json(), media_type="application/json")


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
        Route("/", index), Route("/page/{name}", page_file), Route("/v1/topics", topics), Route("/v1/info", info),
        Route("/v1/files", files, methods=["POST"]),
    ],
    exception_handlers=handlers,
)
