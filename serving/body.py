"""A request's body: read whole within the limits of size and time, of bearable shape, and made valid Unicode."""

from __future__ import annotations

import asyncio
import contextlib
import re
from enum import Enum

import numpy as np
from starlette.datastructures import Headers
from starlette.types import Message, Receive

# An escaped backslash or a surrogate pair, which stay, or a lone surrogate, which has no UTF-8 form.
_SURROGATE = re.compile(
    rb"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
_STEP = np.zeros(256, dtype=np.int8)  # what each byte does to the depth
_STEP[list(b"[{")], _STEP[list(b"]}")] = 1, -1
_BLOCK = 1 << 18


class Unread(Enum):
    """Why there is no body."""

    TOO_LARGE = 1
    CUT_OFF = 2
    LATE = 3
    TOO_DEEP = 4
    TOO_MANY = 5
    EMPTY = 6


def media_type(headers: Headers) -> str:
    """The content type without its parameters."""
    return headers.get("content-type", "").split(";")[0].strip().lower()


async def read_body(receive: Receive, limit: int, seconds: float) -> bytes | Unread:
    """The whole body, or why not."""
    try:
        return await asyncio.wait_for(_read(receive, limit), seconds)
    except asyncio.TimeoutError:
        return Unread.LATE


async def _read(receive: Receive, limit: int) -> bytes | Unread:
    chunks: list[bytes] = []
    size = 0
    try:
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
    finally:
        chunks.clear()  # an error's traceback would keep them until the next full collection, which is rare


async def drain(receive: Receive, seconds: float) -> None:
    """Take in and drop what is still coming, for so long: a connection that is closed before loses its answer with it."""
    async def dropped() -> None:
        while (message := await receive())["type"] == "http.request" and message.get("more_body"):
            pass

    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(dropped(), seconds)


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


def misshapen(body: bytes, max_depth: int, max_values: float) -> Unread | None:
    """Whether JSON opens more than ``max_depth`` arrays and objects inside one another, or has more than ``max_values`` values
    in all of them: a million of a wrong kind would be a million errors. What stands in strings does not count."""
    if body.count(b"[") + body.count(b"{") <= max_depth and body.count(b",") < max_values:
        return None
    # Once escapes are gone, quotes delimit strings.
    marks = np.frombuffer(body.replace(rb"\\", b"").replace(rb"\"", b""), dtype=np.uint8)
    quotes = depth = commas = 0
    for start in range(0, len(marks), _BLOCK):
        block = marks[start : start + _BLOCK]
        counted = quotes + np.cumsum(block == ord('"'), dtype=np.int32)
        outside = counted % 2 == 0
        depths = depth + np.cumsum(_STEP[block] * outside, dtype=np.int32)
        commas += np.count_nonzero((block == ord(",")) & outside)
        if depths.max() > max_depth:
            return Unread.TOO_DEEP
        if commas >= max_values:
            return Unread.TOO_MANY
        quotes, depth = int(counted[-1]) % 2, int(depths[-1])
    return None
