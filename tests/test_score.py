"""The batch command as a user runs it: results, errors, exit codes, and going on after a stop of any kind."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import httpx
import pandas as pd
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from opencc import OpenCC

from benchmarks.kills import session_of
from serving import score
from serving.archive import expand
from serving.errors import InputError
from serving.progress import Progress
from tests.conftest import ROOT, Server, make_rows, run_module

SMALL = {"WENZHAI_PART_DOCUMENTS": "4", "WENZHAI_PRECISION": "f32"}


def jsonl(path: Path, count: int, repeat: int = 1) -> Path:
    rows = [{**row, "text": row["text"] * repeat} for row in make_rows(count)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), "utf-8")
    return path


def results(output: Path) -> list[dict]:
    return [json.loads(line) for path in sorted(output.glob("part-*.jsonl")) for line in path.read_text("utf-8").splitlines()]


def errors(output: Path) -> dict[str, str]:
    found = [json.loads(line) for line in (output / "errors.jsonl").read_text("utf-8").splitlines()]
    assert len({(row["input"], row["member"]) for row in found}) == len(found)
    return {row["member"] or row["input"]: row["reason"] for row in found}


def start(inputs: Path, output: Path, model: Path, *options: str) -> subprocess.Popen[str]:
    """The command in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        [sys.executable, "-m", "serving.score", str(inputs), "--output", str(output), "--model", str(model), *options],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **SMALL}, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # what runs in the background of a shell ignores it
    )


def wait_for(condition: object, what: str, seconds: float = 120) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.02)


def once_each(output: Path, count: int) -> None:
    ids = [row["id"] for row in results(output)]
    assert sorted(ids, key=int) == [str(i) for i in range(count)]
    assert not list(output.rglob("*.new"))


