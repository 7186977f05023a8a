"""From topics and an archive without labels to weak labels, a first model and a sheet to label."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from accelerate.state import AcceleratorState
from click.testing import CliRunner, Result
from conftest import make_rows

from serving.document import Document
from serving.model import Model
from serving.reading import read
from training import start
from training.data import read_rows
from training.errors import DataError
from training.keywords import keyword_scores, phrases, vetoes, words
from training.label_studio import main as label_studio
from training.pool import read_pool
from training.topics import Topic

TOPICS = """\
- id: screening
  name: 筛查
  description: 基因和染色体的检测，例如孕妇采血、基因检测。
- id: finance
  name: 融资
  description: 股权、基金、上市和并购。
  keywords: [利润]
"""


def write(path: Path, rows: list[dict]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def bare(rows: list[dict]) -> list[dict]:
    return [{"id": row["id"], "title": row["title"], "text": row["text"]} for row in rows]


def run(encoder: Path, *arguments: object, code: int = 0) -> Result:
    AcceleratorState._reset_state(True)
    command = [*map(str, arguments), "--encoder", str(encoder), "--device", "cpu"]
    result = CliRunner().invoke(start.main, command, env={"COLUMNS": "120"})
    assert result.exit_code == code, f"{result.output}\n{result.exception!r}"
    return result


@pytest.fixture(scope="module")
def started(tiny_encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    folder = tmp_path_factory.mktemp("start")
    rows = make_rows(90)
    again = {"id": "again", "title": "", "text": rows[0]["text"]}
    archive = write(folder / "archive.jsonl", [*bare(rows), again, {"id": "bad", "text": 5}])
    more = folder / "more"
    more.mkdir()
    (more / "one.txt").write_text("染色体采血检测基因筛查。孕妇检测采血染色体筛查。", "utf-8")
    (folder / "topics.yaml").write_text(TOPICS + "- {id: whales, name: 鲸鱼}\n", "utf-8")
    result = run(
        tiny_encoder, "--topics", folder / "topics.yaml", "--archive", archive, more, "--output", folder / "out", "--count", 12,
    )
    return folder, result


def test_weak_labels_are_mostly_right(started: tuple[Path, Result]) -> None:
    folder, result = started
    truth = {row["id"]: set(row["topics"]) for row in make_rows(90)} | {str(folder / "more" / "one.txt"): {"screening"}}
    weak = read_rows(str(folder / "out" / "weak.jsonl"))
    assert len(weak) > 60 and "again" not in {row.id for row in weak}
    given = [(topic in truth[row.id]) for row in weak for topic in row.topics]
    assert np.mean(given) > 0.9 and len(given) > 0.7 * sum(map(len, truth.values()))
    assert any(row.topics == () for row in weak), "sure negatives teach too"
    assert "93 documents in the archive; all of them, 1 reprints left out: 91" in result.stdout
    assert "archive.jsonl:92: has no 'text' that is a string" in result.stderr


def test_the_first_model_knows_the_topics_that_were_found(started: tuple[Path, Result]) -> None:
    folder, result = started
    model = Model.load(folder / "out" / "model")
    assert [(topic.id, topic.name) for topic in model.topics] == [("screening", "筛查"), ("finance", "融资")]
    for part in ("whales (0): state more keywords", "does not know whales", "are on the sheet"):
        assert part in result.stderr
    clear = [read("股权融资基金上市并购利润。"), read("染色体采血检测孕妇筛查。")]
    finance, screening = (scores.topics for scores in model.score(clear, 4096))
    assert finance[1] > finance[0] and screening[0] > screening[1]


def test_the_sheet_in_its_three_forms(started: tuple[Path, Result], tmp_path: Path) -> None:
    folder, result = started
    sheet = folder / "out" / "label.jsonl"
    rows = [json.loads(line) for line in sheet.read_text("utf-8").splitlines()]
    assert len(rows) == len({row["id"] for row in rows}) == 12 and "again" not in {row["id"] for row in rows}
    assert all(row["topics"] is None and isinstance(row["guess"], list) and row["text"] for row in rows)
    assert [row["why"] for row in rows].count("whales ?") == 4, "a topic that no vote finds has its share of the sheet"
    with pytest.raises(DataError, match="nobody has filled in 'topics' in any of its 12 rows"):
        read_rows(str(sheet))
    rows[0]["topics"], rows[1]["topics"] = ["whales"], []
    filled = read_rows(str(write(tmp_path / "filled.jsonl", rows)))
    assert [(row.id, row.topics) for row in filled] == [(rows[0]["id"], ("whales",)), (rows[1]["id"], ())]

    tasks = json.loads((folder / "out" / "label-studio.json").read_text("utf-8"))
    assert [task["data"]["id"] for task in tasks] == [row["id"] for row in rows]
    assert [[c for item in task["predictions"][0]["result"] if item["type"] == "choices" for c in item["value"]["choices"]]
            for task in tasks] == [row["guess"] for row in rows]
    assert 'alias="whales"' in (folder / "out" / "label-studio.xml").read_text("utf-8")
    for task in tasks:  # what Label Studio exports once somebody has accepted the guess
        task["annotations"] = [{"result": task["predictions"][0]["result"]}]
    (tmp_path / "tasks.json").write_text(json.dumps(tasks), "utf-8")
    back = tmp_path / "back.jsonl"
    imported = CliRunner().invoke(label_studio, ["import", str(tmp_path / "tasks.json"), "--output", str(back)])
    assert imported.exit_code == 0 and [list(row.topics) for row in read_rows(str(back))] == [row["guess"] for row in rows]


def test_one_topic_a_document(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = [row for row in make_rows(90, seed=3) if row["topics"]]
    (tmp_path / "topics.yaml").write_text(TOPICS, "utf-8")
    run(tiny_encoder, "--topics", tmp_path / "topics.yaml", "--archive", write(tmp_path / "a.jsonl", bare(rows)),
        "--output", tmp_path / "out", "--single-label", "--sample", 40, "--count", 5)
    truth = {row["id"]: tuple(row["topics"]) for row in rows}
    weak = read_rows(str(tmp_path / "out" / "weak.jsonl"), single_label=True)
    assert 30 <= len(weak) <= 40 and np.mean([row.topics == truth[row.id] for row in weak]) > 0.9
    assert Model.load(tmp_path / "out" / "model").single_label


def test_one_topic_a_document_where_words_rule_topics_out(tiny_encoder: Path, tmp_path: Path) -> None:
    """A document of which all are ruled out teaches nothing."""
    rows = [*bare(make_rows(90)), {"id": "none", "title": "", "text": "天气音乐球赛广告。旅游山水。"}]
    leisure = "- {id: leisure, name: 旅游, description: 旅游音乐天气, keywords: [旅游, 天气, 音乐], must_not: [球赛]}\n"
    ruled = TOPICS.replace("  name:", "  must_not: [广告]\n  name:")
    (tmp_path / "topics.yaml").write_text(ruled + leisure, "utf-8")
    run(tiny_encoder, "--topics", tmp_path / "topics.yaml", "--archive", write(tmp_path / "a.jsonl", rows),
        "--output", tmp_path / "out", "--single-label", "--count", 5)
    weak = {row.id: row for row in read_rows(str(tmp_path / "out" / "weak.jsonl"), single_label=True)}
    assert len(weak) > 40 and "none" not in weak
    assert not any("球赛" in row.title + row.text for row in weak.values() if row.topics == ("leisure",))


def test_what_can_not_begin_says_why(tiny_encoder: Path, tmp_path: Path) -> None:
    topics, archive = tmp_path / "topics.yaml", write(tmp_path / "a.jsonl", bare(make_rows(20)))
    rest = ("--archive", archive, "--output", tmp_path / "out")
    topics.write_text("- {name: 甲}\n- {id: b, keyword: [一]}\n", "utf-8")
    assert "(2 problems)" in run(tiny_encoder, "--topics", topics, *rest, code=2).output
    topics.write_text("- {id: whales, name: 鲸鱼}\n", "utf-8")
    assert "the votes agree on no document" in run(tiny_encoder, "--topics", topics, *rest, code=2).output
    assert "two topics or more" in run(tiny_encoder, "--topics", topics, *rest, "--single-label", code=2).output
    assert "no such file" in run(tiny_encoder, "--topics", topics, "--archive", tmp_path / "no", *rest[2:], code=1).output
    inside = ("--archive", tmp_path, "--output", tmp_path / "out")
    assert "lies inside the archive" in run(tiny_encoder, "--topics", topics, *inside, code=1).output
    own = run(tiny_encoder, "--topics", topics, *rest[:2], "--output", tmp_path, code=1).output
    assert "take the place of --topics" in own and "鲸鱼" in topics.read_text("utf-8")
    (tmp_path / "out").mkdir()
    begun = {"text": "甲。", "topics": ["whales"], "guess": []}
    sheet = write(tmp_path / "out" / "label.jsonl", [{**begun, "topics": None}, begun])
    assert "label.jsonl holds labels" in run(tiny_encoder, "--topics", topics, *rest, code=1).output
    assert len(read_rows(str(sheet))) == 1


def test_a_sample_of_a_long_archive(tmp_path: Path) -> None:
    texts = [f"第{i}篇文章，讲的是第{i * 7919}号的事情。" for i in range(400)]
    archive = write(tmp_path / "a.jsonl", [{"id": str(i), "text": text} for i, text in enumerate(texts)])
    pools = [read_pool([str(archive)], 50, seed, progress=False) for seed in (0, 0, 1)]
    drawn = [[int(document.id) for document in pool.documents] for pool in pools]
    assert len(drawn[0]) == 50 and pools[0].found == 400 and drawn[0] == sorted(drawn[0])
    assert drawn[0] == drawn[1] != drawn[2] and max(drawn[0]) > 300 and min(drawn[0]) < 100
    known = [Document(text) for text in texts[:10]]
    left = read_pool([str(archive)], 1000, 0, known=known, progress=False)
    assert [int(document.id) for document in left.documents] == list(range(10, 400)) and left.reprints == 10


def test_words_of_a_topic_and_how_telling_they_are() -> None:
    described = "医疗保险、集中采购和药品价格，例如医保目录；不包括商业保险。只是提到看病的也不算。"
    topic = Topic("a", "医保药价", described, ("报销",))
    assert phrases(topic) == ["医保药价", "医疗保险", "集中采购和药品价格", "医保目录"]
    assert {"医疗保险", "医保目录", "报销"} <= words(topic).keys() and not {"商业保险", "看病"} & words(topic).keys()
    other = Topic("b", "报销", must_not=("貓",))
    texts = ["医保目录调整。", "天气晴。", "报销。", "天气好，猫来了，报销。", *["天气。"] * 16]
    titles = ["", "医保目录", *[""] * 18]
    scores = keyword_scores(titles, texts, [topic, other])
    assert scores[1, 0] > 0 and scores[0, 0] > scores[2, 0] > 0 and scores[4].max() == 0
    assert scores[2, 0] > scores[2, 1] > 0, "a stated keyword tells more than the name"
    assert np.argwhere(vetoes(titles, texts, [topic, other])).tolist() == [[3, 1]], "in simplified script, as all is compared"
