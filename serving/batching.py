"""The way to the model: windows of all requests wait in one fair queue, and each forward pass takes the next ones.

A long document is scored a batch at a time between others, and short ones that come together share a batch. As many threads
as there are forward passes at a time take batches from the queue; what they have done is booked in the event loop's thread.
While short requests come often, they take smaller batches, so that those do not wait long for a turn; large ones cost less.

BentoML's own batching hands work to itself over HTTP, which loses requests under load (bentoml issue 5540) and costs
half the throughput on two cores.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from typing import Any, NamedTuple, TypeVar

from serving.admission import Admission, Place
from serving.document import Document
from serving.fair_queue import FairQueue
from serving.metrics import (
    BATCH_DOCUMENTS,
    CHARACTERS,
    MODEL_SECONDS,
    PREDICTIONS,
    QUEUE,
    QUEUE_SECONDS,
    SCORES,
    TOKENS,
)
from serving.model import Job, Model, Scores
from serving.windows import Window

_TURN_SECONDS = 0.02  # for which a request may keep a thread before others get it
logger = logging.getLogger("bentoml.serve")
Input, Output = TypeVar("Input"), TypeVar("Output")


class _Request:
    """Documents that were asked for together, and how many of their windows are still to be scored."""

    def __init__(self, place: Place, jobs: Sequence[Job], done: asyncio.Future[None], small: bool) -> None:
        self.place, self.done = place, done
        self.faults: dict[Job, Exception] = {}
        self.small = small  # needs no more than a small batch
        self.left = sum(len(job.windows) for job in jobs)
        self.arrived, self.begun = time.perf_counter(), False


class _Piece(NamedTuple):
    request: _Request
    job: Job
    window: Window


class Batcher:
    """Scores documents for concurrent callers.

    Args:
        model: with as many streams as ``streams``.
        admission: learns the speed, and what is left of each request; knows who comes.
        streams: forward passes at the same time.
        turn_tokens: padded tokens of a small forward pass.
        batch_tokens: padded tokens of any other.
    """

    def __init__(self, model: Model, admission: Admission, streams: int, turn_tokens: int, batch_tokens: int) -> None:
        self._model, self._admission = model, admission
        self._turn_tokens, self._batch_tokens = turn_tokens, max(batch_tokens, turn_tokens)
        self._queue: FairQueue[_Piece] = FairQueue()
        self._changed = threading.Condition()  # guards the queue
        self._closed, self._idle = False, 0
        self._threads = [
            threading.Thread(target=self._run, args=(i == 0,), name=f"stream-{i}", daemon=True) for i in range(streams)
        ]
        for thread in self._threads:
            thread.start()

    async def score(
        self, documents: Sequence[Document], place: Place, threads: Executor | None = None
    ) -> list[Scores | Exception]:
        """Scores of the documents, in order; in place of a score, what went wrong with that document.

        ``threads`` is where they are split, and their scores put together; the model has threads of its own.
        A caller that is cancelled takes its documents along: of those, at most the batches that run are scored.
        """
        begun = await in_turns(_or_fault(self._model.begin), documents, threads)
        jobs = [job for job in begun if isinstance(job, Job)]
        if not jobs:
            return [job for job in begun if isinstance(job, Exception)]
        pieces = sorted(((job, window) for job in jobs for window in job.windows), key=lambda item: len(item[1].token_ids))
        tokens = sum(len(window.token_ids) for _, window in pieces)
        request = _Request(place, jobs, asyncio.get_running_loop().create_future(), tokens <= self._turn_tokens)
        self._admission.resize(place, float(tokens))
        with self._changed:
            flow = self._queue.add(
                ((_Piece(request, job, window), len(window.token_ids)) for job, window in pieces), place.kind
            )
            self._changed.notify(len(self._threads))
        QUEUE.inc(len(jobs))
        try:
            await request.done
        finally:
            QUEUE.dec(len(jobs))
            with self._changed:
                self._queue.drop(flow)
            place.left = 0.0
        finish = _or_fault(self._finish)
        return await in_turns(
            lambda item: item[0] if isinstance(item[0], Exception) else request.faults.get(item[0]) or finish(item),
            zip(begun, documents), threads,
        )

    def _finish(self, item: tuple[Job, Document]) -> Scores:
        job, document = item
        scores = self._model.finish(job)
        CHARACTERS.inc(len(document.text))
        for topic, value in zip(self._model.topics, scores.topics):
            SCORES.labels(topic.id).observe(value)
            if value >= topic.threshold:
                PREDICTIONS.labels(topic.id).inc()
        return scores

    def close(self) -> None:
        """End the threads; nothing may be waiting."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def _run(self, quick: bool) -> None:
        """Score batch after batch, in a thread of its own."""
        while (batch := self._next(quick)) is not None:
            started = time.perf_counter()
            BATCH_DOCUMENTS.observe(len({piece.job for piece in batch}))
            scored = [piece for piece in batch if piece.job not in piece.request.faults]
            faults = self._forward(scored)
            seconds = time.perf_counter() - started
            MODEL_SECONDS.observe(seconds)
            with contextlib.suppress(RuntimeError):  # the loop has ended, and with it all who waited
                batch[0].request.done.get_loop().call_soon_threadsafe(self._book, batch, scored, faults, seconds)

    def _next(self, quick: bool) -> list[_Piece] | None:
        """The pieces whose turn it is, up to the token budget and at least one; None at the end. Idle threads are left their
        part, and who needs no more than a small batch only shares it with others like that."""
        batch: list[_Piece] = []
        longest = 0.0
        with self._changed:
            while (first := self._queue.first()) is None:
                if self._closed:
                    return None
                self._idle += 1
                self._changed.wait()
                self._idle -= 1
            small = first[0].request.small
            most = self._batch_tokens
            if small or self._admission.short_ones_come:
                most = min(most, self._turn_tokens * (1 if small or quick else 2))
            most = min(most, self._queue.waiting / (1 + self._idle))
            while first is not None and first[0].request.small == small:
                longest = max(longest, first[1])
                if batch and (len(batch) + 1) * longest > most:
                    break
                batch.append(self._queue.take())
                first = self._queue.first()
            now = time.perf_counter()
            for request in {piece.request for piece in batch if not piece.request.begun}:
                request.begun = True
                QUEUE_SECONDS.observe(now - request.arrived)
        return batch

    def _forward(self, batch: Sequence[_Piece]) -> dict[Job, Exception]:
        """A forward pass; the jobs that fail. If one is at fault, it fails alone."""
        jobs = {piece.job for piece in batch}
        if not jobs:
            return {}
        try:
            tokens, padding = self._model.forward([(piece.job, piece.window) for piece in batch])
            TOKENS.labels("document").inc(tokens)
            TOKENS.labels("padding").inc(padding)
            return {}
        except Exception as error:
            if len(jobs) == 1:
                logger.exception("scoring a document failed")
                return dict.fromkeys(jobs, error)
        faults: dict[Job, Exception] = {}
        for job in jobs:
            faults |= self._forward([piece for piece in batch if piece.job is job])
        return faults

    def _book(self, batch: Sequence[_Piece], scored: Sequence[_Piece], faults: dict[Job, Exception], seconds: float) -> None:
        """Note what has been done, in the event loop's thread."""
        if scored and not faults:  # what failed, or was left out, says nothing of the speed
            self._admission.measured(sum(len(piece.window.token_ids) for piece in scored), seconds)
        for request, job, window in batch:
            request.left -= 1
            self._admission.book(request.place, len(window.token_ids))
            if job in faults:
                request.faults[job] = faults[job]
            if not request.left and not request.done.done():
                request.done.set_result(None)


