"""One queue in front of the model: documents of all requests are scored together, a token budget a batch.

BentoML's own batching hands work to itself over HTTP, which loses requests under load (bentoml issue 5540) and costs
half the throughput on two cores; here the model runs in one thread of the worker, and the event loop stays free.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from prometheus_client import Counter, Histogram

from serving.document import Document
from serving.model import Model, Scores
from serving.windows import Window

BATCH_DOCUMENTS = Histogram("wenzhai_batch_documents", "Documents scored in one batch", buckets=(1, 2, 4, 8, 16, 32, 64))
SCORED = Counter("wenzhai_documents", "Documents by outcome", ["outcome"])
logger = logging.getLogger("bentoml.serve")


class OverloadedError(RuntimeError):
    """Too many documents are waiting; try again later."""


@dataclass
class _Job:
    document: Document
    windows: list[Window]
    future: asyncio.Future[Scores]
    tokens: int


class Batcher:
    """Scores documents for concurrent callers, first come, first served."""

    def __init__(self, model: Model, max_batch_tokens: int, max_waiting: int) -> None:
        self._model, self._max_tokens, self._max_waiting = model, max_batch_tokens, max_waiting
        self._admitted = 0
        self._waiting: deque[_Job] = deque()
        self._thread = ThreadPoolExecutor(1, "model")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def score(self, documents: Sequence[Document]) -> list[Scores | BaseException]:
        """Scores of the documents, in order; in place of a score, what went wrong with that document.

        Raises:
            OverloadedError: if more documents would be waiting than allowed. A request that alone is more than that
                is let in when nothing waits.
        """
        if not documents:
            return []
        if self._admitted and self._admitted + len(documents) > self._max_waiting:
            raise OverloadedError
        # Counted before the first await, so that requests which arrive together can't all slip in.
        self._admitted += len(documents)
        try:
            return await self._enqueue(documents)
        finally:
            self._admitted -= len(documents)

    async def _enqueue(self, documents: Sequence[Document]) -> list[Scores | BaseException]:
        loop = asyncio.get_running_loop()
        if self._task is None or self._task.done():
            self._task = loop.create_task(self._run())
        split = await asyncio.to_thread(lambda: [self._model.split(document) for document in documents])
        jobs = [
            _Job(document, windows, loop.create_future(), sum(len(window.token_ids) for window in windows))
            for document, windows in zip(documents, split)
        ]
        self._waiting.extend(jobs)
        self._wake.set()
        try:
            return list(await asyncio.gather(*(job.future for job in jobs), return_exceptions=True))
        finally:  # a caller that gave up takes its documents along
            for job in jobs:
                job.future.cancel()

    def close(self) -> None:
        """End the queue and its thread; nothing may be waiting."""
        if self._task is not None:
            self._task.cancel()
        self._thread.shutdown(wait=False)

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            batch = self._next()
            if not batch:
                self._wake.clear()
                continue
            BATCH_DOCUMENTS.observe(len(batch))
            if not await self._score(batch) and len(batch) > 1:
                for job in batch:  # one of them is at fault: alone, it fails no other
                    await self._score([job])

    async def _score(self, batch: list[_Job]) -> bool:
        """Score a batch; False if it failed. A document that fails alone gets the exception as its result."""
        documents, windows = [job.document for job in batch], [job.windows for job in batch]
        loop = asyncio.get_running_loop()
        try:
            scores = await loop.run_in_executor(self._thread, self._model.score_windows, documents, windows, self._max_tokens)
        except Exception as error:  # the callers answer for it; the queue goes on
            if len(batch) == 1:
                logger.exception("scoring a document failed")
                _settle(batch[0].future, error)
            return False
        for job, score in zip(batch, scores):
            _settle(job.future, score)
        return True

    def _next(self) -> list[_Job]:
        """The oldest documents, up to the token budget; at least one."""
        batch: list[_Job] = []
        tokens = 0
        while self._waiting and (not batch or tokens + self._waiting[0].tokens <= self._max_tokens):
            job = self._waiting.popleft()
            if not job.future.done():
                batch.append(job)
                tokens += job.tokens
        return batch


def _settle(future: asyncio.Future[Scores], result: Scores | BaseException) -> None:
    if future.done():  # its caller gave up
        return
    if isinstance(result, BaseException):
        future.set_exception(result)
    else:
        future.set_result(result)
