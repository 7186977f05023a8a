"""Training with few labels: each recipe gives a model that serves, and the choice is said."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_rows
from test_train import train, write

from serving.analysis import select_topics
from serving.model import Model
from serving.reading import read
from serving.schema import Options
from training import few
from training.candidates import Linear, Material
from training.data import Row, read_rows
from training.devices import make_accelerator
from training.encoder import load_encoder, window_config
from training.evaluate import evaluate
from training.examples import Example, make_examples, trim
from training.folds import make_folds
from training.heads import Heads, fit_salience, pooled_logits
from training.network import Network
from training.selftraining import judged
from training.shares import topic_shares
from training.trials import Choice, best_of
from training.vectors import Body, Vectors

SMALL = ("--window", 64, "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("few") / "rows.jsonl", make_rows(36))


@pytest.fixture(scope="module")
def unseen(tmp_path_factory: pytest.TempPathFactory) -> list[Row]:
    return read_rows(str(write(tmp_path_factory.mktemp("unseen") / "rows.jsonl", make_rows(40, seed=9))))


@pytest.mark.parametrize("recipe", ["linear", "contrastive", "full"])
def test_each_recipe_gives_a_model_that_serves(
    recipe: str, data: Path, unseen: list[Row], tiny_encoder: Path, tmp_path: Path
) -> None:
    result = train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--recipe", recipe, *SMALL)
    assert re.search(r"largest difference of a score over 32 documents: 0\.00[01]\d+ in f32", result.output), result.output
    assert f"chosen: {recipe}" in result.output and "36 training and 0 dev documents" in result.output
    model = Model.load(tmp_path / "m")
    assert model.config["training"]["recipe"] == recipe and model.config["training"]["documents"] == 36
    assert evaluate(model, unseen)["map"] > 0.9
    document = read("基因筛查检测染色体采血第1条第0句。孕妇基因筛查检测第1条第1句。", title="筛查")
    scores = model.score([document], 4096)[0]
    topics = select_topics(document, scores, model, Options())
    assert [topic.id for topic in topics] == ["screening"] and topics[0].evidence
    stated = model.config["metrics"]["cross_validation"]
    assert stated["n"] == 36 and 0 <= stated["micro_f1"] <= 1
    assert {path.name for path in (tmp_path / "m").iterdir()} == {
        "config.json", "graph.xml", "lexicon.npy", "model.safetensors", "tokenizer.json",
    }


def test_auto_says_what_it_chose_and_why(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    result = train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", *SMALL)
    tried = dict(re.findall(r"recipe (\w+) \(.*?\): ([\d.]+) \(folds [\d. ]{20,}\)", result.output))
    assert set(tried) == {"linear", "contrastive"}, result.output
    chosen = re.search(r"chosen: (\w+) \(.*?\), the best mean average precision of 4 folds, ([\d.]+), against", result.output)
    assert chosen[2] == max(tried.values()) == tried[chosen[1]]
    notes = json.loads((tmp_path / "m" / "config.json").read_text("utf-8"))["training"]
    assert notes["recipe"] == chosen[1] and set(notes["recipes_tried"]) == set(tried) and len(notes["folds"]) == 4


def test_many_rows_and_steered_runs_are_trained_as_ever(data: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch) -> None:
    def weights(folder: str, *options: object) -> str:
        output = train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / folder, *options).output
        assert "chosen:" not in output and "dev part:" in output
        return Model.load(tmp_path / folder).config["files"]["model.safetensors"]

    steered = weights("a", "--epochs", 1, *SMALL)
    assert Model.load(tmp_path / "a").config["training"]["dev_documents"] == 4
    monkeypatch.setattr("training.train.FEW", 34)  # 36 rows are many now, though fewer are left without a dev part
    monkeypatch.setattr("training.recipe._EPOCHS", (1, 1))
    assert weights("b", *SMALL) == steered


def test_with_a_dev_part_thresholds_are_its_own(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    dev = write(tmp_path / "dev.jsonl", make_rows(20, seed=5))
    result = train("--data", data, "--dev", dev, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--recipe", "linear",
                   "--no-lexicon", *SMALL)
    assert "36 training and 20 dev documents" in result.output and "dev part:" in result.output
    config = Model.load(tmp_path / "m").config
    assert config["metrics"]["dev"]["n"] == 20 and config["lexicon"] is None


def test_single_label_and_documents_without_labels(tiny_encoder: Path, tmp_path: Path) -> None:
    """Self-training is one more choice; it is taken only where it is better on the folds."""
    rows = [{"text": row["text"], "topics": row["topics"] or ["none"]} for row in make_rows(24)]
    bare = write(tmp_path / "bare.jsonl", [{"text": row["text"]} for row in make_rows(60, seed=4)])
    data = write(tmp_path / "rows.jsonl", rows)
    result = train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--single-label", "--recipe", "linear",
                   "--unlabelled", bare, *SMALL)
    assert "24 training, 60 unlabelled and 0 dev documents" in result.output and "accuracy" in result.output
    unseen = [{"text": row["text"], "topics": row["topics"] or ["none"]} for row in make_rows(40, seed=7)]
    rows = read_rows(str(write(tmp_path / "unseen.jsonl", unseen)), single_label=True)
    assert evaluate(tmp_path / "m", rows)["accuracy"] > 0.9


def test_self_training_gives_weight_to_words_that_no_label_has(tiny_encoder: Path) -> None:
    """The labels know 基因 and 股权 alone; documents without labels tell what stands beside them."""
    encoder, tokenizer, _ = load_encoder(str(tiny_encoder))
    windows, ids = window_config(tokenizer, 64, 16), ["finance", "screening"]
    labelled = [("股权", ("finance",)), ("基因", ("screening",))] * 4
    bare = [("股权并购", None), ("基因染色", None)] * 10

    def examples(texts: list) -> list:
        rows = [Row(f"{text}{i}。", topics, None, None, "", "", str(i)) for i, (text, topics) in enumerate(texts)]
        return make_examples(rows, ids, tokenizer.backend_tokenizer, windows)

    body = Body(encoder, 0, windows.pad, make_accelerator("cpu"))
    material = Material(body, windows, ids, True, 0.1, 0, True, examples(bare), {}, [])
    recipe, tokens = Linear(material), tokenizer.convert_tokens_to_ids(["染", "购"])
    table, _ = recipe.fit(examples(labelled), "self-training")[1]
    assert table[tokens[0], 2] > 0 > table[tokens[0], 1] and table[tokens[1], 1] > 0 > table[tokens[1], 2]
    assert not recipe.fit(examples(labelled), "penalty 1")[1][0][tokens, 1:].any()


def test_the_archive_need_not_hold_topics_as_often_as_the_labels_do(tiny_encoder: Path) -> None:
    """Half of the labels are of each topic; of the documents without labels a twentieth is of one, and two thirds of none."""
    encoder, tokenizer, _ = load_encoder(str(tiny_encoder))
    windows, ids = window_config(tokenizer, 64, 16), ["finance", "screening"]

    def examples(texts: list[tuple[str, tuple[str, ...] | None]], last: str) -> list[Example]:
        rows = [Row(f"{text}第{i}{last}", topics, None, None, "", "", str(i)) for i, (text, topics) in enumerate(texts)]
        return make_examples(rows, ids, tokenizer.backend_tokenizer, windows)

    learned = examples([("股权并购融资", ("finance",)), ("基因筛查染色体", ("screening",)), ("今日天气多云有雨", ())] * 8, "条。")
    bare = examples([("股权并购融资", None)] * 3 + [("基因筛查染色体", None)] * 17 + [("今日天气多云有雨", None)] * 40, "号。")
    body = Body(encoder, 0, windows.pad, make_accelerator("cpu"))
    material = Material(body, windows, ids, False, 0.1, 0, True, bare, {}, [])
    [shares] = topic_shares(material, learned, [], make_folds(learned, 4, 0), bare)
    assert shares == pytest.approx([0.05, 17 / 60])
    logits = np.random.default_rng(0).normal(size=(1_200, 2)).astype(np.float32)
    for words in None, np.full((1_200, 2), -1, np.float32):  # the lexicon of a topic that no row had says the same of all
        taught = judged(bare * 20, logits, words, shares, single_label=False)
        assert np.mean([example.topics for _, example in taught], axis=0) == pytest.approx(shares)
    assert topic_shares(material, [replace(e, topics=np.zeros(2, np.float32)) for e in learned], [], []) is None


@pytest.mark.parametrize("dev", [False, True])
def test_long_documents_without_labels_are_counted_whole(dev: bool, tiny_encoder: Path, tmp_path: Path) -> None:
    """Half of them have the topic, in the last of several windows; self-training reads the first alone."""
    def rows(count: int, offset: int) -> list[dict]:
        return [
            {"text": f"{i + offset}号。" + "天气多云比赛音乐旅游山水。\n" * 20 + "孕妇基因筛查染色体检测采血。\n" * (i % 2) * 4,
             "topics": ["screening"] * (i % 2)} for i in range(count)
        ]

    data, more = write(tmp_path / "rows.jsonl", rows(24, 0)), ["--dev", write(tmp_path / "dev.jsonl", rows(8, 50))] if dev else []
    bare = write(tmp_path / "bare.jsonl", [{"text": row["text"]} for row in rows(30, 100)])
    output = train("--data", data, *more, "--unlabelled", bare, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--recipe",
                   "linear", *SMALL).output
    there = re.search(r"topics of the documents without labels \(of those with\), which (.*): screening ([\d.]+)%", output)
    assert 45 < float(there[2]) < 55, output
    assert there[1].startswith("recipes are compared by" if dev else "decisions are fitted to")
    assert ("follow the dev part as it is" in there[1]) == dev


def test_what_cannot_go_together_is_refused(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    options = ("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m")
    refused = train(*options, "--recipe", "linear", "--epochs", 3, "--layers", 1, code=1).output
    assert "--recipe linear can't go with --epochs, --layers" in refused
    assert "--dropout" in train(*options, "--recipe", "contrastive", "--dropout", 0.3, code=1).output
    alike = write(tmp_path / "alike.jsonl", make_rows(1) * 6)
    assert "too alike" in train("--data", alike, *options[2:], "--recipe", "linear", *SMALL, code=1).output


def test_folds_share_the_topics_and_keep_copies_together(tiny_encoder: Path) -> None:
    _, tokenizer, _ = load_encoder(str(tiny_encoder))
    rows = [
        Row(f"第{i // 2}篇文章的开头各不相同", ("rare",) if i < 8 else ("common",), None, None, "", "", str(i)) for i in range(48)
    ]
    examples = make_examples(rows, ["common", "rare"], tokenizer.backend_tokenizer, window_config(tokenizer, 64, 16))
    folds = make_folds(examples, 4, 0)
    assert sorted(i for fold in folds for i in fold) == list(range(48))
    assert [sum(i < 8 for i in fold) for fold in folds] == [2, 2, 2, 2] and {len(fold) for fold in folds} == {12}
    assert all(i ^ 1 in fold for fold in folds for i in fold)
    assert make_folds(examples, 4, 0) == folds != make_folds(examples, 4, 1)


def page(text: str) -> str:
    """As a site wraps all of its pages."""
    head = "<!DOCTYPE html><html lang='zh-CN'><head><meta charset='utf-8'><title>一家网站</title></head>"
    return f"{head}<body><p>{text}</p></body></html>"


def test_pages_that_begin_alike_are_told_apart_by_their_text(data: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    rows = [{"text": page(row["text"]), "topics": row["topics"]} for row in make_rows(60)]
    pages, weak = write(tmp_path / "pages.jsonl", rows[:30]), write(tmp_path / "weak.jsonl", rows[20:])
    result = train("--data", pages, "--weak", weak, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--recipe", "linear",
                   *SMALL)
    assert "30 training, 30 weakly labelled and 0 dev documents" in result.output
    assert "note: 10 weakly labelled rows are left out, which begin as a row with a label does" in result.output


def test_topics_of_rows_that_one_fold_holds(tiny_encoder: Path, tmp_path: Path) -> None:
    """What learns from the other folds knows no topic then."""
    rows = [{"text": row["text"], "summary": row["key_sentences"][0]} for row in make_rows(20)]
    rows[3] |= {"topics": ["finance"]}
    data = write(tmp_path / "rows.jsonl", rows)
    bare = write(tmp_path / "bare.jsonl", [{"text": row["text"]} for row in make_rows(9, seed=3)])
    for more in [], ["--unlabelled", bare]:
        result = train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--recipe", "linear", *more, *SMALL)
        assert "model written" in result.output


def test_folds_of_unlike_size_try_the_same_settings(tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 21 rows and 49 weak ones the folds learn from 64 or 65, two batches or three, so from 12 epochs or 8."""
    monkeypatch.setattr("training.recipe._STEPS", 24)
    data, weak = write(tmp_path / "rows.jsonl", make_rows(21)), write(tmp_path / "weak.jsonl", make_rows(49, seed=5))
    result = train("--data", data, "--weak", weak, "--encoder", tiny_encoder, "--output", tmp_path / "m", "--recipe", "full",
                   *SMALL)
    assert "chosen: full" in result.output


