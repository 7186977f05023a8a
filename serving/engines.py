"""What carries the work of a run: processes on this machine, or Ray. Both give the same results."""

from __future__ import annotations

from collections.abc import Callable, Iterator
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

    def __call__(self, part: Part, stated: Stated) -> list[str | None]:
        """For each document of the part the id of the first that it reprints."""
        if self._index is None:
            try:
                self._index = DuplicateIndex(self._path)
            except ValueError as error:
                raise InputError(f"{error}: use --restart, or another folder") from error
        return self._index.resolve(part.key.input << 40 | part.key.number, stated.ids, stated.signatures)

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
    try:
        from serving import ray_engine
    except ImportError as error:
        raise InputError(f"--engine ray needs Ray: pip install -c constraints.txt '.[ray]' ({error})") from error
    if STANDARD_INPUT in work.inputs.names:
        raise InputError("--engine ray can't read standard input: store it first")
    ray_engine.connect(work.address)
    yield from ray_engine.run(
        work.inputs, work.done, work.progress.check, Reprints(work.progress.index), work.scorer, work.workers
    )


ENGINES: dict[str, Callable[..., Iterator[tuple[int, int]]]] = {"local": _local, "ray": _ray}
