"""Marked evidence tells which part of a document a topic is about, to the lexicon, to linear heads and to pairs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rows

from training import contrastive
from training.data import Row
from training.devices import make_accelerator
from training.encoder import load_encoder, window_config
from training.examples import Example, make_examples
from training.heads import fit_topics
from training.lexicon import fit_lexicon, lexical_logits
from training.proofs import proof_weights, proof_windows
from training.vectors import Body, Vectors

TOPICS = ["finance", "screening"]


@pytest.fixture(scope="module")
def both(tiny_encoder: Path) -> list[Example]:
    """Documents that have both topics, one after the other, or none: their labels can't tell which words are of which."""
    kinds: dict[str, list[str]] = {"finance": [], "screening": [], "none": []}
    for row in make_rows(120, seed=5):
        kinds[(row["topics"] or ["none"])[0]].append(row["text"])
    rows = [
        Row(first + second, ("finance", "screening"), None, None, "", str(i), f"both {i}",
            (("finance", (first[: first.index("。") + 1],)), ("screening", (second[: second.index("。") + 1],))))
        for i, (first, second) in enumerate(zip(kinds["finance"], kinds["screening"]))
    ]
    rows += [Row(text * 2, (), None, None, "", text, f"none {i}") for i, text in enumerate(kinds["none"])]
    return _examples(rows, tiny_encoder)


@pytest.fixture(scope="module")
def one(tiny_encoder: Path) -> list[Example]:
    """Documents of one topic."""
    rows = [Row(r["text"], tuple(r["topics"]), None, None, "", r["id"], r["id"]) for r in make_rows(60, seed=6) if r["topics"]]
    return _examples(rows, tiny_encoder)


def _examples(rows: list[Row], encoder: Path) -> list[Example]:
    _, tokenizer, _ = load_encoder(str(encoder))
    return make_examples(rows, TOPICS, tokenizer.backend_tokenizer, window_config(tokenizer, 48, 8))


def _bare(examples: list[Example]) -> list[Example]:
    return [replace(example, evidence=None) for example in examples]


def test_a_window_has_the_topics_that_it_proves(both: list[Example]) -> None:
    parts = proof_windows(both[0])
    assert len(both[0].windows) > 1 and all(len(part.windows) == 1 and part.windows[0] in both[0].windows for part in parts)
    assert np.stack([part.topics for part in parts]).sum(axis=0).tolist() == [1, 1], "each topic has one marked sentence"
    marked = both[0].evidence.copy()
    marked[:, 1] = 0
    assert proof_windows(replace(both[0], evidence=marked)) == [], "a topic without a mark might be in any window"
    assert proof_windows(_bare(both)[0]) == [] and proof_windows(replace(both[0], topics=None)) == []
    assert proof_windows(both[-1]) == [], "a document without topics proves none"


def test_the_marks_of_a_topic_share_its_weight(both: list[Example]) -> None:
    vectors = [Vectors(np.zeros((1 + len(example.document.sentences), 4), np.float32), 1) for example in both]
    heavy = [replace(both[0], weight=0.3, evidence=np.ones_like(both[0].evidence)), *both[1:]]
    weights = proof_weights(heavy, vectors)
    rows = len(vectors[0].rows)
    np.testing.assert_allclose(weights[:rows].sum(axis=0), 0.3, rtol=1e-5)
    assert not weights[0].any() and (weights[1:rows] > 0).all(), "the title is no sentence"
    assert weights.sum() == pytest.approx(2 * (sum(e.topics.any() for e in both) - 1) + 0.6, rel=1e-4)
    assert proof_weights(_bare(both), vectors) is None


def test_words_are_told_apart_by_marked_windows(both: list[Example], one: list[Example]) -> None:
    truth = np.stack([example.topics for example in one]).astype(bool)

    def right(learned: list[Example]) -> float:
        logits = np.stack(lexical_logits(fit_lexicon(learned, 200, 2), one))
        return float((logits.argmax(1) == truth.argmax(1)).mean())

    assert right(_bare(both)) < 0.8 and right(both) == 1.0


def test_linear_heads_are_told_apart_by_marked_sentences(both: list[Example], one: list[Example], tiny_encoder: Path) -> None:
    encoder, tokenizer, _ = load_encoder(str(tiny_encoder))
    body = Body(encoder, 0, tokenizer.pad_token_id, make_accelerator("cpu"))
    known, others = body.vectors(both), body.vectors(one)
    truth = np.stack([example.topics for example in one]).argmax(1)

    def right(learned: list[Example], single: bool = False) -> float:
        weight, bias = fit_topics(learned, known, 0.1, single, 2)
        logits = torch.stack([(torch.from_numpy(v.rows) @ weight.T + bias).amax(0) for v in others])
        return float((logits.argmax(1).numpy() == truth).mean())

    assert right(both) > 0.9 > right(_bare(both))


def test_pairs_are_made_of_marked_windows(both: list[Example], tiny_encoder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, tokenizer, _ = load_encoder(str(tiny_encoder))
    body = Body(encoder, 0, tokenizer.pad_token_id, make_accelerator("cpu"))
    seen: list[tuple[float, ...]] = []
    loss = contrastive._loss
    monkeypatch.setattr(contrastive, "_loss", lambda v, batch: seen.extend(tuple(e.topics) for e in batch) or loss(v, batch))
    contrastive.tune(body, both, 0)
    assert {(1, 0), (0, 1)} <= set(seen)
    seen.clear()
    contrastive.tune(body, _bare(both), 0)
    assert set(seen) == {(1, 1)}
