"""Topics, evidence and summaries from given scores, under every option."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from serving.analysis import UnknownTopicError, analyse, check_options
from serving.document import Document
from serving.model import Scores, TopicInfo
from serving.schema import Options
from serving.summary import Rule

SENTENCES = ["医院开展基因筛查。", "孕妇可以免费检测𠮷。", "公司完成新一轮融资！", "天气晴朗。", "医院开展了基因筛查。"]
TEXT = "\n".join(SENTENCES)
SALIENCE = [0.9, 0.5, 0.7, 0.1, 0.89]
PLAIN = Rule(0.0, 0.0)
EVIDENCE = [[0.9, 0.1, 0.1], [0.85, 0.2, 0.1], [0.1, 0.6, 0.3], [0.0, 0.0, 0.1], [0.4, 0.1, 0.1]]


def model(**changes: Any) -> Any:
    topics = [TopicInfo("a", "甲", "", 0.5), TopicInfo("b", "乙", "", 0.4), TopicInfo("c", "丙", "", 0.5)]
    return SimpleNamespace(**{"topics": topics, "single_label": False, "rule": PLAIN, "name": "m@1", **changes})


def run(
    topics: tuple[float, ...] = (0.7, 0.45, 0.3), document: Document | None = None, single_label: bool = False,
    floor: float = 0.0, **options: Any,
) -> Any:
    document = document or Document(TEXT, title="标题", id="x", warnings=("tags_removed: 1",))
    count = len(document.sentences)
    scores = Scores(np.float32(topics), np.float32((EVIDENCE * count)[:count]), np.float32((SALIENCE * count)[:count]))
    return analyse(document, scores, model(single_label=single_label, rule=Rule(0.0, floor)), Options(**options))


def ids(**options: Any) -> list[str]:
    return [topic.id for topic in run(**options).topics]


def test_topics_pass_their_own_thresholds_the_best_first() -> None:
    assert ids() == ["a", "b"]
    assert ids(topics=(0.45, 0.9, 0.5)) == ["b", "c"]  # a threshold is passed by reaching it
    assert ids(topics=(0.1, 0.1, 0.1)) == []


@pytest.mark.parametrize("options, expected", [
    ({"threshold": 0.0}, ["a", "b", "c"]), ({"threshold": 0.6}, ["a"]), ({"threshold": 1.0}, []),
    ({"top_k": 1}, ["a"]), ({"top_k": 9}, ["a", "b"]), ({"threshold": 0.0, "top_k": 2}, ["a", "b"]),
    ({"threshold": 0.99, "at_least_one": True}, ["a"]), ({"at_least_one": True}, ["a", "b"]),
])
def test_options_of_topics(options: dict, expected: list[str]) -> None:
    assert ids(**options) == expected


def test_only_the_topics_asked_for() -> None:
    document = Document(TEXT)
    scores = Scores(np.float32([0.7, 0.45, 0.3]), np.float32(EVIDENCE), np.float32(SALIENCE))

    def only(*topics: str, **options: Any) -> list[str]:
        return [t.id for t in analyse(document, scores, model(), Options(topics=list(topics), **options)).topics]

    assert only("b", "c") == ["b"] and only("c") == [] and only("c", at_least_one=True) == ["c"]


def test_single_label_gives_the_best_unless_a_threshold_is_asked_for() -> None:
    assert ids(topics=(0.2, 0.45, 0.35), single_label=True) == ["b"]
    assert ids(topics=(0.2, 0.45, 0.35), single_label=True, threshold=0.6) == []
    assert ids(topics=(0.2, 0.45, 0.35), single_label=True, threshold=0.6, at_least_one=True) == ["b"]
    assert ids(topics=(0.2, 0.45, 0.35), single_label=True, threshold=0.0, top_k=2) == ["b", "c"]


def test_unknown_topics_are_named_with_those_there_are() -> None:
    for options in (Options(topics=["a", "x"]), Options(focus="x")):
        with pytest.raises(UnknownTopicError, match="unknown topic 'x'.*a, b, c"):
            check_options(options, model())
    with pytest.raises(UnknownTopicError, match="unknown topic ''"):
        check_options(Options(focus=""), model())
    check_options(Options(topics=["a"], focus="b"), model())


def test_quotations_are_exact_and_say_where_they_stand() -> None:
    analysis = run(include_text=True, threshold=0.0)
    quotes = [*analysis.summary.sentences, *(e for topic in analysis.topics for e in topic.evidence)]
    assert analysis.text == TEXT and len(quotes) >= 4
    for quote in quotes:
        assert TEXT[quote.offset : quote.offset + quote.length] == quote.text in SENTENCES
    assert (analysis.id, analysis.title, analysis.model, analysis.warnings) == ("x", "标题", "m@1", ["tags_removed: 1"])
    assert "text" not in run().model_dump() and run().text is None


def test_evidence_is_the_best_sentence_and_those_near_it() -> None:
    first, second, third = run(threshold=0.0).topics
    assert [e.text for e in first.evidence] == SENTENCES[:2] and first.evidence[0].score == 0.9
    assert [e.text for e in second.evidence] == [SENTENCES[2]]
    assert [e.text for e in third.evidence] == [SENTENCES[2]]  # never none, however low


def test_of_sentences_that_prove_a_topic_alike_the_salient_one_comes_first() -> None:
    def first(evidence: list[float], salience: list[float]) -> tuple[str, float]:
        scores = Scores(np.float32([0.9, 0.1, 0.1]), np.float32([[e, 0, 0] for e in evidence]), np.float32(salience))
        found = analyse(Document("\n".join(SENTENCES[:2])), scores, model(), Options()).topics[0].evidence[0]
        return found.text, found.score

    assert first([0.81, 0.8], [0.1, 0.9]) == (SENTENCES[1], 0.8)
    assert first([0.95, 0.5], [0.3, 0.9]) == (SENTENCES[0], 0.95)
    assert first([1.0, 1.0], [0.2, 0.3]) == (SENTENCES[1], 1.0)


@pytest.mark.parametrize("characters, sentences", [(150, 1), (300, 2), (1000, 3), (3000, 5)])
def test_summary_keeps_the_budget(characters: int, sentences: int) -> None:
    han = [chr(0x4E00 + i) for i in range(4 * (characters // 6))]
    document = Document("".join("".join(han[i : i + 4]) + "。\n" for i in range(0, len(han), 4)))
    assert len(run(document=document).summary.sentences) == sentences
    assert len(run(document=document, max_sentences=4).summary.sentences) == 4


def test_order_of_the_summary() -> None:
    by_place = run(max_sentences=3)
    assert [s.text for s in by_place.summary.sentences] == SENTENCES[:3]
    by_rank = run(max_sentences=3, order="rank").summary
    assert [s.text for s in by_rank.sentences] == [SENTENCES[0], SENTENCES[2], SENTENCES[1]]
    assert by_rank.text == "\n".join(s.text for s in by_rank.sentences)
    ranks = [s.rank_score for s in by_rank.sentences]
    assert ranks == sorted(ranks, reverse=True) and ranks[0] == 0.9


def test_focus() -> None:
    (sentence,) = run(max_sentences=1, focus="b").summary.sentences
    assert sentence.text == SENTENCES[2] and sentence.rank_score == pytest.approx((0.7 * 0.6) ** 0.5, abs=1e-4)


def test_a_sentence_is_not_repeated() -> None:
    texts = [s.text for s in run(max_sentences=20).summary.sentences]
    assert texts == SENTENCES[:4]  # the fifth says what the first says
    for text in ("好。\n好。\n好。", "医院开展基因筛查。\n醫院開展基因篩查。", "A！\nＡ！", "__\n__"):
        assert len(run(document=Document(text), max_sentences=20).summary.sentences) == 1


@pytest.mark.parametrize("max_chars, kept", [
    (1, [0]), (9, [0]), (14, [0]), (15, [0, 3]), (19, [0, 3]), (20, [0, 2]), (25, [0, 2]), (26, [0, 2, 3]), (30, [0, 2, 3]),
    (31, [0, 1, 2]), (36, [0, 1, 2]), (37, [0, 1, 2, 3]), (1000, [0, 1, 2, 3]),
])
def test_max_chars_counts_the_text_and_never_empties_it(max_chars: int, kept: list[int]) -> None:
    summary = run(max_chars=max_chars, max_sentences=20, document=Document("\n".join(SENTENCES[:4]))).summary
    assert summary.text == "\n".join(SENTENCES[i] for i in kept)
    assert len(summary.text) <= max(max_chars, len(SENTENCES[0]))


@pytest.mark.parametrize(
    ("options", "count"), [({}, 2), ({"max_sentences": 3}, 3), ({"max_chars": 40}, 3), ({"focus": "a"}, 3)]
)
def test_the_models_floor_holds_unless_the_request_states_a_length_or_a_focus(options: dict, count: int) -> None:
    document = Document("\n".join(SENTENCES[:4]) + "\n" + "此后天气转晴，风力减弱。" * 50)
    assert len(run(document=document, floor=0.75, **options).summary.sentences) == count


def test_parts_left_out() -> None:
    document = Document(TEXT)
    scores = Scores(np.float32([0.7, 0.4, 0.3]), np.float32(EVIDENCE), np.float32(SALIENCE))
    assert "summary" not in analyse(document, scores, model(), Options(), summary=False).model_dump()
    assert "topics" not in analyse(document, scores, model(), Options(), topics=False).model_dump()


@pytest.mark.parametrize("focus", [None, "b"])
def test_the_ranks_of_sentences_are_the_summaries_of_every_length(focus: str | None) -> None:
    ranked = run(include_sentences=True, focus=focus).sentences
    assert [TEXT[s.offset : s.offset + s.length] for s in ranked] == SENTENCES
    for count in range(1, len(SENTENCES) + 1):
        summary = run(max_sentences=count, focus=focus).summary
        assert [s.offset for s in ranked if s.rank and s.rank <= count] == [s.offset for s in summary.sentences]
        scores = {s.offset: s.rank_score for s in ranked}
        assert all(scores[s.offset] == s.rank_score for s in summary.sentences)
    assert ranked[4].rank is None or ranked[0].rank is None  # they say the same
    assert run().sentences is None and run().removed is None
