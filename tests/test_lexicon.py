"""The lexicon gives scikit-learn's own scores, for a document and for each sentence, and helps the shipped kind of model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import make_rows
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.svm import LinearSVC

from serving.lexicon import PAIRS, Lexicon, terms
from serving.windows import Piece, Window, document_tokens
from training.data import Row
from training.encoder import load_encoder, window_config
from training.examples import Example, make_examples
from training.lexicon import fit_lexicon, lexical_logits

TOPICS = ("finance", "screening")


@pytest.fixture(scope="module")
def examples(tiny_encoder: Path) -> list[Example]:
    _, tokenizer, _ = load_encoder(str(tiny_encoder))
    rows = [Row(r["text"] * 3, tuple(r["topics"]), None, None, r["title"], r["id"], r["id"]) for r in make_rows(80, seed=3)]
    return make_examples(rows, TOPICS, tokenizer.backend_tokenizer, window_config(tokenizer, 64, 8))


def test_a_documents_tokens_are_each_sentences_and_the_title_once() -> None:
    windows = [
        Window([1, 7, 2, 5, 5, 6, 2], [Piece(-1, 1, 2), Piece(0, 3, 5), Piece(1, 5, 6)]),
        Window([1, 7, 2, 8, 9, 2], [Piece(-1, 1, 2), Piece(1, 3, 4), Piece(2, 4, 5)]),
    ]
    tokens, owners = document_tokens(windows)
    assert tokens.tolist() == [7, 5, 5, 6, 8, 9] and owners.tolist() == [0, 1, 1, 2, 2, 3]


def test_pairs_are_of_neighbours_within_a_sentence() -> None:
    window = Window([1, 7, 2, 5, 5, 60, 6, 2], [Piece(-1, 1, 2), Piece(0, 3, 6), Piece(1, 6, 7)])
    rows, owners = terms(document_tokens([window]), 50)
    assert rows[:4].tolist() == [7, 5, 5, 6] and owners[:4].tolist() == [0, 1, 1, 2]
    assert len(rows) == 5 and 50 <= rows[4] < 50 + PAIRS and owners[4] == 1  # 5 5; 60 is unknown
    assert (rows[4] == terms(document_tokens([Window([5, 5], [Piece(0, 0, 2)])]), 50)[0][2]).all()


def test_scores_are_those_of_scikit_learn(examples: list[Example]) -> None:
    table, bias = fit_lexicon(examples, 120, 2)
    words = [terms(document_tokens(example.windows), 120)[0].tolist() for example in examples]
    vectorizer = TfidfVectorizer(analyzer=lambda tokens: tokens, sublinear_tf=True, min_df=2)
    features = vectorizer.fit_transform(words)
    truth = np.stack([example.topics for example in examples])
    found = np.stack(lexical_logits((table, bias), examples))
    for topic in range(2):
        machine = LinearSVC(C=2.0, random_state=0).fit(features, truth[:, topic])
        assert np.allclose(found[:, topic], machine.decision_function(features), atol=0.05)
    assert ((found > 0) == truth).mean() > 0.95


def test_a_sentence_is_scored_like_a_document_of_its_own_by_its_length(examples: list[Example], tiny_encoder: Path) -> None:
    lexicon = Lexicon(*fit_lexicon(examples, 120, 2))
    _, tokenizer, _ = load_encoder(str(tiny_encoder))
    config = window_config(tokenizer, 64, 8)
    sentences = ["基因筛查孕妇检测" * 10 + "。", "今天天气比赛。", "股权融资上市。"]
    texts = ["".join(sentences) * 9, *sentences]
    rows = [Row(text, None, None, None, "", "", str(i)) for i, text in enumerate(texts)]
    whole, *alone = make_examples(rows, TOPICS, tokenizer.backend_tokenizer, config)
    document, found = lexicon.score(document_tokens(whole.windows), 27)
    assert document.shape == (2,) and found.shape == (27, 2) and len(whole.windows) > 2
    bias = lexicon.score(document_tokens([Window([0, 0], [])]), 0)[0]
    for index, (example, share) in enumerate(zip(alone, (1, 7 / 56, 7 / 56))):
        expected = (lexicon.score(document_tokens(example.windows), 1)[0] - bias) * share + bias
        assert np.allclose(found[index], expected, atol=1e-5)
    assert found[0].argmax() == 1 and found[2].argmax() == 0


def test_unknown_and_missing_tokens_leave_the_bias() -> None:
    lexicon = Lexicon(np.array([[0.0, 0.0], [1.0, 3.0]] + [[0.0, 0.0]] * PAIRS), np.array([-0.5]))
    document, sentences = lexicon.score(document_tokens([Window([0, 50, 0, 0], [Piece(0, 1, 2), Piece(1, 2, 3)])]), 2)
    assert document.tolist() == [-0.5] and sentences.tolist() == [[-0.5], [-0.5]]


def test_special_tokens_are_no_words(examples: list[Example]) -> None:
    from dataclasses import replace

    marked = [
        replace(e, windows=[Window([2, 3, *e.windows[0].token_ids], [Piece(0, 1, 2)]), *e.windows]) if e.topics[1] else e
        for e in examples
    ]
    assert fit_lexicon(marked, 120, 2)[0][3].any()
    assert not fit_lexicon(marked, 120, 2, special=(2, 3, 0))[0][3].any()
    assert fit_lexicon(marked, 10, 2)[0].shape == (10 + PAIRS, 3), "ids beyond the encoder's vocabulary are left out"


def test_topics_that_tell_nothing_apart_are_said_of_none_or_all(examples: list[Example]) -> None:
    """As surely as of rows that are told apart: a fold that holds all positives of a topic must not rank high for it."""
    from dataclasses import replace

    for share, expected in (1.0, 1.0), (0.0, -1.0):
        same = [replace(example, topics=np.array([share, example.topics[1]], np.float32)) for example in examples]
        table, bias = fit_lexicon(same, 120, 2)
        assert not table[:, 1].any() and bias[0] == expected and table[:, 2].any()
        without = np.array([not example.topics[1] for example in examples])
        assert np.stack(lexical_logits((table, bias), examples))[without, 1].mean() == pytest.approx(-1, abs=0.3)
    assert fit_lexicon([replace(example, topics=None) for example in examples], 120, 2) is None


def test_a_table_of_another_shape_is_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "lexicon.npy", np.zeros((5 + PAIRS, 3)))
    assert Lexicon.load(tmp_path / "lexicon.npy", [0.0, 0.0])
    with pytest.raises(ValueError, match="no table of 4 columns"):
        Lexicon.load(tmp_path / "lexicon.npy", [0.0, 0.0, 0.0])
    np.save(tmp_path / "lexicon.npy", np.zeros((PAIRS, 3)))
    with pytest.raises(ValueError, match=f"more than {PAIRS} rows"):
        Lexicon.load(tmp_path / "lexicon.npy", [0.0, 0.0])
