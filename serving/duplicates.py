"""The originals of an archive, by what of them is compared: which earlier document each document reprints."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from serving.signatures import BANDS, VERSION, band_keys, is_reprint

_POSITIONS = 1 << 20  # most documents of one part
_GAP = 1 << 16  # most parts left out between two that can still be numbered between them
# Only the first documents of a band are looked at, and of those only the ones that share most bands. It keeps an archive
# of one template from quadratic time, and misses little: a reprint also shares the bands that are not the template's.
_BAND_DOCUMENTS, _CANDIDATES = 50, 32
# Bands of so many documents wait in memory and then go into the file in one sorted sweep. Put there singly, each of a
# document's bands would rewrite another page of the file.
_WAITING = 32_768
_CACHE_KIB, _LOG_BYTES = 16 * 1024, 1 << 24

_SCHEMA = """
CREATE TABLE IF NOT EXISTS parts (part INTEGER PRIMARY KEY, number INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS documents (doc INTEGER PRIMARY KEY, id TEXT NOT NULL, signature BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS waiting (doc INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS bands (band INTEGER, doc INTEGER, PRIMARY KEY (band, doc)) WITHOUT ROWID;
CREATE TABLE recent.bands (band INTEGER, doc INTEGER, PRIMARY KEY (band, doc)) WITHOUT ROWID;
"""
_HITS = "SELECT doc FROM (" + " UNION ALL ".join(
    f"SELECT doc, {weight} AS weight FROM ("
    f"SELECT doc FROM main.bands WHERE band = ?{key} AND doc < ?1 UNION ALL "
    f"SELECT doc FROM recent.bands WHERE band = ?{key} AND doc < ?1 ORDER BY doc LIMIT {_BAND_DOCUMENTS})"
    for key, weight in enumerate([BANDS + 1] + [1] * BANDS, start=2)  # the digest's first: equal texts
) + f") GROUP BY doc ORDER BY sum(weight) DESC, doc LIMIT {_CANDIDATES}"
_FETCH = f"SELECT id, signature FROM documents WHERE doc IN ({', '.join('?' * _CANDIDATES)}) ORDER BY doc"


class DuplicateIndex:
    """The originals seen so far, in an SQLite file of about 1 KB a document; about 45 MB of memory, however many there are.

    ``with DuplicateIndex(path) as index``, or ``close()``. One process at a time. A part is on the disk when ``resolve``
    returns, so that results written after that never outlast the documents that they stand for in the index.

    Raises:
        ValueError: the file was written by a version that makes other signatures.
        sqlite3.Error: the file is none of SQLite's, is in use, or can't be read or written; from ``resolve`` too.
    """

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._open(path)
        except BaseException:
            self._db.close()
            raise

    def _open(self, path: Path) -> None:
        run = self._db.execute
        for setting in (
            "locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL", f"cache_size = -{_CACHE_KIB}",
            f"journal_size_limit = {_LOG_BYTES}",
        ):
            run(f"PRAGMA {setting}")
        version = run("PRAGMA user_version").fetchone()[0]
        if version not in (0, VERSION):
            raise ValueError(f"{path} was written by another version of this program: delete it, or start the run anew")
        run("ATTACH ':memory:' AS recent")
        with self._transaction():
            for statement in _SCHEMA.strip().split("\n"):
                run(statement)
            run(f"PRAGMA user_version = {VERSION}")
            self._waiting = 0
            for doc, stored in run("SELECT doc, signature FROM waiting JOIN documents USING (doc)"):
                self._wait(doc, band_keys(stored))

    def __enter__(self) -> DuplicateIndex:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; nothing is lost without."""
        self._db.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._db.execute("COMMIT")
        except BaseException:
            if self._db.in_transaction:  # some errors, as that of a full disk, have ended it
                self._db.execute("ROLLBACK")
            raise

    def resolve(self, part: int, ids: Sequence[str], signatures: Sequence[bytes | None]) -> list[str | None]:
        """For each document the id of the first original before it that it reprints, or None; None without a signature.

        Documents are ordered by part, then by position. A part may be asked for again, also when later ones are stored: the
        answers are the same, and nothing is stored twice. Only originals are stored, so whatever an answer names was
        itself compared with the document; one that resembles a reprint, but not its original, is an original.

        Args:
            part: 0 to 2**63 - 1; parts come in increasing order, except when they are asked for again.
            ids: one a document; need not be unique.
            signatures: of ``signature``, in the same order.

        Raises:
            ValueError: not as many signatures as ids, more than 2**20, or a part that can't be numbered.
        """
        if len(ids) != len(signatures) or len(ids) > _POSITIONS or not 0 <= part < 1 << 63:
            raise ValueError(f"part {part}: {len(ids)} ids, {len(signatures)} signatures")
        waiting = self._waiting
        try:
            with self._transaction():
                first = self._number(part) * _POSITIONS
                answers = [self._resolve(first + i, ids[i], mine) if mine else None for i, mine in enumerate(signatures)]
                if self._waiting >= _WAITING:
                    self._sweep()
        except BaseException:
            self._waiting = waiting
            raise
        return answers

    def _number(self, part: int) -> int:
        """A small number in the order of the parts, kept; numbers of parts left out so far stay free."""
        query = "SELECT part, number FROM parts WHERE part {} ? ORDER BY part {} LIMIT 1"
        before, number = self._db.execute(query.format("<=", "DESC"), (part,)).fetchone() or (-1, -1)
        if before == part:
            return number
        later = self._db.execute(query.format(">", "ASC"), (part,)).fetchone()
        free = number + min(part - before, _GAP)
        if later and free >= later[1]:
            free = (number + later[1]) // 2
            if free == number:
                raise ValueError(f"part {part}: too many parts came out of order")
        self._db.execute("INSERT INTO parts VALUES (?, ?)", (part, free))
        return free

    def _resolve(self, doc: int, id: str, mine: bytes) -> str | None:
        bands = band_keys(mine)
        hits = [row[0] for row in self._db.execute(_HITS, (doc, *bands, *[None] * (BANDS + 1 - len(bands))))]
        if hits:
            rows = self._db.execute(_FETCH, hits + [None] * (_CANDIDATES - len(hits))).fetchall()
            alike = np.flatnonzero(is_reprint(mine, [row[1] for row in rows]))
            if len(alike):
                # It was stored as an original if a part before it was missing when it first came.
                self._db.execute("DELETE FROM documents WHERE doc = ?", (doc,))
                return rows[alike[0]][0]
        if self._db.execute("INSERT OR IGNORE INTO documents VALUES (?, ?, ?)", (doc, id, mine)).rowcount:
            self._db.execute("INSERT OR IGNORE INTO waiting VALUES (?)", (doc,))
            self._wait(doc, bands)
        return None

    def _wait(self, doc: int, bands: list[int]) -> None:
        self._db.executemany("INSERT OR IGNORE INTO recent.bands VALUES (?, ?)", [(band, doc) for band in bands])
        self._waiting += 1

    def _sweep(self) -> None:
        self._db.execute("INSERT OR IGNORE INTO main.bands SELECT band, doc FROM recent.bands ORDER BY band, doc")
        self._db.execute("DELETE FROM recent.bands")
        self._db.execute("DELETE FROM waiting")
        self._waiting = 0
