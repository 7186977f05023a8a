"""Every kind of source gives the same rows, and everything wrong with them is said at once, with file and line."""

from __future__ import annotations

import csv
import gzip
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from conftest import make_rows

from training.data import DataError, Topic, read_rows, set_aside, topics_of, try_rows
from training.examples import read_documents
from training.inputs import load_inputs
from training.topics import read_topics
from training.train import main


def write_jsonl(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def write_csv(path: Path, rows: list[dict]) -> Path:
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.DictWriter(file, ["id", "title", "text", "topics", "key_sentences"])
        writer.writeheader()
        for row in rows:
            writer.writerow({**row, "topics": "|".join(row["topics"]), "key_sentences": "|".join(row["key_sentences"])})
    return path


def problems(source: Path, **options) -> list[str]:
    with pytest.raises(DataError) as raised:
        read_rows(str(source), **options)
    return raised.value.problems


def content(rows: list) -> list[tuple]:
    return [(row.id, row.title, row.text, row.topics, row.key_sentences) for row in rows]


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder, rows = tmp_path_factory.mktemp("sources"), make_rows(20)
    found = {"jsonl": write_jsonl(folder / "rows.jsonl", rows), "csv": write_csv(folder / "rows.csv", rows)}
    for kind in ("jsonl", "csv"):
        found[f"{kind}.gz"] = folder / f"rows.{kind}.gz"
        found[f"{kind}.gz"].write_bytes(gzip.compress(found[kind].read_bytes()))
    found["parquet"] = folder / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), found["parquet"])
    found["folder"] = folder / "set.v1"
    found["folder"].mkdir()
    write_jsonl(found["folder"] / "train.jsonl", rows)
    write_jsonl(found["folder"] / "test.jsonl", rows[:3])
    return found


@pytest.mark.parametrize("kind", ["jsonl", "jsonl.gz", "csv", "csv.gz", "parquet", "folder"])
def test_every_kind_gives_the_same_rows(sources: dict[str, Path], kind: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path)
    wanted = [
        (row["id"], row["title"], row["text"], tuple(row["topics"]), tuple(row["key_sentences"])) for row in make_rows(20)
    ]
    assert content(read_rows(str(sources[kind]))) == wanted


def test_all_problems_are_named_with_file_and_line(tmp_path: Path) -> None:
    good = {"text": "甲乙丙。丁戊己。", "topics": ["a"]}
    lines = [
        json.dumps(good), "", '{"text": "甲"', json.dumps({"topics": ["a"]}), json.dumps({"text": " \n", "topics": []}),
        json.dumps({"text": "甲", "topics": ["z", "a", "y"]}),
        json.dumps({"text": "甲。", "topics": [], "key_sentences": ["乙。"]}),
        json.dumps({"text": "甲"}), "[1]", json.dumps({"text": "甲", "topics": [3]}), json.dumps({"text": 5, "topics": []}),
        json.dumps({"text": "坏\ufffd字", "topics": []}), json.dumps({"text": "半\ud800个", "topics": []}),
        json.dumps({"text": "甲", "summary": ["乙"]}), json.dumps({"text": "甲", "topics": [""]}),
    ]
    file = tmp_path / "bad.jsonl"
    file.write_bytes("\n".join(lines).encode() + b"\n" + '{"text": "中文", "topics": []}'.encode("gb18030") + b"\n")
    found = problems(file, topics=[Topic("a", "a")])
    expected = [
        (3, "not JSON"), (4, "'text' is missing"), (5, "'text' is empty"), (6, "unknown topic 'z'"), (6, "unknown topic 'y'"),
        (7, "key sentence not in the text: '乙。'"), (8, "teaches nothing"), (9, "must be a JSON object, not list"),
        (10, "'topics' must be a list of strings"), (11, "'text' must be a string, not int"), (12, "wrong encoding"),
        (13, "wrong encoding"), (14, "'summary' must be a string, not list"), (15, "empty string"), (16, "not UTF-8"),
    ]
    for line, problem in expected:
        assert any(p.startswith(f"{file}:{line}: ") and problem in p for p in found), (line, problem)
    assert {p.split(": ")[0] for p in found} == {f"{file}:{line}" for line, _ in expected}


