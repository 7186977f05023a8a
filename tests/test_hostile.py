"""A folder of all that an archive can do to a program: it becomes lines in errors.jsonl, and the rest goes through."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.hostile import GOOD, HOSTILE

_MEMORY = 1_500_000  # kB of any one process; a gigabyte in one line is not held
# In a process between, since a child's peak begins with that of the process that started it.
_WATCHED = """
import json, resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", *sys.argv[1:]], capture_output=True, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(json.dumps([done.returncode, done.stdout, done.stderr, peak]))
"""


@pytest.fixture(scope="module")
def outcome(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, list]:
    folder = tmp_path_factory.mktemp("hostile") / "in"
    folder.mkdir()
    for name, (write, _, _) in HOSTILE.items():
        write(folder / name)
    (folder / "末.txt").write_text(GOOD)
    output = folder.parent / "out"
    command = ["serving.score", folder, "--output", output, "--model", tiny_model, "--format", "jsonl", "--workers", 2]
    watched = [sys.executable, "-c", _WATCHED, *map(str, command)]
    done = subprocess.run(watched, cwd=ROOT, capture_output=True, text=True, timeout=600)
    status, printed, complained, memory = json.loads(done.stdout)
    assert status == 1 and "Traceback" not in complained, complained
    rows = [json.loads(line) for part in sorted(output.glob("part-*")) for line in part.read_text("utf-8").splitlines()]
    failed = [json.loads(line) for line in (output / "errors.jsonl").read_text("utf-8").splitlines()]
    return {"rows": rows, "errors": failed, "printed": [printed], "memory": [memory]}


def of(name: str, member: str) -> bool:
    return member == name or member.startswith((f"{name}/", f"{name}:"))


@pytest.mark.parametrize("name", HOSTILE)
def test_each_is_a_line_and_its_good_documents_go_through(outcome: dict[str, list], name: str) -> None:
    _, documents, reasons = HOSTILE[name]
    found = [row["reason"] for row in outcome["errors"] if of(name, row["member"])]
    if name == "bomb.zip":  # its entries are all one: some patch levels of Python refuse them before our limit does
        overlapped = [reason for reason in found if "Overlapped entries" in reason]
        documents, found = documents - len(overlapped), [reason for reason in found if reason not in overlapped]
        assert documents >= 1
    assert sum(of(name, row["member"]) for row in outcome["rows"]) == documents
    assert len(found) == len(reasons), found
    for reason in reasons:
        match = next((stated for stated in found if reason in stated), None)
        assert match is not None, (reason, found)
        found.remove(match)


def test_nothing_is_lost_or_twice(outcome: dict[str, list]) -> None:
    members = Counter(row["member"] for row in [*outcome["rows"], *outcome["errors"]])
    del members["bomb.zip/a.txt"]  # whose members are all one
    assert max(members.values()) == 1 and "末.txt" in members
    assert all(row["input"] and row["member"] and row["reason"] for row in outcome["errors"])
    assert f"{len(outcome['errors'])} errors" in outcome["printed"][0]


def test_memory_is_bounded(outcome: dict[str, list]) -> None:
    assert outcome["memory"][0] < _MEMORY