@pytest.mark.parametrize(
    ("topics", "hidden", "width"), [(3, 32, 256), (128, 128, 256), (200, 32, 256), (200, 128, 400), (300, 80, 320)]
)
def test_a_linear_head_is_the_networks(topics: int, hidden: int, width: int) -> None:
    """Two hidden units carry a linear function exactly; for more topics there are more, up to two a number of the vector."""
    encoder = torch.nn.Module()
    encoder.config = SimpleNamespace(hidden_size=hidden)
    network = Network(encoder, topics).eval()
    heads = Heads(torch.randn(topics, 2 * hidden), torch.randn(topics), network.salience_head)
    heads.put_into(network)
    assert network.topic_head[0].out_features == width
    rows = torch.randn(5, 2 * hidden)
    torch.testing.assert_close(network.topic_head(rows), rows @ heads.weight.T + heads.bias, atol=1e-3, rtol=1e-4)
    vectors = Vectors(rows.numpy(), 0)
    expected = network.pool(rows @ heads.weight.T + heads.bias).detach().numpy()
    np.testing.assert_allclose(pooled_logits(vectors, heads.weight, heads.bias), expected, atol=1e-4)


def test_fine_tuning_is_tried_where_it_is_worth_its_time() -> None:
    def tried(rows: int, tokens: int, known: bool = False, bare: bool = False) -> tuple[str, ...]:
        return few.candidates("auto", rows, tokens, known, bare)

    assert tried(50, 5_000) == tried(500, 500_000) == tried(50, 500_000, known=True) == ("linear", "contrastive")
    assert tried(500, 9_000) == tried(50, 5_000, known=True) == ("linear", "contrastive", "full")
    assert tried(500, 9_000, bare=True) == ("linear", "contrastive"), "from documents without labels it can't learn"
    assert tried(500, 9_000, known=True, bare=True) == ("linear", "contrastive", "full")
    assert few.candidates("full", 10, 1_000, False, True) == ("full",)


