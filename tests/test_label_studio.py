"""Label Studio's JSON: its documented examples are read, what is written has their structure, and labels survive both ways."""

import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import ROOT

from serving.errors import InputError
from serving.label_studio import labelling_config, to_row, to_rows, to_task
from training.data import read_rows
from training.label_studio import main
from training.prepare import write_jsonl
from training.topics import read_topics

TEXT = "𠮷林市启动产前基因筛查。费用由财政承担。\n市民可以在医院预约。"
ROW = {
    "id": "a", "title": "筛查启动", "text": TEXT, "topics": ["genetic_screening", "livelihood_program"],
    "key_sentences": ["𠮷林市启动产前基因筛查。"],
    "evidence": {"genetic_screening": ["𠮷林市启动产前基因筛查。"], "livelihood_program": ["费用由财政承担。"]},
}
WRITTEN = ROOT / "training" / "data" / "written_dev.jsonl"


def span(start: int, end: int, *labels: str, **value: object) -> dict:
    """A region as the documentation of the Text tag and of pre-annotations for text shows it."""
    return {"id": f"r{start}", "from_name": "label", "to_name": "text", "type": "labels",
            "value": {"start": start, "end": end, "labels": list(labels), **value}}


def choice(*choices: str) -> dict:
    return {"id": "c", "from_name": "choice", "to_name": "text", "type": "choices", "value": {"choices": list(choices)}}


def exported(*result: dict, **annotation: object) -> dict:
    """A task as the documentation of the JSON export shows it."""
    done = {
        "id": 1001, "result": list(result), "was_cancelled": False, "ground_truth": False, "lead_time": 4.288, "result_count": 0,
        "created_at": "2021-03-09T22:16:08.728353Z", "updated_at": "2021-03-09T22:16:08.728378Z", "task": 1, "completed_by": 10,
    }
    return {
        "id": 1, "created_at": "2021-03-09T21:52:49.513742Z", "updated_at": "2021-03-09T22:16:08.746926Z", "project": 83,
        "data": {"text": TEXT}, "annotations": [{**done, **annotation}],
        "predictions": [{"created_ago": "3 hours", "model_version": "model 1", "result": [choice("tcm")]}],
    }


def test_a_row_becomes_an_annotation_and_comes_back() -> None:
    task = to_task(ROW)
    [annotation] = task["annotations"]
    assert task["data"] == {"id": "a", "title": "筛查启动", "text": TEXT} and "predictions" not in task
    assert [item["type"] for item in annotation["result"]] == ["choices", "labels", "labels"]
    for item in annotation["result"][1:]:
        value = item["value"]
        assert TEXT[value["start"] : value["end"]] == value["text"]
    assert len({item["id"] for item in annotation["result"]}) == len(annotation["result"])
    assert to_row(json.loads(json.dumps(task))) == ROW


def test_an_analysis_becomes_a_prediction() -> None:
    sentence = {"text": "费用由财政承担。", "offset": 12, "length": 8}
    analysis = {
        "id": "a", "title": "", "text": TEXT, "warnings": [], "model": "default@1",
        "summary": {"sentences": [{**sentence, "rank_score": 0.9}]},
        "topics": [
            {"id": "tcm", "score": 0.8, "evidence": [{**sentence, "score": 0.7}]}, {"id": "x", "score": 0.6, "evidence": []},
        ],
    }
    [prediction] = to_task(analysis)["predictions"]
    assert (prediction["model_version"], prediction["score"]) == ("default@1", 0.6)
    choices, region = prediction["result"]
    assert choices["value"] == {"choices": ["tcm", "x"]}
    assert region["value"] == {
        "start": 12, "end": 20, "text": "费用由财政承担。", "labels": ["key_sentence", "tcm"], "score": 0.9,
    }
    with pytest.raises(InputError, match="no annotation"):  # the model's word is no label
        to_row(to_task(analysis))


