"""Sentences -> windows of tokens: what the model reads, for training and serving alike.

A window is ``<cls> title <sep> sentence sentence … <sep>``. Sentences are whole unless one alone is longer than a
window; then it is cut into pieces whose scores are averaged, so nothing is ever truncated.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from opencc import OpenCC
from tokenizers import Tokenizer

from serving.document import Document

TITLE = -1  # index of the title among a document's sentences


@lru_cache(maxsize=1)
def _simplifier() -> OpenCC:
    return OpenCC("t2s")


def normalise(text: str) -> str:
    """The model's view of a text: NFKC, traditional to simplified, white space folded."""
    return " ".join(_simplifier().convert(unicodedata.normalize("NFKC", text)).split())


@dataclass(frozen=True)
class WindowConfig:
    """Sizes in tokens, and the ids of the encoder's special tokens."""

    max_tokens: int
    max_title_tokens: int
    cls: int
    sep: int
    pad: int


@dataclass(frozen=True)
class Piece:
    """Tokens ``start:end`` of a window, which are (a part of) one sentence, or the title."""

    sentence: int
    start: int
    end: int


@dataclass(frozen=True)
class Window:
    """Token ids with special tokens, and the sentences among them."""

    token_ids: list[int]
    pieces: list[Piece]

    @property
    def sentences(self) -> list[int]:
        """Those of which it holds tokens, in order, without the title."""
        return sorted({piece.sentence for piece in self.pieces} - {TITLE})


def split_windows(document: Document, tokenizer: Tokenizer, config: WindowConfig) -> list[Window]:
    """Cut a document into windows at sentence ends; every token of every sentence is in exactly one window."""
    if tokenizer.truncation or tokenizer.padding:  # some encoders' tokenizer.json asks for them
        tokenizer.no_truncation()
        tokenizer.no_padding()
    texts = [normalise(text) for text in [document.title, *document.sentence_texts()]]
    encoded = [encoding.ids for encoding in tokenizer.encode_batch(texts, add_special_tokens=False)]
    # In a small window the title must leave room for the sentences.
    title, sentences = encoded[0][: min(config.max_title_tokens, config.max_tokens // 2 - 2)], encoded[1:]
    head = [config.cls, *title, config.sep] if title else [config.cls]
    title_pieces = [Piece(TITLE, 1, 1 + len(title))] if title else []
    room = config.max_tokens - len(head) - 1

    windows: list[Window] = []
    ids, pieces = list(head), list(title_pieces)
    for index, tokens in enumerate(sentences):
        for at in range(0, max(len(tokens), 1), room):
            part = tokens[at : at + room] or [config.sep]  # a sentence whose characters the tokenizer drops
            if len(ids) + len(part) + 1 > config.max_tokens:
                windows.append(Window([*ids, config.sep], pieces))
                ids, pieces = list(head), list(title_pieces)
            pieces.append(Piece(index, len(ids), len(ids) + len(part)))
            ids.extend(part)
    windows.append(Window([*ids, config.sep], pieces))
    return windows


class Tokens(NamedTuple):
    """All tokens of a document, int64 [N], and the row of each: 0 for the title, which is counted once, then the sentences."""

    ids: np.ndarray
    owners: np.ndarray


def document_tokens(windows: Sequence[Window]) -> Tokens:
    """The tokens of a document, from its windows."""
    tokens: list[int] = []
    owners: list[int] = []
    for number, window in enumerate(windows):
        for piece in window.pieces:
            if piece.sentence != TITLE or number == 0:
                part = window.token_ids[piece.start : piece.end]
                tokens.extend(part)
                owners.extend([piece.sentence - TITLE] * len(part))
    return Tokens(np.asarray(tokens, dtype=np.int64), np.asarray(owners, dtype=np.int64))


@dataclass(frozen=True)
class Batch:
    """Arrays of one forward pass over B windows of at most L tokens and P pieces.

    ``input_ids`` and ``attention_mask`` are int64 [B, L]; ``piece_mask`` is float32 [B, P, L], whose rows average a
    piece's tokens; ``features`` is float32 [B, P, F]. ``owners`` says for each real piece where it belongs:
    (row, column, document, sentence).
    """

    input_ids: np.ndarray
    attention_mask: np.ndarray
    piece_mask: np.ndarray
    features: np.ndarray
    owners: list[tuple[int, int, int, int]]


def _round_up(value: int, step: int) -> int:
    return -(-value // step) * step


def pad_tokens(windows: Sequence[Window], length: int, pad: int) -> tuple[np.ndarray, np.ndarray]:
    """Token ids and attention mask of windows: int64 [B, length] each."""
    input_ids = np.full((len(windows), length), pad, dtype=np.int64)
    attention_mask = np.zeros((len(windows), length), dtype=np.int64)
    for row, window in enumerate(windows):
        input_ids[row, : len(window.token_ids)] = window.token_ids
        attention_mask[row, : len(window.token_ids)] = 1
    return input_ids, attention_mask


def collate(windows: Sequence[tuple[int, Window]], features: Sequence[np.ndarray], pad: int, step: int = 1) -> Batch:
    """Pad (document, window) pairs to one batch; sizes are rounded up to ``step`` so that few shapes occur."""
    length = _round_up(max(len(window.token_ids) for _, window in windows), step)
    width = _round_up(max(max(len(window.pieces) for _, window in windows), 1), max(step // 8, 1))
    input_ids, attention_mask = pad_tokens([window for _, window in windows], length, pad)
    piece_mask = np.zeros((len(windows), width, length), dtype=np.float32)
    piece_features = np.zeros((len(windows), width, features[0].shape[1]), dtype=np.float32)
    owners = []
    for row, (document, window) in enumerate(windows):
        for column, piece in enumerate(window.pieces):
            piece_mask[row, column, piece.start : piece.end] = 1 / (piece.end - piece.start)
            piece_features[row, column] = features[document][piece.sentence + 1]
            owners.append((row, column, document, piece.sentence))
    return Batch(input_ids, attention_mask, piece_mask, piece_features, owners)


def plan_batches(windows: Sequence[Window], max_tokens: int) -> Iterator[list[int]]:
    """Indices of windows grouped by length, each group at most ``max_tokens`` padded tokens (at least one window)."""
    order = sorted(range(len(windows)), key=lambda i: len(windows[i].token_ids))
    group: list[int] = []
    for index in order:
        if group and (len(group) + 1) * len(windows[index].token_ids) > max_tokens:
            yield group
            group = []
        group.append(index)
    if group:
        yield group
