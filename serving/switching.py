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
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from serving.admission import Admission
from serving.batching import Batcher
from serving.errors import ModelError
from serving.metrics import MODEL, SWITCHES
from serving.model import Model
from serving.reading import read
from serving.settings import Settings

_CHECK_SECONDS = 1.0
_NICE = 5  # of forward passes: on cores that are all busy, whoever is to be answered or refused goes before them
logger = logging.getLogger("bentoml.serve")


def _give_way() -> None:
    if sys.platform == "linux":  # elsewhere it would be the whole process
        os.nice(_NICE)


def _load(settings: Settings) -> Model:
    model = Model.load(settings.model, threads=settings.threads, streams=settings.streams, precision=settings.precision)
    model.score([read("预热模型的一句话。")], settings.turn_tokens)
    return model


class Loaded:
    """A model and its queue, in use within ``with``: whoever begins with one ends with it."""

    def __init__(self, settings: Settings, admission: Admission) -> None:
        with ThreadPoolExecutor(1, initializer=_give_way) as loader:  # whose priority OpenVINO's threads inherit
            self.model = loader.submit(_load, settings).result()
        self.batcher = Batcher(self.model, admission, settings.streams, settings.turn_tokens, settings.pass_tokens)
        MODEL.labels(self.model.name).inc()
        self._running, self._retired = 0, False

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
            self.batcher.close()


class Switch:
    """Keeps ``current`` at what ``settings.model`` leads to."""

    def __init__(self, settings: Settings, admission: Admission) -> None:
        self._settings, self._admission = settings, admission
        self._seen = state(settings.model)
        self.current = Loaded(settings, admission)
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
            new = await asyncio.to_thread(Loaded, self._settings, self._admission)
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
    """What tells one content of a folder from another, without reading it: where it is, and its files' sizes and times.

    Hidden ones don't count: a model that is being written lies there until it is whole.
    """
    found: list[Any] = []
    with contextlib.suppress(OSError):
        for entry in sorted((e for e in os.scandir(folder) if not e.name.startswith(".")), key=lambda entry: entry.name):
            status = entry.stat()
            found.append((entry.name, status.st_size, status.st_mtime_ns, status.st_ino))
    return os.path.realpath(folder), *found