@pytest.mark.parametrize("wrong", [{"offset": 0}, {"offset": -15}, {"offset": 900}, {"length": 7}, {"text": ""}, {"text": "短"}])
def test_an_analysis_of_another_text_is_refused(wrong: dict) -> None:
    sentence = {"text": "费用由财政承担。", "offset": 12, "length": 8, "rank_score": 0.9, "score": 0.9} | wrong
    analysis = {"id": "a", "text": TEXT, "warnings": [], "topics": [], "summary": {"sentences": [sentence]}}
    proved = {**analysis, "summary": None, "topics": [{"id": "tcm", "score": 0.8, "evidence": [sentence]}]}
    for given in (analysis, proved):
        with pytest.raises(InputError, match="the same analysis"):
            to_task(given)


@pytest.mark.parametrize(
    "offsets", [{"start": 12, "end": 20, "text": "费用由财政承担。"}, {"start": 13, "end": 21, "text": "费用由财政承担。"},
                {"start": "12", "end": "20"}],
    ids=["code points", "UTF-16 units", "no text, strings"],
)
def test_the_documented_export_is_read(offsets: dict) -> None:
    task = exported(choice("民生工程"), {**span(0, 0), "value": {**offsets, "labels": ["key_sentence"]}})
    row = to_row(task, {"民生工程": "livelihood_program"})
    assert row == {"id": "1", "text": TEXT, "topics": ["livelihood_program"], "key_sentences": ["费用由财政承担。"]}


def test_which_annotation_counts() -> None:
    task = exported(choice("first"))
    task["annotations"] += exported(choice("last"))["annotations"]
    task["annotations"] += exported(choice("skipped"), was_cancelled=True)["annotations"]
    assert to_row(task)["topics"] == ["last"]
    task["annotations"][0]["ground_truth"] = True
    assert to_row(task)["topics"] == ["first"]


def test_no_choice_means_no_topic_only_in_a_project_that_has_choices() -> None:
    bare = exported(span(12, 20, "key_sentence"))
    rows, errors = to_rows([exported(choice("tcm")), bare])
    assert [row["topics"] for row in rows] == [["tcm"], []] and not errors
    rows, errors = to_rows([bare, exported(span(12, 20, "Person"))])
    assert "topics" not in rows[0] and "teaches nothing" in errors[0][1]


def test_a_label_without_its_choice_is_not_lost() -> None:
    names = {"中医药": "tcm", "民生工程": "livelihood_program"}
    by_hand, foreign = span(12, 20, "民生工程"), span(12, 20, "Person")
    rows, errors = to_rows([exported(choice("tcm"), by_hand), exported(choice("tcm"), foreign), exported(by_hand)], names)
    assert [row["topics"] for row in rows] == [["tcm"]]
    assert len(errors) == 2 and all("'livelihood_program', which is not chosen" in error for _, error in errors)
    keys = exported(span(0, 4, "key_sentence"), by_hand)
    assert "topics" not in to_rows([keys], names)[0][0], "a project without choices says nothing of topics"
    left = {**by_hand, "origin": "prediction"}  # of a topic that the reader took away
    assert to_rows([exported(choice("tcm"), left)], names) == (rows, [])


@pytest.mark.parametrize(
    "task, says",
    [
        ([], "JSON object"), ({"text": TEXT}, "not JSON-MIN"), ({"data": {"text": TEXT}}, "no annotation"),
        (exported(was_cancelled=True), "no annotation"), (exported(span(0, 900, "key_sentence")), "does not fit"),
        (exported(span(0, 4, "key_sentence", text="别的话")), "does not fit"), (exported(span("/p[1]", 4, "x")), "plain text"),
        (exported(span(float("inf"), 4, "x")), "plain text"), ({"data": {"text": " \n"}}, "not JSON-MIN"),
    ],
)
def test_what_is_wrong_is_said_and_the_others_go_through(task: object, says: str) -> None:
    rows, [(_, error)] = to_rows([exported(choice("tcm")), task])
    assert len(rows) == 1 and says in error


