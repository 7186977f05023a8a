"""Rows become examples with the windows that serving sees, and labels on the right sentences."""

from __future__ import annotations

from pathlib import Path

from conftest import make_rows

from serving.model import Model
from serving.reading import read
from training.data import Row
from training.encoder import load_encoder, window_config
from training.examples import epoch_batches, evidence_labels, key_labels, make_examples, read_documents, trim
from training.folds import split_dev


def row(text: str, where: str = "f:1", **fields) -> Row:
    empty = {"topics": None, "key_sentences": None, "summary": None, "title": "", "id": ""}
    return Row(**{**empty, **fields}, text=text, where=where)


def labels(text: str, **fields) -> list[float] | None:
    found = key_labels(read(text), row(text, **fields))
    return None if found is None else found.tolist()


def test_windows_are_those_of_serving(tiny_model: Path) -> None:
    model = Model.load(tiny_model)
    _, tokenizer, _ = load_encoder(str(tiny_model))
    config = window_config(tokenizer, model.windows.max_tokens, model.windows.max_title_tokens)
    assert config == model.windows
    texts = ["<p>基因篩查網(wǎng)。</p><p>孕婦檢測。</p>" * 30, *(item["text"] for item in make_rows(5))]
    rows = [row(text, where=str(i), title="融资") for i, text in enumerate(texts)]
    for item, example in zip(rows, make_examples(rows, [], tokenizer.backend_tokenizer, config)):
        document = read(item.text, title=item.title)
        assert example.document == document
        assert example.windows == model.split(document)
    assert len(make_examples(rows[:1], [], tokenizer.backend_tokenizer, config)[0].windows) > 3


def test_nothing_of_a_long_document_is_truncated(tiny_encoder: Path) -> None:
    _, tokenizer, _ = load_encoder(str(tiny_encoder))
    text = "".join(f"基因筛查第{i}条。" for i in range(3000)) + "股权" * 400 + "。"
    example = make_examples([row(text)], [], tokenizer.backend_tokenizer, window_config(tokenizer, 64, 16))[0]
    sentences = example.document.sentence_texts()
    whole = sum(len(e.ids) for e in tokenizer.backend_tokenizer.encode_batch(sentences, add_special_tokens=False))
    assert len(example.windows) > 400
    assert sum(piece.end - piece.start for window in example.windows for piece in window.pieces) == whole
    assert {piece.sentence for window in example.windows for piece in window.pieces} == set(range(3001))


def test_key_sentences_mark_their_sentences() -> None:
    text = "医院开展了新的筛查项目。市民可以预约。费用由政府承担！"
    assert labels(text, key_sentences=("市民可以预约。",)) == [0, 1, 0]
    assert labels(text, key_sentences=("市民可以预约。费用由政府承担！",)) == [0, 1, 1]
    assert labels(text, key_sentences=("开展了新的筛查项目",)) == [1, 0, 0]
    assert labels(text) is None
    assert labels(text, key_sentences=()) is None, "a row that marks nothing teaches nothing"


def test_a_summary_marks_sentences_where_no_key_sentences_do() -> None:
    text = "医院开展了新的筛查项目。市民可以预约。费用由政府承担！"
    assert labels(text, summary="政府承担费用") == [0, 0, 1]
    assert labels(text, summary="政府承担费用", key_sentences=("市民可以预约。",)) == [0, 1, 0]


def test_split_keeps_near_duplicates_together_and_a_positive_of_every_topic() -> None:
    rows = [row(f"{'同样的开头' * 20}结尾{i}", where=str(i), topics=("a",)) for i in range(5)]
    rows += [row(f"第{i}篇文章自己的开头" * 9, where=str(100 + i), topics=("b",) if i else ("rare",)) for i in range(40)]
    documents = read_documents(rows)
    for seed in range(30):
        train, dev = split_dev(rows, documents, 0.2, seed)
        assert len(train) + len(dev) == len(rows) and len(dev) >= 9
        assert {topic for item in train for topic in item.topics} == {"a", "b", "rare"}
        assert sum("a" in item.topics for item in dev) in (0, 5)
    assert split_dev(rows, documents, 0.2, 1) == split_dev(rows, documents, 0.2, 1) != split_dev(rows, documents, 0.2, 2)


def test_a_dev_part_holds_some_of_what_is_scarce() -> None:
    """Two rows of 200 have a topic: one of them tells which epoch is best."""
    rows = [row(f"第{i}篇文章自己的开头", where=str(i), topics=("rare",) if i < 2 else ()) for i in range(200)]
    for seed in range(10):
        train, dev = split_dev(rows, read_documents(rows), 0.1, seed)
        assert sum(bool(item.topics) for item in dev) == sum(bool(item.topics) for item in train) == 1 and len(dev) == 21


