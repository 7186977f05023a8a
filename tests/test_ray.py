"""Scoring on Ray Data gives the rows of the local engine, goes on after a stop, and sets bad documents aside."""

from __future__ import annotations

import re
from pathlib import Path

from benchmarks.kills import write_archive
from benchmarks.ray_nodes import OPEN, two_nodes
from tests.conftest import run_module
from tests.test_score import SMALL, errors, results


def test_ray_gives_the_same_rows(tmp_path: Path, tiny_model: Path) -> None:
    inputs = write_archive(tmp_path, 60)
    command = ("serving.score", *inputs, "--model", tiny_model, "--format", "jsonl", "--workers", 1)
    local, ray = tmp_path / "local", tmp_path / "ray"
    for output, engine in ((local, "local"), (ray, "ray")):
        done = run_module(*command, "--output", output, "--engine", engine, check=False, **SMALL)
        assert done.returncode == 1 and "60 scored now" in done.stdout and "3 errors" in done.stdout, done.stderr
    assert results(ray) == results(local) and any(row["duplicate_of"] for row in results(ray))
    assert errors(ray) == errors(local) and len(errors(ray)) == 3

    for part in sorted(ray.glob("part-*"))[3:12:2]:
        part.unlink()
    with two_nodes() as address:
        again = run_module(*command, "--output", ray, "--engine", "ray", "--address", address, check=False, **SMALL, **OPEN)
    assert again.returncode == 1 and re.search("(19|20) scored now", again.stdout), again.stderr
    assert results(ray) == results(local) and errors(ray) == errors(local)
