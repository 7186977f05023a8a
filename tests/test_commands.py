"""Every command that the documentation shows runs and prints what is shown, or there is a reason why it can't run here.

Commands in ``console`` blocks, behind ``$``, are run, page after page, all in one folder in place of ``build/`` (but for make
and pip, which install). Those in other blocks, and those within sentences, are not. Of all of them modules, options,
targets and files must exist.
"""

from __future__ import annotations

import importlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest
from conftest import ROOT, Server

PAGES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "models" / "README.md",
    ROOT / "training" / "data" / "README.md",
]
SERVER = "http://127.0.0.1:3000"
# What is shown but not run, and why. The first that is found in a command counts.
NOT_RUN = {
    "CORPUS": "other people's texts",
    "build/data": "made from them",
    "BENCH": "public tasks, other people's texts too",
    "training.agreement": "prints figures; tests/test_training_data.py looks at them",
    "ARCHIVE": "the reader's own archive; tests/test_score.py runs such commands",
    "rows.jsonl": "the reader's own rows; tests/test_train.py runs such commands",
    "--text archive.parquet": "the reader's own texts; tests/test_pretrain.py runs such a command",
    "s3://": "needs a vendor's storage; tests/test_storage.py uses another of fsspec's",
    "ray start": "makes a cluster; tests/test_ray.py runs on one",
    "ln -s": "tests/test_switching.py moves a link under load",
    "bentoml containerize": "needs Docker", "docker run": "needs Docker",
}


class Command(NamedTuple):
    """A command, the page that shows it, and whether it is there to be run."""

    text: str
    page: str
    run: bool

    @property
    def programs(self) -> list[list[str]]:
        """The words of each program, without variables in front."""
        parts = [shlex.split(part, comments=True) for part in re.split(r" && ", self.text)]
        return [words[next(i for i, word in enumerate(words) if "=" not in word) :] for words in parts]


def joined(path: Path) -> str:
    """The text of a page, commands of several lines in one."""
    return re.sub(r"\s*\\\n\s*", " ", path.read_text("utf-8"))


def shown_commands() -> Iterator[Command]:
    for path in PAGES:
        text = joined(path)
        for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE):
            for line in block.splitlines():
                if language == "console" and line.startswith("$ "):
                    yield Command(line[2:], path.name, True)
                elif not language:
                    yield Command(line, path.name, False)
        prose = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
        for line in re.findall(r"(?<=\n)    (\S.*)", prose):
            yield Command(line, path.name, False)


COMMANDS = list(shown_commands())
# Within sentences options may follow on the command, or stand in for those that are left out ("…").
INLINE = [
    Command(text, path.name, False)
    for path in PAGES
    for text in re.findall(r"`((?:\.venv/bin/)?(?:python|make|pip|curl|bentoml)\s[^`]+)`", path.read_text("utf-8"))
]
CURL = [command.text for command in COMMANDS if command.run and command.text.startswith("curl ")]
PYTHON = list(dict.fromkeys(command.text for command in COMMANDS if command.run and ".venv/bin/python" in command.text))


def words(command: Command) -> Iterator[list[str]]:
    for program in command.programs:
        yield [Path(program[0]).name, *program[1:]]


def test_commands_are_run_or_there_is_a_reason() -> None:
    reasons = {reason: 0 for reason in NOT_RUN}
    for command in COMMANDS:
        reason = next((reason for reason in NOT_RUN if reason in command.text), None)
        if reason:
            reasons[reason] += 1
        for program in words(command):
            tested = {"make", "curl", "pip"} | ({"python"} if command.run else set())
            assert reason or program[0] in tested, f"{command.page}: is not run, and nobody says why: {command.text}"
    assert PYTHON and CURL and all(reasons.values()), reasons


