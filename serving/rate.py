"""How often one caller may ask: exact over all workers, which share a small SQLite file.

The generic cell rate algorithm (ITU-T I.371): a caller's requests are spread over the minute, and a whole minute's worth
may come at once after a pause. It stores one number a caller. Libraries either count in each worker for itself or want a
Redis server.
"""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from pathlib import Path

logger = logging.getLogger("bentoml.serve")
_MINUTE = 60.0
_KEPT = 10_000  # callers, before those who have not asked for a minute are forgotten


class RateLimit:
    """At most ``per_minute`` requests a minute of each caller. One instance a worker; all on the same file."""

    def __init__(self, per_minute: int, file: Path | str) -> None:
        self._interval = _MINUTE / per_minute
        self._rows = 0
        self._db = sqlite3.connect(file, timeout=5, isolation_level=None)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")  # a crash of the machine ends the service too
        self._db.execute("CREATE TABLE IF NOT EXISTS caller (name TEXT PRIMARY KEY, due REAL) WITHOUT ROWID")

    def wait(self, caller: str) -> float:
        """Seconds until the caller may ask; 0 if now, in which case the request is counted. Takes some 20 µs."""
        try:
            return self._wait(caller)
        except sqlite3.OperationalError as error:  # no room on the disk, say: better no limit than no service
            logger.warning("the rate limit can't be kept (%s): a request is let through", error)
            self._db.rollback()
            return 0.0

    def _wait(self, caller: str) -> float:
        now = time.monotonic()  # of the machine, so the same for all workers
        self._db.execute("BEGIN IMMEDIATE")
        try:
            row = self._db.execute("SELECT due FROM caller WHERE name = ?", (caller,)).fetchone()
            due = max(now, row[0] if row else now)
            wait = due + self._interval - now - _MINUTE
            if wait > 1e-6:
                return wait
            self._db.execute("INSERT OR REPLACE INTO caller VALUES (?, ?)", (caller, due + self._interval))
            self._forget(now, row is None)
            return 0.0
        finally:
            if self._db.in_transaction:  # which SQLite itself ends where the disk is full
                self._db.execute("COMMIT")

    def _forget(self, now: float, is_new: bool) -> None:
        self._rows += is_new
        if self._rows > _KEPT:
            self._db.execute("DELETE FROM caller WHERE due < ?", (now,))
            self._rows = 0


def shared_file() -> str:
    """The file of this service's workers: BentoML gives them a folder in common, and empties it at each start."""
    folder = os.environ.get("PROMETHEUS_MULTIPROC_DIR")
    return str(Path(folder) / "rate.sqlite") if folder else ":memory:"