def test_evidence_is_sentences_by_topic(tmp_path: Path) -> None:
    good = {"text": "甲乙。丙丁。", "topics": ["a", "b"], "evidence": {"a": ["甲乙。"], "b": ["甲乙。", "丙丁。"]}}
    bad = [
        {**good, "evidence": ["甲乙。"]}, {**good, "evidence": {"a": 3}}, {**good, "evidence": {"c": ["甲乙。"]}},
        {**good, "evidence": {"a": ["戊。"]}}, {**good, "evidence": "{"},
    ]
    marked = (("a", ("甲乙。",)), ("b", ("甲乙。", "丙丁。")))
    rows = [good, {**good, "evidence": json.dumps(good["evidence"])}, {**good, "evidence": None}]
    file = write_jsonl(tmp_path / "good.jsonl", rows)
    assert [row.evidence for row in read_rows(str(file))] == [marked, marked, None]
    parquet = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist([good, {**good, "evidence": {"b": ["丙丁。"]}}]), parquet)
    assert [row.evidence for row in read_rows(str(parquet))] == [marked, (("b", ("丙丁。",)),)]
    found = problems(write_jsonl(tmp_path / "bad.jsonl", bad))
    assert [p.split(": ", 1)[1] for p in found] == [
        "'evidence' must be an object of topics, each with a list of sentences",
        "'evidence' must be an object of topics, each with a list of sentences",
        "evidence for 'c', which is not among the row's topics",
        "evidence sentence not in the text: '戊。'",
        "'evidence' must be an object of topics, each with a list of sentences",
    ]


def test_single_label_rows_have_one_topic(tmp_path: Path) -> None:
    rows = [{"text": "甲", "topics": topics} for topics in (["a"], ["a", "b"], [])]
    file = write_jsonl(tmp_path / "rows.jsonl", rows)
    assert problems(file, single_label=True) == [
        f"{file}:2: --single-label needs exactly one topic a row, not 2",
        f"{file}:3: --single-label needs exactly one topic a row, not 0",
    ]


def test_bad_csv(tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text('text,topics\n甲,a\n"两\n行",a,b\n丙\n"没有结尾,a\n', "utf-8")
    found = problems(file)
    assert [p.removeprefix(f"{file}:").split(":")[0] for p in found] == ["3", "5", "6"]
    assert "3 cells in a row, but 2 in the header" in found[0] and "not CSV" in found[2]
    file.write_bytes("text,topics\n甲,a\n".encode() + "中文,a\n".encode("gb18030"))
    assert [p.split(" (")[0] for p in problems(file)] == [f"{file}:3: not UTF-8"]
    file.write_text("body,topics\n甲,a\n", "utf-8")
    assert problems(file) == [f"{file}:1: the header has no column 'text', but body, topics"]


def test_cells_of_csv(tmp_path: Path) -> None:
    file = tmp_path / "rows.csv"
    file.write_text('text,topics,key_sentences\n甲；乙。,a;b,甲；乙。\n丙。,,"[""丙。""]"\n', "utf-8")
    first, second = read_rows(str(file))
    assert first.topics == ("a", "b") and first.key_sentences == ("甲；乙。",)
    assert second.topics == () and second.key_sentences == ("丙。",)


def test_an_empty_cell_of_topics_says_that_there_are_none(tmp_path: Path) -> None:
    """As a file, as the folder of it, under the other name of the column, and of a sheet that only its reader can say it of."""
    text = "text,{}\n第一篇文章。,a\n第二篇文章。,\n"
    (tmp_path / "folder").mkdir()
    for name in ("topics", "labels"):
        for file in tmp_path / "rows.csv", tmp_path / "folder" / "rows.csv":
            file.write_text(text.format(name), "utf-8")
        for source in tmp_path / "rows.csv", tmp_path / "folder":
            assert [row.topics for row in read_rows(str(source))] == [("a",), ()], (name, source)
    table = pa.table({"text": ["第一篇文章。"], "topics": pa.array([None], pa.list_(pa.string())), "labels": [["a"]]})
    pq.write_table(table, tmp_path / "both.parquet")
    assert read_rows(str(tmp_path / "both.parquet"))[0].topics == ("a",)
    (tmp_path / "sheet.csv").write_text("text,topics,guess\n第一篇文章。,,a\n第二篇文章。,,\n第三篇文章。,[],a\n", "utf-8")
    reading = try_rows(str(tmp_path / "sheet.csv"))
    assert [row.topics for row in reading.rows] == [()] and reading.unlabelled == 2


def test_an_array_and_ids_that_are_numbers(tmp_path: Path) -> None:
    rows = [{"text": f"第{i}篇文章。", "topics": ["a"], "id": value} for i, value in enumerate((12.0, 7, float("nan"), 1.5))]
    assert [row.id for row in read_rows(str(write_jsonl(tmp_path / "rows.jsonl", rows)))][:2] == ["12", "7"]
    for indent in None, 1:
        (tmp_path / "rows.json").write_text(json.dumps(rows, indent=indent), "utf-8")
        found = problems(tmp_path / "rows.json")
        assert len(found) == 1 and "a line" in found[0], found


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(b'{"text": "a", "topics": []}\n' * 100)[:-20])
    wide = tmp_path / "wide.jsonl"
    wide.write_bytes('{"text": "甲"}\n'.encode("utf-16"))
    for name, part in (("rows.xlsx", "not a kind of file"), ("bad.parquet", "can't be read"), ("bad.jsonl.gz", "can't be read")):
        (tmp_path / name).write_bytes(b"PK nonsense")
        assert part in problems(tmp_path / name)[0]
    assert "can't be read" in problems(cut)[0]
    assert problems(wide) == [f"{wide}:1: not UTF-8 but UTF-16; save it as UTF-8"]
    assert problems(tmp_path / "none.jsonl") == [f"{tmp_path / 'none.jsonl'}: no such file"]
    (tmp_path / "empty.jsonl").write_text("")
    assert problems(tmp_path / "empty.jsonl") == [f"{tmp_path / 'empty.jsonl'}: holds no rows"]
    with pytest.raises(DataError, match="neither a file nor a data set"):
        read_rows("nobody/no-such-data-v1.5")


