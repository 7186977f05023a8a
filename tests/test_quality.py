"""The quality gate: the shipped models on the project's own test split must stay above the pinned floors.

The written part of the split is in the repository, and other written documents beside it (``check``). The real part needs
the corpus (``WENZHAI_CORPUS``, or ``../shared/corpus`` beside the repository); without it that part of the gate is skipped, and
says so.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from conftest import ROOT, run_module

FLOORS = json.loads((ROOT / "tests" / "floors.json").read_text("utf-8"))
CORPUS = Path(os.environ.get("WENZHAI_CORPUS", ROOT.parent / "shared" / "corpus"))
pytestmark = pytest.mark.shipped


def check(model: str, part: str, data: Path, tmp_path: Path) -> None:
    run_module("training.evaluate", "--model", ROOT / "models" / model, "--data", data, "--json", tmp_path / "figures.json")
    figures = json.loads((tmp_path / "figures.json").read_text("utf-8"))
    floors = FLOORS[model][part]
    short = {name: (figures[name], floor) for name, floor in floors.items() if name != "max_ece" and figures[name] < floor}
    assert not short, f"below the floor (found, floor): {short}"
    assert figures["ece"] <= floors["max_ece"]


@pytest.mark.parametrize("part, name", [("written", "written_test"), ("check", "written_check")])
@pytest.mark.parametrize("model", FLOORS)
def test_written_parts(tmp_path: Path, model: str, part: str, name: str) -> None:
    check(model, part, ROOT / "training" / "data" / f"{name}.jsonl", tmp_path)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    run_module("training.prepare", "--corpus", CORPUS, "--output", folder)
    return folder / "test_real.jsonl"


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"the real half of the gate needs the corpus; there is none in {CORPUS}")
@pytest.mark.parametrize("model", FLOORS)
def test_real_part(tmp_path: Path, real: Path, model: str) -> None:
    check(model, "real", real, tmp_path)


PINNED = {
    ("default", "real"): {"micro_f1": 0.853, "macro_f1": 0.845, "map": 0.933, "key_sentence_f1": 0.592, "max_ece": 0.02},
    ("default", "written"): {"micro_f1": 0.855, "macro_f1": 0.827, "map": 0.923, "key_sentence_f1": 0.716, "max_ece": 0.03},
    ("small", "real"): {"micro_f1": 0.822, "macro_f1": 0.815, "map": 0.911, "key_sentence_f1": 0.56, "max_ece": 0.02},
    ("small", "written"): {"micro_f1": 0.859, "macro_f1": 0.842, "map": 0.926, "key_sentence_f1": 0.737, "max_ece": 0.03},
    ("default", "check"): {"micro_f1": 0.92, "macro_f1": 0.923, "map": 0.979, "key_sentence_f1": 0.658, "max_ece": 0.02},
    ("small", "check"): {"micro_f1": 0.917, "macro_f1": 0.916, "map": 0.977, "key_sentence_f1": 0.636, "max_ece": 0.02},
}


def test_floors_are_as_pinned() -> None:
    """Raising a floor is welcome; lowering one needs this test changed too, in sight of a reviewer."""
    for (model, part), floors in PINNED.items():
        for name, floor in floors.items():
            found = FLOORS[model][part][name]
            assert found <= floor if name == "max_ece" else found >= floor, f"{model}, {part}, {name} was {floor}"