@pytest.mark.parametrize("label", ["topics", "key_sentences", "evidence"])
def test_a_string_is_not_taken_for_a_list_of_letters(label: str) -> None:
    value = {"tcm": "针灸"} if label == "evidence" else "针灸"
    with pytest.raises(InputError, match="make it a list"):
        to_task({"text": "针灸。", "topics": ["tcm"], label: value})


def test_the_configuration_names_every_topic() -> None:
    view = ElementTree.fromstring(labelling_config([("a", "甲 & \"乙\""), ("b", "丙")]))
    assert [node.get("alias") for node in view.iter("Choice")] == ["a", "b"]
    assert [node.get("alias") for node in view.iter("Label")] == ["key_sentence", "a", "b"]
    tasks = to_task(ROW)["annotations"][0]["result"]
    assert {(item["from_name"], item["to_name"]) for item in tasks} <= {
        (node.get("name"), node.get("toName")) for node in view if node.get("toName")
    }
    assert view.find("Text").get("value") == "$text"


def command(*arguments: object, code: int = 0) -> Result:
    result = CliRunner().invoke(main, list(map(str, arguments)))
    assert result.exit_code == code, result.output
    return result


def test_there_and_back_by_command(tmp_path: Path) -> None:
    tasks, config, back = tmp_path / "tasks.json", tmp_path / "config.xml", tmp_path / "back.jsonl"
    command("export", WRITTEN, "--output", tasks, "--config", config)
    assert "genetic_screening" in config.read_text("utf-8")
    command("import", tasks, "--output", back)
    topics = read_topics(ROOT / "training" / "data" / "topics.yaml")
    ours, theirs = (read_rows(str(path), topics=topics) for path in (WRITTEN, back))

    def labels(row) -> tuple:
        evidence = {topic: set(marked) for topic, marked in row.evidence or ()}
        return row.id, row.title, row.text, set(row.topics), set(row.key_sentences or ()), evidence

    assert len(ours) > 20 and list(map(labels, ours)) == list(map(labels, theirs))


def test_cells_of_a_table_hold_lists(tmp_path: Path) -> None:
    sentences = {"genetic_screening": [TEXT.splitlines()[0][:13]]}
    cell = json.dumps(sentences).replace('"', '""')
    (tmp_path / "rows.csv").write_text(
        "id,text,topics,key_sentences,evidence\n"
        f'a,"{TEXT}",genetic_screening|tcm,费用由财政承担。|市民可以在医院预约。,"{cell}"\n'
        f'b,"{TEXT}",,费用由财政承担。,\n', "utf-8",
    )
    command("export", tmp_path / "rows.csv", "--output", tmp_path / "tasks.json")
    command("import", tmp_path / "tasks.json", "--output", tmp_path / "rows.jsonl")
    first, second = (json.loads(line) for line in (tmp_path / "rows.jsonl").read_text("utf-8").splitlines())
    assert first["topics"] == ["genetic_screening", "tcm"] and first["evidence"] == sentences
    assert first["key_sentences"] == ["费用由财政承担。", "市民可以在医院预约。"]
    assert second["topics"] == [] and second["key_sentences"] == ["费用由财政承担。"]


def test_the_command_says_what_it_left_out(tmp_path: Path) -> None:
    rows = tmp_path / "rows.jsonl"
    write_jsonl(rows, [ROW, {**ROW, "key_sentences": ["别的话。"]}])
    result = command("export", rows, "--output", tmp_path / "t.json", code=1)
    assert "rows.jsonl:2" in result.stderr and "not in the text" in result.stderr
    assert len(json.loads((tmp_path / "t.json").read_text("utf-8"))) == 1
    assert "not JSON" in command("import", rows, "--output", tmp_path / "r.jsonl", code=1).stderr
