"""Concurrent requests: each gets its own answer, in order; load beyond the limits; faults; start and end of the server."""

import asyncio
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest
from conftest import WORDS, Server

from serving.batching import Batcher, OverloadedError
from serving.document import Document
from serving.model import Model, Scores
from serving.reading import read


def text(number: int, sentences: int) -> str:
    words = [*WORDS["screening"], *WORDS["finance"], *WORDS["none"]]
    return "".join(f"{words[(number + i) % len(words)]}第{number}条第{i}句。" for i in range(sentences))


def post(server: Server, documents: list[dict], **options: object) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/analyze", json={"documents": documents, **options}, timeout=120)


def scores_of(answer: dict) -> list[list[float]]:
    return [[topic["score"] for topic in sorted(d["topics"], key=lambda t: t["id"])] for d in answer["documents"]]


def test_parallel_requests_are_answered_as_alone(tiny_server: Server) -> None:
    """64 at a time, of one to five documents, one of them long; the scores are those of the document alone."""
    requests = [
        [{"id": f"{r}-{i}", "text": text(r * 7 + i, 1 + (r + i) % 9)} for i in range(1 + r % 5)] for r in range(64)
    ]
    requests[20][0]["text"] = text(20, 5_000)
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda documents: post(tiny_server, documents, threshold=0, include_text=True), requests))
    for documents, answer in zip(requests, answers):
        assert answer.status_code == 200, answer.text
        assert [d["id"] for d in answer.json()["documents"]] == [d["id"] for d in documents]
        assert [d["text"] for d in answer.json()["documents"]] == [d["text"] for d in documents]
    for r in (0, 19, 20, 21, 63):
        alone = [post(tiny_server, [document], threshold=0).json() for document in requests[r]]
        together = scores_of(answers[r].json())
        assert np.allclose(together, [scores_of(one)[0] for one in alone], atol=0.02)
    assert len({str(s) for answer in answers for s in scores_of(answer.json())}) > 10  # they do differ


class FakeModel:
    """Scores a document by the number in its text; counts batches; can be held back, and fails on 'bad'."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def split(self, document: Document) -> list:
        return [type("Window", (), {"token_ids": [0] * len(document.text)})()]

    def score_windows(self, documents: list[Document], split: list, max_batch_tokens: int) -> list[Scores]:
        self.gate.wait(10)
        self.batches.append([document.text for document in documents])
        if any("bad" in document.text for document in documents):
            raise ValueError("a fault")
        return [Scores(*[np.array([int(document.text.split()[0])])] * 4) for document in documents]


def documents(*texts: str) -> list[Document]:
    return [read(text, format="text") for text in texts]


@pytest.fixture
def fake() -> Model:
    return FakeModel()  # type: ignore[return-value]


def test_waiting_documents_are_scored_together_within_the_budget(fake: FakeModel) -> None:
    async def run() -> list:
        batcher = Batcher(fake, 10, 100)
        fake.gate.clear()
        first = asyncio.create_task(batcher.score(documents("1")))
        await asyncio.sleep(0.2)  # the model is busy with the first
        rest = [asyncio.create_task(batcher.score(documents(str(i), str(i * 10)))) for i in range(2, 6)]
        await asyncio.sleep(0.2)
        fake.gate.set()
        return [await first, *[await task for task in rest]]

    results = asyncio.run(run())
    assert [[int(s.topics[0]) for s in scores] for scores in results] == [[1], [2, 20], [3, 30], [4, 40], [5, 50]]
    assert fake.batches[0] == ["1"] and len(fake.batches) < 6
    assert all(sum(map(len, batch)) <= 10 for batch in fake.batches)


def test_a_document_beyond_the_budget_is_scored_alone(fake: FakeModel) -> None:
    long = "7 " + "x" * 50
    results = asyncio.run(Batcher(fake, 10, 100).score(documents("1", long, "2")))
    assert [int(s.topics[0]) for s in results] == [1, 7, 2]
    assert [long] in fake.batches


def test_one_faulty_document_fails_alone(fake: FakeModel) -> None:
    async def run() -> list:
        batcher = Batcher(fake, 100, 100)
        return [await batcher.score(documents("1", "2 bad", "3")), await batcher.score(documents("4"))]

    (one, fault, three), [four] = asyncio.run(run())
    assert isinstance(fault, ValueError)
    assert [int(s.topics[0]) for s in (one, three, four)] == [1, 3, 4]


def test_requests_that_arrive_together_do_not_slip_past_the_limit(fake: FakeModel) -> None:
    async def run() -> list:
        batcher = Batcher(fake, 100, 4)
        fake.gate.clear()
        tasks = [asyncio.create_task(batcher.score(documents("1", "2"))) for _ in range(5)]
        await asyncio.sleep(0.2)
        fake.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [*results, await batcher.score(documents(*"12345"))]  # alone, a request of more than the limit is let in

    results = asyncio.run(run())
    assert [isinstance(result, OverloadedError) for result in results] == [False, False, True, True, True, False]


def test_who_gives_up_takes_the_documents_along(fake: FakeModel) -> None:
    async def run() -> list:
        batcher = Batcher(fake, 1, 3)
        fake.gate.clear()
        first = asyncio.create_task(batcher.score(documents("1")))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(batcher.score(documents("2", "3")), 0.2)
        late = asyncio.create_task(batcher.score(documents("4", "5")))  # there is room again
        await asyncio.sleep(0.1)
        fake.gate.set()
        return [*await first, *await late]

    assert [int(s.topics[0]) for s in asyncio.run(run())] == [1, 4, 5]
    assert fake.batches == [["1"], ["4"], ["5"]]


# --- Whole servers ------------------------------------------------------------------------------------------------------

# A service whose model waits for a file to appear, and fails with the document's text in the message.
SLOW = """
import os, time
from serving import model
score = model.Model.score_windows
def slow(self, documents, split, budget):
    if any("错误" in d.text for d in documents):
        raise ValueError([d.text for d in documents])
    while any("等待" in d.text for d in documents) and not os.path.exists(os.environ["GO"]):
        time.sleep(0.05)
    return score(self, documents, split, budget)
