"""Which sentences make a summary, by how much a reader needs each."""

from __future__ import annotations

import numpy as np
import pytest

from serving import summary
from serving.summary import Rule, choose_sentences, sentence_budget

PLAIN = Rule(0.0, 0.0)
OVERLAP = Rule(0.0, 1.0, 1.0)


@pytest.mark.parametrize("characters, sentences", [
    (1, 1), (199, 1), (200, 2), (499, 2), (500, 3), (1499, 3), (1500, 5), (10**6, 5),
])
def test_budget_by_length(characters: int, sentences: int) -> None:
    assert sentence_budget(characters) == sentences


def test_max_chars_is_filled_exactly() -> None:
    sentences = ["甲乙丙丁。", "戊己庚辛。"]
    assert choose_sentences(sentences, np.array([0.9, 0.8]), 5, PLAIN, max_chars=11) == [0, 1]  # 5 + line end + 5
    assert choose_sentences(sentences, np.array([0.9, 0.8]), 5, PLAIN, max_chars=10) == [0]


def test_a_floor_leaves_out_what_carries_little_but_never_everything() -> None:
    sentences, relevance = ["甲说了一件事情。", "乙看见了它。", "丙走开。"], np.array([0.9, 0.3, 0.1])
    assert choose_sentences(sentences, relevance, 3, Rule(0.0, 0.2)) == [0, 1]
    assert choose_sentences(sentences, relevance, 3, Rule(0.0, 0.95)) == [0]


def test_redundancy_prefers_what_is_new() -> None:
    sentences = ["省医院开展基因筛查项目。", "市医院启动基因筛查工程。", "企业融资两亿元。"]
    relevance = np.array([0.9, 0.8, 0.7])
    assert choose_sentences(sentences, relevance, 2, PLAIN) == [0, 1]
    assert choose_sentences(sentences, relevance, 2, Rule(0.8, 0.0)) == [0, 2]


TOLD_TWICE = [
    "市医院今天宣布启动新生儿基因筛查项目。",
    "市医院启动的新生儿基因筛查项目覆盖全市。",
    "天气转晴。",
    "费用由财政承担五千万元。",
]


def test_what_several_relevant_sentences_say_is_most_likely_in_a_readers_summary() -> None:
    relevance = np.array([0.5, 0.45, 0.2, 0.55])
    assert choose_sentences(TOLD_TWICE, relevance, 1, PLAIN) == [3]
    assert choose_sentences(TOLD_TWICE, relevance, 1, OVERLAP) == [0]
    sure = np.array([0.5, 0.45, 0.2, 0.99])
    assert choose_sentences(TOLD_TWICE, sure, 1, OVERLAP) == [3]  # not where one sentence is the reader's almost surely


def test_by_overlap_a_sentence_is_added_while_it_says_more_than_it_costs() -> None:
    facts = ["全市医保基金支出下降三成。", "费用由财政承担五千万元。"]
    assert choose_sentences(facts, np.array([0.6, 0.6]), 2, OVERLAP) == [0, 1]
    assert choose_sentences(facts, np.array([0.9, 0.1]), 2, OVERLAP) == [0]
    assert choose_sentences(facts, np.array([0.9, 0.1]), 2, OVERLAP._replace(floor=0.0)) == [0, 1]
    assert choose_sentences([facts[0], facts[0]], np.array([0.9, 0.8]), 2, OVERLAP._replace(floor=0.0)) == [0]


def test_by_overlap_the_first_sentences_of_a_longer_summary_are_the_shorter_one() -> None:
    rng = np.random.default_rng(0)
    sentences = ["".join(chr(0x4E00 + i) for i in rng.integers(0, 300, rng.integers(5, 40))) + "。" for _ in range(60)]
    relevance, rule = rng.random(60), OVERLAP._replace(floor=0.0)
    longest = choose_sentences(sentences, relevance, 50, rule)
    assert len(set(longest)) == 50
    for count in (1, 2, 5, 20):
        assert choose_sentences(sentences, relevance, count, rule) == longest[:count]


@pytest.mark.parametrize("relevance", [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 0.5]])
@pytest.mark.parametrize("sharpness", [0.3, 10.0])
def test_by_overlap_whatever_the_texts_and_the_relevance(relevance: list[float], sharpness: float) -> None:
    for sentences in (["——", "！！", "？"], ["好。", "好。", "好。"], ["甲。", "——", "丙丁。"]):
        found = choose_sentences(sentences, np.float32(relevance), 3, Rule(0.0, 1.0, sharpness), max_chars=1)
        assert len(found) == 1
    assert choose_sentences([], np.zeros(0, np.float32), 3, Rule(0.0, 1.0, sharpness)) == []


@pytest.mark.parametrize("rule", [Rule(0.3, 0.0), OVERLAP])
def test_work_grows_with_the_sentences_not_their_square(rule: Rule, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten thousand sentences of which no second one qualifies."""
    calls = 0
    real = summary._overlap

    def counted(a: set[str], b: set[str]) -> float:
        nonlocal calls
        calls += 1
        return real(a, b)

    monkeypatch.setattr(summary, "_overlap", counted)
    relevance = np.linspace(0, 1, 10_000)
    different = [f"第{i}句是各不相同的。" for i in range(10_000)]
    assert len(choose_sentences(different, relevance, 20, rule, max_chars=5)) == 1
    assert choose_sentences(["同样的一句话。"] * 10_000, relevance, 20, rule) == [9_999]
    assert calls <= 20_000
