"""Every command of the README runs, and what it is said to print is what it prints."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, Server

README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)
COMMANDS = [line[2:] for block in BLOCKS for line in block.splitlines() if line.startswith("$ ")]
CURL = [command for command in COMMANDS if command.startswith("curl ")]
MAKE = [command for command in COMMANDS if re.search(r"\bmake ", command)]
PYTHON = [command for command in COMMANDS if command.startswith(".venv/bin/python")]


def shell(command: str, timeout: int = 900) -> str:
    result = subprocess.run(
        command, shell=True, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=timeout,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout


def shown(name: str, kind: str = "output") -> str:
    """The fenced block behind ``<!-- output:name -->``."""
    match = re.search(rf"<!-- {kind}:{name} -->\n```\w*\n(.*?)```", README, re.DOTALL)
    assert match, f"the README shows no output for {name}"
    return match[1]


def test_every_command_is_of_a_kind_that_is_tested() -> None:
    assert COMMANDS and set(COMMANDS) == {*CURL, *MAKE, *PYTHON}


@pytest.mark.shipped
@pytest.mark.parametrize("command", CURL)
def test_curl(command: str, shipped_server: Server) -> None:
    answer = json.loads(shell(command.replace("http://127.0.0.1:3000", shipped_server.url)))
    assert "error" not in answer
    if "/v1/analyze" in command:
        expected = json.loads(shown("analyze"))
        (document,), (said,) = answer["documents"], expected["documents"]
        assert [t["id"] for t in document["topics"]] == [t["id"] for t in said["topics"]]
        assert document["summary"]["text"] == said["summary"]["text"]
        assert document["model"] == said["model"]


@pytest.mark.parametrize("command", MAKE)
def test_make_targets_exist(command: str) -> None:
    assert "Error" not in shell(command.replace("make ", "make -n "))


def test_make_serve_starts_the_service() -> None:
    assert re.search(r"bentoml serve serving\.service:Wenzhai --host 127\.0\.0\.1 --port 3000", shell("make -n serve"))


@pytest.mark.shipped
def test_python_commands_in_order(tmp_path: Path) -> None:
    printed = {}
    for command in PYTHON:
        here = command.replace(".venv/bin/python", sys.executable).replace("build/", f"{tmp_path}/")
        printed[command.split()[2]] = shell(here)
    assert set(printed) == {"serving.score", "training.train", "training.evaluate"}
    topics = re.compile(r"│ (\w+)\s+│\s+(\d+) │")
    assert topics.findall(printed["serving.score"]) == topics.findall(shown("score"))
    rows = 0
    names: dict[str, object] = {}
    for line in shown("results", "run").replace("build/", f"{tmp_path}/").splitlines():
        if line.startswith("import "):
            exec(line, names)
        elif line:
            rows += len(eval(line, names))
    assert rows == 5 + len(topics.findall(shown("score"))) + 5
    figures = json.loads((tmp_path / "mine.json").read_text("utf-8"))
    assert figures["n"] == 40