def test_a_salience_head_ranks_what_is_left_of_a_document(tiny_encoder: Path) -> None:
    """Of a document cut to some of its windows, vectors, features and marks are of the same sentences."""
    encoder, tokenizer, _ = load_encoder(str(tiny_encoder))
    windows = window_config(tokenizer, 40, 4)
    rows = [Row(r["text"], None, tuple(r["key_sentences"]), None, r["title"], r["id"], r["id"]) for r in make_rows(80, seed=8)]
    whole = make_examples(rows, [], tokenizer.backend_tokenizer, windows)
    cut = [trim(example, 2, 0) for example in whole]
    assert any(len(a.windows) > len(b.windows) for a, b in zip(whole, cut))
    body, head = Body(encoder, 0, windows.pad, make_accelerator("cpu")), Network(encoder, 0, 0.0).salience_head
    fit_salience(cut, body.vectors(cut), head)
    found = Heads(torch.zeros(0, 64), torch.zeros(0), head).predict(whole, body.vectors(whole))
    first = [int(prediction.sentences[:, -1].argmax()) == int(e.salience.argmax()) for e, prediction in zip(whole, found)]
    assert np.mean(first) > 0.9


def test_key_sentences_alone_make_a_model_without_topics(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = [{"text": row["text"], "key_sentences": row["key_sentences"]} for row in make_rows(24)]
    data = write(tmp_path / "rows.jsonl", rows)
    train("--data", data, "--encoder", tiny_encoder, "--output", tmp_path / "m", *SMALL)
    figures = evaluate(tmp_path / "m", read_rows(str(data)))
    assert figures["key_sentence_f1"] > 0.9 and not Model.load(tmp_path / "m").topics


def test_self_training_is_chosen_unless_a_penalty_is_clearly_better() -> None:
    """The best of many settings is ahead by luck now and then."""
    def choice(setting: str, *folds: float) -> Choice:
        return Choice(None, setting, list(folds), None)

    taught = choice("self-training", 0.85, 0.86, 0.87, 0.86)
    assert best_of([choice("penalty 1", 0.84, 0.85, 0.86, 0.87), taught]) is taught
    assert best_of([choice("penalty 1", 0.86, 0.85, 0.89, 0.85), taught]) is taught  # by 0.0025, give or take 0.0075
    better = choice("penalty 0.3", 0.87, 0.88, 0.88, 0.88)
    assert best_of([choice("penalty 1", 0.84, 0.85, 0.86, 0.87), better, taught]) is better
    assert best_of([choice("penalty 1", 0.9), choice("self-training", 0.8)]).setting == "penalty 1"  # one fold tells no error
