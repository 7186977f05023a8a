"""The model in use, with its queue; and its replacement by a new one while requests run.

``WENZHAI_MODEL`` is looked at once a second. When what it leads to has changed, and has then stood still, each worker loads
it in a thread, checked as at the start; requests that come from then on get it, those that are under way finish with the
old one, which goes with the last of them. A folder that can't be loaded changes nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serving.batching import Batcher
from serving.document import Document
from serving.metrics import (
    CHARACTERS,
    MODEL,
    MODEL_SECONDS,
    PREDICTIONS,
    QUEUE,
    QUEUE_SECONDS,
    SCORES,
    SWITCHES,
    TOKENS,
)
from serving.model import Model, ModelError, Scores
from serving.reading import read
from serving.settings import Settings
from serving.windows import Window

_CHECK_SECONDS = 1.0
logger = logging.getLogger("bentoml.serve")


class Measured:
    """A model that counts what it does; to its queue it is the model. It knows documents by identity."""

    def __init__(self, model: Model) -> None:
        self.model, self.arrived = model, dict[int, float]()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.model, name)

    def score_windows(self, documents: Sequence[Document], split: Sequence[list[Window]], budget: int) -> list[Scores]:
        """Score a batch."""
        started = time.perf_counter()
        for document in documents:
            if (arrived := self.arrived.pop(id(document), None)) is not None:
                QUEUE_SECONDS.observe(started - arrived)
        before = self.model.tokens_read, self.model.tokens_padded
        scores = self.model.score_windows(documents, split, budget)
        MODEL_SECONDS.observe(time.perf_counter() - started)
        TOKENS.labels("document").inc(self.model.tokens_read - before[0])
        TOKENS.labels("padding").inc(self.model.tokens_padded - before[1])
        for document, score in zip(documents, scores):
            CHARACTERS.inc(len(document.text))
            for topic, value in zip(self.model.topics, score.topics):
                SCORES.labels(topic.id).observe(value)
                if value >= topic.threshold:
                    PREDICTIONS.labels(topic.id).inc()
        return scores


class Loaded:
    """A model and its queue, in use within ``with``: whoever begins with one ends with it."""

    def __init__(self, settings: Settings) -> None:
        self.model = Model.load(settings.model, threads=settings.threads, precision=settings.precision)
        self.model.score([read("预热模型的一句话。")], settings.max_batch_tokens)
        self._measured = Measured(self.model)
        self._batcher = Batcher(self._measured, settings.max_batch_tokens, settings.max_waiting_documents)  # type: ignore[arg-type]
        MODEL.labels(self.model.name).inc()
        self._running, self._retired = 0, False

    async def score(self, documents: Sequence[Document]) -> list[Scores | BaseException]:
        """As ``Batcher.score``."""
        now = time.perf_counter()
        self._measured.arrived.update((id(document), now) for document in documents)
        QUEUE.inc(len(documents))
        try:
            return await self._batcher.score(documents)
        finally:
            QUEUE.dec(len(documents))
            for document in documents:
                self._measured.arrived.pop(id(document), None)

    def __enter__(self) -> Loaded:
        self._running += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._running -= 1
        self._close_if_idle()

    def retire(self) -> None:
        """Take no more requests, and end with the last of those that run."""
        MODEL.labels(self.model.name).dec()
        self._retired = True
        self._close_if_idle()

    def _close_if_idle(self) -> None:
        if self._retired and not self._running:
            self._batcher.close()


class Switch:
    """Keeps ``current`` at what ``settings.model`` leads to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._seen = state(settings.model)
        self.current = Loaded(settings)
        self.refused: str | None = None

    async def watch(self, on_switch: Callable[[], None]) -> None:
        """Look for a new model for ever; ``on_switch`` is called after each that is taken into use."""
        changing: Any = None
        while True:
            await asyncio.sleep(_CHECK_SECONDS)
            found = state(self._settings.model)
            if found == self._seen:
                changing = None
            elif found != changing:  # a copy that is still being written
                changing = found
            else:
                self._seen, changing = found, None
                if await self._load():
                    on_switch()

    async def _load(self) -> bool:
        old = self.current
        try:
            new = await asyncio.to_thread(Loaded, self._settings)
        except Exception as error:
            known = str(error) if isinstance(error, ModelError) else f"{type(error).__name__} on loading it"
            self.refused = known.replace(f"{self._settings.model}{os.sep}", "")
            SWITCHES.labels("refused").inc()
            logger.error("the model stays %s: %s", old.model.name, known)
            return False
        self.current, self.refused = new, None
        old.retire()
        SWITCHES.labels("loaded").inc()
        logger.info("the model is now %s; it was %s", new.model.name, old.model.name)
        return True


def state(folder: Path) -> tuple[Any, ...]:
    """What tells one content of a folder from another, without reading it: where it is, and its files' sizes and times."""
    found: list[Any] = []
    with contextlib.suppress(OSError):
        for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
            status = entry.stat()
            found.append((entry.name, status.st_size, status.st_mtime_ns, status.st_ino))
    return os.path.realpath(folder), *found
