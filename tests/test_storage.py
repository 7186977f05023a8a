"""Whole files or none, here and at addresses; the batch command with both ends at an address."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from serving.errors import InputError
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
    before = fingerprint_remote(f"file://{tmp_path}/b.jsonl")
    (tmp_path / "b.jsonl").write_text("xy")
    assert fingerprint_remote(f"file://{tmp_path}/b.jsonl") != before
    with pytest.raises(InputError, match="nowhere"):
        expand_remote("nowhere://bucket/x")


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
