"""PDF and DOCX -> text, in ``converter.py``'s process, with a limit of time and memory.

The process is started when first needed, reads many documents, and is replaced when it ends. It lives no longer than the
one that started it.
"""

from __future__ import annotations

import atexit
import json
import os
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

from serving.converter import receive, send
from serving.errors import ReadingError
from serving.markup import Extracted
from serving.settings import get_settings

_ROOT = Path(__file__).resolve().parent.parent


def convert(data: bytes, kind: str) -> Extracted:
    """Read a document of the kind ``pdf`` or ``docx``. Safe to call from many threads; each uses a process of its own.

    Raises:
        ReadingError: it can't be read, or not within ``convert_seconds`` and ``convert_memory_bytes``.
    """
    child = _take()
    if child is not None:
        try:
            return _ask(child, kind, data)
        except _EndedError:  # of an earlier document, or killed while it was idle
            pass
    settings = get_settings()
    try:
        return _ask(_Child(settings.convert_seconds, settings.convert_memory_bytes), kind, data)
    except _EndedError as error:
        memory = settings.convert_memory_bytes // 1024**2
        raise ReadingError(
            f"the {kind.upper()} needs more than {memory} MiB of memory to read, or is damaged in a way that ends the program "
            "that reads it: split it, or save it anew"
        ) from error


def _ask(child: _Child, kind: str, data: bytes) -> Extracted:
    try:
        reply = child.ask(kind, data, get_settings().max_file_bytes)
    except BaseException:  # a reply that is still to come would be taken for that to the next document
        child.end()
        if child.late:
            raise ReadingError(
                f"the {kind.upper()} took longer than {child.seconds:g} s to read: split it, or save it as text"
            ) from None
        raise
    if child.late:  # it was ended just after it had answered
        child.end()
    else:
        with _lock:
            _idle.append(child)
    return _extracted(reply)


def close() -> None:
    """End the idle processes; the next document starts a new one."""
    while (child := _take()) is not None:
        child.end()


class _EndedError(Exception):
    """The process ended before it had answered."""


class _Child:
    """A process that reads documents, one at a time."""

    def __init__(self, seconds: float, memory: int) -> None:
        self.seconds, self.late = seconds, False
        self.process = subprocess.Popen(
            [sys.executable, "-m", "serving.converter", str(seconds), str(memory)], cwd=_ROOT, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C at a terminal is the parent's to deal with
        )
        with _lock:
            _children.add(self)

    def ask(self, kind: str, data: bytes, limit: int) -> dict[str, Any]:
        """Send a document and wait for the reply, of at most ``limit`` bytes."""
        timer = threading.Timer(self.seconds, self._end_late)
        timer.daemon = True
        timer.start()
        try:
            for frame in (kind.encode(), data):
                send(self.process.stdin, frame)
            reply = receive(self.process.stdout, limit)
        except (OSError, EOFError) as error:
            raise _EndedError from error
        finally:
            timer.cancel()
        return json.loads(reply)

    def _end_late(self) -> None:
        self.late = True
        self.process.kill()

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self.process.kill()
        self.process.wait()
        self.forget()

    def forget(self) -> None:
        """Close its pipes."""
        _children.discard(self)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


_lock = threading.Lock()
_children: set[_Child] = set()
_idle: list[_Child] = []


def _take() -> _Child | None:
    with _lock:
        while _idle:
            child = _idle.pop()
            if child.process.poll() is None:
                return child
            child.forget()
    return None


def _after_fork() -> None:
    """A forked process has no part in its parent's children, and must not hold their pipes open."""
    global _lock
    _lock = threading.Lock()
    _idle.clear()
    for child in list(_children):
        child.process.returncode = 0  # not ours to wait for
        child.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(close)


def _extracted(reply: dict[str, Any]) -> Extracted:
    if error := reply.get("error"):
        raise ReadingError(error)
    fields = reply["document"]
    return Extracted(**{**fields, "removed": Counter(fields["removed"]), "noted": Counter(fields["noted"])})