def _or_fault(function: Callable[[Input], Output]) -> Callable[[Input], Output | Exception]:
    """The function, which returns what it would raise: the other documents are none the worse for it."""

    def tried(item: Input) -> Output | Exception:
        try:
            return function(item)
        except Exception as error:
            logger.exception("scoring a document failed")
            return error

    return tried


class Here(Executor):
    """Runs in the caller's thread what takes less time than to wait for another, on cores that are busy."""

    def submit(self, function: Callable[..., Output], /, *args: Any, **options: Any) -> Future[Output]:
        """Run it now."""
        future: Future[Output] = Future()
        try:
            future.set_result(function(*args, **options))
        except BaseException as error:
            future.set_exception(error)
        return future


async def in_turns(
    function: Callable[[Input], Output], items: Iterable[Input], threads: Executor | None = None
) -> list[Output]:
    """The function's results, computed in a thread that is given up now and then: others get their turn, and a caller that
    is cancelled goes no further than to the end of a turn."""
    results: list[Output] = []
    rest = iter(items)

    def turn() -> bool:
        deadline = time.monotonic() + _TURN_SECONDS
        for item in rest:
            results.append(function(item))
            if time.monotonic() > deadline:
                return True
        return False

    while await asyncio.get_running_loop().run_in_executor(threads, turn):
        pass
    return results
