"""Labels that are likely wrong, found in rows into which wrong ones were planted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import make_rows

from training import suspects

WRONG = (3, 20, 41, 77)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    made = make_rows(200, seed=5)
    for i in WRONG:
        made[i]["topics"] = ["finance"] if made[i]["topics"] != ["finance"] else []
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), "utf-8")
    return file


def test_planted_errors_are_found_and_nothing_else(rows: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "suspects.jsonl"
    result = CliRunner().invoke(suspects.main, ["--data", str(rows), "--output", str(output), "--encoder", str(tiny_encoder)])
    assert result.exit_code == 0, result.output
    found = [json.loads(line) for line in output.read_text("utf-8").splitlines()]
    assert {int(row["id"]) for row in found} == set(WRONG)
    assert all(row.keys() == {"where", "id", "topic", "given", "probability"} for row in found)
    assert all((row["probability"] < 0.5) == row["given"] for row in found)
    assert f"{len(found)} of 400 labels" in result.output


def test_limit(rows: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    output = tmp_path / "suspects.jsonl"
    arguments = ["--data", rows, "--output", output, "--encoder", tiny_encoder, "--limit", 2]
    assert CliRunner().invoke(suspects.main, [str(a) for a in arguments]).exit_code == 0
    assert len(output.read_text("utf-8").splitlines()) == 2


def test_a_topic_of_all_documents_is_no_hindrance(rows: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    made = [json.loads(line) for line in rows.read_text("utf-8").splitlines()]
    rows.write_text("".join(json.dumps({**row, "topics": [*row["topics"], "all"]}) + "\n" for row in made), "utf-8")
    arguments = ["--data", rows, "--output", tmp_path / "out.jsonl", "--encoder", tiny_encoder]
    result = CliRunner().invoke(suspects.main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    assert {int(json.loads(line)["id"]) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()} == set(WRONG)


def test_rows_without_any_topic(tiny_encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "none.jsonl"
    file.write_text("".join(json.dumps({**row, "topics": []}) + "\n" for row in make_rows(9)), "utf-8")
    arguments = ["--data", file, "--output", tmp_path / "out.jsonl", "--encoder", tiny_encoder]
    result = CliRunner().invoke(suspects.main, [str(a) for a in arguments])
    assert result.exit_code == 1 and "no row has a topic" in result.output


def test_more_folds_than_documents(tiny_encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "few.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make_rows(4)), "utf-8")
    arguments = ["--data", file, "--output", tmp_path / "out.jsonl", "--encoder", tiny_encoder, "--folds", 9]
    result = CliRunner().invoke(suspects.main, [str(a) for a in arguments])
    assert result.exit_code == 1 and "folds" in result.output