def test_topics_file(tmp_path: Path) -> None:
    file = tmp_path / "topics.yaml"
    file.write_text("- {id: a, name: 甲, description: 关于甲}\n- {id: b}\n", "utf-8")
    assert read_topics(file) == [Topic("a", "甲", "关于甲"), Topic("b", "b")]
    for text in ("- {name: a}\n", "a: b\n", "[", "3", "", "- {id: a}\n- {id: a}\n", "[]", "- a\n"):
        file.write_text(text, "utf-8")
        with pytest.raises(DataError):
            read_topics(file)
    with pytest.raises(DataError):
        read_topics(tmp_path / "none.yaml")


def test_topics_of_the_data_are_sorted(tmp_path: Path) -> None:
    rows = try_rows(str(write_jsonl(tmp_path / "rows.jsonl", make_rows(30)))).rows
    assert topics_of(rows) == [Topic("finance", "finance"), Topic("screening", "screening")]


def test_the_command_reports_every_source_at_once_before_a_model_is_loaded(tmp_path: Path, monkeypatch) -> None:
    def never(source: str) -> None:
        raise AssertionError("the encoder was loaded before the data was checked")

    monkeypatch.setattr("training.train.load_encoder", never)
    rows = make_rows(20)
    rows[4]["key_sentences"] = ["不在文中。"]
    for row in rows[7:9]:
        row["text"], row["key_sentences"] = "<script>var a = 1;</script>", []
    data = write_jsonl(tmp_path / "train.jsonl", rows)
    dev = write_jsonl(tmp_path / "dev.jsonl", [*make_rows(3), {"text": "甲。", "topics": ["unheard"]}])
    topics = tmp_path / "topics.yaml"
    topics.write_text("- {id: screening}\n- {id: finance}\n- {id: lonely}\n", "utf-8")
    arguments = ["--data", str(data), "--dev", str(dev), "--topics", str(topics), "--output", str(tmp_path / "out")]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert "(5 problems)" in result.output
    for part in (
        f"{data}:5: key sentence not in the text", f"{data}:8: ", f"{data}: no row has topic 'lonely'",
        f"{dev}:4: unknown topic 'unheard'",
    ):
        assert part in result.output
    assert not (tmp_path / "out").exists()


def test_a_topic_in_dev_alone_is_unknown(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "train.jsonl", make_rows(20))
    dev = write_jsonl(tmp_path / "dev.jsonl", [{"text": "甲。", "topics": ["finance", "other"]}])
    with pytest.raises(DataError, match="dev.jsonl:1: unknown topic 'other'"):
        load_inputs(str(data), str(dev), None, False, 0)


