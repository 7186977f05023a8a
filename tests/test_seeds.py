"""The five documents that the project was created from: read as seeds/expected.yaml says, and understood so by the model."""

from __future__ import annotations

from functools import cache

import pytest
import yaml
from conftest import DEFAULT, ROOT

from serving.analysis import analyse
from serving.document import Document
from serving.model import Model
from serving.reading import read
from serving.schema import Analysis, Options
from serving.settings import get_settings

SEEDS = ROOT / "seeds"
EXPECTED = yaml.safe_load((SEEDS / "expected.yaml").read_text("utf-8"))
each_seed = pytest.mark.parametrize("name", sorted(EXPECTED))


@cache
def document(name: str) -> Document:
    return read((SEEDS / name).read_bytes(), id=name)


def test_every_seed_has_its_expectations() -> None:
    assert sorted(EXPECTED) == sorted(path.name for path in SEEDS.glob("*.txt")) and len(EXPECTED) == 5


@each_seed
def test_reading(name: str) -> None:
    expected, found = EXPECTED[name], document(name)
    sentences = found.sentence_texts()
    assert found.title == expected["title"]
    assert (sentences[0], sentences[-1]) == (expected["first"], expected["last"])
    stated = (found.date, found.source, found.category, list(found.tags))
    assert stated == (expected["date"], expected["source"], expected["category"], expected["tags"])
    assert [text for text in expected["must_not_remain"] if text in found.text] == []
    assert [text for text in expected.get("must_remain", []) if text not in found.text] == []
    assert all(found.text[s.start : s.end] == text for s, text in zip(found.sentences, sentences))
    assert found.warnings and all(": " in warning for warning in found.warnings)


@each_seed
def test_reading_does_not_depend_on_encoding_or_line_ends(name: str) -> None:
    text = (SEEDS / name).read_text("utf-8")
    windows = ("\ufeff" + text.replace("\n", "\r\n")).encode("utf-8")
    for data in (windows, text.encode("gb18030"), text.encode("utf-16"), text):
        assert read(data).text == document(name).text


@cache
def analysis(name: str) -> Analysis:
    model = Model.load(DEFAULT)
    scores = model.score([document(name)], get_settings().max_batch_tokens)
    return analyse(document(name), scores[0], model, Options())


WANTED = [(name, topic) for name, expected in EXPECTED.items() for topic in expected["topics_must"]]


@pytest.mark.shipped
@pytest.mark.parametrize(("name", "topic"), WANTED)
def test_topic_comes_out(name: str, topic: str) -> None:
    assert topic in {found.id for found in analysis(name).topics or []}


@pytest.mark.shipped
@each_seed
def test_topics_that_must_not_come_out(name: str) -> None:
    assert not {found.id for found in analysis(name).topics or []} & set(EXPECTED[name]["topics_must_not"])


@pytest.mark.shipped
@each_seed
def test_evidence_and_summary(name: str) -> None:
    expected, result = EXPECTED[name], analysis(name)
    assert result.summary is not None and result.topics is not None
    assert any(text in result.summary.text for text in expected["summary_must_contain_any"])
    assert [text for text in expected["summary_must_not_contain"] if text in result.summary.text] == []
    body = document(name).text
    quotes = [*result.summary.sentences, *(evidence for topic in result.topics for evidence in topic.evidence)]
    assert all(body[quote.offset : quote.offset + quote.length] == quote.text for quote in quotes)
    assert all(topic.evidence for topic in result.topics)
