"""What a run of the batch command has done: in its output folder, so that a second start goes on from there.

``part-000042.parquet`` is there whole or not at all, and says that its documents are done. ``.progress`` holds what the
run was begun with, and the errors and counts of each part, which are written before the part itself.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: there two runs into one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

from serving.errors import InputError
from serving.results import FRESH, WRITERS, Rows, write_jsonl, write_whole

_PART = re.compile(rf"part-(\d{{6,}})\.({'|'.join(WRITERS)})")
ERRORS = "errors.jsonl"


@dataclass(frozen=True)
class Totals:
    """What all parts hold: documents, and how many of them have each topic."""

    documents: int
    topics: Counter[str]


@dataclass(frozen=True)
class Progress:
    """The state of one output folder."""

    output: Path
    kind: str

    @property
    def _folder(self) -> Path:
        return self.output / ".progress"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of the folder.

        Raises:
            InputError: another run is at work there.
        """
        self._folder.mkdir(parents=True, exist_ok=True)
        with (self._folder / "lock").open("w") as lock:
            if fcntl is not None:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # gone with the process, however that ends
                except BlockingIOError:
                    raise InputError(f"another run is writing to {self.output}: wait for it, or use another folder") from None
            yield

    def begin(self, identity: dict[str, Any], restart: bool) -> None:
        """Start afresh, or go on if what is there was begun with the same inputs, model and options.

        Raises:
            InputError: what is there was begun otherwise.
        """
        self.sweep()
        parts = [path for path in self.output.iterdir() if _PART.fullmatch(path.name)]
        state = self._folder / "run.json"
        if parts and not restart:
            advice = "use --restart, which deletes them, or another folder"
            if not state.is_file():
                raise InputError(f"{self.output} holds results that this command did not begin: {advice}")
            if state.read_text("utf-8") != json.dumps(identity):
                raise InputError(f"{self.output} holds results of other or changed inputs, model or options: {advice}")
            return
        for old in [*parts, *self._folder.glob("*.json*"), self.output / ERRORS]:
            old.unlink(missing_ok=True)
        write_whole(state, lambda path: path.write_text(json.dumps(identity), "utf-8"))

    def sweep(self) -> None:
        """Remove what a killed run was just writing."""
        for folder in (self.output, self._folder):
            for path in folder.glob(f".*{FRESH}"):
                if path.name.startswith((".part-", ".errors", ".counts-", ".run")):
                    path.unlink(missing_ok=True)

    def done(self) -> dict[int, int]:
        """Parts that are done -> documents and errors in each."""
        found = {}
        for path in self.output.iterdir():
            match = _PART.fullmatch(path.name)
            if match:
                found[int(match[1])] = self._counts(int(match[1]))["found"]
        return found

    def save(self, number: int, rows: Rows, errors: Rows) -> None:
        """Write one part; the part itself comes last."""
        topics = Counter(topic["id"] for row in rows for topic in row["topics"])
        counts = {"found": len(rows) + len(errors), "documents": len(rows), "topics": topics}
        write_whole(self._folder / f"errors-{number:06d}.jsonl", lambda path: write_jsonl(path, errors))
        write_whole(self._folder / f"counts-{number:06d}.json", lambda path: path.write_text(json.dumps(counts), "utf-8"))
        write_whole(self.output / f"part-{number:06d}.{self.kind}", lambda path: WRITERS[self.kind](path, rows))

    def finish(self, problems: Rows) -> int:
        """Gather all errors in errors.jsonl, those of whole inputs first; returns how many there are."""
        total = 0

        def write(path: Path) -> None:
            nonlocal total
            with path.open("w", encoding="utf-8", newline="\n") as file:
                for row in problems:
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
                    total += 1
                for number in sorted(self.done()):
                    for line in (self._folder / f"errors-{number:06d}.jsonl").read_text("utf-8").split("\n")[:-1]:
                        file.write(line + "\n")
                        total += 1

        write_whole(self.output / ERRORS, write)
        return total

    def totals(self) -> Totals:
        """Over all parts."""
        counts = [self._counts(number) for number in self.done()]
        topics: Counter[str] = Counter()
        for part in counts:
            topics.update(part["topics"])
        return Totals(sum(part["documents"] for part in counts), topics)

    def _counts(self, number: int) -> dict[str, Any]:
        try:
            return json.loads((self._folder / f"counts-{number:06d}.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self._folder} is damaged ({error}): use --restart, or another folder") from error
