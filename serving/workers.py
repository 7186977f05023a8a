"""Processes that each work on one task at a time, over a pipe of their own.

concurrent.futures does not do: its processes outlive a killed parent, and on Python 3.10 it hangs when a process dies
while a task is on its way to it.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

_spawn = multiprocessing.get_context("spawn")  # OpenVINO's threads do not survive a fork
Work = Callable[..., Any]


class WorkerError(RuntimeError):
    """A worker process died, or failed in a way that is not the fault of a document."""


class Workers:
    """At most ``count`` processes; each calls ``start(*arguments)`` once, and what that returns for every task.

    Leaving the ``with`` block ends the processes at once, whatever they are at.
    """

    def __init__(self, count: int, start: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
        self._count, self._target = count, (start, arguments)
        self._processes: dict[Connection, Any] = {}
        self._idle: list[Connection] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes.values():
            process.terminate()
        for process in self._processes.values():
            process.join()

    def run(self, tasks: Iterable[tuple[Any, ...]]) -> Iterator[Any]:
        """Results in the order in which they come; no more tasks are taken than processes can start on.

        Raises:
            WorkerError: a process died, or raised something unforeseen.
            OSError: as a process raised it, e.g. because the disk is full.
        """
        for task in tasks:
            if not self._idle and len(self._processes) < self._count:
                self._idle.append(self._new())
            while not self._idle:
                yield from self._finished()
            connection = self._idle.pop()
            try:
                connection.send(task)
            except OSError as error:
                raise self._died(connection) from error
            yield from self._finished(0)
        while len(self._idle) < len(self._processes):
            yield from self._finished()

    def _finished(self, timeout: float | None = None) -> Iterator[Any]:
        for connection in wait([c for c in self._processes if c not in self._idle], timeout):
            assert isinstance(connection, Connection)
            try:
                error, result = connection.recv()
            except (EOFError, OSError) as end:
                raise self._died(connection) from end
            if error is not None:
                raise error
            self._idle.append(connection)
            yield result

    def _new(self) -> Connection:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=_serve, args=(theirs, *self._target), daemon=True)
        with _interrupts_blocked():
            process.start()
        theirs.close()  # so that each side notices when the other is gone
        self._processes[ours] = process
        return ours

    def _died(self, connection: Connection) -> WorkerError:
        process = self._processes[connection]
        process.join(5)
        return WorkerError(f"a worker process died (exit code {process.exitcode}; -9 is often for want of memory)")


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """A process inherits this, so that Ctrl-C at a terminal is the parent's to deal with, also while the child starts."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _serve(connection: Connection, start: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    work: Work | None = None
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            task = connection.recv()
            result, failure = None, None
            try:
                work = work or start(*arguments)
                result = work(*task)
            except OSError as error:
                failure = error
            except Exception:
                failure = WorkerError(f"a worker process failed:\n{traceback.format_exc()}")
            connection.send((failure, result))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
