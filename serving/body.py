"""A request's body: read whole within the limit, and made valid Unicode."""

from __future__ import annotations

import re
from enum import Enum

from starlette.datastructures import Headers
from starlette.types import Message, Receive

# An escaped backslash or a surrogate pair, which stay, or a lone surrogate, which has no UTF-8 form.
_SURROGATE = re.compile(
    rb"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)


class Unread(Enum):
    """Why there is no body."""

    TOO_LARGE = 1
    CUT_OFF = 2


def media_type(headers: Headers) -> str:
    """The content type without its parameters."""
    return headers.get("content-type", "").split(";")[0].strip().lower()


async def read_body(receive: Receive, limit: int) -> bytes | Unread:
    """The whole body, or why not."""
    chunks, size = [], 0
    while True:
        message = await receive()
        if message["type"] != "http.request":
            return Unread.CUT_OFF
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit:
            return Unread.TOO_LARGE
        chunks.append(chunk)
        if not message.get("more_body"):
            return b"".join(chunks)


def replay(body: bytes, receive: Receive) -> Receive:
    """A ``receive`` that gives the body once more, then what comes after it."""
    sent = False

    async def replayed() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


def valid_unicode(body: bytes) -> bytes:
    """Undecodable bytes and lone surrogates become U+FFFD, so that they fail their own document and no other."""
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        body = body.decode("utf-8", "replace").encode("utf-8")
    return _SURROGATE.sub(lambda match: match[1] or rb"\ufffd", body)
