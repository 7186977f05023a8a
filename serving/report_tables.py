"""Output folders of ``python -m serving.score`` -> tables in DuckDB, from which the report counts everything.

DuckDB, because it reads all three formats where they lie, puts on the disk what exceeds its memory, and its SQL says for
all to see what a number is.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import fsspec
import pyarrow.parquet as pq

from serving.cores import cores
from serving.errors import InputError
from serving.parts import printable
from serving.progress import RUN
from serving.report_sql import Run, literal, select, statements
from serving.results import SCHEMAS, WRITERS
from serving.settings import get_settings
from serving.storage import is_remote, open_folder

if TYPE_CHECKING:
    import duckdb

_PART = re.compile(rf"part-\d+-\d+\.({'|'.join(WRITERS)})")
_THREADS = 4  # each holds two of the longest rows in memory


@dataclass
class Archive:
    """All output folders, open as tables; ``setup`` is the SQL that made them. ``damaged`` parts, as (file, reason), are not
    among them."""

    connection: duckdb.DuckDBPyConnection
    runs: list[Run]
    setup: str
    damaged: list[tuple[str, str]]


@contextmanager
def open_archive(places: Sequence[str]) -> Iterator[Archive]:
    """The tables over one or more output folders, paths or addresses; they are gone when the context ends.

    Raises:
        InputError: DuckDB is missing, a folder holds no results, none of its parts can be read, or memory does not suffice.
    """
    try:
        import duckdb
    except ImportError:
        raise InputError("the report needs DuckDB: pip install -c constraints.txt '.[report]'") from None
    runs = [_run(place) for place in dict.fromkeys(place.rstrip("/") or place for place in places)]
    with tempfile.TemporaryDirectory(prefix="wenzhai-report-") as folder:
        # Nothing may be fetched: the extensions that are needed come with the package.
        options: dict[str, Any] = {
            "autoinstall_known_extensions": False, "autoload_known_extensions": False, "temp_directory": folder,
            "preserve_insertion_order": False,
            "memory_limit": f"{get_settings().report_memory_bytes}B", "threads": min(_THREADS, cores()),
        }
        with duckdb.connect(f"{folder}/tables.duckdb", config=options) as connection:
            for place in filter(is_remote, (run.place for run in runs)):
                connection.register_filesystem(fsspec.core.url_to_fs(place)[0])
            try:
                yield _open(connection, runs)
            except duckdb.OutOfMemoryException as error:
                raise InputError(f"{error}: set WENZHAI_REPORT_MEMORY_BYTES higher") from error
            except duckdb.Error as error:
                raise InputError(f"the results can't be counted: {error}") from error


def _open(connection: duckdb.DuckDBPyConnection, runs: list[Run]) -> Archive:
    import duckdb

    damaged: list[tuple[str, str]] = []
    while True:
        setup = statements(runs)
        connection.begin()
        try:
            connection.execute(setup)
            connection.commit()
            return Archive(connection, runs, setup, damaged)
        except duckdb.OutOfMemoryException:
            raise
        except duckdb.Error as error:
            connection.rollback()
            if damaged:
                raise InputError(f"the results can't be read: {error}") from error
            damaged = _set_aside(connection, runs)
            if not damaged:
                raise InputError(f"the results can't be read: {error}") from error


def _run(place: str) -> Run:
    folder = open_folder(place)
    found: dict[str, list[str]] = {}
    for name in sorted(folder.names()):
        if match := _PART.fullmatch(name):
            found.setdefault(match[1], []).append(f"{place}/{name}")
    if not found:
        advice = "name the folder that 'python -m serving.score' was given as --output"
        raise InputError(f"{printable(place)} holds no results (part-*.parquet, .jsonl or .csv): {advice}")
    try:
        record = json.loads(folder.read(RUN))
    except (OSError, ValueError):
        record = {}
    record = record if isinstance(record, dict) else {}
    options = record.get("options")
    rows = options.get("rows") if isinstance(options, dict) else None
    return Run(place, record, found, rows if rows in SCHEMAS else _rows_of(found))


def _rows_of(parts: dict[str, list[str]]) -> str:
    """What a row is, by the files themselves, where run.json does not say."""
    for kind, names in parts.items():
        for name in names:
            with fsspec.open(name, "rb") as file:
                if kind == "parquet":
                    return "topic" if "topic" in pq.read_schema(file).names else "document"
                head = file.readline()
            if head:
                return "topic" if re.search(rb'"topic": ' if kind == "jsonl" else rb"\btopic,", head) else "document"
    return "document"


def _set_aside(connection: duckdb.DuckDBPyConnection, runs: Sequence[Run]) -> list[tuple[str, str]]:
    """Take parts that can't be read out of the runs: -> (file, reason) of each.

    Raises:
        InputError: none is left of a run.
    """
    import duckdb

    damaged = []
    for run in runs:
        for kind, names in run.parts.items():
            for name in list(names):
                try:
                    connection.execute(f"SELECT count(columns(*)) FROM ({select(run, kind, [literal(name)])})")
                except duckdb.OutOfMemoryException:
                    raise
                except duckdb.Error as error:
                    damaged.append((printable(name), str(error).split("\n")[0]))
                    names.remove(name)
                    run.whole = False
        if not any(run.parts.values()):
            reasons = "; ".join(f"{name}: {reason}" for name, reason in damaged)
            raise InputError(f"no part of {printable(run.place)} can be read: {reasons}")
    return damaged
