"""The topics file: a YAML list that says of each topic what it is called, when it applies, and which words tell it.

    - id: housing
      name: 住房
      description: 住房保障和楼市，例如公租房、公积金、房价、旧小区改造。
      keywords: [公积金, 保障房]      # where one of these stands, the document is likely about the topic
      must_not: [客房, 机房]          # and where one of these stands, it is not
      examples:                      # passages that somebody on the topic would write
        - 市民在手机上就能申请租房补贴。

Only ``id`` must be there. Keywords, words that rule out and examples are for ``training.start``, where nothing is labelled yet.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from training.errors import DataError

_TEXTS = ("id", "name", "description")
_LISTS = ("keywords", "must_not", "examples")


@dataclass(frozen=True)
class Topic:
    """A topic as ``--topics FILE`` describes it."""

    id: str
    name: str
    description: str = ""
    keywords: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()
    examples: tuple[str, ...] = ()


def read_topics(path: Path) -> list[Topic]:
    """The topics of a file.

    Raises:
        DataError: the file is missing or no YAML list; or all that is wrong in it, each with its line.
    """
    try:
        root = yaml.compose(path.read_text("utf-8-sig"), yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        line = f"{path}:{error.problem_mark.line + 1}" if error.problem_mark else f"{path}"
        raise DataError([f"{line}: not YAML: {error.problem}"]) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise DataError([f"{path}: can't be read as YAML in UTF-8: {getattr(error, 'strerror', None) or error}"]) from error
    if not isinstance(root, yaml.SequenceNode):
        raise DataError([f"{path}: not a list of topics: write '- id: …' for each, and 'name' and 'description' below it"])
    problems: list[str] = []
    topics: list[tuple[int, Topic]] = []
    for item in root.value:
        reader = _TopicReader(path, problems)
        topic = reader.read(item)
        if topic:
            topics.append((item.start_mark.line + 1, topic))
    problems.extend(_twice(path, topics))
    if not root.value:
        problems.append(f"{path}: holds no topic")
    if problems:
        raise DataError(problems)
    return [topic for _, topic in topics]


class _TopicReader:
    """Reads a topic's node, and adds what is wrong with it to ``problems``."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        self._path, self._problems = path, problems

    def read(self, node: yaml.Node) -> Topic | None:
        before = len(self._problems)
        if not isinstance(node, yaml.MappingNode):
            self._say(node, "a topic must have fields: id, name, description …")
            return None
        values: dict[str, str | tuple[str, ...]] = {}
        for key, value in node.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else ""
            if name in values:
                self._say(key, f"'{name}' is given twice")
            elif name in _TEXTS:
                values[name] = self._text(value, name)
            elif name in _LISTS:
                values[name] = self._list(value, name)
            else:
                near = difflib.get_close_matches(name, (*_TEXTS, *_LISTS), 1, 0.5)
                advice = f"did you mean '{near[0]}'?" if near else f"a topic has {', '.join((*_TEXTS, *_LISTS))}"
                self._say(key, f"unknown field '{name}': {advice}")
        if not values.get("id"):
            self._say(node, "a topic has no 'id'")
        both = set(values.get("keywords", ())) & set(values.get("must_not", ()))
        if both:
            self._say(node, f"'{sorted(both)[0]}' is both in 'keywords' and in 'must_not'")
        if len(self._problems) > before:
            return None
        values["name"] = values.get("name") or values["id"]
        return Topic(**values)  # type: ignore[arg-type]

    def _text(self, node: yaml.Node, name: str) -> str:
        if not isinstance(node, yaml.ScalarNode):
            self._say(node, f"'{name}' must be a text; put it in quotation marks")
            return ""
        return "" if node.tag == "tag:yaml.org,2002:null" else " ".join(node.value.split())

    def _list(self, node: yaml.Node, name: str) -> tuple[str, ...]:
        if isinstance(node, yaml.ScalarNode) and node.tag == "tag:yaml.org,2002:null":
            return ()
        if not isinstance(node, yaml.SequenceNode):
            self._say(node, f"'{name}' must be a list: [one, another], or a line with '- ' for each")
            return ()
        found = []
        for item in node.value:
            if text := self._text(item, name):
                found.append(text)
            elif isinstance(item, yaml.ScalarNode):
                self._say(item, f"'{name}' holds an empty text")
        return tuple(dict.fromkeys(found))

    def _say(self, node: yaml.Node, problem: str) -> None:
        self._problems.append(f"{self._path}:{node.start_mark.line + 1}: {problem}")


def _twice(path: Path, topics: list[tuple[int, Topic]]) -> Iterator[str]:
    for name in ("id", "name"):
        seen: dict[str, int] = {}
        for line, topic in topics:
            value = getattr(topic, name)
            if value in seen:
                yield f"{path}:{line}: {name} '{value}' is given twice, first in line {seen[value]}"
            seen.setdefault(value, line)


def write_topics(path: Path, topics: list[Topic]) -> None:
    """Write topics as ``read_topics`` reads them, without fields that are empty."""
    items = [
        {name: list(value) if isinstance(value, tuple) else value for name, value in vars(topic).items() if value}
        for topic in topics
    ]
    path.write_text(yaml.safe_dump(items, allow_unicode=True, sort_keys=False, width=120), "utf-8")
