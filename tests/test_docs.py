"""What docs/ says of options, settings, columns and kinds of files is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving import openapi, schema
from serving.compression import PACKED
from serving.containers import CONTAINERS
from serving.reading import SUFFIXES
from serving.results import SCHEMAS
from serving.rows import TABLES
from serving.score import main as score
from serving.settings import Settings
from tests.conftest import ROOT, Server

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
ARCHIVES = (ROOT / "docs" / "archives.md").read_text("utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere_and_settings_exist(page: Path) -> None:
    text = page.read_text("utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (page.parent / target).exists(), target
    settings = {f"WENZHAI_{name}".upper() for name in Settings.model_fields}
    assert set(re.findall(r"WENZHAI_[A-Z_]+", text)) <= settings


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


@pytest.mark.parametrize("page", [page for page in PAGES[1:] if page.name != "http.md"], ids=lambda page: page.name)
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
