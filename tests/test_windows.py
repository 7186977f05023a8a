"""Windows: every token of every sentence in exactly one of them, whatever the document looks like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from serving.document import Document
from serving.windows import (
    TITLE,
    Piece,
    Window,
    WindowConfig,
    collate,
    normalise,
    plan_batches,
    split_windows,
)

CONFIG = WindowConfig(max_tokens=64, max_title_tokens=16, cls=2, sep=3, pad=0)
DOCUMENTS = {
    "short": Document("基因筛查。"),
    "several": Document("".join(f"第{i}条基因检测。" for i in range(40)), title="筛查"),
    "no end": Document("股权融资" * 2000, title="融资"),
    "long between short": Document("基因。" + "染色体" * 100 + "。\n采血。", title="检测"),
    "long title": Document("第1条。第2条。", title="基因筛查" * 100),
    "tokenises to nothing": Document("①\n\u2460\u2461\n基因。\n٪a\u0301", title="\u200d"),
    "unknown characters": Document("𠮷𠮷𠮷。zzz\nabc。"),
    "exactly one window": Document("基" * (64 - 2)),
    "one more": Document("基" * (64 - 1)),
}


@pytest.fixture(scope="module")
def tokenizer(tiny_encoder: Path) -> Tokenizer:
    return Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))


@pytest.mark.parametrize("name", DOCUMENTS)
@pytest.mark.parametrize("size", [32, 64, 512])
def test_nothing_is_truncated(tokenizer: Tokenizer, name: str, size: int) -> None:
    document = DOCUMENTS[name]
    config = WindowConfig(size, CONFIG.max_title_tokens, CONFIG.cls, CONFIG.sep, CONFIG.pad)
    windows = split_windows(document, tokenizer, config)
    found: dict[int, list[int]] = {i: [] for i in range(len(document.sentences))}
    for window in windows:
        assert len(window.token_ids) <= size
        assert window.token_ids[0] == CONFIG.cls and window.token_ids[-1] == CONFIG.sep
        own = [piece for piece in window.pieces if piece.sentence != TITLE]
        assert own, "a window without a sentence"
        assert all(a.end == b.start for a, b in zip(own, own[1:])) and own[-1].end == len(window.token_ids) - 1
        for piece in own:
            assert piece.end > piece.start
            found[piece.sentence] += window.token_ids[piece.start : piece.end]
    for i, text in enumerate(document.sentence_texts()):
        tokens = tokenizer.encode(normalise(text), add_special_tokens=False).ids
        assert found[i] == (tokens or [CONFIG.sep])
    order = [piece.sentence for window in windows for piece in window.pieces if piece.sentence != TITLE]
    assert order == sorted(order)


def test_only_a_sentence_longer_than_a_window_is_cut(tokenizer: Tokenizer) -> None:
    windows = split_windows(DOCUMENTS["long between short"], tokenizer, CONFIG)
    pieces = [piece.sentence for window in windows for piece in window.pieces if piece.sentence != TITLE]
    assert pieces.count(0) == pieces.count(2) == 1 and pieces.count(1) > 1
    several = split_windows(DOCUMENTS["several"], tokenizer, CONFIG)
    assert sum(piece.sentence != TITLE for window in several for piece in window.pieces) == 40


def test_title_stands_before_every_window_and_leaves_room(tokenizer: Tokenizer) -> None:
    for window in split_windows(DOCUMENTS["long title"], tokenizer, CONFIG):
        assert window.pieces[0] == Piece(TITLE, 1, 17) and window.token_ids[17] == CONFIG.sep
    narrow = WindowConfig(32, 48, CONFIG.cls, CONFIG.sep, CONFIG.pad)
    for window in split_windows(DOCUMENTS["long title"], tokenizer, narrow):
        assert window.pieces[0].end <= 16 and len(window.pieces) > 1


def test_a_tokenizer_that_truncates_and_pads_is_told_not_to(tiny_encoder: Path, tokenizer: Tokenizer) -> None:
    other = Tokenizer.from_file(str(tiny_encoder / "tokenizer.json"))
    other.enable_truncation(8)
    other.enable_padding(length=100)
    for document in DOCUMENTS.values():
        assert split_windows(document, other, CONFIG) == split_windows(document, tokenizer, CONFIG)


def test_normalise() -> None:
    assert normalise("國家衛生　ＡＢＣ１２\n ①") == normalise("国家卫生 ABC12 1")
    assert normalise("三\u3000月\t") == "三 月"


def test_collate_averages_each_piece(tokenizer: Tokenizer) -> None:
    documents = [DOCUMENTS["several"], DOCUMENTS["short"]]
    windows = [(i, window) for i, document in enumerate(documents) for window in split_windows(document, tokenizer, CONFIG)]
    features = [np.random.default_rng(i).random((1 + len(document.sentences), 3)) for i, document in enumerate(documents)]
    batch = collate(windows, features, CONFIG.pad, step=32)
    assert batch.input_ids.shape == batch.attention_mask.shape and batch.input_ids.shape[1] % 32 == 0
    for row, (_, window) in enumerate(windows):
        size = len(window.token_ids)
        assert batch.input_ids[row, :size].tolist() == window.token_ids and not batch.input_ids[row, size:].any()
        assert batch.attention_mask[row].tolist() == [1] * size + [0] * (batch.input_ids.shape[1] - size)
    assert len(batch.owners) == sum(len(window.pieces) for _, window in windows)
    used = np.zeros(batch.piece_mask.shape[:2], dtype=bool)
    for row, column, document, sentence in batch.owners:
        used[row, column] = True
        piece = windows[row][1].pieces[column]
        assert windows[row][0] == document and piece.sentence == sentence
        assert np.flatnonzero(batch.piece_mask[row, column]).tolist() == list(range(piece.start, piece.end))
        assert np.allclose(batch.features[row, column], features[document][sentence + 1])
    assert np.allclose(batch.piece_mask.sum(-1), used)


@pytest.mark.parametrize("budget", [1, 100, 300, 10_000])
def test_batches_hold_each_window_once_within_the_budget(budget: int) -> None:
    windows = [Window([0] * length, []) for length in (5, 64, 7, 64, 30, 1, 200, 64, 2)]
    groups = list(plan_batches(windows, budget))
    assert sorted(i for group in groups for i in group) == list(range(len(windows)))
    for group in groups:
        assert len(group) == 1 or len(group) * max(len(windows[i].token_ids) for i in group) <= budget
    assert list(plan_batches([], budget)) == []
