"""A caller that hangs up ends its request: BentoML and Starlette would work on for nobody."""

from __future__ import annotations

import asyncio
import contextlib

from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.body import replay

_HUNG_UP = 499  # nginx's status for a caller that closed the connection; nobody receives it, but it stands in the log


async def while_connected(app: ASGIApp, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
    """Run the application on a request whose body has been read, until it has answered or the caller is gone."""
    gone = asyncio.ensure_future(_disconnected(receive))
    started = False

    async def sending(message: Message) -> None:
        nonlocal started
        started = True  # from now on the end of the answer looks like that of the connection
        await send(message)

    async def after_body() -> Message:
        return await asyncio.shield(gone)

    running = asyncio.ensure_future(app(scope, replay(body, after_body), sending))
    try:
        await asyncio.wait((running, gone), return_when=asyncio.FIRST_COMPLETED)
        if not running.done() and not started:
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running
            # BentoML waits for an answer until its time is over, and so would a stop of the service.
            await Response(status_code=_HUNG_UP)(scope, receive, send)
        else:
            await running
    finally:
        gone.cancel()
        running.cancel()


async def _disconnected(receive: Receive) -> Message:
    while (message := await receive())["type"] != "http.disconnect":
        pass
    return message
