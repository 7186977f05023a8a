"""Scoring on Ray Data gives the rows of the local engine, goes on after a stop, and sets bad documents aside."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.kills import write_archive
from tests.conftest import run_module
from tests.test_score import SMALL, errors, results, wait_for

OPEN = {"RAY_AUTH_MODE": "disabled"}  # else all need the token that Ray keeps in the home folder


@contextmanager
def two_nodes() -> Iterator[str]:
    """Address of a cluster of two nodes on this machine, started as one starts it on two."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--block", "--disable-usage-stats"]
    head = ("--head", f"--port={address.rpartition(':')[2]}", "--node-ip-address=127.0.0.1", "--include-dashboard=false")
    nodes = [_start([*ray, *head])]
    try:
        wait_for(lambda: _answers(address), "the head node")
        nodes.append(_start([*ray, f"--address={address}"]))
        yield address
    finally:
        for node in nodes:
            os.killpg(node.pid, signal.SIGKILL)
            node.wait()
        Path(tempfile.gettempdir(), "ray", "ray_current_cluster").unlink(missing_ok=True)  # it would have others wait for it


def _start(command: list[str]) -> subprocess.Popen[bytes]:
    null = subprocess.DEVNULL
    return subprocess.Popen(command, stdout=null, stderr=null, start_new_session=True, env={**os.environ, **OPEN})


def _answers(address: str) -> bool:
    host, _, port = address.partition(":")
    with socket.socket() as probe:
        return probe.connect_ex((host, int(port))) == 0


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
