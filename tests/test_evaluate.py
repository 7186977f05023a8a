"""The command prints a table a topic, and writes the figures of design.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from click.testing import CliRunner, Result
from conftest import ROOT, make_rows, run_module
from selectolax.lexbor import LexborHTMLParser
from sklearn.metrics import f1_score

from serving.model import Model
from serving.reading import read
from training.baselines import compare
from training.baselines import main as baselines
from training.data import Row
from training.evaluate import main, print_table
from training.judge import Judged, totals
from training.judge import figures as judged_figures

FIGURES = {
    "n", "micro_f1", "macro_f1", "exact_match", "accuracy", "map", "ece", "per_topic", "key_sentence_f1",
    "rouge1", "rouge2", "rougeL",
}


def evaluate(model: Path, rows: list[dict], folder: Path) -> tuple[str, dict]:
    data, out = folder / "test.jsonl", folder / "figures" / "test.json"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    result = CliRunner().invoke(main, ["--model", str(model), "--data", str(data), "--json", str(out)], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.output, json.loads(out.read_text("utf-8"))


def test_table_and_figures(tiny_model: Path, tmp_path: Path) -> None:
    rows = make_rows(40, seed=3)
    output, figures = evaluate(tiny_model, rows, tmp_path)
    assert figures.keys() >= FIGURES and figures["n"] == 40 and figures["accuracy"] is None
    for part in ("support", "precision", "recall", "F1", "AP", "finance", "screening", "micro_f1", "macro_f1", "key_sentence_f1"):
        assert part in output
    model = Model.load(tiny_model)
    scores = model.score([read(row["text"], title=row["title"]) for row in rows], 4096)
    decided = [[int(s >= t.threshold) for s, t in zip(score.topics, model.topics)] for score in scores]
    truth = [[int(t.id in row["topics"]) for t in model.topics] for row in rows]
    assert figures["micro_f1"] == pytest.approx(f1_score(truth, decided, average="micro"))
    assert figures["micro_f1"] > 0.9
    for i, topic in enumerate(model.topics):
        assert figures["per_topic"][topic.id]["support"] == sum(row[i] for row in truth)
        assert set(figures["per_topic"][topic.id]) == {"support", "precision", "recall", "f1", "average_precision"}


def test_simpler_methods_on_rows_of_other_topics(tiny_model: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    """Without the model, which does not know them; what is wrong with the rows is said as everywhere."""
    rows = [{**row, "topics": [f"my_{topic}" for topic in row["topics"]]} for row in make_rows(40)]
    files = [tmp_path / f"{name}.jsonl" for name in ("train", "dev", "test")]
    for file, own in (*zip(files, (rows, rows, rows)), (tmp_path / "known.jsonl", make_rows(40))):
        file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in own), "utf-8")

    def run(*parts: Path) -> Result:
        command = [x for name, part in zip(("--train", "--dev", "--test"), parts) for x in (name, str(part))]
        command += ["--model", str(tiny_model), "--encoder", str(tiny_encoder)]
        return CliRunner().invoke(baselines, command, env={"COLUMNS": "120"})

    found = run(*files)
    assert found.exit_code == 0 and "LinearSVC" in found.output and "(this model)" not in found.output, found.output
    assert "knows none of these topics" in found.output
    assert "(this model)" in run(*[tmp_path / "known.jsonl"] * 3).output
    one = tmp_path / "one.jsonl"
    one.write_text("".join(json.dumps({**row, "topics": ["all"]}, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    assert run(one, one, one).exit_code == 0
    failed = run(files[0], files[1], tmp_path / "none.jsonl")
    assert failed.exit_code == 2 and "no such file" in failed.output


def test_simpler_methods_pass_over_rows_that_do_not_say_their_topics(tiny_model: Path, tiny_encoder: Path) -> None:
    mixed = [
        Row(row["text"], tuple(row["topics"]) if i % 3 else None, tuple(row["key_sentences"]), None, "", "", row["id"])
        for i, row in enumerate(make_rows(60))
    ]
    found = compare([mixed[:30], mixed[30:45], mixed[45:]], tiny_model, str(tiny_encoder))
    parts = [[row for row in part if row.topics is not None] for part in (mixed[:30], mixed[30:45], mixed[45:])]
    stated = compare(parts, tiny_model, str(tiny_encoder))
    for name in list(found)[:3]:
        assert found[name]["n"] == 10 and totals(found[name]) == pytest.approx(totals(stated[name]), abs=1e-4)
    assert found[f"{tiny_model.name} (this model)"]["n"] == 15, "summaries are judged of all"


def test_topic_ids_are_no_markup(capsys: pytest.CaptureFixture) -> None:
    per_topic = {"体育[/football]": dict.fromkeys(("support", "precision", "recall", "f1", "average_precision"), 1)}
    print_table({**dict.fromkeys(FIGURES), "n": 1, "per_topic": per_topic})
    assert "体育[/football]" in capsys.readouterr().out


def test_no_sentences_are_sought_for_a_summary_that_is_judged_by_rouge(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.judge.key_labels", None)
    document = read("医院开展了新的筛查项目。市民可以预约。")
    row = Row(document.text, None, None, "市民预约", "", "", "")
    found = judged_figures([], [Judged(row, document, np.zeros(0), np.zeros(0, int), np.zeros(0, int), [1])], False)
    assert found["key_sentence_f1"] is None and found["rouge1"] > 0


def test_figures_without_labels_are_null(tiny_model: Path, tmp_path: Path) -> None:
    rows = make_rows(8, seed=4)
    topics_only = [{"text": row["text"], "topics": row["topics"]} for row in rows]
    output, figures = evaluate(tiny_model, topics_only, tmp_path)
    assert [figures[name] for name in ("key_sentence_f1", "rouge1", "rouge2", "rougeL")] == [None] * 4
    assert "rouge1" not in output
    _, figures = evaluate(tiny_model, [{"text": row["text"], "summary": row["key_sentences"][0]} for row in rows], tmp_path)
    assert figures.keys() >= FIGURES
    assert [figures[name] for name in ("micro_f1", "map", "ece", "per_topic", "key_sentence_f1")] == [None] * 5
    assert 0 < figures["rouge2"] <= figures["rouge1"] <= 1
    _, figures = evaluate(tiny_model, [{"text": row["text"], "key_sentences": row["key_sentences"]} for row in rows], tmp_path)
    assert figures["micro_f1"] is None and 0 <= figures["key_sentence_f1"] <= 1


def test_problems_are_named_before_the_model_is_loaded(tiny_model: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Model, "load", None)
    data = tmp_path / "test.jsonl"
    data.write_text('{"text": "甲", "topics": ["unheard"]}\n{"text": "<style>a</style>", "topics": []}\n', "utf-8")
    result = CliRunner().invoke(main, ["--model", str(tiny_model), "--data", str(data)])
    assert result.exit_code == 2
    assert f"{data}:1: unknown topic 'unheard'" in result.output and f"{data}:2: " in result.output


def test_no_model(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["--model", str(tmp_path), "--data", "x.jsonl"])
    assert result.exit_code == 1 and "there is no model in" in result.output


def evaluated(model: Path, rows: list[dict], folder: Path, *options: object) -> LexborHTMLParser:
    data, page = folder / "test.jsonl", folder / "pages" / "evaluation.html"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    arguments = ["--model", model, "--data", data, "--report", page, "--json", folder / "figures.json", *options]
    result = CliRunner().invoke(main, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.output
    return LexborHTMLParser(page.read_text("utf-8"))


def cells(page: LexborHTMLParser, name: str) -> list[list[str]]:
    """The table behind a heading of the second level; topics by their ids."""
    node = page.css_first(f"h2#{name}")
    while (table := node.css_first("table") if node.tag == "div" else None) is None:
        node = node.next
        assert node is not None and node.tag != "h2", f"no table under {name}"
    return [[(td.css_first("bdi.topic code") or td).text().strip() for td in row.css("td")] for row in table.css("tbody tr")]


def test_the_page_agrees_with_the_figures_and_the_predictions(tiny_model: Path, tmp_path: Path) -> None:
    rows = make_rows(60, seed=6)
    for i in (4, 11, 30):  # labels that are wrong
        rows[i]["topics"] = ["screening", "finance"] if not rows[i]["topics"] else []
    predictions, bare = tmp_path / "said.jsonl", tmp_path / "bare.jsonl"
    unlabelled = [{"id": f"new{row['id']}", "text": row["text"]} for row in make_rows(6, seed=9)]
    bare.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in unlabelled), "utf-8")
    page = evaluated(tiny_model, rows, tmp_path, "--predictions", predictions, "--unlabelled", bare)
    figures = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    said = [json.loads(line) for line in predictions.read_text("utf-8").splitlines()]
    assert len(said) == 60 and said[0].keys() == {"where", "id", "topics", "given", "scores"}
    for row in cells(page, "topics"):
        topic, counted = row[0], figures["per_topic"][row[0]]
        assert row[1] == str(counted["support"]) and row[4] == f"{counted['f1']:.3f}"
        missed = sum(topic in one["topics"] and topic not in one["given"] for one in said)
        wrong = sum(topic not in one["topics"] and topic in one["given"] for one in said)
        assert row[-3:-1] == [str(missed), str(wrong)]
    wrong = {one["id"] for one in said if set(one["topics"]) != set(one["given"])}
    listed = {node.text() for node in page.css("h2#mistakes ~ div td:first-child code")}
    assert wrong >= {"4", "11", "30"} and wrong <= listed
    suspects = {row[1].rsplit(":", 1)[1] for row in cells(page, "suspects")}
    assert {"5", "12", "31"} <= suspects  # lines of the file
    assert len(page.css("h2#curves ~ div.multiples svg")) == 2
    assert all(row[1].startswith(str(bare)) for row in cells(page, "next"))
    assert page.css_first("h2#worst ~ ul .body").text() in {row["text"] for row in rows}


def test_the_page_of_a_single_label_model_in_english(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = [row for row in make_rows(90, seed=2) if row["topics"]]
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    run_module(
        "training.train", "--data", data, "--output", tmp_path / "m", "--encoder", tiny_encoder, "--epochs", 1, "--single-label",
        "--window", 64, "--device", "cpu",
    )
    page = evaluated(tmp_path / "m", rows[:30], tmp_path, "--language", "en")
    heads = [th.text() for th in page.css("h2#topics ~ div thead")[0].css("th")]
    assert "Threshold" not in heads and "accuracy" in page.css_first(".tiles").text()
    assert "--unlabelled" in page.css_first("h2#next ~ p").text()


def test_a_page_without_labels_of_topics(tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"text": row["text"], "summary": row["key_sentences"][0]} for row in make_rows(8, seed=4)]
    page = evaluated(tiny_model, rows, tmp_path)
    assert "没有主题标注" in page.css_first(".notes").text() and not page.css("h2#curves")
    assert "ROUGE-1" in page.css_first(".tiles").text()


def test_unlabelled_rows_are_for_the_page(tiny_model: Path) -> None:
    result = CliRunner().invoke(main, ["--model", str(tiny_model), "--data", "x.jsonl", "--unlabelled", "y.jsonl"])
    assert result.exit_code == 2 and "--report" in result.output


def test_strings_are_complete_and_used() -> None:
    folder = ROOT / "training" / "report_page"
    strings = yaml.safe_load((folder / "strings.yaml").read_text("utf-8"))
    code = (folder / "evaluation.html").read_text("utf-8") + (ROOT / "training" / "evaluation_page.py").read_text("utf-8")
    for key, value in strings.items():
        assert set(value) == {"zh", "en"}, key
        assert re.search(rf"[\"']{key}[\"']", code) or key.startswith(("col_", "tile_")), key
