"""The service as the other benchmarks start it, ask it and look at it."""

from __future__ import annotations

import os
import random
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import aiohttp
import psutil

from benchmarks.kills import sentences


class Served:
    """``bentoml serve`` on a free port, within ``with``; ``seconds`` is the time from its start until it is ready."""

    def __init__(self, model: Path, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self._folder = tempfile.TemporaryDirectory()
        self.log = Path(self._folder.name) / "log"
        self._command = [
            sys.executable, "-m", "bentoml", "serve", "serving.service:Wenzhai", "--host", "127.0.0.1", "--port", str(port)
        ]
        self._environment = {
            **os.environ, "BENTOML_HOME": self._folder.name, "BENTOML_DO_NOT_TRACK": "True", "WENZHAI_MODEL": str(model),
            **environment,
        }

    def __enter__(self) -> Served:
        started = time.perf_counter()
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(self._command, cwd=ROOT, env=self._environment, stdout=log, stderr=log)
        while not self._ready():
            if self.process.poll() is not None:
                raise SystemExit(self.log.read_text("utf-8", "replace"))
            time.sleep(0.02)
        self.seconds = time.perf_counter() - started
        return self

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=1) as answer:
                return answer.status == 200
        except OSError:
            return False

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait()
        self._folder.cleanup()

    def memory(self) -> list[float]:
        """Resident memory of each worker, in MB."""
        workers = psutil.Process(self.process.pid).children()
        return [worker.memory_info().rss / 1e6 for worker in workers if "_bentoml_impl.worker.service" in worker.cmdline()]


def connect() -> aiohttp.ClientSession:
    """A client that opens as many connections as it needs. aiohttp's takes a third of httpx's time a request, which matters
    where client and service share the cores."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=600))


async def ask(client: aiohttp.ClientSession, url: str, text: str) -> int:
    """Have one document analysed: the status."""
    async with client.post(f"{url}/v1/analyze", json={"documents": [{"text": text}]}) as answer:
        await answer.read()
        return answer.status


def make_text(draw: random.Random, characters: int) -> str:
    """A document of about so many characters, from templates."""
    return sentences(draw, max(characters // 25, 1))[: max(characters, 20)]


def percentiles(values: list[float]) -> tuple[float, float]:
    """p50 and p99; of fewer than a hundred values the largest stands for p99."""
    if not values:
        return float("nan"), float("nan")
    return statistics.median(values), sorted(values)[min(int(len(values) * 0.99), len(values) - 1)]
