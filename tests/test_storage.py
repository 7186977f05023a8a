"""Whole files or none, here and at addresses; the batch command with both ends at an address."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from serving.archive import expand
from serving.errors import InputError
from serving.parts import Inputs
from serving.progress import Progress
from serving.rows import Fields
from serving.storage import LocalFolder, RemoteFolder, expand_remote, fingerprint_remote, open_folder
from tests.conftest import make_rows, run_module


@pytest.fixture(params=["local", "remote"])
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalFolder | RemoteFolder:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return open_folder(tmp_path / "out" if request.param == "local" else f"file://{tmp_path}/out")


def test_files_are_whole_or_not_there(folder: LocalFolder | RemoteFolder) -> None:
    assert list(folder.names()) == [] == list(folder.names("state"))
    folder.write("a.txt", lambda fresh: fresh.write_text("旧", "utf-8"))

    def fail(fresh: Path) -> None:
        fresh.write_text("half")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space"):
        folder.write("a.txt", fail)
    assert folder.read("a.txt") == "旧"
    folder.write("a.txt", lambda fresh: fresh.write_text("新", "utf-8"))
    folder.write("state/b.txt", lambda fresh: fresh.write_text("b"))
    assert folder.read("a.txt") == "新" and list(folder.names("state")) == ["b.txt"]
    folder.sweep("", (".a",))
    assert sorted(folder.names()) == ["a.txt", "state"]
    folder.remove("a.txt")
    folder.remove("a.txt")
    assert list(folder.names()) == ["state"]
    with pytest.raises(OSError):
        folder.read("a.txt")


def test_one_run_at_a_time(folder: LocalFolder | RemoteFolder) -> None:
    with folder.alone(), pytest.raises(InputError, match="another run"), open_folder(folder.place).alone():
        pass
    with folder.alone():
        pass


def test_addresses(tmp_path: Path) -> None:
    for name in ("b.jsonl", "a/c.zip"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert expand_remote(f"file://{tmp_path}") == [f"file://{tmp_path}/a/c.zip", f"file://{tmp_path}/b.jsonl"]
    assert expand_remote(f"file://{tmp_path}/*.jsonl") == expand_remote(f"file://{tmp_path}/b.jsonl") == [f"file://{tmp_path}/b.jsonl"]
    assert expand_remote(f"file://{tmp_path}/none.zip") == []
    (tmp_path / "a [1].jsonl").write_text("x")
    assert expand_remote(f"file://{tmp_path}/a [1].jsonl") == [f"file://{tmp_path}/a [1].jsonl"], "what is there is no pattern"
    before = fingerprint_remote(f"file://{tmp_path}/b.jsonl")
    (tmp_path / "b.jsonl").write_text("xy")
    assert fingerprint_remote(f"file://{tmp_path}/b.jsonl") != before
    with pytest.raises(InputError, match="nowhere"):
        expand_remote("nowhere://bucket/x")


def test_a_remote_folder_is_read_as_one_here(tmp_path: Path) -> None:
    place = tmp_path / ".in"
    for name in ("甲.txt", "乙/图.PNG", "乙/旧.doc", ".DS_Store", ".git/x.txt", "乙/._甲.txt"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("正文。")
    ignored: Counter[str] = Counter()
    names = expand([f"file://{place}"], ignored)
    assert names == [f"file://{place}/{name}" for name in ("乙/旧.doc", "甲.txt")] and ignored == {".png": 1}
    inputs = Inputs(names, Fields(), ignored)
    assert [len(part.items) for part in inputs.parts()] == [1] and inputs.ignored == {".png": 1}
    assert ["DOCX" in problem["reason"] for problem in inputs.problems] == [True]
    assert expand([f"file://{place}/**/*.txt"]) == [f"file://{place}/甲.txt"]
    assert expand([f"file://{place}/.g*/*"]) == [f"file://{place}/.git/x.txt"]
    (place / "乙" / "旧.doc").unlink()
    with pytest.raises(InputError, match="holds no documents"):
        expand([f"file://{place}/乙"])


def test_an_output_inside_an_input_is_told_by_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "甲.txt").write_text("正文。")
    assert Progress("file:///elsewhere/out", "jsonl").without_results(["in"], ["in"]) == ["in"]
    for output in (tmp_path / "in" / "out", f"file://{tmp_path}/in/out"):
        for name in ("in", f"file://{tmp_path}/in"):
            with pytest.raises(InputError, match="inside the input"):
                Progress(output, "jsonl").without_results([name], expand([name]))


@pytest.mark.parametrize("engine", ["local", "ray"])
def test_both_ends_at_an_address(tmp_path: Path, tiny_model: Path, engine: str) -> None:
    (tmp_path / "in").mkdir()
    rows = make_rows(10)
    for i in (0, 5):
        lines = [json.dumps(row) + "\n" for row in rows[i : i + 5]]
        (tmp_path / "in" / f"{i}.jsonl").write_text("".join(lines))
    command = (
        "serving.score", f"file://{tmp_path}/in/*.jsonl", "--output", f"file://{tmp_path}/out", "--model", tiny_model,
        "--format", "jsonl", "--workers", 1, "--engine", engine,
    )
    place = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "WENZHAI_PART_DOCUMENTS": "3"}
    assert "10 scored now" in run_module(*command, **place).stdout
    parts = sorted((tmp_path / "out").glob("part-*.jsonl"))
    assert len(parts) == 4
    found = [json.loads(line) for part in parts for line in part.read_text("utf-8").splitlines()]
    assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert found[0]["input"] == f"file://{tmp_path}/in/0.jsonl" and found[0]["member"] == "0.jsonl:1"
    if engine == "local":
        parts[1].unlink()
        assert "2 scored now" in run_module(*command, **place).stdout
        elsewhere = run_module(*command, check=False, **{**place, "XDG_CACHE_HOME": str(tmp_path / "other")})
        assert elsewhere.returncode == 2 and "on another machine" in elsewhere.stderr
