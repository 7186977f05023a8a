"""What every request passes through: key, rate, limits of its body, UTF-8, and one shape for all errors.

``{"error": "a sentence that says what to do", …}`` whatever failed: BentoML, pydantic, Starlette or the service itself.
"""

from __future__ import annotations

import asyncio
import json
import math
from contextvars import ContextVar
from typing import Any, NoReturn

import bentoml
from bentoml.exceptions import BentoMLException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.access import address_of
from serving.admission import OverloadedError
from serving.body import Unread, drain, media_type, misshapen, read_body, valid_unicode
from serving.disconnect import while_connected
from serving.held import Held
from serving.keys import Keys
from serving.metrics import REQUEST_BYTES
from serving.rate import RateLimit, shared_file
from serving.settings import Settings

_MESSAGES = {
    404: "there is nothing at this address; the endpoints are listed in /docs.json",
    405: "this address does not take this method; see /docs.json",
    500: "the service failed on this request; its log says why",
}
# What the endpoints that take a body take.
BODIES = {
    "/v1/analyze": "application/json", "/v1/classify": "application/json", "/v1/summarize": "application/json",
    "/v1/files": "multipart/form-data", "/v1/corrections": "application/json",
    "/v1/label-studio/export": "application/json", "/v1/label-studio/import": "application/json",
}
_ANY_NUMBER = ("/v1/label-studio/export", "/v1/label-studio/import")  # of values: an annotation has dozens
_SCORING = ("/v1/analyze", "/v1/classify", "/v1/summarize", "/v1/files")
_LINGER_SECONDS = 5.0  # for which what a refused caller still sends is taken in, so that the answer reaches them
_LARGE_BODY = 1 << 17  # bytes from which a body is looked through in a thread
_failure: ContextVar[dict[str, Any]] = ContextVar("failure")


def fail(status: int, error: str, **more: Any) -> NoReturn:
    """End the current request with this status and body; callable from any endpoint."""
    _failure.get().update(status=status, body={"error": error, **more})
    raise BentoMLException(error)


def error_response(status: int, error: str, settings: Settings, *, retry_after: int = 0, **more: Any) -> JSONResponse:
    """A response in the one shape; 429 and 503 say when to come back, ``retry_after`` seconds or the least that is set."""
    headers = {"Retry-After": str(max(retry_after, settings.retry_after_seconds))} if status in (429, 503) else {}
    if headers and settings.workers > 1:
        headers["Connection"] = "close"  # who tries again connects anew, likely with a worker that has less to do
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse({"error": error, **more}, status, headers)


