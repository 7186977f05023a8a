"""A connection as the server holds it: uvicorn limits neither a request's head nor the time that one may take.

Here a head that is too long or too slow, and a caller who leaves an answer unread, lose their connection.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.settings import get_settings

settings = get_settings()
_FRAMING = 16  # bytes of chunks' framing that one byte of a body may cost; trailers and chunk extensions are framing too


class _HeadTooLongError(ValueError):
    pass


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with limits on heads, and a time limit in both directions."""

    _head_timer: asyncio.TimerHandle | None = None
    _send_timer: asyncio.TimerHandle | None = None
    _in_head = True
    _head = _body = _received = 0  # bytes of the current request: in its head and trailers, in its body, in all

    def connection_made(self, transport: Any) -> None:
        """The head of the first request has to arrive from now on."""
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is awaited any more."""
        self._stop_awaiting()
        if self._send_timer is not None:
            self._send_timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; the parser would store without limit what has no end."""
        if self._in_head and self._head_timer is None:
            self._await_head()
        self._received += len(data)
        super().data_received(data)
        if self.transport.is_closing():
            return
        if self._in_head and self._received > 2 * settings.max_head_bytes:
            self._refuse_head()
        elif self._received > 2 * settings.max_head_bytes + self._body * (1 + _FRAMING):
            self.transport.abort()

    def on_message_begin(self) -> None:
        """Another head."""
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        """A part of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or behind a chunked body a trailer."""
        self._count(len(name) + len(value) + 4)
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._in_head = False
        self._stop_awaiting()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """What comes now belongs to the next request."""
        self._in_head = True
        self._head = self._body = self._received = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """What is no HTTP is refused in the service's one shape."""
        if self._head > settings.max_head_bytes:
            self._refuse_head()
        else:
            self._refuse(b"400 Bad Request", "this is not HTTP/1.1: see how the client builds its request")

    def pause_writing(self) -> None:
        """The caller does not read."""
        super().pause_writing()
        if self._send_timer is None:
            self._send_timer = self.loop.call_later(settings.send_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """The caller reads on."""
        super().resume_writing()
        if self._send_timer is not None:
            self._send_timer.cancel()
            self._send_timer = None

    def _count(self, size: int) -> None:
        self._head += size
        if self._head > settings.max_head_bytes:
            raise _HeadTooLongError  # ends the parser, and with it data_received in send_400_response

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(settings.receive_seconds, self._late)

    def _stop_awaiting(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:  # the next request, behind one under way
            return self._await_head()
        seconds = settings.receive_seconds
        self._refuse(b"408 Request Timeout", f"the request's headers did not arrive within {seconds:g} seconds: send it again")

    def _refuse_head(self) -> None:
        size = settings.max_head_bytes
        self._refuse(b"431 Request Header Fields Too Large", f"the request's headers are larger than {size} bytes: send fewer")

    def _refuse(self, status: bytes, error: str) -> None:
        self._stop_awaiting()
        if self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete:
            self.transport.abort()  # nothing may come between the parts of that answer
        if self.transport.is_closing():
            return
        body = json.dumps({"error": error}).encode()
        head = b"content-type: application/json\r\ncontent-length: %d\r\nconnection: close" % len(body)
        self.transport.write(b"HTTP/1.1 %b\r\n%b\r\n\r\n%b" % (status, head, body))
        self.transport.close()


def install() -> None:
    """Have uvicorn use it in this process from now on; BentoML leaves the choice of the protocol to uvicorn."""
    uvicorn.config.HTTP_PROTOCOLS["auto"] = f"{__name__}:{GuardedProtocol.__name__}"
