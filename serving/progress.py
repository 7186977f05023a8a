"""What a run of the batch command has done: in its output folder, so that a second start goes on from there.

``part-00000-000042.parquet`` (of the first input, its 43rd) is there whole or not at all, and says that its documents are
done. ``.progress`` holds what the run was begun with, and the counts and errors of each part, which are written before
the part itself.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

from serving.archive import STANDARD_INPUT
from serving.errors import InputError
from serving.parts import Key, Part
from serving.results import SCHEMAS, WRITERS, Rows, topic_rows, write_jsonl
from serving.storage import is_folder, is_remote, located, open_folder

_PART = re.compile(rf"part-(\d{{5,}})-(\d{{6,}})\.({'|'.join(WRITERS)})")
_OWN = (".part-", ".errors", ".done-", ".run", ".begun")  # how names of files begin that are being written
ERRORS, RUN, STATE = "errors.jsonl", "run.json", ".progress"
_BEGUN, _INDEX = f"{STATE}/begun.json", f"{STATE}/originals.sqlite"
_ADVICE = "use --restart, which deletes them, or another folder"


@dataclass
class Totals:
    """What all parts hold: documents found, scored, reprints and errors, and how many documents have each topic."""

    found: int = 0
    documents: int = 0
    duplicates: int = 0
    unscored: int = 0
    errors: int = 0
    topics: Counter[str] = field(default_factory=Counter)


class Progress:
    """The state of one output folder: a path, or an address (``s3://…``)."""

    def __init__(self, output: str | Path, kind: str, rows: str = "document") -> None:
        self.output, self.kind, self.rows = str(output), kind, rows
        self._folder = open_folder(output)

    @property
    def index(self) -> Path:
        """The index of documents that reprints point to; on this machine, wherever the results lie."""
        return self._folder.local(_INDEX)

    def alone(self) -> AbstractContextManager[None]:
        """Keep other runs out of the folder. Raises InputError if another run is at work there."""
        return self._folder.alone()

    def without_results(self, inputs: Sequence[str], names: Sequence[str]) -> list[str]:
        """``names``, which ``inputs`` stand for, less what runs have written here: patterns and shells find that as well.

        Raises:
            InputError: nothing is left, or the folder lies in an input, so that results would be read as documents.
        """
        place = located(self.output)
        kept = [name for name in names if name == STANDARD_INPUT or not self._is_result(name, place)]
        if not kept:
            raise InputError(f"the inputs are results in {self.output}: name documents, or another --output")
        results = set(names).difference(kept)
        for name in {*inputs, *kept} - results - {STANDARD_INPUT}:
            if _may_be_folder(name) and place.is_relative_to(located(name)) and is_folder(name):
                raise InputError(f"--output {self.output} lies inside the input {name}: choose another place")
        return kept

    def _is_result(self, name: str, place: PurePath) -> bool:
        own = os.path.basename(name)
        if own in (ERRORS, RUN) or _PART.fullmatch(own):
            return located(name).parent == place
        return _may_be_folder(name) and located(name) == place and self._was_begun()

    def _was_begun(self) -> bool:
        return _BEGUN in (f"{STATE}/{name}" for name in self._folder.names(STATE))

    def begin(self, identity: dict[str, Any], restart: bool) -> None:
        """Start afresh, or go on if what is there was begun with the same inputs, model and options.

        Raises:
            InputError: what is there was begun otherwise, or is not a run's.
        """
        self.sweep()
        there = list(self._folder.names())
        parts = [name for name in there if _PART.fullmatch(name)]
        if parts and not restart:
            self._compare(identity)
            return
        foreign = " and ".join(name for name in (ERRORS, RUN) if name in there)
        if foreign and not restart and not self._was_begun():
            raise InputError(f"{self.output} holds {foreign} that this command did not write: {_ADVICE}")
        state = [f"{STATE}/{name}" for name in self._folder.names(STATE) if ".json" in name]
        for old in [*parts, ERRORS, RUN, *state]:
            self._folder.remove(old)
        for path in self.index.parent.glob(f"{self.index.name}*"):
            path.unlink()
        self._folder.write(_BEGUN, lambda path: path.write_text(json.dumps(identity), "utf-8"))

    def sweep(self) -> None:
        """Remove what a killed run was just writing."""
        for folder in ("", STATE):
            self._folder.sweep(folder, _OWN)

    def _compare(self, identity: dict[str, Any]) -> None:
        try:
            before = json.loads(self._folder.read(_BEGUN))
        except FileNotFoundError:
            raise InputError(f"{self.output} holds results that this command did not begin: {_ADVICE}") from None
        if before != json.loads(json.dumps(identity)):
            changed = ", ".join(name for name in identity if before.get(name) != identity[name]) or "options"
            raise InputError(f"{self.output} holds results that were begun with other or changed {changed}: {_ADVICE}")
        if not self.index.exists():
            raise InputError(f"{self.index}, without which reprints are not known, is gone, or on another machine: {_ADVICE}")

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
        text = json.dumps(state, ensure_ascii=False)
        self._folder.write(f"{STATE}/done-{name}.json", lambda path: path.write_text(text, "utf-8"))
        self._folder.write(f"part-{name}.{self.kind}", lambda path: WRITERS[self.kind](path, kept, SCHEMAS[self.rows]))

    def finish(self, problems: Rows, run: dict[str, Any]) -> Totals:
        """Gather all errors in errors.jsonl, those of whole inputs first, and write run.json: -> what all parts hold."""
        totals = Totals(errors=len(problems))
        keys = sorted(self._keys())

        def write(path: Path) -> None:
            write_jsonl(path, problems)
            with path.open("a", encoding="utf-8", newline="\n") as file:
                for key in keys:
                    state = self._state(key)
                    totals.topics.update(state["topics"])
                    totals.errors += len(state["errors"])
                    for name in ("found", "documents", "duplicates", "unscored"):
                        setattr(totals, name, getattr(totals, name) + state[name])
                    file.writelines(json.dumps(error, ensure_ascii=False) + "\n" for error in state["errors"])

        self._folder.write(ERRORS, write)
        scored = totals.documents - totals.unscored
        counts = {
            "found": totals.found, "scored": scored, "duplicates": totals.duplicates, "duplicates_skipped": totals.unscored,
            "errors": totals.errors, "parts": len(keys), "topics": dict(totals.topics.most_common()),
        }
        self.record({**run, "state": "finished", "counts": {**counts, **run.get("counts", {})}})
        return totals

    def record(self, run: dict[str, Any]) -> None:
        """Write run.json."""
        text = json.dumps(run, ensure_ascii=False, indent=1) + "\n"
        self._folder.write(RUN, lambda path: path.write_text(text, "utf-8"))

    def recorded(self) -> dict[str, Any]:
        """What run.json says."""
        try:
            return json.loads(self._folder.read(RUN))
        except (OSError, ValueError):
            return {}

    def _keys(self) -> Iterator[Key]:
        for name in self._folder.names():
            match = _PART.fullmatch(name)
            if match:
                yield Key(int(match[1]), int(match[2]))

    def _state(self, key: Key) -> dict[str, Any]:
        try:
            return json.loads(self._folder.read(f"{STATE}/done-{_name(key)}.json"))
        except (OSError, ValueError) as error:
            raise InputError(f"{self.output}/{STATE} is damaged ({error}): use --restart, or another folder") from error


def _may_be_folder(name: str) -> bool:
    return is_remote(name) or os.path.isdir(name)  # asking a store takes long


def _name(key: Key) -> str:
    return f"{key.input:05d}-{key.number:06d}"
