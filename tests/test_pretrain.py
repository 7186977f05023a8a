"""Continued pre-training, through its command and from step to step."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from click.testing import CliRunner
from conftest import make_rows, run_module
from safetensors.torch import load_file

from training import pretrain
from training.encoder import load_encoder
from training.texts import read_texts, token_lists

SMALL = ("--steps", 6, "--batch-size", 8, "--length", 32, "--learning-rate", 3e-3, "--device", "cpu")


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("text") / "rows.jsonl"
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make_rows(150)), "utf-8")
    return file


def call(*arguments: object) -> str:
    result = CliRunner().invoke(pretrain.main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output
    return result.output


def losses(output: str) -> list[float]:
    return [float(line.split()[-1]) for line in output.splitlines() if "held-out loss" in line]


def test_the_command(text: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    result = run_module("training.pretrain", "--text", text, "--encoder", tiny_encoder, "--output", tmp_path / "new", *SMALL)
    assert "characters added" in result.stdout and "passes" in result.stdout
    encoder, tokenizer, heads = load_encoder(str(tmp_path / "new"))
    assert "癣" in tokenizer.get_vocab() and encoder.config.vocab_size == len(tokenizer) and not heads
    assert not (tmp_path / "new" / "checkpoints").exists()
    rows = tmp_path / "rows.jsonl"
    rows.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in make_rows(40)), "utf-8")
    run_module(
        "training.train", "--data", rows, "--encoder", tmp_path / "new", "--output", tmp_path / "model", "--epochs", 1,
        "--device", "cpu",
    )


def test_it_learns(text: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrain, "_CHECKPOINT_EVERY", 30)
    found = losses(call("--text", text, "--encoder", tiny_encoder, "--output", tmp_path / "new", *SMALL, "--steps", 60))
    assert len(found) == 2 and found[1] < found[0] < 8.9  # ln of the vocabulary is 8.8


def test_stopped_and_resumed_it_ends_as_if_uninterrupted(
    text: Path, tiny_encoder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrain, "_CHECKPOINT_EVERY", 2)
    arguments = ("--text", text, "--encoder", tiny_encoder, *SMALL)
    call(*arguments, "--output", tmp_path / "whole")
    step, count = pretrain._Run._step, iter(range(99))

    def stops(run, *given):
        if next(count) == 3:
            raise OSError("the power is gone")
        return step(run, *given)

    monkeypatch.setattr(pretrain._Run, "_step", stops)
    stopped = CliRunner().invoke(pretrain.main, [str(a) for a in (*arguments, "--output", tmp_path / "parts")])
    assert stopped.exit_code == 1 and "the power is gone" in stopped.output
    monkeypatch.setattr(pretrain._Run, "_step", step)
    assert "resuming" in call(*arguments, "--output", tmp_path / "parts", "--resume")
    whole, parts = (load_file(tmp_path / name / "model.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole[name], parts[name]) for name in whole)


def test_excluded_rows_are_not_learned_from(text: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    rows = [json.loads(line) for line in text.read_text("utf-8").splitlines()]
    held = tmp_path / "held.jsonl"
    held.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows[:100]), "utf-8")
    output = call("--text", text, "--exclude", held, "--encoder", tiny_encoder, "--output", tmp_path / "new", *SMALL)
    assert "100 documents are excluded" in output and re.search(r"\b50 documents, ", output)


def test_ids_are_excluded_as_numbers_of_any_kind(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A gap makes pandas write whole numbers as fractions; an empty id is none."""
    corpus, held, other = tmp_path / "corpus.jsonl", tmp_path / "held.parquet", tmp_path / "other.jsonl"
    rows = [{"id": i, "text": f"第{i}条基因筛查。"} for i in (1, 2, 3)] + [{"id": "", "text": "没有号。"}, {"text": "也没有号。"}]
    corpus.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    pq.write_table(pa.table({"id": [1.0, None, 3.0], "text": ["甲。", "乙。", "丙。"]}), held)
    other.write_text('{"id": "x", "text": "甲。"}\n{"id": "", "text": "乙。"}\n{"id": "None", "text": "丙。"}\n', "utf-8")
    assert list(read_texts([str(corpus)], [str(held)], 100)) == ["第2条基因筛查。", "没有号。", "也没有号。"]
    assert "no document has" not in capsys.readouterr().err
    assert len(list(read_texts([str(corpus)], [str(other)], 100))) == 5
    assert "note: no document has one of the 2 ids of --exclude" in capsys.readouterr().err


