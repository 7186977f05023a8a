"""ROUGE on characters by hand, and the greedy oracle."""

from __future__ import annotations

import pytest

from training.rouge import CharacterTokenizer, greedy_oracle, rouge, rouge_1_2


def test_characters_one_by_one_words_whole() -> None:
    assert CharacterTokenizer().tokenize("NIPT筛查，3.5亿_元") == ["nipt", "筛", "查", "3", "5", "亿", "元"]


def test_rouge_by_hand() -> None:
    found = rouge("甲乙丙丁", "甲丙丁")
    assert found["rouge1"] == pytest.approx(2 * 3 / 7)
    assert found["rouge2"] == pytest.approx(2 * 1 / 5)
    assert found["rougeL"] == pytest.approx(2 * 3 / 7)
    assert rouge("甲", "乙") == {"rouge1": 0, "rouge2": 0, "rougeL": 0}


def test_what_is_tuned_for_is_the_mean_of_two_of_the_measures() -> None:
    for pair in (("甲乙丙丁", "甲丙丁"), ("医院启动筛查", "启动筛查的医院"), ("甲", "乙"), ("甲", "")):
        found = rouge(*pair)
        assert rouge_1_2(*pair) == pytest.approx((found["rouge1"] + found["rouge2"]) / 2)


def test_the_oracle_takes_what_covers_the_reference() -> None:
    sentences = ["今天天气很好。", "医院启动筛查。", "费用由政府承担。", "医院启动筛查。"]
    assert greedy_oracle(sentences, "政府承担费用，医院启动筛查", 3) == [1, 2]
    assert greedy_oracle(sentences, "政府承担费用，医院启动筛查", 1) == [1]
    assert greedy_oracle(sentences, "无关", 3) == []
    assert greedy_oracle([], "医院", 3) == []
