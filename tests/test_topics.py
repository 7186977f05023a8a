"""The topics file: what it may hold, and all that is wrong in it said at once, with lines."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from conftest import ROOT

from training import start, suggest
from training.errors import DataError
from training.topics import Topic, read_topics, write_topics


def problems(path: Path, text: str) -> list[str]:
    path.write_text(text, "utf-8")
    with pytest.raises(DataError) as raised:
        read_topics(path)
    return [problem.removeprefix(f"{path}:") for problem in raised.value.problems]


def test_all_fields_there_and_back(tmp_path: Path) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text(
        "- id: 2024\n  name: 住房\n  description: 住房保障，\n    和楼市。\n  keywords: [公积金, 房价, 公积金]\n"
        "  must_not:\n  - 客房\n"
        "  examples: [租房补贴在手机上申请。]\n- {id: no, name: null, keywords: null}\n", "utf-8",
    )
    first = Topic("2024", "住房", "住房保障， 和楼市。", ("公积金", "房价"), ("客房",), ("租房补贴在手机上申请。",))
    assert read_topics(file) == [first, Topic("no", "no")]
    write_topics(file, [first, Topic("b", "b")])
    assert read_topics(file) == [first, Topic("b", "b")]


def test_everything_wrong_is_said_with_its_line(tmp_path: Path) -> None:
    assert problems(tmp_path / "topics.yaml", """\
- id: a
  name: 甲
  keyword: [一]
- name: 乙
- id: a
  name: 丙
  keywords: 三
  must_not: [四, '']
- 五
- id: d
  name: 甲
  keywords: [六]
  must_not: [六]
  colour: red
- {id: e, name: [七], id: f}
- {id: g, name: 甲}
- {id: g, name: 八}
- {id: h, name: 甲}
""") == [
        "3: unknown field 'keyword': did you mean 'keywords'?",
        "4: a topic has no 'id'",
        "7: 'keywords' must be a list: [one, another], or a line with '- ' for each",
        "8: 'must_not' holds an empty text",
        "9: a topic must have fields: id, name, description …",
        "14: unknown field 'colour': a topic has id, name, description, keywords, must_not, examples",
        "10: '六' is both in 'keywords' and in 'must_not'",
        "15: 'name' must be a text; put it in quotation marks",
        "15: 'id' is given twice",
        "17: id 'g' is given twice, first in line 16",
        "18: name '甲' is given twice, first in line 16",
    ]
    assert problems(tmp_path / "topics.yaml", "- id: a\n  name: 甲\n name: 乙\n")[0].startswith("3: not YAML: ")
    assert "not a list of topics" in problems(tmp_path / "topics.yaml", "id: a\n")[0]


def test_the_topics_of_the_model_that_ships_are_such_a_file() -> None:
    assert len(read_topics(ROOT / "training" / "data" / "topics.yaml")) == 17


def test_the_guide_shows_the_file_that_it_uses_and_every_option() -> None:
    text = (ROOT / "docs" / "own-topics.md").read_text("utf-8")
    block = re.search(r"<!-- file:docs/own-topics.yaml -->\n```yaml\n(.*?)```", text, re.DOTALL)
    assert block and block[1] == (ROOT / "docs" / "own-topics.yaml").read_text("utf-8")
    assert len(read_topics(ROOT / "docs" / "own-topics.yaml")) == 4
    for command in (start, suggest):
        table = text.split(f"<!-- options:{command.__name__} -->\n")[1].split("\n\n")[0]
        options = [parameter.opts[0] for parameter in command.main.params if parameter.opts[0].startswith("--")]
        assert sorted(re.findall(r"^\| `(--[a-z-]+)`", table, re.MULTILINE)) == sorted(options)