@cache
def options_of(module: str, subcommand: str = "") -> set[str]:
    main = importlib.import_module(module).main
    if isinstance(main, click.Group):
        main = main.commands[subcommand]
    if isinstance(main, click.Command):
        return {name for parameter in main.params for name in (*parameter.opts, *parameter.secondary_opts)} | {"--help"}
    help_of = [sys.executable, "-m", module, *([subcommand] if subcommand else []), "--help"]
    return set(re.findall(r"--[a-z][a-z-]*", subprocess.run(help_of, cwd=ROOT, capture_output=True, text=True).stdout))


@pytest.mark.parametrize("command", {c.text: c for c in [*COMMANDS, *INLINE]}.values(), ids=lambda c: f"{c.page}: {c.text[:60]}")
def test_what_a_command_names_exists(command: Command) -> None:
    for program, *rest in words(command):
        options = {word.split("=")[0] for word in rest if word.startswith("--")}
        if program in ("python", "torchrun") and "-m" in rest:
            module, *arguments = rest[rest.index("-m") + 1 :]
            if module != "pip":
                of_program = set(rest[: rest.index("-m")])
                assert options - of_program <= options_of(module, next(iter(arguments), "").split("|")[0]), command
        elif program == "python" and rest[0].endswith(".py"):
            assert options <= set(re.findall(r"--[a-z-]+", (ROOT / rest[0]).read_text("utf-8"))), command
        elif program == "make":
            makefile = (ROOT / "Makefile").read_text("utf-8")
            targets = [word for word in rest if "=" not in word and word.isalpha()]
            assert all(re.search(rf"^{target}:", makefile, re.MULTILINE) for target in targets), command
        elif program == "pip":
            for extra in re.findall(r"\.\[(\w+)\]", command.text):
                assert re.search(rf"^{extra} = \[", (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE), command
        for word in re.findall(r"[\w./-]+", " ".join(rest)):
            if re.match(r"(seeds|serving|training|tests|benchmarks|deploy|docs|models/(default|encoder))/|\w+\.txt$", word):
                assert (ROOT / word).exists(), command


def run(command: str, folder: Path) -> str:
    command = command.replace(".venv/bin/python", shlex.quote(sys.executable))
    command = command.replace("build/", f"{folder}/").replace(" keys.json", f" {folder}/keys.json")
    result = subprocess.run(
        command, shell=True, cwd=ROOT, capture_output=True, text=True, encoding="utf-8", timeout=900,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert result.returncode == 0, f"{command}\n{result.stdout}\n{result.stderr}"
    return result.stdout.replace(f"{folder}/", "build/")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What stands in for ``build``."""
    return tmp_path_factory.mktemp("build")


@pytest.fixture(scope="module")
def printed(folder: Path) -> dict[str, str]:
    """All Python commands in the order of the pages, and what they printed."""
    return {command: run(command, folder) for command in PYTHON}


@pytest.fixture(scope="module")
def own_server(folder: Path, printed: dict[str, str]) -> Iterator[Server]:
    """With the model that the commands trained."""
    server = Server(folder / "mine", folder)
    server.wait()
    yield server
    server.stop()


def output_of(page: str, name: str) -> tuple[str, str]:
    """The command before ``<!-- output:name -->``, and the fenced block behind it."""
    text = joined(ROOT / page)
    block = rf"^\$ ([^\n]+)\n```(?:(?!^\$ ).)*?<!-- output:{name} -->\n```\w*\n(.*?)```"
    match = re.search(block, text, re.DOTALL | re.MULTILINE)
    assert match, f"{page} shows no output for {name}"
    return match[1], match[2]


def alike(answer: Any, said: Any, tolerance: float = 0.05) -> bool:
    """The same but for scores, which differ a little between processors, and the name of the model, which holds a hash."""
    if isinstance(said, dict):
        return answer.keys() == said.keys() and all(key == "model" or alike(answer[key], said[key], tolerance) for key in said)
    if isinstance(said, list):
        return len(answer) == len(said) and all(alike(a, b, tolerance) for a, b in zip(answer, said))
    return answer == (pytest.approx(said, abs=tolerance) if isinstance(said, float) else said)


@pytest.mark.shipped
@pytest.mark.parametrize("command", CURL)
def test_curl(command: str, shipped_server: Server, folder: Path) -> None:
    assert "error" not in json.loads(run(command.replace(SERVER, shipped_server.url), folder))


@pytest.mark.shipped
def test_the_answer_in_the_readme(shipped_server: Server, folder: Path) -> None:
    command, said = output_of("README.md", "analyze")
    answer = json.loads(run(command.replace(SERVER, shipped_server.url), folder))
    assert alike(answer, json.loads(said)), answer
    assert answer["documents"][0]["model"] == json.loads(said)["documents"][0]["model"]


@pytest.mark.shipped
def test_the_answer_of_ones_own_model(own_server: Server, folder: Path) -> None:
    command, said = output_of("docs/training.md", "classify")
    answer = json.loads(run(command.replace(SERVER, own_server.url), folder))
    assert alike(answer, json.loads(said), tolerance=0.2), answer  # trained anew


@pytest.mark.parametrize("command", [text for text in (c.text for c in COMMANDS if c.run) if re.search(r"\bmake ", text)])
def test_make(command: str, folder: Path) -> None:
    planned = run(command.replace("make ", "make -n "), folder)
    if command == "make serve":
        assert "bentoml serve serving.service:Wenzhai --host 127.0.0.1 --port 3000" in planned


@pytest.mark.shipped
def test_what_is_scored_and_how_it_is_opened(printed: dict[str, str], folder: Path) -> None:
    command, said = output_of("README.md", "score")
    topics = re.compile(r"│ (\w+)\s+│\s+(\d+) │")
    found, shown = topics.findall(printed[command]), topics.findall(said)
    assert len(shown) > 1 and shown == found[: len(shown)]
    code = re.search(r"<!-- run:results -->\n```python\n(.*?)```", (ROOT / "README.md").read_text("utf-8"), re.DOTALL)
    rows, names = 0, dict[str, object]()
    for line in code[1].replace("build/", f"{folder}/").splitlines():
        if line.startswith("import "):
            exec(line, names)
        elif line:
            rows += len(eval(line, names))
    assert rows == 5 + len(found) + 5
    command, said = output_of("docs/report.md", "query")
    assert [line.rsplit(",", 1)[0] for line in printed[command].splitlines()] == [
        line.rsplit(",", 1)[0] for line in said.splitlines()
    ]


TABLE_ROW, FIGURE = re.compile(r"│ (\w+)\s+│\s+(\d+) │"), re.compile(r"(micro_f1|macro_f1|map) (\d\.\d+)")


@pytest.mark.shipped
@pytest.mark.parametrize("name", ["train", "evaluate"])
def test_what_training_prints(name: str, printed: dict[str, str]) -> None:
    command, said = output_of("docs/training.md", name)
    for part in (TABLE_ROW, re.compile(r"^n \d+|^\d+ training and \d+ dev documents, \d+ topics", re.MULTILINE)):
        assert part.findall(said) and part.findall(printed[command]) == part.findall(said)
    figures = {key: float(value) for key, value in FIGURE.findall(printed[command])}
    assert figures == pytest.approx({key: float(value) for key, value in FIGURE.findall(said)}, abs=0.1)


@pytest.mark.shipped
def test_what_other_commands_write(printed: dict[str, str], folder: Path) -> None:
    command, said = output_of("docs/training.md", "suspects")
    numbers = [[int(n) for n in re.findall(r"\d+", text.replace(",", ""))] for text in (printed[command], said)]
    assert numbers[0] == pytest.approx(numbers[1], rel=0.1)
    for page in ("report.html", "mine.html", "evaluation.html"):
        assert (folder / page).read_text("utf-8").startswith("<!doctype html>")
    labelled = [json.loads(line) for line in (folder / "rows.jsonl").read_text("utf-8").splitlines()]
    assert len(labelled) == 74 and {"transport", "education"} in [set(row["topics"]) for row in labelled]
