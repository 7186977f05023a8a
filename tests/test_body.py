"""The size of a request's body, with and without Content-Length, and bodies that end too soon."""

import socket
from collections.abc import Iterator

import httpx
import pytest
from conftest import Server

JSON = {"Content-Type": "application/json"}


def chunks(size: int) -> Iterator[bytes]:
    yield b'{"documents": [{"text": "'
    for _ in range(size // 65_536):
        yield b"a" * 65_536


@pytest.mark.parametrize("path, headers", [("analyze", JSON), ("files", {"Content-Type": "multipart/form-data; boundary=x"})])
def test_requests_that_are_too_large(tiny_server: Server, path: str, headers: dict) -> None:
    url = f"{tiny_server.url}/v1/{path}"
    limit = httpx.get(f"{tiny_server.url}/v1/info").json()["limits"]["max_request_bytes"]
    # Without Content-Length, in chunks.
    answer = httpx.post(url, content=chunks(limit + 200_000), headers=headers, timeout=60)
    assert answer.status_code == 413 and str(limit) in answer.json()["error"]
    # With it, the answer comes before the body.
    with socket.create_connection(("127.0.0.1", int(tiny_server.url.rsplit(":", 1)[1])), timeout=20) as connection:
        sent = {"Host": "x", **headers, "Content-Length": limit + 1}
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        connection.sendall(f"POST /v1/{path} HTTP/1.1\r\n{head}\r\n".encode())
        assert connection.recv(12) == b"HTTP/1.1 413"


def test_a_body_of_just_the_limit_passes(tiny_server: Server) -> None:
    limit = httpx.get(f"{tiny_server.url}/v1/info").json()["limits"]["max_request_bytes"]
    body = b'{"documents": [{"text": "a"}]' + b" " * (limit - 30) + b"}"
    assert len(body) == limit
    assert httpx.post(f"{tiny_server.url}/v1/classify", content=body, headers=JSON, timeout=60).status_code == 200


def test_a_body_that_is_cut_off_leaves_the_service_well(tiny_server: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(tiny_server.url.rsplit(":", 1)[1]))) as connection:
        connection.sendall(
            b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 99\r\n"
            b"X-Request-ID: cut-off\r\n\r\n{\"docu"
        )
    log = tiny_server.logged("request=cut-off")
    assert "status=400" in next(line for line in log.splitlines() if "request=cut-off" in line)
    assert httpx.post(f"{tiny_server.url}/v1/analyze", json={"documents": [{"text": "基因。"}]}).status_code == 200
