"""Start and faults of the service: whole servers with a model that can be held back or damaged."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from conftest import Server, SlowServer


def post(server: Server, documents: list[dict]) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/analyze", json={"documents": documents}, timeout=120)


def test_timeout_and_faults(slow: Callable[..., SlowServer]) -> None:
    server = slow(WENZHAI_REQUEST_TIMEOUT_SECONDS="3")
    late = post(server, [{"text": "等待第1条。"}])
    assert late.status_code == 504 and "within 3 seconds" in late.text and "retry-after" not in late.headers
    server.go()
    secret = "绝密原文"
    answer = post(server, [{"id": "a", "text": "基因。"}, {"id": "b", "text": f"{secret}错误。"}, {"id": "c", "text": "股权。"}])
    assert [d["id"] for d in answer.json()["documents"]] == ["a", "c"]
    assert answer.json()["errors"][0]["id"] == "b" and secret not in answer.text
    answer = post(server, [{"id": "a", "text": f"{secret}崩溃。"}, {"id": "b", "text": "基因。"}])
    assert answer.json()["errors"][0]["id"] == "a" and answer.json()["documents"][0]["id"] == "b" and secret not in answer.text
    request = {"documents": [{"text": "基因。"}], "focus": f"{secret}崩溃"}
    crash = httpx.post(f"{server.url}/v1/analyze", json=request, timeout=60)
    assert (crash.status_code, set(crash.json())) == (500, {"error"})
    options = {"options": json.dumps({"focus": request["focus"]})}
    upload = httpx.post(f"{server.url}/v1/files", files={"files": ("a.txt", "基因。".encode())}, data=options, timeout=60)
    assert (upload.status_code, set(upload.json())) == (500, {"error"})
    log = server.log.read_text()
    assert "KeyError" in log and "ValueError" in log and "slow_service.py" in log  # what failed, and where
    assert secret not in log and "\\u7edd" not in log
    assert post(server, [{"text": "基因。"}]).status_code == 200


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
