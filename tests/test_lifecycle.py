"""Start, overload, faults and end of the service: whole servers with a model that can be held back or damaged."""

import shutil
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import Server


def post(server: Server, documents: list[dict]) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/analyze", json={"documents": documents}, timeout=120)


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
        (folder / "model.safetensors").unlink()
    elif how == "bit flipped":
        content = bytearray((folder / "model.safetensors").read_bytes())
        content[100] ^= 1
        (folder / "model.safetensors").write_bytes(content)
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