class RequestMiddleware:
    """Checks what comes in, and gives what goes wrong its one shape."""

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self.app, self.settings = app, settings
        self.keys, self.held = Keys(settings), Held(settings.max_held_bytes)
        per_minute = settings.max_requests_per_minute
        self.rate = RateLimit(per_minute, shared_file()) if per_minute else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, here or in the application."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        body: bytes | JSONResponse | None = self._refuse(scope, headers)
        with self.held.counted(receive) as counted:
            if body is None and scope["method"] in ("POST", "PUT", "PATCH"):
                body = await self._body(counted, headers, scope)
            if not isinstance(body, JSONResponse):
                return await self._run(body, scope, receive, send)
        await _send_early(body, scope, receive, send)  # what is refused is held no longer

    async def _run(self, body: bytes | None, scope: Scope, receive: Receive, send: Send) -> None:
        failure: dict[str, Any] = {}
        token = _failure.set(failure)
        send = _Reshaper(send, scope, failure, self.settings)
        try:
            if body is None:
                await self.app(scope, receive, send)
            else:
                await while_connected(self.app, scope, body, receive, send)
        finally:
            _failure.reset(token)

    async def _body(self, receive: Receive, headers: Headers, scope: Scope) -> bytes | JSONResponse:
        """The body, or why it is not taken."""
        try:
            body = await read_body(receive, self.settings.max_request_bytes, self.settings.receive_seconds)
        except OverloadedError as error:
            return self._busy(error)
        if isinstance(body, bytes):
            REQUEST_BYTES.inc(len(body))
            if media_type(headers) == "application/json":
                body = await asyncio.to_thread(self._json, body, scope) if len(body) > _LARGE_BODY else self._json(body, scope)
        return self._unread(body) if isinstance(body, Unread) else body

    def _json(self, body: bytes, scope: Scope) -> bytes | Unread:
        if scope["method"] == "POST" and scope["path"] in BODIES and (not body or body.isspace()):
            return Unread.EMPTY  # BentoML would take it for an object without fields
        values = math.inf if scope["path"] in _ANY_NUMBER else self.settings.max_json_values
        return misshapen(body, self.settings.max_json_depth, values) or valid_unicode(body)

    def _refuse(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        path: str = scope["path"]
        if len(path) > 1 and path.endswith("/"):  # else it is redirected to an address made of Host, which anyone may write
            return error_response(404, _MESSAGES[404], self.settings)
        if not path.startswith("/v1/"):
            return None
        caller = ""
        if self.keys.required:
            scheme, _, key = headers.get("authorization", "").partition(" ")
            key = key.encode("latin-1").decode("utf-8", "surrogateescape")
            name = self.keys.name_of(key) if scheme.lower() == "bearer" else None
            if name is None:
                return error_response(401, "send the header 'Authorization: Bearer KEY' with the service's key", self.settings)
            caller = scope.setdefault("wenzhai", {})["caller"] = name
        if self.rate is not None and (wait := self.rate.wait(caller or address_of(scope.get("client")))):
            return self._too_often(wait)
        if scope["method"] != "POST" or path not in BODIES:
            return None
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.settings.max_request_bytes:
            return self._unread(Unread.TOO_LARGE)
        if media_type(headers) != BODIES[path]:
            return error_response(415, f"send the header 'Content-Type: {BODIES[path]}' and a body of that type", self.settings)
        if headers.get("content-encoding", "identity").lower() != "identity":
            return error_response(415, "send the body uncompressed, without the header 'Content-Encoding'", self.settings)
        if path not in _SCORING or not length.isdecimal():
            return None
        try:  # before the body is read and parsed
            bentoml.get_current_service().admission.check(int(length))
        except OverloadedError as error:
            return self._busy(error)
        return None

    def _busy(self, error: OverloadedError) -> JSONResponse:
        return error_response(429, str(error), self.settings, retry_after=error.retry_after)

    def _too_often(self, wait: float) -> JSONResponse:
        limit, seconds = self.settings.max_requests_per_minute, math.ceil(wait)
        error = f"more than {limit} requests a minute: try again in {seconds} seconds"
        return error_response(429, error, self.settings, retry_after=seconds)

    def _unread(self, why: Unread) -> JSONResponse:
        limits = self.settings
        status, error = {
            Unread.TOO_LARGE: (413, f"the request is larger than {limits.max_request_bytes} bytes: send fewer documents"),
            Unread.CUT_OFF: (400, "the connection ended before the whole body had arrived: send it again"),
            Unread.LATE: (408, f"the body did not arrive within {limits.receive_seconds:g} seconds: send less at a time"),
            Unread.EMPTY: (400, "the body is not JSON in UTF-8: it is empty"),
            Unread.TOO_MANY: (400, f"the JSON has more than {limits.max_json_values} values: send fewer documents or topics"),
            Unread.TOO_DEEP: (400, f"the JSON is nested more than {limits.max_json_depth} deep: see /docs.json for its shape"),
        }[why]
        return error_response(status, error, self.settings)


async def _send_early(response: JSONResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Send an answer to a request whose body may still be coming, and end the connection once that is over.

    The answer is whole at once; its end is held back for as long as more is taken in, since a connection that is closed
    with something unread is reset, and the answer lost.
    """
    response.headers["Connection"] = "close"

    async def no_body() -> Message:
        return {"type": "http.disconnect"}

    async def held(message: Message) -> None:
        if message["type"] == "http.response.body":
            message = {**message, "more_body": True}
        await send(message)

    await response(scope, no_body, held)
    if "expect" not in Headers(scope=scope):  # who asks before sending the body will not send it now
        await drain(receive, _LINGER_SECONDS)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


class _Reshaper:
    """Wraps ``send``: holds back a response of status 400 and more, and sends it in the one shape."""

    def __init__(self, send: Send, scope: Scope, failure: dict[str, Any], settings: Settings) -> None:
        self.send, self.scope, self.failure, self.settings = send, scope, failure, settings
        self.start: Message | None = None
        self.body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and (message["status"] >= 400 or self.failure):
            self.start = message
            return
        if self.start is None:
            return await self.send(message)
        self.body += message.get("body", b"")
        if message.get("more_body"):
            return
        response = self._reshape(self.start["status"])
        if allow := Headers(raw=self.start["headers"]).get("allow"):
            response.headers["Allow"] = allow

        async def no_receive() -> Message:
            return {"type": "http.disconnect"}

        await response(self.scope, no_receive, self.send)

    def _reshape(self, status: int) -> JSONResponse:
        if self.failure:
            return error_response(self.failure["status"], settings=self.settings, **self.failure["body"])
        try:
            content = json.loads(self.body)
        except ValueError:
            content = None
        if isinstance(content, list) and content:
            content = content[0]
        if isinstance(content, dict) and isinstance(content.get("detail"), list):
            return self._validation(content["detail"])
        known = content.get("error") if isinstance(content, dict) else None
        return error_response(status, _MESSAGES.get(status) or known or f"the request failed with status {status}", self.settings)

    def _validation(self, details: list[dict[str, Any]]) -> JSONResponse:
        """pydantic's findings: 400 for what is no JSON, 422 for JSON of the wrong shape; never the document's text."""
        if any(item.get("type", "").startswith("json_") for item in details):
            return error_response(400, f"the body is not JSON in UTF-8: {details[0].get('msg', '')}", self.settings)
        found = [{"field": ".".join(map(str, item.get("loc", ()))), "problem": item.get("msg", "")} for item in details]
        first = found[0]
        return error_response(422, f"{first['field'] or 'the body'}: {first['problem']}", self.settings, detail=found)