def test_exclusion_without_ids_is_refused(text: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_text('{"text": "基因"}\n', "utf-8")
    given = ["--text", text, "--exclude", held, "--encoder", tiny_encoder, "--output", tmp_path / "new", *SMALL]
    result = CliRunner().invoke(pretrain.main, [str(a) for a in given])
    assert result.exit_code == 1 and "no row has an id" in result.output


def test_rows_without_readable_text_are_counted_and_the_others_go_through(tiny_encoder: Path, tmp_path: Path) -> None:
    rows = [*make_rows(60), {"text": ""}, {"id": 5}, {"text": "基因检测。", "title": "\ud800"}]
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    output = call("--text", file, "--encoder", tiny_encoder, "--output", tmp_path / "new", *SMALL)
    assert "2 have no readable text" in output and "61 documents, " in output


def test_an_html_page_is_read_whole_before_it_is_cut(tiny_encoder: Path) -> None:
    head, body = f"<head><style>{'a{color:red}' * 400}</style></head>", f"<body>{'<p>基因筛查检测孕妇。</p>' * 40}</body>"
    page = f"<html>{head}{body}</html>"
    file = tiny_encoder.parent / "page.jsonl"
    file.write_text(json.dumps({"text": page}) + "\n", "utf-8")
    (found,) = read_texts([str(file)], [], 100)
    assert found.startswith("基因筛查检测孕妇") and len(found) == 100


def test_truncation_and_padding_of_a_tokenizer_are_switched_off(tiny_encoder: Path) -> None:
    model, tokenizer = pretrain._load(str(tiny_encoder))
    tokenizer.backend_tokenizer.enable_truncation(2)
    tokenizer.backend_tokenizer.enable_padding(length=50)
    tokenizer = pretrain._add_missing(model, tokenizer, [])
    (ids,) = token_lists(["基因筛查孕妇"], tokenizer.backend_tokenizer)
    assert len(ids) == 6


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--text", "missing.jsonl"), "no such file"),
        (("--encoder", "no/such-encoder"), "can't be loaded"),
        (("--learning-rate", 1e30), "lower --learning-rate"),
    ],
)
def test_what_cannot_work_is_said(arguments: tuple, said: str, text: Path, tiny_encoder: Path, tmp_path: Path) -> None:
    given = ["--text", text, "--encoder", tiny_encoder, "--output", tmp_path / "new", *SMALL, *arguments]
    result = CliRunner().invoke(pretrain.main, [str(a) for a in given])
    assert result.exit_code == 1 and said in result.output and "Traceback" not in result.output


def test_a_model_is_not_written_over(text: Path, tiny_model: Path, tiny_encoder: Path) -> None:
    given = ["--text", text, "--encoder", tiny_encoder, "--output", tiny_model, *SMALL]
    result = CliRunner().invoke(pretrain.main, [str(a) for a in given])
    assert result.exit_code == 1 and "holds a model" in result.output


def test_too_little_text(tiny_encoder: Path, tmp_path: Path) -> None:
    file = tmp_path / "one.jsonl"
    file.write_text('{"text": "基因检测第一条。"}\n', "utf-8")
    given = ["--text", file, "--encoder", tiny_encoder, "--output", tmp_path / "new"]
    result = CliRunner().invoke(pretrain.main, [str(a) for a in given])
    assert result.exit_code == 1 and "too few" in result.output