def test_a_mixed_zip(tmp_path: Path, tiny_model: Path) -> None:
    path = tmp_path / "混.zip"
    with zipfile.ZipFile(path, "w") as file:
        for row in make_rows(9):
            file.writestr(f"新闻/{row['id']}.txt", row["text"].encode(("utf-8", "gb18030", "utf-16")[int(row["id"]) % 3]))
        file.writestr("空.txt", b"")
        file.writestr("图.txt", b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
        file.writestr("坏.txt", "DAMAGE" * 9)
    path.write_bytes(path.read_bytes().replace(b"DAMAGEDAMAGE", b"DAMAGExAMAGE", 1))
    output = tmp_path / "out"
    done = run_module(
        "serving.score", path, "--output", output, "--model", tiny_model, "--format", "jsonl", "--include-text", "--workers", 2,
        check=False, **SMALL,
    )
    assert done.returncode == 1, done.stderr
    found = results(output)
    assert [row["id"] for row in found] == [f"新闻/{i}.txt" for i in range(9)]
    texts = {f"新闻/{row['id']}.txt": row["text"] for row in make_rows(9)}
    for row in found:
        assert row["text"] == texts[row["id"]]
        quotes = [*row["summary"]["sentences"], *(e for topic in row["topics"] for e in topic["evidence"])]
        assert quotes and all(row["text"][q["offset"] : q["offset"] + q["length"]] == q["text"] for q in quotes)
    failed = errors(output)
    assert list(failed) == ["空.txt", "图.txt", "坏.txt"]
    assert "no text" in failed["空.txt"] and "picture" in failed["图.txt"] and "damaged inside the archive" in failed["坏.txt"]
    counts = {t: sum(t in [x["id"] for x in row["topics"]] for row in found) for t in ("screening", "finance")}
    assert "9 documents in" in done.stdout and "9 scored now" in done.stdout and "3 errors" in done.stdout
    for topic, count in counts.items():
        assert count and any(topic in line and f" {count} " in line for line in done.stdout.splitlines())


def test_the_same_json_as_the_service(tmp_path: Path, tiny_model: Path, tiny_server: Server) -> None:
    path = jsonl(tmp_path / "a.jsonl", 6)
    output = tmp_path / "out"
    run_module("serving.score", path, "--output", output, "--model", tiny_model, "--format", "jsonl", "--workers", 1)
    assert errors(output) == {}
    sent = [{"id": row["id"], "title": row["title"], "text": row["text"]} for row in make_rows(6)]
    served = httpx.post(f"{tiny_server.url}/v1/analyze", json={"documents": sent}, timeout=60).json()["documents"]
    for row, theirs in zip(results(output), served, strict=True):
        ours = {name: row[name] for name in theirs}
        assert _without_scores(ours) == _without_scores(theirs)
        assert [t["score"] for t in ours["topics"]] == pytest.approx([t["score"] for t in theirs["topics"]], abs=0.02)


def _without_scores(value: object) -> object:
    """Scores in bf16 may differ by a rounding, with the company that a document has in a batch."""
    if isinstance(value, dict):
        return {k: _without_scores(v) for k, v in value.items() if k not in ("score", "rank_score")}
    return [_without_scores(v) for v in value] if isinstance(value, list) else value


def test_a_killed_run_goes_on_and_gives_each_document_once(tmp_path: Path, tiny_model: Path) -> None:
    path, output = jsonl(tmp_path / "a.jsonl", 200, repeat=40), tmp_path / "out"
    run = start(path, output, tiny_model, "--format", "jsonl", "--workers", "2")
    wait_for(lambda: len(list(output.glob("part-*"))) >= 3 or run.poll() is not None, "three parts")
    run.kill()
    run.communicate()
    wait_for(lambda: not session_of(run.pid), "the workers to follow their parent", 20)
    before = {part.name: part.stat().st_mtime_ns for part in output.glob("part-*")}
    assert 3 <= len(before) < 50 and not (output / "errors.jsonl").exists()
    (output / ".part-00000-000049.jsonl.new").write_text("half a part")

    other = run_module("serving.score", path, "--output", output, "--model", tiny_model, "--format", "csv", check=False, **SMALL)
    assert other.returncode == 2 and "--restart" in other.stderr

    again = run_module("serving.score", path, "--output", output, "--model", tiny_model, "--format", "jsonl", **SMALL)
    assert again.returncode == 0
    assert f"{200 - 4 * len(before)} scored now" in again.stdout and f"{4 * len(before)} before" in again.stdout
    assert before.items() <= {part.name: part.stat().st_mtime_ns for part in output.glob("part-*")}.items()
    once_each(output, 200)


def test_ctrl_c_stops_at_once_and_can_be_resumed(tmp_path: Path, tiny_model: Path) -> None:
    path, output = jsonl(tmp_path / "a.jsonl", 300, repeat=40), tmp_path / "out"
    run = start(path, output, tiny_model, "--format", "jsonl", "--workers", "2")
    wait_for(lambda: list(output.glob("part-*")) or run.poll() is not None, "a part")
    os.killpg(run.pid, signal.SIGINT)  # a terminal tells the whole group
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130
    assert "stopped; the same command goes on from here" in stderr and "Traceback" not in stderr
    wait_for(lambda: not session_of(run.pid), "all processes to be gone", 10)
    assert not list(output.rglob("*.new"))
    done = len(results(output))
    assert 0 < done < 300 and done % 4 == 0
    run_module("serving.score", path, "--output", output, "--model", tiny_model, "--format", "jsonl", **SMALL)
    once_each(output, 300)


def test_ctrl_c_while_the_workers_start(tmp_path: Path, tiny_model: Path) -> None:
    path, output = jsonl(tmp_path / "a.jsonl", 40), tmp_path / "out"
    run = start(path, output, tiny_model, "--workers", "2")
    wait_for(lambda: len(session_of(run.pid)) >= 3 or run.poll() is not None, "a worker")
    os.killpg(run.pid, signal.SIGINT)
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 130 and "Traceback" not in stderr
    wait_for(lambda: not session_of(run.pid), "all processes to be gone", 10)


def test_changed_inputs_are_refused_until_restart(tmp_path: Path, tiny_model: Path) -> None:
    path, output = jsonl(tmp_path / "a.jsonl", 10), tmp_path / "out"
    command = ("serving.score", path, "--output", output, "--model", tiny_model, "--format", "jsonl", "--workers", 1)
    run_module(*command, **SMALL)
    (output / "notes.txt").write_text("mine")
    again = run_module(*command, **SMALL)
    assert "0 scored now" in again.stdout and "10 before" in again.stdout
    jsonl(path, 11)
    refused = run_module(*command, check=False, **SMALL)
    assert refused.returncode == 2 and "changed inputs" in refused.stderr and len(results(output)) == 10
    run_module(*command, "--restart", **SMALL)
    once_each(output, 11)
    assert (output / "notes.txt").read_text() == "mine"


def test_inputs_that_break_off_beside_others(tmp_path: Path, tiny_model: Path) -> None:
    good, bad, none = jsonl(tmp_path / "a.jsonl", 5), tmp_path / "b.zip", tmp_path / "空"
    bad.write_bytes(b"PK\x03\x04")
    none.mkdir()
    output = tmp_path / "out"
    done = run_module("serving.score", bad, good, none, "--output", output, "--model", tiny_model, check=False, **SMALL)
    assert done.returncode == 1 and "2 errors" in done.stdout
    failed = errors(output)
    assert "damaged" in failed[str(bad)] and "no documents" in failed[str(none)]
    tables = [pq.read_table(part) for part in sorted(output.glob("part-*.parquet"))]
    assert [row["id"] for table in tables for row in table.to_pylist()] == ["0", "1", "2", "3", "4"]


@pytest.mark.parametrize("case", ["no input", "no model", "damaged", "empty", "kind", "output is a file"])
def test_nothing_could_be_done(tmp_path: Path, tiny_model: Path, case: str) -> None:
    path, model, output = jsonl(tmp_path / "a.jsonl", 2), tiny_model, tmp_path / "out"
    if case == "no input":
        path = tmp_path / "没有"
    elif case == "no model":
        model = tmp_path / "没有"
    elif case == "damaged":
        path = tmp_path / "a.tar.gz"
        path.write_bytes(b"\x1f\x8b\x08\0")
    elif case == "empty":
        path.write_text("\n")
    elif case == "kind":
        path = tmp_path / "a.png"
        path.write_bytes(b"x")
    else:
        output.write_text("x")
    done = run_module("serving.score", path, "--output", output, "--model", model, "--workers", 1, check=False)
    assert done.returncode == 2 and "Error" in done.stderr and "Traceback" not in done.stderr
    if case in ("damaged", "empty"):  # and once the input is mended, the same command works
        good = jsonl(path.with_name("a.jsonl"), 2)
        assert run_module("serving.score", good, "--output", output, "--model", model, "--workers", 1).returncode == 0


def test_a_disk_that_is_full_ends_with_a_sentence(tmp_path: Path, tiny_model: Path) -> None:
    path, output = jsonl(tmp_path / "a.jsonl", 4), tmp_path / "out"
    (output / ".part-00000-000000.csv.new").mkdir(parents=True)
    (output / ".part-00000-000000.csv.new" / "in the way").write_text("")
    done = run_module("serving.score", path, "--output", output, "--model", tiny_model, "--format", "csv", check=False, **SMALL)
    assert done.returncode == 2 and "Error" in done.stderr and "Traceback" not in done.stderr


def test_results_do_not_become_documents(tmp_path: Path, tiny_model: Path) -> None:
    (tmp_path / "甲.txt").write_text("正文。")
    done = run_module("serving.score", tmp_path, "--output", tmp_path / "a" / "out", "--model", tiny_model, check=False)
    assert done.returncode == 2 and "inside the input" in done.stderr and not (tmp_path / "a").exists()


def test_a_pattern_that_finds_the_results_too_goes_on(tmp_path: Path, tiny_model: Path) -> None:
    jsonl(tmp_path / "a.jsonl", 6)
    command = ("serving.score", f"{tmp_path}/*.jsonl", "--output", tmp_path, "--model", tiny_model, "--format", "jsonl")
    assert "6 scored now" in run_module(*command, **SMALL).stdout
    (tmp_path / "part-00000-000001.jsonl").unlink()
    again = run_module(*command, **SMALL)
    assert "2 scored now" in again.stdout and "2 that are results" in again.stderr
    assert "6 scored now" in run_module(*command, "--restart", **SMALL).stdout
    once_each(tmp_path, 6)


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_results_among_the_inputs_are_told_by_their_place(tmp_path: Path, scheme: str) -> None:
    output, other = tmp_path / "out", tmp_path / "other"
    for folder in (output, other):
        folder.mkdir()
        for name in ("a.jsonl", "errors.jsonl", "run.json", "part-00000-000000.jsonl", "part-00000.jsonl"):
            (folder / name).write_text("{}")
    progress = Progress(f"{scheme}{output}", "jsonl")
    names = expand([f"{scheme}{tmp_path}/o*/*.json*"])
    kept = [name for name in names if "/other/" in name or name.endswith(("/a.jsonl", "/part-00000.jsonl"))]
    assert len(names) == 10 and len(kept) == 7 and progress.without_results(names, names) == kept
    with pytest.raises(InputError, match="are results in"):
        progress.without_results(names, [f"{scheme}{output}/run.json"])
    inside = [f"{scheme}{other}", f"{scheme}{output}"]  # as a shell expands DIR/*
    with pytest.raises(InputError, match="inside the input"):
        progress.without_results(inside, inside)
    (output / ".progress").mkdir()
    (output / ".progress" / "begun.json").write_text("{}")
    assert progress.without_results(inside, inside) == inside[:1]


def test_files_that_no_run_wrote_are_kept(tmp_path: Path) -> None:
    (tmp_path / "errors.jsonl").write_text("mine")
    with pytest.raises(InputError, match=r"holds errors.jsonl that this command did not write: use --restart"):
        Progress(tmp_path, "jsonl").begin({}, restart=False)
    assert (tmp_path / "errors.jsonl").read_text() == "mine"
    Progress(tmp_path, "jsonl").begin({}, restart=True)
    assert not (tmp_path / "errors.jsonl").exists()


def test_workers_are_as_many_as_the_cores_that_may_be_used(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = []

    def note(run: score.Run, engine: str, workers: int, threads: int, address: str) -> int:
        started.append((workers, threads))
        return 0

    monkeypatch.setattr(score, "cores", lambda: 12)
    monkeypatch.setattr(score.Run, "score", note)
    arguments = [str(jsonl(tmp_path / "a.jsonl", 1)), "--output", str(tmp_path / "out"), "--model", str(tiny_model)]
    for more in ([], ["--workers", "4"]):
        assert CliRunner().invoke(score.main, [*arguments, *more]).exit_code == 0
    assert started == [(12, 1), (4, 3)]


@pytest.mark.parametrize("reader", ["gone", "latin-1"])
def test_a_table_that_can_not_be_printed_is_no_failure(tmp_path: Path, tiny_model: Path, reader: str) -> None:
    path, output = jsonl(tmp_path / "a.jsonl", 2), tmp_path / "结果"
    command = [sys.executable, "-m", "serving.score", path, "--output", output, "--model", tiny_model, "--workers", "1"]
    encoding = {"PYTHONIOENCODING": "latin-1"} if reader == "latin-1" else {}
    ours, theirs = os.pipe()
    if reader == "gone":
        os.close(ours)
    done = subprocess.run(command, cwd=ROOT, stdout=theirs, stderr=subprocess.PIPE, text=True, env={**os.environ, **encoding})
    os.close(theirs)
    assert done.returncode == 0 and "Error" not in done.stderr and "Traceback" not in done.stderr
    if reader == "latin-1":
        with open(ours, encoding="latin-1") as printed:
            assert "??/part-*.parquet" in (said := printed.read()) and "2 scored now" in said


def test_two_runs_do_not_share_a_folder(tmp_path: Path, tiny_model: Path) -> None:
    path, output = jsonl(tmp_path / "a.jsonl", 4), tmp_path / "out"
    with Progress(output, "jsonl").alone():
        done = run_module("serving.score", path, "--output", output, "--model", tiny_model, check=False)
    assert done.returncode == 2 and "another run" in done.stderr
    assert not list(output.glob("part-*"))


def test_rows_say_where_they_come_from(tmp_path: Path, tiny_model: Path) -> None:
    folder, table, output = tmp_path / "夹", tmp_path / "表.csv", tmp_path / "out"
    folder.mkdir()
    texts = [row["text"] for row in make_rows(4)]
    (folder / "甲.txt").write_text(texts[0], "gb18030")
    (folder / "图.png").write_bytes(b"x")
    table.write_text(f"编号,标题,正文,日期\n7,题,{texts[1]},2025年3月1日\n,,{OpenCC('s2t').convert(texts[2])},\n", "utf-8")
    done = run_module(
        "serving.score", f"{tmp_path}/夹", f"{tmp_path}/*.csv", "--output", output, "--model", tiny_model, "--format", "jsonl",
        "--include-text", "--workers", 1,
    )
    first, second, third = results(output)
    assert (first["input"], first["member"], first["id"]) == (str(folder), "甲.txt", f"{folder}/甲.txt")
    assert first["sha256"] == hashlib.sha256(texts[0].encode("gb18030")).hexdigest()
    assert (second["id"], second["member"], second["title"], second["date"]) == ("7", "表.csv:2", "题", "2025年3月1日")
    assert (third["id"], third["input"], third["script"], second["script"]) == (f"{table}:3", f"{table}", "Hant", "Hans")
    assert all(row["length"] == len(row["text"]) and row["duplicate_of"] is None for row in results(output))
    run = json.loads((output / "run.json").read_text("utf-8"))
    assert run["state"] == "finished" and run["inputs"] == [str(folder), str(table)] and run["versions"]["openvino"]
    assert {k: run["counts"][k] for k in ("found", "scored", "errors", "ignored_files")} == {
        "found": 3, "scored": 3, "errors": 0, "ignored_files": {".png": 1},
    }
    assert run["runs"][0]["scored"] == 3 and run["runs"][0]["seconds"] > 0
    assert "1 file that is no document was passed over" in done.stdout


def test_reprints_point_to_the_first_and_can_be_left_out(tmp_path: Path, tiny_model: Path) -> None:
    article = [f"{row['text']}这是第{i}段，说的是不同的事情。" for i, row in enumerate(make_rows(8))]
    rows = [
        {"id": "first", "title": "一", "text": "\n".join(article)},
        {"id": "other", "title": "二", "text": "\n".join(row["text"][::-1] for row in make_rows(8))},
        {"id": "reprint", "title": "转载", "text": "来源：某报 记者 某某\n" + OpenCC("s2t").convert("\n".join(article))},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    for options, scored in (((), 3), (("--skip-duplicates",), 2)):
        output = tmp_path / f"out{scored}"
        command = ("serving.score", path, "--output", output, "--model", tiny_model, "--format", "jsonl", *options)
        done = run_module(*command, WENZHAI_PART_DOCUMENTS="1")
        found = {row["id"]: row for row in results(output)}
        assert {id: row["duplicate_of"] for id, row in found.items()} == {"first": None, "other": None, "reprint": "first"}
        assert (found["reprint"]["topics"] is None) == (found["reprint"]["summary"] is None) == (scored == 2)
        assert f"{scored} scored now" in done.stdout and "1 reprints" in done.stdout


@pytest.mark.parametrize("kind", ["parquet", "csv", "jsonl"])
def test_a_row_for_each_document_and_topic(tmp_path: Path, tiny_model: Path, kind: str) -> None:
    path, output, nested = jsonl(tmp_path / "a.jsonl", 6), tmp_path / "out", tmp_path / "nested"
    run_module("serving.score", path, "--output", nested, "--model", tiny_model, "--format", "jsonl")
    run_module("serving.score", path, "--output", output, "--model", tiny_model, "--format", kind, "--rows", "topic")
    (part,) = output.glob("part-*")
    read = {"parquet": pd.read_parquet, "csv": pd.read_csv, "jsonl": lambda file: pd.read_json(file, lines=True)}[kind]
    found = {(str(row.id), row.topic): row for row in read(part).itertuples()}
    wanted = {(row["id"], topic["id"]): topic for row in results(nested) for topic in row["topics"]}
    assert found.keys() == wanted.keys() and found
    for key, topic in wanted.items():
        assert found[key].score == pytest.approx(topic["score"], abs=0.02) and found[key].topic_name == topic["name"]
        assert found[key].evidence in [quote["text"] for quote in topic["evidence"]]


def test_standard_input_goes_on_only_with_the_same(tmp_path: Path, tiny_model: Path) -> None:
    path, output = jsonl(tmp_path / "a.jsonl", 10), tmp_path / "out"
    command = ("-m", "serving.score", "-", "--output", str(output), "--model", str(tiny_model), "--format", "jsonl")

    def run(content: bytes) -> subprocess.CompletedProcess[bytes]:
        env = {**os.environ, **SMALL}
        return subprocess.run([sys.executable, *command], input=content, capture_output=True, cwd=ROOT, env=env)

    assert run(path.read_bytes()).returncode == 0
    once_each(output, 10)
    (output / "part-00000-000001.jsonl").unlink()
    again = run(path.read_bytes())
    assert again.returncode == 0 and b"4 scored now" in again.stdout
    once_each(output, 10)
    refused = run(path.read_bytes().replace("。".encode(), "！".encode(), 1))
    assert refused.returncode == 2 and b"standard input is not what" in refused.stderr
