"""Labelled rows: reading them from files, and saying all that is wrong with them before training starts."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import click

from serving.reading import is_misdecoded, without_surrogates
from training.errors import MAX_SHOWN, DataError
from training.sources import is_waiting, raw_rows, reservoir
from training.topics import Topic

_SEPARATORS = ("|", ";", "；")
_UNREADABLE = 20  # of so many rows one may lack readable text; where it is more, something is wrong with the file


@dataclass(frozen=True)
class Row:
    """A labelled document. ``topics``, ``key_sentences`` or ``evidence`` is None where the row does not teach it.

    ``evidence`` pairs each topic with sentences of the text that prove it.
    """

    text: str
    topics: tuple[str, ...] | None
    key_sentences: tuple[str, ...] | None
    summary: str | None
    title: str
    id: str
    where: str
    evidence: tuple[tuple[str, tuple[str, ...]], ...] | None = None


@dataclass
class Reading:
    """What reading a source gave: rows, what is wrong with those without readable text, all other problems, the topics of
    rows that have one, and how many rows of a labelling sheet nobody has labelled yet."""

    rows: list[Row] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    flawed_topics: set[str] = field(default_factory=set)
    unlabelled: int = 0
    seen: int = 0  # rows of the source, where of many some were drawn

    @property
    def topics(self) -> set[str]:
        """Of all rows, but for those without readable text."""
        return self.flawed_topics.union(*(row.topics or () for row in self.rows))


def read_rows(source: str, *, single_label: bool = False, topics: Sequence[Topic] | None = None) -> list[Row]:
    """All rows of a JSONL(.gz), CSV or Parquet file, or of what ``datasets.load_dataset(source)`` names.

    Raises:
        DataError: with file and line of every row that can't be used.
    """
    reading = try_rows(source, single_label=single_label, topics=topics)
    set_aside(reading, progress=True)
    if reading.problems:
        raise DataError(reading.problems)
    return reading.rows


def set_aside(reading: Reading, progress: bool) -> None:
    """A few rows without readable text among many are left out, and said on standard error; else they are problems. Rows of a
    labelling sheet that wait for a reader are left out, however many."""
    unreadable = reading.unreadable
    if reading.unlabelled and progress:
        click.echo(f"note: {reading.unlabelled} rows whose topics nobody has filled in are left out", err=True)
    if len(unreadable) * _UNREADABLE > len(unreadable) + len(reading.rows):
        reading.problems.extend(unreadable)
    elif unreadable and progress:
        shown = "\n  ".join(unreadable[:MAX_SHOWN])
        click.echo(f"note: {len(unreadable)} rows without readable text are left out:\n  {shown}", err=True)


def try_rows(
    source: str, *, single_label: bool = False, topics: Sequence[Topic] | None = None, labelled: bool = True,
    at_most: int | None = None, seed: int = 0,
) -> Reading:
    """As ``read_rows``, but with the problems beside the rows that can be used. Unless ``labelled``, text alone is enough.

    Of more than ``at_most`` rows so many are drawn at random, and the others not held.
    """
    known = {topic.id for topic in topics} if topics is not None else None
    reading = Reading()
    rows = raw_rows(source, reading.problems)
    if at_most is not None:
        rows, reading.seen = reservoir(rows, at_most, seed)
    for where, raw in rows:
        if labelled and is_waiting(raw):
            reading.unlabelled += 1
            continue
        found, unreadable = [], []
        values = _texts(raw, found, unreadable)
        if unreadable:
            reading.unreadable.append(f"{where}: {'; '.join(unreadable)}")
            continue
        if labelled:
            values.update(_lists(raw, found) | _evidence(raw, found))
            found.extend(_conflicts(values, single_label, known))
        else:
            values.update(summary=None, topics=None, key_sentences=None)
        reading.problems.extend(f"{where}: {problem}" for problem in found)
        if found:
            reading.flawed_topics.update(values.get("topics") or ())
        else:
            values["id"] = values["id"] or where
            reading.rows.append(Row(**values, where=where))
    if not reading.rows and not reading.problems and not reading.unreadable:
        waiting = reading.unlabelled
        empty = f"nobody has filled in 'topics' in any of its {waiting} rows" if waiting else "holds no rows"
        reading.problems.append(f"{source}: {empty}")
    return reading


def row_id(value: Any) -> Any:
    """The string of an id that is a number, None where there is none; what is neither stays as it is."""
    if isinstance(value, float):  # as pandas writes a column of numbers with a gap
        value = None if math.isnan(value) else int(value) if value.is_integer() else str(value)
    return str(value) if isinstance(value, int) else value


def with_lists(raw: dict[str, Any]) -> dict[str, Any]:
    """A raw row with lists where a cell of a table holds them as one string; what is no such string stays as it is."""
    found: list[str] = []
    lists = _lists(raw, found) | _evidence(raw, found)
    if found:
        return raw
    lists = {**lists, "evidence": dict(lists["evidence"]) if lists["evidence"] is not None else None}
    return {**raw, **{name: value for name, value in lists.items() if isinstance(raw.get(name), str)}}


def without_positive(present: set[str], topics: Sequence[Topic], source: str) -> list[str]:
    """Problems: the topics that no row of ``source`` has."""
    missing = [topic.id for topic in topics if topic.id not in present]
    return [f"{source}: no row has topic '{m}': add rows, or take it out of the topics file" for m in missing]


def topics_of(rows: Sequence[Row]) -> list[Topic]:
    """The topics that the rows use, sorted by id."""
    return [Topic(i, i) for i in sorted({topic for row in rows for topic in row.topics or ()})]


def _texts(raw: dict[str, Any], problems: list[str], unreadable: list[str]) -> dict[str, Any]:
    """The fields that are one string; ``unreadable`` gets what is wrong with their characters."""
    values: dict[str, Any] = {}
    for name in ("text", "title", "summary", "id"):
        value = raw.get(name)
        if name == "id":
            value = row_id(value)
        if value is not None and not isinstance(value, str):
            problems.append(f"'{name}' must be a string, not {type(value).__name__}")
            value = None
        elif name == "text" and value is None:
            problems.append("field 'text' is missing")
        elif name == "text" and not value.strip():
            unreadable.append("'text' is empty")
        values[name] = without_surrogates(value or "")
        if is_misdecoded(values[name]):
            unreadable.append(f"'{name}' holds U+FFFD or halves of surrogate pairs, so it was decoded with the wrong encoding")
    values["summary"] = values["summary"].strip() or None
    return values


def _lists(raw: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The fields that are lists of strings: a tuple, or None where the field is absent."""
    values: dict[str, Any] = {}
    topics = raw.get("labels") if raw.get("topics") is None else raw["topics"]
    for name, value, separators in (("topics", topics, _SEPARATORS), ("key_sentences", raw.get("key_sentences"), ("|", "\n"))):
        items = _strings(value, separators)
        if items is False:
            problems.append(f"'{name}' must be a list of strings")
            items = None
        values[name] = tuple(dict.fromkeys(item.strip() for item in items)) if items is not None else None
    values["key_sentences"] = tuple(key for key in values["key_sentences"] or () if key) or None
    return values


