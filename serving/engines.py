"""What carries the work of a run: processes on this machine, or Ray. Both give the same results."""

from __future__ import annotations

import importlib.util
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from serving.archive import STANDARD_INPUT
from serving.duplicates import DuplicateIndex
from serving.errors import InputError
from serving.parts import Inputs, Key, Part
from serving.progress import Progress
from serving.scoring import Scorer, Stated
from serving.workers import Workers


@dataclass(frozen=True)
class Work:
    """What is to be done: all parts of ``inputs`` that are not ``done``, by so many workers, each made as ``Scorer(*scorer)``."""

    inputs: Inputs
    progress: Progress
    done: set[Key]
    scorer: tuple[Any, ...]
    workers: int
    address: str = ""


class Reprints:
    """Decides on parts in their order; opens the index in the process where it is asked first."""

    def __init__(self, index: Path) -> None:
        self._path = index
        self._index: DuplicateIndex | None = None

    def __call__(self, part: Part, stated: Stated) -> dict[int, str]:
        """The ids of what the part's reprints reprint, by the positions of the reprints.

        Raises:
            InputError: the index can't be used.
            OSError: nor written, e.g. because the disk is full.
        """
        try:
            self._index = self._index or DuplicateIndex(self._path)
            found = self._index.resolve(part.key.input << 40 | part.key.number, stated.ids, stated.signatures)
        except ValueError as error:
            raise InputError(f"{error}: use --restart, or another folder") from error
        except sqlite3.Error as error:
            raise OSError(f"{self._path}: {error}") from error
        return {position: original for position, original in zip(stated.positions, found) if original is not None}

    def close(self) -> None:
        """Close the index, which one process at a time can use."""
        if self._index is not None:
            self._index.close()


def _local(work: Work) -> Iterator[tuple[int, int]]:
    def missing() -> Iterator[Part]:
        for part in work.inputs.parts():
            if part.key in work.done:
                work.progress.check(part)
            else:
                yield part

    decide = Reprints(work.progress.index)
    with closing(decide), Workers(work.workers, Scorer, work.scorer) as pool:
        yield from pool.run(missing(), decide)


def _ray(work: Work) -> Iterator[tuple[int, int]]:
    from serving import ray_engine  # an extra

    ray_engine.connect(work.address)
    yield from ray_engine.run(
        work.inputs, work.done, work.progress.check, Reprints(work.progress.index), work.scorer, work.workers
    )


ENGINES: dict[str, Callable[..., Iterator[tuple[int, int]]]] = {"local": _local, "ray": _ray}


def check_engine(engine: str, names: Sequence[str]) -> None:
    """Raise InputError if an engine can't be used for such inputs."""
    if engine == "ray" and importlib.util.find_spec("ray") is None:
        raise InputError("--engine ray needs Ray: pip install -c constraints.txt '.[ray]'")
    if engine == "ray" and STANDARD_INPUT in names:
        raise InputError("--engine ray can't read standard input: store it first")
