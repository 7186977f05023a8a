"""What a run of the batch command has done: in its output folder, so that a second start goes on from there.

``part-00000-000042.parquet`` (of the first input, its 43rd) is there whole or not at all, and says that its documents are
done. ``.progress`` holds what the run was begun with, and the counts and errors of each part, which are written before
the part itself.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows: there two runs into one folder are not kept apart
    fcntl = None  # type: ignore[assignment]

from serving.errors import InputError
from serving.parts import Key, Part
from serving.results import FRESH, SCHEMAS, WRITERS, Rows, topic_rows, write_jsonl, write_whole

_PART = re.compile(rf"part-(\d{{5,}})-(\d{{6,}})\.({'|'.join(WRITERS)})")
ERRORS, RUN = "errors.jsonl", "run.json"


@dataclass
class Totals:
    """What all parts hold: documents found, scored, reprints and errors, and how many documents have each topic."""

    found: int = 0
    documents: int = 0
    duplicates: int = 0
    unscored: int = 0
    errors: int = 0
    topics: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Progress:
    """The state of one output folder."""

    output: Path
    kind: str
    rows: str = "document"

    @property
    def folder(self) -> Path:
        """Where the state lies."""
        return self.output / ".progress"

    @property
    def index(self) -> Path:
        """The index of documents that reprints point to."""
        return self.folder / "originals.sqlite"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out of the folder.

        Raises:
            InputError: another run is at work there.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
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
        state = self.folder / "begun.json"
        if parts and not restart:
            advice = "use --restart, which deletes them, or another folder"
            if not state.is_file():
                raise InputError(f"{self.output} holds results that this command did not begin: {advice}")
            before = json.loads(state.read_text("utf-8"))
            if before != json.loads(json.dumps(identity)):
                changed = ", ".join(name for name in identity if before.get(name) != identity[name]) or "options"
                raise InputError(f"{self.output} holds results that were begun with other or changed {changed}: {advice}")
            return
        index = self.folder.glob(f"{self.index.name}*")
        for old in [*parts, *self.folder.glob("*.json*"), *index, self.output / ERRORS, self.output / RUN]:
            old.unlink(missing_ok=True)
        write_whole(state, lambda path: path.write_text(json.dumps(identity), "utf-8"))

    def sweep(self) -> None:
        """Remove what a killed run was just writing."""
        for folder in (self.output, self.folder):
            for path in folder.glob(f".*{FRESH}"):
                if path.name.startswith((".part-", ".errors", ".done-", ".run", ".begun")):
                    path.unlink(missing_ok=True)

    def done(self) -> dict[Key, int]:
        """Parts that are done -> documents and errors in each."""
        return {key: self._state(key)["found"] for key in self._keys()}

    def check(self, part: Part) -> None:
        """Raise InputError if a part of what can't be looked at before is not what was scored."""
        if part.digest and part.digest != self._state(part.key)["digest"]:
            raise InputError(
                f"standard input is not what {self.output} was begun with: pipe the same in, or use --restart or another folder"
            )

    def save(self, part: Part, rows: Rows, errors: Rows) -> None:
        """Write one part; the part itself comes last."""
        state = {
            "found": len(part.items), "documents": len(rows), "digest": part.digest, "errors": errors,
            "duplicates": sum(row["duplicate_of"] is not None for row in rows),
            "unscored": sum(row["topics"] is None for row in rows),
            "topics": Counter(topic["id"] for row in rows for topic in row["topics"] or ()),
        }
        name = _name(part.key)
        kept = list(topic_rows(rows)) if self.rows == "topic" else rows
        write_whole(
            self.folder / f"done-{name}.json", lambda path: path.write_text(json.dumps(state, ensure_ascii=False), "utf-8")
        )
        write_whole(self.output / f"part-{name}.{self.kind}", lambda path: WRITERS[self.kind](path, kept, SCHEMAS[self.rows]))

    def finish(self, problems: Rows, run: dict[str, Any]) -> Totals:
        """Gather all errors in errors.jsonl, those of whole inputs first, and write run.json: -> what all parts hold."""
        totals = Totals(errors=len(problems))

        def write(path: Path) -> None:
            write_jsonl(path, problems)
            with path.open("a", encoding="utf-8", newline="\n") as file:
                for key in sorted(self._keys()):
                    state = self._state(key)
                    totals.topics.update(state["topics"])
                    totals.errors += len(state["errors"])
                    for name in ("found", "documents", "duplicates", "unscored"):
                        setattr(totals, name, getattr(totals, name) + state[name])
                    file.writelines(json.dumps(error, ensure_ascii=False) + "\n" for error in state["errors"])

        write_whole(self.output / ERRORS, write)
        scored = totals.documents - totals.unscored
        counts = {
            "found": totals.found, "scored": scored, "duplicates": totals.duplicates, "duplicates_skipped": totals.unscored,
            "errors": totals.errors, "parts": len(list(self._keys())), "topics": dict(totals.topics.most_common()),
        }
        self.record({**run, "state": "finished", "counts": {**counts, **run.get("counts", {})}})
        return totals

    def record(self, run: dict[str, Any]) -> None:
        """Write run.json."""
        text = json.dumps(run, ensure_ascii=False, indent=1) + "\n"
        write_whole(self.output / RUN, lambda path: path.write_text(text, "utf-8"))

    def recorded(self) -> dict[str, Any]:
        """What run.json says."""
        try:
            return json.loads((self.output / RUN).read_text("utf-8"))
        except (OSError, ValueError):
            return {}

    def _keys(self) -> Iterator[Key]:
        for path in self.output.iterdir():
            match = _PART.fullmatch(path.name)
            if match:
                yield Key(int(match[1]), int(match[2]))

    def _state(self, key: Key) -> dict[str, Any]:
        try:
            return json.loads((self.folder / f"done-{_name(key)}.json").read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.folder} is damaged ({error}): use --restart, or another folder") from error


def _name(key: Key) -> str:
    return f"{key.input:05d}-{key.number:06d}"