def test_a_dev_part_must_tell_something(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "train.jsonl", make_rows(20))
    dev = write_jsonl(tmp_path / "dev.jsonl", [{"text": "甲。", "topics": []}])
    with pytest.raises(DataError, match="no row of the dev part"):
        load_inputs(str(data), str(dev), None, False, 0)


def test_thresholds_need_topics_in_the_dev_part(tmp_path: Path) -> None:
    rows = make_rows(9)
    data = write_jsonl(tmp_path / "rows.jsonl", rows)
    dev = write_jsonl(tmp_path / "dev.jsonl", [{"text": row["text"], "key_sentences": row["key_sentences"]} for row in rows])
    with pytest.raises(DataError, match="no row has 'topics', by which thresholds are chosen; give it some, or leave --dev out"):
        load_inputs(str(data), str(dev), None, False, 0)


def test_a_dev_part_split_off_without_topics_is_not_used_in_silence(tmp_path: Path) -> None:
    """The one row that has a topic is learned from, so no threshold could be chosen."""
    rows = [{"text": row["text"], "summary": row["key_sentences"][0]} for row in make_rows(40)]
    data = write_jsonl(tmp_path / "rows.jsonl", [{**rows[0], "topics": ["finance"]}, *rows[1:]])
    with pytest.raises(DataError, match="label more rows of each topic, give a dev part with --dev, or take 'topics' out"):
        load_inputs(str(data), None, None, False, 0)
    assert len(load_inputs(str(data), None, None, False, 0, whole_up_to=100).train) == 40, "few rows are cross-validated"
    more = write_jsonl(tmp_path / "more.jsonl", [*({**row, "topics": ["finance"]} for row in rows[:3]), *rows[3:]])
    assert any(row.topics for row in load_inputs(str(more), None, None, False, 0).dev)


def test_one_topic_a_document_needs_topics(tmp_path: Path) -> None:
    rows = [{"text": row["text"], "summary": row["key_sentences"][0]} for row in make_rows(20)]
    with pytest.raises(DataError, match="no row has 'topics', of which --single-label gives each document one; leave it out"):
        load_inputs(str(write_jsonl(tmp_path / "rows.jsonl", rows)), None, None, True, 0)


def test_topics_joined_by_commas_are_no_topic_of_their_own(tmp_path: Path) -> None:
    data, rows = tmp_path / "rows.csv", [f"第{i}篇文章。,{topic}" for i, topic in enumerate(["财经", "体育|财经", "港、澳"] * 8)]
    data.write_text("\n".join(["text,topics", *rows, "又一篇。,财经、体育", '再一篇。,"体育, 财经"', ""]), "utf-8")
    with pytest.raises(DataError) as found:
        load_inputs(str(data), None, None, False, 0)
    assert len(found.value.problems) == 2 and all("are joined by | or ;" in problem for problem in found.value.problems)
    assert [problem.split(": ")[0] for problem in found.value.problems] == [f"{data}:26", f"{data}:27"]
    topics = tmp_path / "topics.yaml"
    topics.write_text("".join(f"- {{id: '{id}'}}\n" for id in ("财经", "体育", "港、澳", "财经、体育", "体育, 财经")), "utf-8")
    assert len(load_inputs(str(data), None, topics, False, 0).topics) == 5, "somebody may mean them so"


def test_json_too_deep_to_be_read(tmp_path: Path) -> None:
    deep = "[" * 100_000 + "]" * 100_000
    rows = [{"text": "甲。", "topics": deep}, {"text": "甲。", "topics": [], "evidence": deep}]
    file = write_jsonl(tmp_path / "rows.jsonl", rows)
    file.write_text(file.read_text("utf-8") + f'{{"text": "甲。", "topics": {deep}}}\n', "utf-8")
    found = [problem.removeprefix(f"{file}:") for problem in problems(file)]
    assert "1: 'topics' must be a list of strings" in found and found[-1].startswith("3: not JSON: ")
    assert "2: 'evidence' must be an object of topics, each with a list of sentences" in found


