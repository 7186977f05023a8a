"""The OpenAPI document at /docs.json: every endpoint, every status, the error's one shape.

BentoML generates one too, but it knows neither the mounted routes nor most errors, and drops ``null`` from types.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from serving.corrections import (
    CorrectionsRequest,
    CorrectionsResponse,
    ExportRequest,
    ExportResponse,
    ImportRequest,
    ImportResponse,
)
from serving.http import BODIES
from serving.schema import AnalyzeRequest, AnalyzeResponse, ErrorResponse, InfoResponse, Options, TopicsResponse

# What endpoints other than those on documents take and answer.
_EXCHANGE = {
    "/v1/corrections": (CorrectionsRequest, CorrectionsResponse),
    "/v1/label-studio/export": (ExportRequest, ExportResponse),
    "/v1/label-studio/import": (ImportRequest, ImportResponse),
}
_MODELS = (
    AnalyzeRequest, Options, AnalyzeResponse, ErrorResponse, TopicsResponse, InfoResponse,
    *(model for models in _EXCHANGE.values() for model in models),
)
_SUMMARIES = {
    "/v1/analyze": "Topics with their evidence, and a summary, of each document",
    "/v1/classify": "Topics with their evidence, of each document",
    "/v1/summarize": "An extractive summary of each document",
    "/v1/files": "Topics and summaries of uploaded files: documents, or zips of them",
    "/v1/corrections": "Append corrected rows to the file that the service was started with, if it was",
    "/v1/label-studio/export": "Analyses (with text) and labelled rows as Label Studio's tasks",
    "/v1/label-studio/import": "Label Studio's annotated tasks as labelled rows, which training takes",
}
_ERRORS = {
    400: "The body is empty, not JSON in UTF-8, or not a multipart form; or its JSON has too many values, or is nested too deep",
    401: "The service has a key, and the request does not carry it",
    404: "The service was started without a file for corrections",
    408: "The body did not arrive in time",
    413: "The request is too large, or has too many documents",
    415: "The body is not of the type that the endpoint takes",
    422: "The JSON is not of the shape described here, or names a topic that the model does not know",
    429: "Too much is waiting, or the caller asks too often; Retry-After says when to try again",
    500: "The service failed; its log says where",
    503: "The corrections can't be written: the disk or the file is full",
    504: "No answer in time",
}
_ON_DOCUMENTS = (400, 401, 408, 413, 415, 422, 429, 500, 504)
_EXAMPLE = {"documents": [{"id": "1", "text": "市妇幼保健院启动免费产前基因筛查。全市孕妇均可参加。"}], "max_sentences": 2}


def describe(topics: list[str], *, secured: bool = False) -> dict[str, Any]:
    """The document for a service whose model knows these topics, with or without a key."""
    document: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": "wenzhai",
            "version": "1",
            "description": "Topics, the sentences that prove them, and an extractive summary, of messy Chinese documents. "
            "Offsets and lengths count Unicode code points. One document that can't be read never fails the others: "
            "it stands under `errors`.",
        },
        "servers": [{"url": "."}],
        "paths": {**{path: {"post": _post(path)} for path in BODIES}, **_readable()},
        "components": {"schemas": _schemas(topics)},
    }
    if secured:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        for path, item in document["paths"].items():
            if path.startswith("/v1/"):
                for operation in item.values():
                    operation["security"] = [{"key": []}]
    return document


def _schemas(topics: list[str]) -> dict[str, Any]:
    _, top = models_json_schema([(model, "validation") for model in _MODELS], ref_template="#/components/schemas/{model}")
    schemas: dict[str, Any] = deepcopy(top["$defs"])
    # Named, so that a generated client has one type of it, whose name says what it is.
    schemas["TopicId"] = {"type": "string", "enum": topics, "description": "A topic that the model knows"}
    for name in ("Options", "AnalyzeRequest"):
        fields = schemas[name]["properties"]
        next(option for option in fields["topics"]["anyOf"] if option["type"] == "array")["items"] = _ref("TopicId")
        fields["focus"]["anyOf"] = [_ref("TopicId"), {"type": "null"}]
    return schemas


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def _answer(description: str, schema: dict[str, Any], media_type: str = "application/json") -> dict[str, Any]:
    return {"description": description, "content": {media_type: {"schema": schema}}}


def _errors(*statuses: int) -> dict[str, Any]:
    answers = {str(status): _answer(_ERRORS[status], _ref("ErrorResponse")) for status in statuses}
    for status in answers.keys() & {"429", "503"}:
        answers[status]["headers"] = {"Retry-After": {"description": "seconds", "schema": {"type": "integer"}}}
    return answers


def _post(path: str) -> dict[str, Any]:
    if path in _EXCHANGE:
        return _exchange(path, *_EXCHANGE[path])
    if BODIES[path] == "application/json":
        content: dict[str, Any] = {"schema": _ref("AnalyzeRequest"), "example": _EXAMPLE}
    else:
        form = {
            "type": "object", "required": ["files"], "additionalProperties": False,
            "properties": {
                "files": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}},
                "options": _ref("Options"),
            },
        }
        content = {"schema": form, "encoding": {"options": {"contentType": "application/json"}}}
    return {
        "operationId": path.rsplit("/", 1)[-1],
        "summary": _SUMMARIES[path],
        "requestBody": {"required": True, "content": {BODIES[path]: content}},
        "responses": {"200": _answer("Analyses and errors, each in the order of the request", _ref("AnalyzeResponse")),
                      **_errors(*_ON_DOCUMENTS)},
    }


def _exchange(path: str, taken: type[BaseModel], answered: type[BaseModel]) -> dict[str, Any]:
    statuses = [400, 401, 408, 413, 415, 422, 429, 500, *([404, 503] if path == "/v1/corrections" else [])]
    return {
        "operationId": "_".join(reversed(path.removeprefix("/v1/").replace("-", "_").split("/"))),
        "summary": _SUMMARIES[path],
        "requestBody": {"required": True, "content": {BODIES[path]: {"schema": _ref(taken.__name__)}}},
        "responses": {"200": _answer(answered.__doc__ or "", _ref(answered.__name__)), **_errors(*statuses)},
    }


def _readable() -> dict[str, Any]:
    """What is only read."""
    text = {"type": "string"}

    def get(id: str, summary: str, answer: dict[str, Any], *errors: int) -> dict[str, Any]:
        return {"get": {"operationId": id, "summary": summary, "responses": {"200": answer, **_errors(*errors)}}}

    topics = _answer("Topics", _ref("TopicsResponse"))
    first = "$response.body#/topics/0/id"
    topics["links"] = {  # what these ids are for
        name: {"operationId": name, "requestBody": {**_EXAMPLE, "topics": [first], "focus": first}, "description": description}
        for name, description in (("classify", "only for this topic"), ("summarize", "about this topic"))
    }
    return {
        "/v1/topics": get("topics", "The topics that the model knows", topics, 401, 429),
        "/v1/info": get("info", "Model, limits and versions", _answer("Information", _ref("InfoResponse")), 401, 429),
        "/": get("page", "A page on which to try the service", _answer("HTML", text, "text/html")),
        "/docs.json": get("docs", "This document", _answer("OpenAPI 3.1", {"type": "object"})),
        "/livez": get("livez", "Answers while the process lives", _answer("Alive", text, "text/plain")),
        "/healthz": get("healthz", "The same as /livez", _answer("Alive", text, "text/plain")),
        "/readyz": get("readyz", "Answers once the model is loaded", _answer("Ready", text, "text/plain")),
        "/metrics": get("metrics", "Prometheus metrics", _answer("Metrics", text, "text/plain")),
    }
