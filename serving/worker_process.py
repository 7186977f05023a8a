"""What runs in a worker process: one thread hears, one reads, one scores."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from typing import Any, Protocol

from serving.parts import Part


class WorkerError(RuntimeError):
    """A worker process failed in a way that is not the fault of a document."""


class Work(Protocol):
    """What a process does. ``mark`` is given where processes died before: it hears of each document before it is touched."""

    def prepare(self, part: Part, mark: Callable[[int | None], None] | None) -> tuple[Any, Any]:
        """-> what decides, which goes to the parent, and what stays."""

    def finish(self, prepared: Any, decision: Any, mark: Callable[[int | None], None] | None) -> Any:
        """-> the result, which goes to the parent."""


@contextlib.contextmanager
def interrupts_blocked() -> Iterator[None]:
    """A process inherits this, so that Ctrl-C at a terminal is the parent's to deal with, also while the child starts.

    The parent deals with it afterwards: a child that has not been told what to do would complain. Another of its threads
    may take the signal although this one blocks it, so the handler waits too. ``multiprocessing``'s resource tracker unblocks
    the signal when it starts, which it else would between here and the first process: it is started before.
    """
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():  # or Windows
        yield
        return
    resource_tracker.ensure_running()
    came: list[int] = []
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    handler = signal.signal(signal.SIGINT, lambda number, _: came.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            signal.raise_signal(signal.SIGINT)


def serve(connection: Connection, start: Callable[..., Work], arguments: Sequence[Any]) -> None:
    """In the process: one thread hears, one reads, one scores, so that the next part is read while one is scored."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    lock = threading.Lock()
    prepared: dict[int, tuple[Any, Any]] = {}
    queues: dict[str, queue.Queue[tuple[int, Any]]] = {"part": queue.Queue(), "decided": queue.Queue()}

    def say(kind: str, number: int, value: Any) -> None:
        with lock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.send((kind, number, value))

    def read(number: int, task: tuple[Part, bool]) -> None:
        part, careful = task
        mark = (lambda at: say("at", number, at)) if careful else None
        stated, left = work.prepare(part, mark)
        if mark:
            mark(None)
        prepared[number] = (left, mark)
        say("stated", number, stated)

    def score(number: int, decision: Any) -> None:
        left, mark = prepared.pop(number)
        say("result", number, work.finish(left, decision, mark))

    def take(kind: str, step: Callable[[int, Any], None]) -> None:
        while True:
            number, value = queues[kind].get()
            _try(say, lambda: step(number, value))  # noqa: B023

    work: Any = None
    with contextlib.suppress(EOFError, ConnectionResetError):
        while True:  # hears all at once, so that the parent never waits for what is read here
            kind, number, value = connection.recv()
            if work is None:
                work = _try(say, lambda: start(*arguments))
                for name, step in (("part", read), ("decided", score)):
                    threading.Thread(target=take, args=(name, step), daemon=True).start()
            queues[kind].put((number, value))


def _try(say: Callable[[str, int, Any], None], call: Callable[[], Any]) -> Any:
    try:
        return call()
    except OSError as error:
        say("failed", 0, error)
    except Exception:
        say("failed", 0, WorkerError(f"a worker process failed:\n{traceback.format_exc()}"))
    return None


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