def _evidence(raw: dict[str, Any], problems: list[str]) -> dict[str, Any]:
    """The field that maps topics to lists of sentences; in CSV cells and flat files as JSON."""
    value = raw.get("evidence")
    if isinstance(value, str):
        try:
            value = json.loads(value) if value.strip() else None
        except (ValueError, RecursionError):
            value = False
    if value is None:
        return {"evidence": None}
    lists = isinstance(value, dict) and {topic: _strings(items, ("\n",)) for topic, items in value.items() if items is not None}
    if not isinstance(lists, dict) or any(not isinstance(items, list) for items in lists.values()):
        problems.append("'evidence' must be an object of topics, each with a list of sentences")
        return {"evidence": None}
    return {"evidence": tuple((topic.strip(), tuple(item.strip() for item in items)) for topic, items in lists.items())}


def unknown_topics(topics: Iterable[str], known: Collection[str]) -> Iterator[str]:
    """What is wrong with those that are not known."""
    return (f"unknown topic '{topic}'" for topic in topics if topic not in known)


def _conflicts(values: dict[str, Any], single: bool, known: set[str] | None) -> Iterator[str]:
    """What is wrong between the fields of a row."""
    topics, keys = values["topics"], values["key_sentences"]
    if topics is None and not keys and not values["summary"]:
        yield "has neither 'topics' nor 'key_sentences' nor 'summary', so it teaches nothing"
    if "" in (topics or ()):
        yield "a topic is an empty string"
    if known is not None:
        yield from unknown_topics(filter(None, topics or ()), known)
    if single and topics is not None and len(topics) != 1:
        yield f"--single-label needs exactly one topic a row, not {len(topics)}"
    for key in keys or ():
        if values["text"] and key not in values["text"]:
            yield f"key sentence not in the text: '{key[:40]}'"
    for topic, sentences in values["evidence"] or ():
        if topic not in (topics or ()):
            yield f"evidence for '{topic}', which is not among the row's topics"
        for sentence in sentences:
            if values["text"] and sentence not in values["text"]:
                yield f"evidence sentence not in the text: '{sentence[:40]}'"


def _strings(value: Any, separators: Sequence[str]) -> list[str] | None | bool:
    """A list of strings; None where the field is absent; False where it is something else."""
    if value is None:
        return None
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("[") and text.endswith("]"):
            try:
                value = json.loads(text)
            except (ValueError, RecursionError):
                return False
        else:
            separator = next((s for s in separators if s in text), separators[0])
            value = [part.strip() for part in text.split(separator) if part.strip()]
    if not isinstance(value, list) or any(not isinstance(item, str) for item in value):
        return False
    return [without_surrogates(item) for item in value]
