"""What tells a key sentence apart beside its meaning."""

from __future__ import annotations

import numpy as np
import pytest
from conftest import ROOT
from tokenizers import Tokenizer

from serving.document import Document
from serving.features import FEATURES, sentence_features
from serving.windows import WindowConfig, document_tokens, split_windows

CONFIG = WindowConfig(max_tokens=64, max_title_tokens=16, cls=0, sep=2, pad=1)


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(ROOT / "models" / "encoder" / "tokenizer.json"))


def features(tokenizer: Tokenizer, text: str, title: str = "") -> list[dict[str, float]]:
    document = Document(text, title=title)
    rows = sentence_features(document, document_tokens(split_windows(document, tokenizer, CONFIG)))
    assert rows.shape == (1 + len(document.sentences), len(FEATURES)) and rows.dtype == np.float32
    assert np.isfinite(rows).all() and rows.min() >= 0 and rows.max() < 5
    return [dict(zip(FEATURES, row.tolist())) for row in rows]


def test_place_and_length(tokenizer: Tokenizer) -> None:
    rows = features(tokenizer, "第一句。\n第二句长一些。\n第三句。", title="标题")
    assert [row["is_title"] for row in rows] == [1, 0, 0, 0] and [row["is_first"] for row in rows] == [0, 1, 0, 0]
    assert [row["relative_position"] for row in rows[1:]] == [0, 0.5, 1]
    assert rows[1]["reciprocal_position"] == 1 and rows[2]["log_length"] > rows[1]["log_length"]
    assert rows[2]["relative_length"] > rows[1]["relative_length"]
    more = features(tokenizer, "第一句。第二句。第三句。第四句。第五句。")
    assert more[1]["log_count"] > rows[1]["log_count"]


def test_what_a_sentence_shares_with_the_title_and_with_the_others(tokenizer: Tokenizer) -> None:
    _, first, second, third = features(
        tokenizer, "医院开展基因检测。医院的基因检测价格下降。昨天天气晴朗。", title="基因检测价格下降"
    )
    assert second["title_recall"] > first["title_recall"] > third["title_recall"]
    assert second["title_precision"] > first["title_precision"] > third["title_precision"]
    assert first["centrality"] > third["centrality"]
    assert first["top_centrality"] > third["top_centrality"]


def test_a_title_is_counted_once_however_many_windows_repeat_it(tokenizer: Tokenizer) -> None:
    short = features(tokenizer, "基因检测。天气晴朗。", title="基因检测")
    long = features(tokenizer, "基因检测。天气晴朗。" + "风和日丽的一天过去了。" * 60, title="基因检测")
    assert short[1]["title_recall"] == long[1]["title_recall"] and short[1]["title_precision"] == long[1]["title_precision"]


def test_figures_quotations_and_ends(tokenizer: Tokenizer) -> None:
    _, first, second, third = features(tokenizer, "全年检测 12345 人次。他说：“很好。”\n未完的一行")
    assert first["digits"] > 0 == second["digits"]
    assert second["quotation"] == 1 and first["quotation"] == 0
    assert first["whole"] == 1 and third["whole"] == 0


@pytest.mark.parametrize("text", ["一句。", "\u200d\n。", "…" * 50, "A" * 3000])
def test_odd_documents(text: str, tokenizer: Tokenizer) -> None:
    features(tokenizer, text)
