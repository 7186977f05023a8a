"""Labels and a corpus join to training files; splits that share near-duplicates are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import make_rows

from training import prepare
from training.data import read_rows

TEXT = "市里启动了筛查项目。𠮷林路的医院参加。\n费用由政府承担。"


@pytest.fixture
def parts(tmp_path: Path, monkeypatch) -> tuple[Path, Path]:
    """A data folder with labels, and a corpus folder."""
    data, corpus = tmp_path / "data", tmp_path / "corpus"
    data.mkdir()
    corpus.mkdir()
    monkeypatch.setattr(prepare, "DATA", data)
    key = TEXT.index("𠮷")
    labels = [
        {"id": "one", "topics": ["screening"], "key_sentences": [[key, 9]], "split": "train",
         "evidence": {"screening": [[0, 10]]}},
        {"id": "two", "topics": [], "key_sentences": [], "split": "test"},
    ]
    prepare.write_jsonl(data / "corpus_labels.jsonl", labels)
    for split, seed in (("train", 1), ("dev", 2), ("test", 3)):
        rows = [{**row, "id": f"{split}{row['id']}", "register": "news"} for row in make_rows(3, seed)]
        prepare.write_jsonl(data / f"written_{split}.jsonl", rows)
    texts = {"one": TEXT, "two": "球赛今天在体育场举行，观众很多，气氛热烈。", "other": "没有标注的文章。"}
    pq.write_table(pa.table({"id": list(texts), "title": ["题", None, ""], "text": list(texts.values())}), corpus / "a.parquet")
    pq.write_table(pa.table({"id": ["two"], "text": [texts["two"]]}), corpus / "again.parquet")
    pq.write_table(pa.table({"name": ["x"]}), corpus / "unrelated.parquet")
    return data, corpus


def prepared(corpus: Path, output: Path, *more: str):
    return CliRunner().invoke(prepare.main, ["--corpus", str(corpus), "--output", str(output), *more])


def test_offsets_become_sentences_and_written_rows_join(parts: tuple[Path, Path], tmp_path: Path) -> None:
    output = tmp_path / "out"
    result = prepared(parts[1], output)
    assert result.exit_code == 0, result.output
    train, test = read_rows(str(output / "train.jsonl")), read_rows(str(output / "test.jsonl"))
    assert (train[0].id, train[0].title, train[0].text, train[0].topics) == ("one", "题", TEXT, ("screening",))
    assert train[0].key_sentences == ("𠮷林路的医院参加。",)
    assert train[0].evidence == (("screening", ("市里启动了筛查项目。",)),) and train[1].evidence is None
    assert len(train) == 4 and len(test) == 4 and len(read_rows(str(output / "dev.jsonl"))) == 3
    assert [row.id for row in read_rows(str(output / "test_real.jsonl"))] == ["two"]
    assert {row.id for row in read_rows(str(output / "test_written.jsonl"))} == {"test0", "test1", "test2"}
    assert "register" not in json.loads((output / "test_written.jsonl").read_text("utf-8").splitlines()[0])


def test_missing_documents_are_counted(parts: tuple[Path, Path], tmp_path: Path) -> None:
    (parts[1] / "a.parquet").unlink()
    result = prepared(parts[1], tmp_path / "out")
    assert result.exit_code == 2 and "1 of 2 labelled documents are not in" in result.output


def test_near_duplicates_in_two_splits_are_refused(parts: tuple[Path, Path], tmp_path: Path) -> None:
    data, corpus = parts
    text = "".join(row["text"] for row in make_rows(6, 9))
    for split, ending in (("train", "记者王某。"), ("test", "编辑李某。")):
        row = {**make_rows(1)[0], "id": split, "text": text + ending, "key_sentences": []}
        prepare.write_jsonl(data / f"written_{split}.jsonl", [row])
    output = tmp_path / "out"
    result = prepared(corpus, output)
    assert result.exit_code == 1 and "near-duplicates in two splits: " in result.output
    assert not (output / "train.jsonl").exists()


def test_near_duplicates_in_one_split_are_allowed() -> None:
    text = "".join(row["text"] for row in make_rows(6, 9))
    rows = {"train": [{"id": "a", "text": text}, {"id": "b", "text": text + "完。"}], "test": [{"id": "c", "text": TEXT}]}
    assert list(prepare.straddling_pairs(rows)) == []
    rows["test"].append({"id": "d", "text": text})
    assert {pair[1] for pair in prepare.straddling_pairs(rows)} == {"d"}


def test_documents_without_labels_are_none_of_the_test_part(parts: tuple[Path, Path], tmp_path: Path) -> None:
    texts = {f"n{i}": f"第{i}篇没有标注的文章，讲的是第{i}家医院的{i}件事。" for i in range(30)}
    texts |= {"reprint": "球赛今天在体育场举行，观众很多，气氛热烈。", "blank": " "}
    pq.write_table(pa.table({"id": list(texts), "text": list(texts.values())}), parts[1] / "more.parquet")
    drawn = []
    for name in ("first", "second"):
        assert prepared(parts[1], tmp_path / name, "--unlabelled", "33").exit_code == 0
        drawn.append([row["id"] for row in prepare.read_jsonl(tmp_path / name / "unlabelled.jsonl")])
    assert drawn[0] == drawn[1] and set(drawn[0]) == {"other", *(f"n{i}" for i in range(30))}
    assert prepared(parts[1], tmp_path / "few", "--unlabelled", "3").exit_code == 0
    few = [row["id"] for row in prepare.read_jsonl(tmp_path / "few" / "unlabelled.jsonl")]
    assert few == drawn[0][:3] and "other" in few, "a small source is not lost beside a large one"
