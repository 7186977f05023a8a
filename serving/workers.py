"""Processes that work on parts in two steps, over a pipe of their own, and are replaced when one dies.

concurrent.futures does not do: its processes outlive a killed parent, and on Python 3.10 it hangs when a process dies
while a task is on its way to it.
"""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from serving.parts import Part
from serving.worker_process import Work, WorkerError, interrupts_blocked, serve

__all__ = ["WorkerError", "Workers"]

_spawn = multiprocessing.get_context("spawn")  # OpenVINO's threads do not survive a fork
_AHEAD = 2  # parts that a process holds: one is scored while the next is read
_CAREFUL = 2  # deaths of processes that hold a part, after which it is done document by document
_MAX_DEATHS = 8  # in a row, with no part finished between them


@dataclass
class _Task:
    number: int
    part: Part
    deaths: int = 0
    at: int | None = None  # the document that a careful process touched last
    stated: Any = None
    decision: list[Any] = field(default_factory=list)  # empty until there is one

    @property
    def careful(self) -> bool:
        """Whether it is to be found out which document processes die of."""
        return self.deaths >= _CAREFUL


@dataclass
class _Process:
    process: Any
    connection: Connection
    tasks: dict[int, _Task] = field(default_factory=dict)


class Workers:
    """At most ``count`` processes, each of which calls ``start(*arguments)`` once.

    A process that dies is replaced, and its parts are done again; where that happens twice, document by document, and the
    document of which it dies then is given up, as an error. Leaving the ``with`` block ends the processes at once.
    """

    def __init__(self, count: int, start: Callable[..., Work], arguments: tuple[Any, ...]) -> None:
        self._count, self._target = count, (start, arguments)
        self._processes: list[_Process] = []
        self._deaths = 0

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._processes:
            worker.process.terminate()
        for worker in self._processes:
            worker.process.join()

    def run(self, parts: Iterable[Part], decide: Callable[[Part, Any], Any]) -> Iterator[Any]:
        """Results in the order in which they come; ``decide`` is called for each part in the order of the parts.

        No more parts are taken than the processes can hold.

        Raises:
            WorkerError: processes die again and again, or one raised something unforeseen.
            OSError: as a process raised it, e.g. because the disk is full.
        """
        waiting: dict[int, _Task] = {}  # read, and not decided yet
        undecided = 0

        def results() -> Iterator[Any]:
            nonlocal undecided
            for kind, task, value in self._messages():
                if kind == "result":
                    yield value
                elif task.decision:  # read again after a death
                    self._send(task, ("decided", task.number, task.decision[0]))
                else:
                    task.stated = value
                    waiting[task.number] = task
                    while undecided in waiting:
                        ready = waiting.pop(undecided)
                        ready.decision.append(decide(ready.part, ready.stated))
                        ready.stated = None
                        self._send(ready, ("decided", ready.number, ready.decision[0]))
                        undecided += 1

        for number, part in enumerate(parts):
            while (worker := self._free()) is None:
                yield from results()
            self._give(worker, _Task(number, part))
        while any(worker.tasks for worker in self._processes):
            yield from results()

    def _free(self) -> _Process | None:
        """The process with the fewest tasks, a new one rather than a busy one."""
        while len(self._processes) > self._count and (spare := next((w for w in self._processes if not w.tasks), None)):
            self._processes.remove(spare)
            spare.connection.close()  # at which it ends
        open_ = [w for w in self._processes if len(w.tasks) < _AHEAD and not any(task.careful for task in w.tasks.values())]
        worker = min(open_, key=lambda worker: len(worker.tasks), default=None)
        if (worker is None or worker.tasks) and len(self._processes) < self._count:
            worker = self._new()
        return worker

    def _messages(self) -> Iterator[tuple[str, _Task, Any]]:
        """Wait for what the processes have to say; also replaces those that have died."""
        by_connection = {worker.connection: worker for worker in self._processes}
        for connection in wait(list(by_connection)):
            worker = by_connection[connection]  # type: ignore[index]
            try:
                kind, number, value = worker.connection.recv()
            except (EOFError, OSError):
                self._replace(worker)
                continue
            if kind == "failed":
                raise value
            task = worker.tasks[number]
            if kind == "at":
                task.at = value
                continue
            if kind == "result":
                del worker.tasks[number]
                self._deaths = 0
            yield kind, task, value

    def _give(self, worker: _Process, task: _Task) -> None:
        worker.tasks[task.number] = task
        with contextlib.suppress(OSError):  # it has died, which waiting for it will show
            worker.connection.send(("part", task.number, (task.part, task.careful)))

    def _send(self, task: _Task, message: tuple[str, int, Any]) -> None:
        worker = next(worker for worker in self._processes if task.number in worker.tasks)
        with contextlib.suppress(OSError):
            worker.connection.send(message)

    def _new(self) -> _Process:
        ours, theirs = _spawn.Pipe()
        process = _spawn.Process(target=serve, args=(theirs, *self._target), daemon=True)
        with interrupts_blocked():
            process.start()
        theirs.close()  # so that each side notices when the other is gone
        self._processes.append(_Process(process, ours))
        return self._processes[-1]

    def _replace(self, worker: _Process) -> None:
        """Give a dead process's tasks to new ones, without the document that it is known to have died of."""
        worker.process.join(5)
        code = worker.process.exitcode
        self._processes.remove(worker)
        self._deaths += 1
        if self._deaths > _MAX_DEATHS:
            raise WorkerError(f"worker processes keep dying (exit code {code}; -9 is often for want of memory)")
        for task in worker.tasks.values():  # each to a process of its own, so that it is clear which document one dies of
            if task.at is not None:
                _give_up(task.part.items, task.at, f"processes that work on it die (exit code {code}): leave it out")
                self._deaths = 0
            task.deaths, task.at = task.deaths + 1, None
            self._give(self._new(), task)


def _give_up(items: list[Any], at: int, reason: str) -> None:
    items[at] = dataclasses.replace(items[at], content=b"", error=reason)