def test_too_few_rows_to_split(tmp_path: Path) -> None:
    data = write_jsonl(tmp_path / "train.jsonl", make_rows(3))
    with pytest.raises(DataError, match="too few"):
        load_inputs(str(data), None, None, False, 0)


def test_many_problems_are_counted(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "rows.jsonl", [{"text": ""}] * 60)
    with pytest.raises(DataError, match=r"… and 10 more") as raised:
        read_rows(str(file))
    assert len(raised.value.problems) == 60


def test_few_rows_without_readable_text_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [*make_rows(60), {"text": "坏\ufffd字", "topics": []}, {"text": " ", "topics": ["finance"]}]
    file = write_jsonl(tmp_path / "rows.jsonl", rows)
    assert len(read_rows(str(file))) == 60
    reading = try_rows(str(file))
    set_aside(reading, progress=True)
    shown = capsys.readouterr().err
    assert not reading.problems and "2 rows without readable text are left out" in shown
    assert f"{file}:62: 'text' is empty" in shown
    with pytest.raises(DataError, match="wrong encoding"):
        read_rows(str(write_jsonl(tmp_path / "more.jsonl", rows[-10:])))


def test_text_alone_is_enough_where_no_labels_are_asked_for(tmp_path: Path) -> None:
    file = write_jsonl(tmp_path / "bare.jsonl", [{"text": "甲。"}, {"text": "乙。", "topics": ["other"]}])
    assert [row.text for row in try_rows(str(file), topics=[], labelled=False).rows] == ["甲。", "乙。"]


def test_of_many_rows_without_labels_some_at_random_are_read_where_labels_are_few(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    data = write_jsonl(tmp_path / "rows.jsonl", make_rows(24))
    bare = write_jsonl(tmp_path / "bare.jsonl", [{"text": f"第{i}篇。"} for i in range(400)])
    monkeypatch.setattr("training.inputs.BARE_ROWS", 40)

    def drawn(seed: int, few: int) -> list[int]:
        rows = load_inputs(str(data), None, None, False, seed, str(bare), progress=True, whole_up_to=few).unlabelled
        assert all(row.text == f"第{int(row.where.rsplit(':', 1)[1]) - 1}篇。" for row in rows)
        return [int(row.where.rsplit(":", 1)[1]) for row in rows]

    assert drawn(1, 0) == list(range(1, 401)) and "at random" not in capsys.readouterr().err
    first, second = drawn(1, 100), drawn(2, 100)
    assert len(set(first)) == 40 and first == drawn(1, 100) != second
    assert "of the 400 rows" in capsys.readouterr().err
    places = np.array([place for seed in range(60) for place in drawn(seed, 100)])
    assert 180 < places.mean() < 221 and np.histogram(places, 4, (1, 401))[0].min() > 480  # 600 each, of 2,400


def test_topics_of_unreadable_rows_do_not_count_and_each_file_has_its_own_limit(tmp_path: Path) -> None:
    script = "<script>var a = 1;</script>"
    data = write_jsonl(tmp_path / "train.jsonl", [*make_rows(60), {"text": script, "topics": ["rare"]}])
    dev = write_jsonl(tmp_path / "dev.jsonl", [*make_rows(4), *({"text": script, "topics": []} for _ in range(4))])
    assert "rare" not in [topic.id for topic in load_inputs(str(data), None, None, False, 0).topics]
    topics = tmp_path / "topics.yaml"
    topics.write_text("- {id: screening}\n- {id: finance}\n- {id: rare}\n", "utf-8")
    with pytest.raises(DataError) as found:
        load_inputs(str(data), str(dev), topics, False, 0)
    problems = found.value.problems
    assert len(problems) == 5 and "no row has topic 'rare'" in problems[0] and str(dev) in problems[1]
    both = load_inputs(str(data), None, None, False, 0, unlabelled=str(data))
    assert len(both.unlabelled) == len(both.train) + len(both.dev) == 60 and both.unlabelled[0].topics is None


def test_documents_are_not_left_out_in_silence(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [*make_rows(60), {"text": "<script>var a = 1;</script>", "topics": []}]
    found = read_rows(str(write_jsonl(tmp_path / "rows.jsonl", rows)))
    assert len(found) == 61 and len(read_documents(found)) == 60
    assert "1 rows without readable text" in capsys.readouterr().err
    with pytest.raises(DataError, match="no text"):
        read_documents(found[-3:])