def test_a_large_group_of_like_openings_does_not_become_the_dev_part() -> None:
    texts = [f"{'各县区人民政府请认真贯彻执行' * 6 if i < 120 else '第'}{i}篇文章" for i in range(200)]
    rows = [row(text, where=text, topics=("a",)) for text in texts]
    documents = read_documents(rows)
    assert {len(split_dev(rows, documents, 0.1, seed)[1]) for seed in range(20)} == {20}
    alike = [row(f"{opening * 90}{i}", where=f"{opening}{i}", topics=("a",)) for opening in "甲乙丙" for i in range(6)]
    assert len(split_dev(alike, read_documents(alike), 0.1, 0)[1]) == 6, "nothing else is left"


def test_a_dev_part_has_rows_with_topics_beside_many_with_a_summary_alone() -> None:
    rows = [row(f"第{i}篇文章自己的开头", where=f"s{i}", summary="开头") for i in range(400)]
    rows += [row(f"另外第{i}篇", where=f"t{i}", topics=("ab"[i % 2],)) for i in range(8)]
    documents = read_documents(rows)
    for seed in range(20):
        _, dev = split_dev(rows, documents, 0.1, seed)
        assert sum(item.topics is not None for item in dev) == 1 and len(dev) == 41
    alone = [*rows[400:], rows[0]]
    assert rows[0] not in split_dev(alone, documents, 0.1, 0)[1], "the only row with a summary is to be learned from"


def test_batches_hold_every_document_once_and_depend_on_seed_and_epoch(tiny_encoder: Path) -> None:
    _, tokenizer, _ = load_encoder(str(tiny_encoder))
    rows = [row(item["text"], where=item["id"]) for item in make_rows(37)]
    examples = make_examples(rows, [], tokenizer.backend_tokenizer, window_config(tokenizer, 64, 16))
    batches = epoch_batches(examples, 8, 1, 0)
    assert sorted(i for batch in batches for i in batch) == list(range(37))
    assert batches == epoch_batches(examples, 8, 1, 0)
    assert batches != epoch_batches(examples, 8, 1, 1) and batches != epoch_batches(examples, 8, 2, 0)


def test_evidence_marks_the_sentences_of_each_topic() -> None:
    text = "医院开展了新的筛查项目。市民可以预约。费用由政府承担！"
    evidence = (("a", ("市民可以预约。费用由政府承担！",)), ("c", ("医院开展了新的筛查项目。",)))
    found = evidence_labels(read(text), row(text, topics=("a", "c"), evidence=evidence), {"a": 0, "b": 1, "c": 2})
    assert found.tolist() == [[0, 0, 1], [1, 0, 0], [1, 0, 0]]
    assert evidence_labels(read(text), row(text, topics=("a",)), {"a": 0}) is None


def test_trimming_keeps_the_opening_and_what_is_marked(tiny_encoder: Path) -> None:
    _, tokenizer, _ = load_encoder(str(tiny_encoder))
    sentences = [f"基因筛查检测第{i}条采血染色体孕妇。" for i in range(60)]
    marks = {"key_sentences": (sentences[30],), "evidence": (("a", (sentences[45],)),)}
    item = row("".join(sentences), title="基因", topics=("a",), **marks)
    config = window_config(tokenizer, 64, 8)
    whole = make_examples([item], ["a"], tokenizer.backend_tokenizer, config)[0]
    assert trim(whole, len(whole.windows), 1) is whole
    short = trim(whole, 3, 1)
    shown = sorted({piece.sentence for window in short.windows for piece in window.pieces if piece.sentence >= 0})
    assert len(short.windows) == 3 and {0, 30, 45} <= set(shown) and len(shown) < 20
    assert short.salience.tolist() == [float(i == 30) for i in shown]
    assert short.evidence[:, 0].tolist() == [float(i == 45) for i in shown]
    assert trim(whole, 3, 1).windows == short.windows and short.document == whole.document
    assert trim(whole, 1, 1).windows == whole.windows[:1]
    none = make_examples([item], [], tokenizer.backend_tokenizer, config)[0]
    assert len(trim(none, 2, 1).windows) == 2, "also where no topic is known"


def test_trimming_keeps_a_proof_of_each_topic(tiny_encoder: Path) -> None:
    _, tokenizer, _ = load_encoder(str(tiny_encoder))
    sentences = [f"基因筛查检测第{i}条采血染色体孕妇。" for i in range(60)]
    item = row("".join(sentences), topics=("a", "b"), evidence=(("a", tuple(sentences[10:40])), ("b", (sentences[55],))))
    whole = make_examples([item], ["a", "b"], tokenizer.backend_tokenizer, window_config(tokenizer, 64, 8))[0]
    for seed in range(5):
        assert (trim(whole, 3, seed).evidence.sum(axis=0) > 0).all()
