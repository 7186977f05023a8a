"""What docs/ says of options, settings, columns and kinds of files is what there is."""

from __future__ import annotations

import importlib
import re
from fnmatch import fnmatch
from pathlib import Path

import click
import pytest

from serving import openapi, report, schema
from serving.compression import PACKED
from serving.containers import CONTAINERS
from serving.reading import SUFFIXES
from serving.results import SCHEMAS
from serving.rows import TABLES
from serving.score import main as score
from serving.settings import Settings
from tests.conftest import ROOT, Server
from training import evaluation_page
from training.data import Row

PAGES = [
    ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "models" / "README.md",
    ROOT / "training" / "data" / "README.md",
]
ARCHIVES = (ROOT / "docs" / "archives.md").read_text("utf-8")


def named(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_links_lead_somewhere_and_settings_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#]*)#?([^)]*)\)", text):
        there = page.parent / target if target else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), f"{target}#{anchor}"
    settings = {f"WENZHAI_{name}".upper() for name in Settings.model_fields}
    assert set(re.findall(r"WENZHAI_[A-Z_]+", text)) <= settings


def anchors(page: Path) -> set[str]:
    """Those of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_files_and_endpoints_that_are_named_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    modules = {path.relative_to(ROOT).as_posix() for path in ROOT.glob("*/*.py")}
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert name in modules or name in {module.split("/")[1] for module in modules}, name
    assert set(re.findall(r"/v1/[a-z-]+(?:/[a-z]+)?", text)) <= set(openapi.describe(["a"])["paths"])


def test_the_house_has_all_its_rooms() -> None:
    house = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
    rooms, of_training = house.split("## The house")[1].split("## Habits")[0].split("And of `training/`")
    table = rooms.split("The rooms of `serving/`")[1]
    for folder, text in (("serving", table), ("training", of_training)):
        there = {path.stem for path in (ROOT / folder).glob("*.py")} - {"__init__"}
        there |= {f"{path.name}/" for path in (ROOT / folder).iterdir() if path.is_dir() and path.name != "__pycache__"}
        assert set(re.findall(r"`([\w]+/?)`", "".join(text.splitlines(keepends=True)[1:]))) == there
    ignored = {line.strip("/") for line in (ROOT / ".gitignore").read_text("utf-8").splitlines()}
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and not any(fnmatch(path.name, each) for each in ignored)}
    assert set(re.findall(r"^\| `(\w+)/`", rooms, re.MULTILINE)) == {name for name in folders if not name.startswith((".", "_"))}


def test_the_readme_is_three_screens() -> None:
    assert len(PAGES[0].read_text("utf-8").split("## How fast")[0].splitlines()) <= 110


OPTIONS = [
    found
    for page in PAGES
    for found in re.findall(r"<!-- options:([\w.]+) -->\n(.*?)\n\n", page.read_text("utf-8") + "\n\n", re.DOTALL)
]


@pytest.mark.parametrize("module, table", OPTIONS, ids=[module for module, _ in OPTIONS])
def test_tables_of_options(module: str, table: str) -> None:
    """Each option once, with the default that ``--help`` states."""
    rows = [[cell.strip(" `") for cell in line.split("|")] for line in table.splitlines()[2:]]
    said = {row[1]: row[2] for row in rows}
    options = [option for option in importlib.import_module(module).main.params if isinstance(option, click.Option)]
    assert sorted(row[1] for row in rows) == sorted(option.opts[0] for option in options)
    for option in options:
        default = "yes" if option.default is True else str(option.default).removeprefix(f"{ROOT}/")
        if option.default and isinstance(option.default, (str, int, float, Path)):
            assert said[option.opts[0]] == default, option.opts[0]


def test_commands_have_a_table_of_options() -> None:
    of_training = {f"training.{name}" for name in ("train", "evaluate", "suspects", "pretrain", "prepare")}
    assert {"serving.report", *of_training} <= {module for module, _ in OPTIONS}


@pytest.mark.parametrize("name, sections", [("archive", report.SECTIONS), ("evaluation", evaluation_page.SECTIONS)])
def test_sections_of_reports(name: str, sections: tuple[str, ...]) -> None:
    table = (ROOT / "docs" / "report.md").read_text("utf-8").split(f"<!-- sections:{name} -->")[1].split("\n\n")[0]
    assert tuple(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == sections


def test_fields_of_training_rows() -> None:
    text = (ROOT / "docs" / "training.md").read_text("utf-8")
    table = text.split("<!-- fields:row -->")[1].split("\n\n")[0]
    assert set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE)) == set(Row.__dataclass_fields__) - {"where"}
    for name, block in re.findall(r"<!-- file:([\w./-]+) -->\n```\w+\n(.*?)```", text, re.DOTALL):
        assert (ROOT / name).read_text("utf-8") == block, name


def test_options_of_the_archive_command() -> None:
    there = {name for parameter in score.params for name in parameter.opts if name.startswith("--")}
    of_others = {"--head", "--port"}  # ray start
    page = ARCHIVES.split("## Speed and scale")[0]  # behind it, options of benchmarks
    assert set(re.findall(r"--[a-z][a-z-]+", page)) - of_others == there | {"--help"}


@pytest.mark.parametrize("rows", SCHEMAS)
def test_columns_of_results(rows: str) -> None:
    table = ARCHIVES.split(f"<!-- columns:{rows} -->")[1].split("\n\n")[0]
    first = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    assert sorted(re.findall(r"`(\w+)`", "".join(first))) == sorted(SCHEMAS[rows].names)


def test_kinds_of_files() -> None:
    table = ARCHIVES.split("| input | read as |")[1].split("\n\n")[0]
    short = {".text", ".tgz", ".tbz2", ".tbz", ".txz", ".tzst"}  # further ways to write the others
    assert set(re.findall(r"`(\.\w+)`", table)) | short >= {*SUFFIXES, *TABLES, *CONTAINERS, *PACKED}
    assert set(re.findall(r"`(\.\w+)`", table)) <= {*SUFFIXES, *TABLES, *CONTAINERS, *PACKED}


def test_warnings_of_reading() -> None:
    table = (ROOT / "docs" / "reading.md").read_text("utf-8").split("## Warnings")[1].split("## When")[0]
    named = {name.removesuffix("_removed") for name in re.findall(r"`([a-z]+_[a-z_]+)`", table)}
    code = "".join(path.read_text("utf-8") for path in (ROOT / "serving").glob("*.py"))
    assert set(re.findall(r'(?:removed|noted)\["(\w+)"\]', code)) <= named
    assert all(re.search(rf'"{name}"|{name}={name}', code) for name in named), named


@pytest.mark.parametrize("page", [page for page in PAGES[1:] if page.name != "http.md"], ids=named)
def test_python_in_docs_runs(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for code in re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
        exec(code, {})


HTTP = (ROOT / "docs" / "http.md").read_text("utf-8")


def first_column(marker: str) -> str:
    table = HTTP.split(f"<!-- {marker} -->")[1].split("\n\n")[0]
    return " ".join(line.split("|")[1] for line in table.splitlines()[3:])


@pytest.mark.parametrize("name", ["DocumentInput", "Options", "Analysis"])
def test_fields_of_requests_and_answers(name: str) -> None:
    assert sorted(re.findall(r"`(\w+)`", first_column(f"fields:{name}"))) == sorted(getattr(schema, name).model_fields)


def test_endpoints_and_statuses() -> None:
    described = openapi.describe(["a"])["paths"]
    there = {f"{method.upper()} {path}" for path, item in described.items() for method in item}
    table = HTTP.split("| endpoint | what |")[1].split("\n\n")[0]
    assert set(re.findall(r"`((?:GET|POST) [^`]+)`", table)) == there
    statuses = {status for item in described.values() for call in item.values() for status in call["responses"]} - {"200"}
    of_all = {"404", "405", "431"}  # before any endpoint is reached
    assert set(re.findall(r"\d{3}", first_column("statuses"))) == statuses | of_all


@pytest.mark.shipped
def test_python_clients(shipped_server: Server) -> None:
    for code in re.findall(r"```python\n(.*?)```", HTTP, re.DOTALL):
        names: dict = {}
        exec(code.replace("http://127.0.0.1:3000", shipped_server.url), names)
        assert names["answer"]["documents"]
