"""The same scoring on Ray Data, on one machine or a cluster: read, prepare, decide on reprints, score.

Parts flow in the order of the inputs, as in the local engine, so that the same document is the first of its reprints; each
input is one task of reading, so a cluster wants many inputs rather than one.
"""

from __future__ import annotations

import logging
import os
import pickle
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")

import numpy as np
import ray
from ray.data import ActorPoolStrategy, DataContext
from ray.exceptions import RayError

from serving.errors import InputError
from serving.parts import Inputs, Key, Part
from serving.scoring import Scorer, prepare
from serving.settings import ROOT
from serving.worker_process import WorkerError

Batch = dict[str, np.ndarray]
# Shares of a CPU that steps reserve. Actors that reserve whole ones leave none for reading, and the run hangs.
_CPU_READ, _CPU_PREPARE, _CPU_DECIDE, _CPU_SCORE = 0.1, 0.25, 0.05, 0.6
_EXCLUDED = [".git", ".venv", "build", "tests", "training/data", "models/encoder", "**/__pycache__"]


def connect(address: str) -> None:
    """Join the cluster at ``address`` (``ray://host:10001``, ``auto``), or start Ray on this machine if it is empty."""
    environment: dict[str, Any] = {"env_vars": {k: v for k, v in os.environ.items() if k.startswith("WENZHAI_")}}
    if address.startswith("ray://"):
        environment |= {"working_dir": str(ROOT), "excludes": _EXCLUDED}
    elif address:
        environment["env_vars"]["PYTHONPATH"] = str(ROOT)
    ray.init(
        address=address or "local", runtime_env=environment, log_to_driver=False, logging_level="ERROR", ignore_reinit_error=True
    )
    logging.getLogger("ray").setLevel(logging.ERROR)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False


def run(
    inputs: Inputs, done: set[Key], check: Callable[[Part], None], decide: Callable[[Part, Any], Any], scorer: tuple[Any, ...],
    workers: int,
) -> Iterator[tuple[int, int]]:
    """Score all parts that are not done: yields documents found and scored of each.

    ``decide`` is called in one process, for each part in order. ``inputs`` hears of problems and ignored files.

    Raises:
        InputError, OSError: as a step raised it.
        WorkerError: a step failed in another way that is not the fault of a document.
    """
    positions = ray.data.from_items([{"position": i} for i in range(len(inputs.names))], override_num_blocks=len(inputs.names))
    steps = (
        positions.map_batches(_Read(inputs, done, check), batch_size=1, num_cpus=_CPU_READ)
        .map_batches(_prepare, batch_size=1, num_cpus=_CPU_PREPARE)
        .map_batches(
            _Decide, fn_constructor_args=(decide,), batch_size=1, num_cpus=_CPU_DECIDE, compute=ActorPoolStrategy(size=1)
        )
        .map_batches(
            _Score, fn_constructor_args=scorer, batch_size=1, num_cpus=_CPU_SCORE, compute=ActorPoolStrategy(size=workers),
        )
    )
    try:
        for row in steps.iter_rows():
            value = pickle.loads(row["data"])
            if row["kind"] == "end":
                inputs.problems += value[0]
                inputs.ignored += value[1]
            else:
                yield value
    except RayError as error:
        raise _cause(error) from error


def _cause(error: BaseException) -> BaseException:
    """What a step raised, below what Ray wraps it in."""
    inner: BaseException | None = error
    while inner is not None:
        if type(inner) in (InputError, OSError):
            return inner
        inner = getattr(inner, "cause", None) or inner.__cause__
    return WorkerError(f"Ray ended the run: {error}")


def _batch(kind: str, value: Any) -> Batch:
    return {"kind": np.array([kind]), "data": np.array([pickle.dumps(value)], dtype=object)}


def _open(batch: Batch) -> tuple[str, Any]:
    return str(batch["kind"][0]), pickle.loads(batch["data"][0])


class _Read:
    """One input -> its parts, streaming, and at the end what was wrong with it."""

    def __init__(self, inputs: Inputs, done: set[Key], check: Callable[[Part], None]) -> None:
        self.inputs, self.done, self.check = inputs, done, check

    def __call__(self, batch: Batch) -> Iterator[Batch]:
        """A batch of one position."""
        self.inputs.problems, self.inputs.ignored = [], Counter()
        for part in self.inputs.parts_of(int(batch["position"][0])):
            if part.key in self.done:
                self.check(part)
            else:
                yield _batch("part", part)
        yield _batch("end", (self.inputs.problems, self.inputs.ignored))


def _prepare(batch: Batch) -> Batch:
    kind, value = _open(batch)
    return _batch("prepared", prepare(value)) if kind == "part" else batch


class _Decide:
    def __init__(self, decide: Callable[[Part, Any], Any]) -> None:
        self.decide = decide

    def __call__(self, batch: Batch) -> Batch:
        """Adds to a part what its reprints are."""
        kind, value = _open(batch)
        if kind != "prepared":
            return batch
        stated, prepared = value
        return _batch("decided", (prepared, self.decide(prepared.part, stated)))


class _Score(Scorer):
    def __call__(self, batch: Batch) -> Batch:
        """Scores and stores a part."""
        kind, value = _open(batch)
        return _batch("result", self.finish(*value)) if kind == "decided" else batch
