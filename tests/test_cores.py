"""Cores are counted as the machine, the affinity and the container's quota leave them."""

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from serving.cores import cores, quota


@pytest.mark.parametrize("content, expected", [("max 100000", math.inf), ("150000 100000", 1.5), ("", math.inf)])
def test_quota_of_a_container(tmp_path: Path, content: str, expected: float) -> None:
    assert quota(tmp_path) == math.inf
    (tmp_path / "cpu.max").write_text(content)
    assert quota(tmp_path) == expected


@pytest.mark.parametrize("limit, expected", [("-1", math.inf), ("400000", 4.0)])
def test_quota_of_an_older_container(tmp_path: Path, limit: str, expected: float) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(f"{limit}\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert quota(tmp_path) == expected


def chosen(before: str = "", **environment: str) -> list[str]:
    code = f"{before}\nfrom serving.settings import get_settings\ns = get_settings(); print(s.workers, s.streams)"
    return subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, env={**os.environ, **environment}, text=True).split()


def test_workers_and_streams_follow_the_cores() -> None:
    assert 1 <= cores() <= (os.cpu_count() or 1)
    affinity = f"import os; os.sched_setaffinity(0, [{min(os.sched_getaffinity(0))}])"
    assert chosen(affinity) == ["1", "1"]
    for count, expected in ((2, ["1", "2"]), (4, ["1", "4"]), (6, ["2", "3"]), (16, ["4", "4"])):
        assert chosen(f"import serving.cores; serving.cores.cores = lambda: {count}") == expected
    assert chosen("import serving.cores; serving.cores.cores = lambda: 8", WENZHAI_WORKERS="8") == ["8", "1"]
    assert chosen(WENZHAI_WORKERS="3", WENZHAI_STREAMS="5") == ["3", "5"]
