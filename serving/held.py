"""How many bytes of request bodies a worker holds at a time, those that are still arriving among them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from starlette.types import Message, Receive

from serving.admission import OverloadedError


class Held:
    """Counts what has arrived, not what was announced: who sends slowly takes no room from others."""

    def __init__(self, limit: int) -> None:
        self._limit, self._bytes = limit, 0

    @contextmanager
    def counted(self, receive: Receive) -> Iterator[Receive]:
        """A ``receive`` whose bytes count until the end of the block.

        It raises OverloadedError when all requests together hold more than the limit, unless there is but this one.
        """
        own = 0

        async def counting() -> Message:
            nonlocal own
            message = await receive()
            size = len(message.get("body", b""))
            own, self._bytes = own + size, self._bytes + size
            if size and self._limit < self._bytes != own:
                raise OverloadedError(1)
            return message

        try:
            yield counting
        finally:
            self._bytes -= own
