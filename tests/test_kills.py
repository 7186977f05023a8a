"""Killed at 25 random instants, the batch command gives what an undisturbed run gives."""

from __future__ import annotations

from pathlib import Path

from benchmarks.kills import Kills

_KILLS = 25


def test_kills_lose_nothing_and_double_nothing(tmp_path: Path, tiny_model: Path) -> None:
    runs = Kills(tmp_path, 120, tiny_model, workers=2, seed=7)
    assert len(runs.wanted[0]) == 120 and len(runs.wanted[1]) == 3
    output, killed = tmp_path / "disturbed", 0
    while killed < _KILLS:
        killed += runs.disturb(output)
    runs.finish(output)
