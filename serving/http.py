"""What every request passes through: size limit, key, UTF-8, and one shape for all errors.

``{"error": "a sentence that says what to do", …}`` whatever failed: BentoML, pydantic, Starlette or the service itself.
"""

from __future__ import annotations

import hmac
import json
from contextvars import ContextVar
from typing import Any, NoReturn

import bentoml
from bentoml.exceptions import BentoMLException
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.admission import OverloadedError
from serving.body import Unread, media_type, read_body, valid_unicode
from serving.disconnect import while_connected
from serving.held import Held
from serving.settings import Settings

_MESSAGES = {
    404: "there is nothing at this address; the endpoints are listed in /docs.json",
    405: "this address does not take this method; see /docs.json",
    500: "the service failed on this request; its log says why",
}
# What the endpoints that take a body take.
BODIES = {
    "/v1/analyze": "application/json", "/v1/classify": "application/json", "/v1/summarize": "application/json",
    "/v1/files": "multipart/form-data",
}
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
        self.app, self.settings, self.held = app, settings, Held(settings.max_held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer the request, here or in the application."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        headers = Headers(scope=scope)
        with self.held.counted(receive) as receive:
            await self._answer(scope, receive, send, headers)

    async def _answer(self, scope: Scope, receive: Receive, send: Send, headers: Headers) -> None:
        refused, body = self._refuse(scope, headers), None
        if refused is None and scope["method"] in ("POST", "PUT", "PATCH"):
            try:
                body = await read_body(receive, self.settings.max_request_bytes)
            except OverloadedError as error:
                refused = self._busy(error)
            if isinstance(body, bytes):
                if media_type(headers) == "application/json":
                    body = valid_unicode(body)
            elif body is not None:
                refused = self._too_large() if body is Unread.TOO_LARGE else self._cut_off()
        if refused is not None:
            return await refused(scope, receive, send)
        failure: dict[str, Any] = {}
        token = _failure.set(failure)
        send = _Reshaper(send, scope, failure, self.settings)
        try:
            if isinstance(body, bytes):
                await while_connected(self.app, scope, body, receive, send)
            else:
                await self.app(scope, receive, send)
        finally:
            _failure.reset(token)

    def _refuse(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        path: str = scope["path"]
        if not path.startswith("/v1/"):
            return None
        expected = f"Bearer {self.settings.api_key}".encode()
        if self.settings.api_key and not hmac.compare_digest(headers.get("authorization", "").encode("latin-1"), expected):
            return error_response(401, "send the header 'Authorization: Bearer KEY' with the service's key", self.settings)
        if scope["method"] != "POST" or path not in BODIES:
            return None
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length) > self.settings.max_request_bytes:
            return self._too_large()
        if media_type(headers) != BODIES[path]:
            return error_response(415, f"send the header 'Content-Type: {BODIES[path]}' and a body of that type", self.settings)
        if headers.get("content-encoding", "identity").lower() != "identity":
            return error_response(415, "send the body uncompressed, without the header 'Content-Encoding'", self.settings)
        try:  # before the body is read and parsed
            bentoml.get_current_service().admission.check(int(length) if length.isdecimal() else 0)
        except OverloadedError as error:
            return self._busy(error)
        return None

    def _busy(self, error: OverloadedError) -> JSONResponse:
        return error_response(429, str(error), self.settings, retry_after=error.retry_after)

    def _cut_off(self) -> JSONResponse:
        return error_response(400, "the connection ended before the whole body had arrived: send it again", self.settings)

    def _too_large(self) -> JSONResponse:
        limit = self.settings.max_request_bytes
        return error_response(413, f"the request is larger than {limit} bytes: send fewer documents at a time", self.settings)


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
