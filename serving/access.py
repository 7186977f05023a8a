"""The outermost layer of each request: its id, its line in the log, its metrics, and the headers of every answer."""

from __future__ import annotations

import ipaddress
import logging
import re
import time
import uuid
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.logs import request_id
from serving.metrics import REQUEST_SECONDS, REQUESTS

ID_HEADER = "X-Request-ID"
_ID = re.compile(r"[\w.:-]{1,64}", re.ASCII)
# Endpoints by path; all else is one in logs and metrics: what callers ask for is theirs, and there is no end to it.
_ENDPOINTS = {
    *(f"/v1/{name}" for name in ("analyze", "classify", "summarize", "files", "topics", "info", "corrections")),
    "/v1/label-studio/export", "/v1/label-studio/import", "/", "/docs.json", "/metrics", "/livez", "/healthz", "/readyz",
}
_METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
_QUIET = {"/metrics", "/livez", "/healthz", "/readyz"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Frame-Options": "DENY",
}
_REMOVED = ("Server", "X-BentoML-Request-ID")
logger = logging.getLogger("bentoml.access")


def endpoint_of(path: str) -> str:
    """The endpoint as logs and metrics call it."""
    return path if path in _ENDPOINTS else "/page" if path.startswith(("/page/", "/seeds")) else "other"


def address_of(client: tuple[str, int] | None) -> str:
    """Where a request comes from: an IPv4 address, or an IPv6 network of 64 bits, as one customer gets.

    A proxy that is trusted says where, and may pass on what a caller wrote.
    """
    try:
        address = ipaddress.ip_address(client[0] if client else "")
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


class AccessMiddleware:
    """Names, logs, counts and completes every answer, whoever gives it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        given = Headers(scope=scope).get(ID_HEADER, "")
        id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        token = request_id.set(id)
        started, endpoint = time.perf_counter(), endpoint_of(scope["path"])
        caller: dict[str, Any] = scope.setdefault("wenzhai", {})
        status = 504  # BentoML ends requests that take too long by cancelling them

        async def complete(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _complete(MutableHeaders(scope=message), id, endpoint)
                REQUEST_SECONDS.labels(endpoint).observe(time.perf_counter() - started)
            await send(message)

        try:
            await self.app(scope, receive, complete)
        except BaseException:
            status = status if status != 200 else 500
            raise
        finally:
            REQUESTS.labels(endpoint, str(status)).inc()
            if endpoint not in _QUIET:
                self._log(scope, endpoint, status, (time.perf_counter() - started) * 1000, caller)
            request_id.reset(token)

    def _log(self, scope: Scope, endpoint: str, status: int, milliseconds: float, caller: dict[str, Any]) -> None:
        method = scope["method"] if scope["method"] in _METHODS else "OTHER"
        fields = {
            "method": method, "endpoint": endpoint, "status": status, "milliseconds": round(milliseconds, 1),
            "address": address_of(scope.get("client")), **caller,
        }
        logger.info("request %s", " ".join(f"{name}={value}" for name, value in fields.items()), extra=fields)


def _complete(headers: MutableHeaders, id: str, endpoint: str) -> None:
    for name in _REMOVED:
        if name in headers:
            del headers[name]
    headers[ID_HEADER] = id
    for name, value in _HEADERS.items():
        headers.setdefault(name, value)
    if endpoint != "/page":  # answers hold what documents say; the page's files may be kept, and asked for anew
        headers.setdefault("Cache-Control", "no-store")