model.Model.score_windows = slow
from serving import service
analyse = service.analyse
def failing(document, *args, **options):
    if "崩溃" in document.text:
        raise KeyError(document.text)
    return analyse(document, *args, **options)
service.analyse = failing
Wenzhai = service.Wenzhai
"""


@pytest.fixture
def slow(tiny_model: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start the slow service; ``go`` beside its log lets it go on."""
    (tmp_path / "slow_service.py").write_text(SLOW, "utf-8")
    started: list[Server] = []

    def start(**environment: str) -> Server:
        path = {"PYTHONPATH": str(tmp_path), "GO": str(tmp_path / "go")}
        started.append(Server(tiny_model, tmp_path, "slow_service:Wenzhai", **path, **environment))
        started[-1].wait()
        return started[-1]

    yield start
    (tmp_path / "go").touch()
    for server in started:
        server.stop()


def test_overload_timeout_and_faults(slow: Callable[..., Server], tmp_path: Path) -> None:
    server = slow(WENZHAI_MAX_WAITING_DOCUMENTS="4", WENZHAI_REQUEST_TIMEOUT_SECONDS="3", WENZHAI_RETRY_AFTER_SECONDS="7")
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda i: post(server, [{"text": f"等待第{i}条。"}]), range(8)))
    assert sorted(a.status_code for a in answers) == [429] * 4 + [504] * 4
    for answer in answers:
        assert "try again in 7 seconds" in answer.text if answer.status_code == 429 else "within 3 seconds" in answer.text
        assert answer.headers.get("retry-after") == ("7" if answer.status_code == 429 else None)
    (tmp_path / "go").touch()
    secret = "绝密原文"
    answer = post(server, [{"id": "a", "text": "基因。"}, {"id": "b", "text": f"{secret}错误。"}, {"id": "c", "text": "股权。"}])
    assert [d["id"] for d in answer.json()["documents"]] == ["a", "c"]
    assert answer.json()["errors"][0]["id"] == "b" and secret not in answer.text
    crash = post(server, [{"text": f"{secret}崩溃。"}])
    assert (crash.status_code, set(crash.json())) == (500, {"error"})
    upload = httpx.post(f"{server.url}/v1/files", files={"files": ("a.txt", f"{secret}崩溃。".encode())}, timeout=60)
    assert (upload.status_code, set(upload.json())) == (500, {"error"})
    log = server.log.read_text()
    assert "KeyError" in log and "ValueError" in log and "slow_service.py" in log  # what failed, and where
    assert secret not in log and "\\u7edd" not in log
    assert post(server, [{"text": "基因。"}]).status_code == 200


def test_sigterm_lets_a_running_request_finish(slow: Callable[..., Server], tmp_path: Path) -> None:
    server = slow()
    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(post, server, [{"id": "a", "text": "等待第1条。"}])
        while "/v1/info" not in server.log.read_text():  # the server answers while the request waits
            httpx.get(f"{server.url}/v1/info")
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.HTTPError):  # nothing new is taken
            while True:
                httpx.get(f"{server.url}/healthz", timeout=5)
        assert not running.done()
        (tmp_path / "go").touch()
        answer = running.result(30)
    assert answer.status_code == 200 and [d["id"] for d in answer.json()["documents"]] == ["a"]
    assert server.process.wait(30) == 0


def damage(folder: Path, how: str) -> None:
    config = folder / "config.json"
    if how == "missing":
        shutil.rmtree(folder)
    elif how == "file missing":
        (folder / "graph.bin").unlink()
    elif how == "bit flipped":
        content = bytearray((folder / "graph.bin").read_bytes())
        content[100] ^= 1
        (folder / "graph.bin").write_bytes(content)
    elif how == "not JSON":
        config.write_text("{")
    else:  # the hashes are right, but it can't be loaded
        config.write_text(config.read_text("utf-8").replace('"windows"', '"doors"'), "utf-8")


@pytest.mark.parametrize("how", ["missing", "file missing", "bit flipped", "not JSON", "unloadable"])
def test_a_model_that_cannot_be_used_ends_the_start(tiny_model: Path, tmp_path: Path, how: str) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    damage(folder, how)
    server = Server(folder, tmp_path)
    try:
        assert server.process.wait(60) != 0
        log = server.log.read_text()
        assert "wenzhai can't start: " in log and str(folder) in log and "Traceback" not in log
        assert any(advice in log for advice in ("train one with", "fetch the model folder again", "train or fetch it again"))
    finally:
        server.stop()


def test_a_setting_that_cannot_be_used_ends_the_start(tiny_model: Path, tmp_path: Path) -> None:
    server = Server(tiny_model, tmp_path, WENZHAI_MAX_DOCUMENTS="many")
    try:
        assert server.process.wait(60) != 0
        log = server.log.read_text()
        assert "wenzhai can't start: WENZHAI_MAX_DOCUMENTS: " in log and "Traceback" not in log
    finally:
        server.stop()
