"""A Ray cluster of two nodes of one core each on this machine, started as one starts it on two machines."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

OPEN = {"RAY_AUTH_MODE": "disabled"}  # else all need the token that Ray keeps in the home folder
_START_SECONDS = 90


@contextmanager
def two_nodes() -> Iterator[str]:
    """Address of the cluster, which ends with the block; whoever joins it needs ``OPEN`` in the environment.

    Raises:
        TimeoutError: the head node does not answer.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    ray = [sys.executable, "-m", "ray.scripts.scripts", "start", "--num-cpus=1", "--block", "--disable-usage-stats"]
    head = ("--head", f"--port={address.rpartition(':')[2]}", "--node-ip-address=127.0.0.1", "--include-dashboard=false")
    nodes = [_start([*ray, *head])]
    try:
        _wait_for(address)
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


def _wait_for(address: str) -> None:
    host, _, port = address.partition(":")
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until:
        with socket.socket() as probe:
            if probe.connect_ex((host, int(port))) == 0:
                return
        time.sleep(0.1)
    raise TimeoutError("the head node does not answer")
