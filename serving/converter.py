"""The process in which PDF and DOCX are read, so that they may hang, crash or take too much memory without harm.

Started by ``conversion.py``. Frames go over its pipes: eight bytes of length, then the content. It imports only what the
documents that it gets need.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import signal
import sys
import threading
from typing import IO, Any

from serving.errors import ReadingError

_GRACE_SECONDS = 5  # by so much it outlives the limit if nobody is left to end it
_PART_BYTES = 1024 * 1024


def send(stream: IO[bytes] | None, content: bytes) -> None:
    """Write one frame."""
    assert stream is not None
    for part in (len(content).to_bytes(8, "big"), content):
        view = memoryview(part)
        while view:
            view = view[stream.write(view) :]


def receive(stream: IO[bytes] | None, limit: int = sys.maxsize) -> bytes:
    """Read one frame. EOFError where the stream ends, ReadingError where it is longer than ``limit``."""
    size = int.from_bytes(_exactly(stream, 8), "big")
    if size > limit:
        raise ReadingError(f"the document holds more than {limit} bytes of text: split it")
    return _exactly(stream, size)


def _exactly(stream: IO[bytes] | None, size: int) -> bytes:
    assert stream is not None
    content = bytearray()
    while len(content) < size:
        part = stream.read(min(size - len(content), _PART_BYTES))
        if not part:
            raise EOFError
        content += part
    return bytes(content)


def _main() -> None:
    """In the process: read documents until the parent closes the pipe, which is also what the end of it does."""
    seconds, memory = float(sys.argv[1]), int(sys.argv[2])
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)  # what a library prints is no reply
    with contextlib.suppress(ImportError):  # Windows has none
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    waiting: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
    threading.Thread(target=_listen, args=(requests, waiting), daemon=True).start()
    # Ends the process even while a library holds the interpreter, so that the thread can't.
    alarm = signal.alarm if hasattr(signal, "alarm") else lambda _: None
    while True:
        kind, data = waiting.get()
        alarm(math.ceil(seconds) + _GRACE_SECONDS)
        reply = json.dumps(_read(kind, data), ensure_ascii=False).encode("utf-8", "replace")
        alarm(0)
        send(replies, reply)


def _listen(requests: IO[bytes], waiting: queue.SimpleQueue[tuple[str, bytes]]) -> None:
    """Take requests, and end the process when there can be no more: the parent is gone, whatever is being read."""
    with contextlib.suppress(EOFError, OSError, MemoryError):
        while True:
            waiting.put((receive(requests).decode(), receive(requests)))
    os._exit(0)


def _read(kind: str, data: bytes) -> dict[str, Any]:
    try:
        if kind == "pdf":
            from serving.pdf import extract
        else:
            from serving.docx import extract
        return {"document": vars(extract(data))}
    except ReadingError as error:
        return {"error": str(error)}
    except MemoryError:
        return {"error": f"the {kind.upper()} needs too much memory to read: split it"}
    except Exception as error:
        return {"error": f"the {kind.upper()} can't be read ({type(error).__name__}: {error}): save it anew"}


if __name__ == "__main__":
    _main()
