"""Request ids, the headers of every answer, JSON logs, CORS, the address it listens on: what surrounds each request."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Server

EVERYWHERE = {
    "x-content-type-options": "nosniff", "referrer-policy": "no-referrer", "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
}


@pytest.mark.parametrize("method, path", [
    ("GET", "/"), ("GET", "/page/app.js"), ("GET", "/page/style.css"), ("GET", "/page/nothing"), ("GET", "/docs.json"),
    ("GET", "/v1/info"), ("GET", "/v1/topics"), ("GET", "/nothing"), ("GET", "/metrics"), ("GET", "/readyz"),
    ("GET", "/schema.json"), ("POST", "/v1/analyze"), ("POST", "/v1/files"),
    ("DELETE", "/v1/analyze"), ("OPTIONS", "/v1/analyze"),
])
def test_every_answer_has_the_headers(tiny_server: Server, method: str, path: str) -> None:
    answer = httpx.request(method, f"{tiny_server.url}{path}")
    assert {name: answer.headers.get(name) for name in EVERYWHERE} == EVERYWHERE
    policy = answer.headers["content-security-policy"]
    assert "default-src 'self'" in policy if path in ("/", "/page/app.js", "/page/style.css") else "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "server" not in answer.headers and not any(name.startswith("access-control") for name in answer.headers)
    assert (answer.headers.get("cache-control") == "no-store") is not path.startswith("/page/")


def test_answers_with_documents_are_not_stored(tiny_server: Server) -> None:
    answer = httpx.post(f"{tiny_server.url}/v1/analyze", json={"documents": [{"text": "基因筛查。"}]})
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("given", ["a", "order-7:b_c.D", "0" * 64])
def test_a_request_id_is_echoed(tiny_server: Server, given: str) -> None:
    assert httpx.get(f"{tiny_server.url}/v1/info", headers={"X-Request-ID": given}).headers["x-request-id"] == given
    tiny_server.logged(f"request={given}\n")


@pytest.mark.parametrize("given", [None, "", "a b", "x" * 65, "基因".encode(), 'a"b', "a=b\tc"])
def test_an_id_that_is_none_is_replaced(tiny_server: Server, given: object) -> None:
    headers = {} if given is None else {"X-Request-ID": given}
    answered = [httpx.get(f"{tiny_server.url}/nothing", headers=headers).headers["x-request-id"] for _ in range(2)]
    assert len(set(answered)) == 2 and all(re.fullmatch("[0-9a-f]{32}", id) for id in answered)


@pytest.fixture(scope="module")
def json_server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(
        tiny_model, tmp_path_factory.mktemp("access"), WENZHAI_LOG_FORMAT="json",
        WENZHAI_CORS_ORIGINS="https://desk.example, https://other.example", WENZHAI_API_KEY="secret",
    )
    server.wait()
    yield server
    server.stop()


def test_logs_are_json(json_server: Server) -> None:
    headers = {"X-Request-ID": "order-7", "Authorization": "Bearer secret"}
    httpx.post(f"{json_server.url}/v1/classify", json={"documents": []}, headers=headers)
    lines = [json.loads(line) for line in json_server.logged("order-7").splitlines()]
    assert all({"time", "level", "logger", "process", "message"} <= set(line) for line in lines)
    [line] = [line for line in lines if line.get("request_id") == "order-7"]
    assert (line["method"], line["endpoint"], line["status"], line["caller"]) == ("POST", "/v1/classify", 422, "default")
    assert line["milliseconds"] > 0 and line["address"] == "127.0.0.1"


def test_pages_of_other_origins_only_as_set(json_server: Server) -> None:
    preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}
    for origin, allowed in (("https://desk.example", True), ("https://other.example", True), ("https://evil.example", False)):
        asked = httpx.options(f"{json_server.url}/v1/analyze", headers={"Origin": origin, **preflight})
        got = httpx.get(f"{json_server.url}/v1/info", headers={"Origin": origin})
        assert got.status_code == 401  # also an error can be read by the page that asked
        for answer in (asked, got):
            assert answer.headers.get("access-control-allow-origin") == (origin if allowed else None)
        assert (asked.status_code == 200) is allowed


def test_it_listens_on_loopback_unless_told_otherwise(json_server: Server) -> None:
    """``bentoml serve`` is given no address here; BentoML's own default is every address of the machine."""
    port = int(json_server.url.rsplit(":", 1)[1])
    listening = subprocess.run(["ss", "-ltnH", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
    assert [line.split()[3] for line in listening.splitlines()] == [f"127.0.0.1:{port}"]
