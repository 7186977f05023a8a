"""What docs/ says of options, settings, columns and kinds of files is what there is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from serving.compression import PACKED
from serving.containers import CONTAINERS
from serving.reading import SUFFIXES
from serving.results import SCHEMAS
from serving.rows import TABLES
from serving.score import main as score
from serving.settings import Settings
from tests.conftest import ROOT

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
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
    assert set(re.findall(r"--[a-z][a-z-]+", ARCHIVES)) - of_others == there | {"--help"}


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
