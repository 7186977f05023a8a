"""Decisions fitted anew to other documents: what follows them, what stays, and what is refused."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import make_rows, run_module

from serving.model import Model
from training import recalibrate
from training.data import Topic, try_rows
from training.examples import make_examples, readable
from training.recalibrate import decisions_of, hear, out_of_fold

WHERE = ("sharpness", "windows", "lexicon", "files", "encoder")


def write(file: Path, rows: list[dict]) -> Path:
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return file


def config(folder: Path) -> dict:
    return json.loads((folder / "config.json").read_text("utf-8"))


def figures(model: Path, data: Path, tmp_path: Path) -> dict:
    run_module("training.evaluate", "--model", model, "--data", data, "--json", tmp_path / "figures.json")
    return json.loads((tmp_path / "figures.json").read_text("utf-8"))


def test_thresholds_follow_other_labels(tiny_model: Path, tmp_path: Path) -> None:
    rows = make_rows(60, seed=5)
    always = [{**row, "topics": sorted({*row["topics"], "finance"}), "evidence": None} for row in rows]
    data = write(tmp_path / "rows.jsonl", always)
    before = figures(tiny_model, data, tmp_path)
    said = run_module("training.recalibrate", "--model", tiny_model, "--data", data, "--output", tmp_path / "new").stdout
    after = figures(tmp_path / "new", data, tmp_path)
    assert after["per_topic"]["finance"]["f1"] == 1.0 > before["per_topic"]["finance"]["f1"]
    assert "with the decisions of before" in said and "each row's by the others" in said
    old, new = config(tiny_model), config(tmp_path / "new")
    assert all(old[name] == new[name] for name in WHERE) and new["recalibrated"]["rows"] == 60
    assert 0.5 < new["metrics"]["cross_validation"]["micro_f1"] <= 1
    [place] = [i for i, topic in enumerate(new["topics"]) if topic["id"] == "finance"]
    assert new["calibration"]["offsets"][place] > old["calibration"]["offsets"][place]


def test_in_its_place_and_what_the_rows_do_not_say_stays(tiny_model: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    rows = [{"text": row["text"], "key_sentences": row["key_sentences"]} for row in make_rows(40, seed=6) if row["key_sentences"]]
    data = write(tmp_path / "rows.jsonl", rows)
    run_module("training.recalibrate", "--model", folder, "--data", data, "--output", folder)
    old, new = config(tiny_model), config(folder)
    assert (old["topics"], old["calibration"]) == (new["topics"], new["calibration"]) and "recalibrated" in new
    assert Model.load(folder).name != Model.load(tiny_model).name  # so that a service takes it into use


def test_no_row_is_judged_by_decisions_that_it_was_part_of(tiny_model: Path, tmp_path: Path) -> None:
    """A topic that one row alone has is found in no other's decisions."""
    model = Model.load(tiny_model)
    ids = [topic.id for topic in model.topics]
    data = write(tmp_path / "rows.jsonl", make_rows(30, seed=7))
    reading = try_rows(str(data), topics=[Topic(i, i) for i in ids])
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(tiny_model / "tokenizer.json"))
    held = hear(model, make_examples(reading.rows, ids, tokenizer, model.windows, readable(reading)))
    exact = model.score([example.document for example in held.examples], 4096)
    now = decisions_of(model)
    given = [now[0].probabilities(p.logits, w, False) for p, w in zip(held.predictions, held.lexical)]
    assert np.allclose(np.stack(given), np.stack([scores.topics for scores in exact]), atol=1e-5)
    said = out_of_fold(held, now, False)
    assert [one.row.where for one in said] == [example.row.where for example in held.examples]
    shuffled = {one.row.where: one.scores for one in said}
    flipped = held.examples[0].topics.copy()
    held.examples[0].topics[:] = 1 - flipped
    again = {one.row.where: one.scores for one in out_of_fold(held, now, False)}
    first = held.examples[0].row.where
    assert np.array_equal(again[first], shuffled[first]) and any(not np.array_equal(again[w], shuffled[w]) for w in again)


def test_an_encoder_is_not_written_over(tiny_encoder: Path, tmp_path: Path) -> None:
    """Said before anything is read: there is neither a model nor are there rows."""
    nothing = ["--model", str(tmp_path / "none"), "--data", str(tmp_path / "none.jsonl")]
    result = CliRunner().invoke(recalibrate.main, [*nothing, "--output", str(tiny_encoder)])
    assert result.exit_code == 1 and "holds something else than a model" in result.output


@pytest.mark.parametrize(("rows", "says", "code"), [
    (make_rows(12), "label 20 at the least", 1),
    ([{**make_rows(1)[0], "id": str(i)} for i in range(25)], "all begin alike", 1),
    ([*make_rows(30), {"text": "一篇。", "topics": ["other"]}], "unknown topic 'other'", 2),
])
def test_what_is_refused(tiny_model: Path, tmp_path: Path, rows: list[dict], says: str, code: int) -> None:
    data = write(tmp_path / "rows.jsonl", rows)
    result = run_module("training.recalibrate", "--model", tiny_model, "--data", data, "--output", tmp_path / "new", check=False)
    assert result.returncode == code and says in result.stderr and not (tmp_path / "new").exists()
