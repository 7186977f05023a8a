"""Every limit that /v1/info publishes, each passed by one: its status, and its sentence."""

import io
import json
import re
import socket
import time
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path

import httpx
import pytest
from conftest import Server, SlowServer
from test_docx import MAIN, A, paragraph

from serving import conversion
from serving.errors import ReadingError
from serving.settings import Settings

TEXT = "基因。"
SETTINGS = {
    "max_documents": 3, "max_document_chars": 50, "max_request_bytes": 4000, "max_head_bytes": 2048, "max_json_depth": 5,
    "max_json_values": 40, "receive_seconds": 1, "send_seconds": 1, "max_file_bytes": 1000, "max_upload_bytes": 2500,
    "max_unpack_ratio": 2, "unpack_free_bytes": 500, "convert_seconds": 0.02, "max_id_chars": 20, "max_title_chars": 30,
    "max_summary_sentences": 4, "max_slowdown": 1, "burst_seconds": 0, "max_held_bytes": 6000, "request_timeout_seconds": 3,
    "max_requests_per_minute": 30, "max_corrections_bytes": 100, "max_marked_sentences": 2,
}
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlowServer]:
    """With small limits, and a model that waits for a file that never comes on documents that say 等待."""
    started = SlowServer(
        tiny_model, folder := tmp_path_factory.mktemp("limits"), WENZHAI_STREAMS="1",
        WENZHAI_CORRECTIONS=str(folder / "corrections.jsonl"),
        **{f"WENZHAI_{name.upper()}": str(value) for name, value in SETTINGS.items()},
    )
    started.wait()
    yield started
    started.go()
    started.stop()


_callers = iter(range(1, 250))


def caller() -> dict[str, str]:
    """Another caller as far as the rate is concerned: the server trusts a proxy on loopback."""
    return {"X-Forwarded-For": f"203.0.113.{next(_callers)}"}


def post(server: Server, body: object, path: str = "analyze", **headers: str) -> httpx.Response:
    content = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    return httpx.post(f"{server.url}/v1/{path}", content=content, headers={**JSON, **caller(), **headers}, timeout=30)


def one(**document: object) -> dict:
    return {"documents": [{"text": TEXT, **document}]}


def correction(server: Server, marked: int) -> httpx.Response:
    return post(server, {"rows": [{"text": TEXT, "topics": [], "key_sentences": [TEXT] * marked}]}, "corrections")


def files(server: Server, *contents: bytes, name: str = "a.txt", options: str = "{}") -> httpx.Response:
    uploads = [("files", (name, content)) for content in contents]
    return httpx.post(f"{server.url}/v1/files", files=uploads, data={"options": options}, headers=caller(), timeout=30)


def zipped(size: int, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as file:
        file.writestr("a.txt", b"\n" * size)
    return buffer.getvalue()


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=10)


def raw(server: Server, *parts: bytes, pause: float = 0.0) -> httpx.Response:
    """What comes back on a connection into which these bytes go, until the server ends it."""
    with closing(connect(server)) as connection:
        for part in parts:
            connection.sendall(part)
            time.sleep(pause)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"connection: close" in head.lower()
    return httpx.Response(int(head.split()[1]), content=body)


def head(size: int) -> bytes:
    start, end = b"GET /v1/info HTTP/1.1\r\nHost: x\r\nX-Long: ", b"\r\n\r\n"
    counted = len("/v1/info") + len("HostxX-Long") + 8  # the address, and 4 bytes of punctuation a header
    return start + b"a" * (size - counted) + end


def unread(server: Server) -> httpx.Response:
    """Many large answers are asked for, and none is read: the connection ends when no more of them can be sent."""
    def answered() -> str:
        return re.search(r'requests_total{endpoint="/docs.json".*', httpx.get(f"{server.url}/metrics", timeout=30).text + "\n")[0]

    with closing(socket.socket()) as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(("127.0.0.1", int(server.url.rsplit(":", 1)[1])))
        connection.sendall(b"GET /docs.json HTTP/1.1\r\nHost: x\r\n\r\n" * 1500)
        before, now = "", answered()
        while before != now:
            time.sleep(2.5)
            before, now = now, answered()
        connection.settimeout(30)
        got = b""
        with suppress(ConnectionError):
            while chunk := connection.recv(1 << 20):
                got += chunk
    assert 0 < got.count(b"HTTP/1.1 200") < 1500, "the answers were kept for whoever did not read them"
    return httpx.Response(200)


def go_on(server: SlowServer) -> None:
    """Let the model end what it was held back with."""
    server.go()
    assert post(server, one()).status_code == 200
    (server.folder / "go").unlink()


def memory(server: Server) -> httpx.Response:
    """In this process: over HTTP a file that large is refused before."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("word/document.xml", f"<w:document xmlns:w='{MAIN}'><w:body>{paragraph(A * 800_000)}</w:body></w:document>")
    child = conversion._Child(30, 256 * 1024**2)
    try:
        child.ask("docx", buffer.getvalue(), 1 << 30)
    except conversion._EndedError:
        return httpx.Response(200, json={"errors": [{"error": "needs more memory"}]})
    finally:
        child.end()
    raise ReadingError("it was read")


def crowd(server: Server) -> httpx.Response:
    """Two requests where none may take longer than alone: one is refused at once, and one times out."""
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda i: post(server, one(text=f"等待第{i}条。")), range(2)))
    go_on(server)
    refused, late = sorted(answers, key=lambda answer: answer.status_code)
    assert late.status_code == 504 and refused.elapsed.total_seconds() < 1 <= int(refused.headers["retry-after"])
    return refused


def held(server: Server) -> httpx.Response:
    """A body that is still arriving, and another beside it."""
    with closing(connect(server)) as connection:
        connection.sendall(_START + b"Content-Length: 4000\r\n\r\n" + b" " * 3900)
        time.sleep(0.2)
        return post(server, padded(3900))


def late(server: Server) -> httpx.Response:
    answer = post(server, one(text="等待。"))
    go_on(server)
    return answer


def often(server: Server) -> httpx.Response:
    same, passed, started = caller(), 0, time.monotonic()
    while (answer := httpx.get(f"{server.url}/v1/info", headers=same)).status_code == 200:
        passed += 1
    assert 30 <= passed <= 31 + (time.monotonic() - started) / 2  # they come back at one in two seconds
    assert 1 <= int(answer.headers["retry-after"]) <= 2
    assert httpx.get(f"{server.url}/v1/info", headers=caller()).status_code == 200
    return answer


def padded(size: int) -> bytes:
    body = json.dumps(one()).encode()
    return body + b" " * (size - len(body))


def nested(depth: int) -> bytes:
    return b'{"documents":[{"text":"[[[[[[[["}],"x":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


_START = b"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
# limit -> (what passes it by one, status, part of the sentence). A document's error leaves the status at 200.
TABLE: dict[str, tuple[Callable[[Server], httpx.Response], int, str]] = {
    "max_documents": (lambda s: post(s, {"documents": [{"text": TEXT}] * 4}), 422, "at most 3 items"),
    "max_documents of an upload": (lambda s: files(s, *[TEXT.encode()] * 4), 413, "more than 3"),
    "max_document_chars": (lambda s: post(s, one(text="基" * 51)), 200, "longer than 50 characters: split it"),
    "max_document_chars of an upload": (lambda s: files(s, ("基" * 51).encode()), 200, "longer than 50 characters"),
    "max_request_bytes": (lambda s: post(s, padded(4001)), 413, "larger than 4000 bytes"),
    "max_request_bytes in chunks": (
        lambda s: raw(s, _START + b"Transfer-Encoding: chunked\r\n\r\n", b"fa1\r\n" + b" " * 4001 + b"\r\n"), 413, "4000 bytes"
    ),
    "max_head_bytes": (lambda s: raw(s, head(2049)), 431, "headers are larger than 2048 bytes"),
    "max_head_bytes without an end": (lambda s: raw(s, head(5000)[:-4]), 431, "larger than 2048 bytes"),
    "max_json_depth": (lambda s: post(s, nested(6)), 400, "nested more than 5 deep"),
    "max_json_values": (lambda s: post(s, one() | {str(n): 1 for n in range(40)}), 400, "more than 40 values"),
    "max_json_values of the options": (lambda s: files(s, b"a", options=str([1] * 41)), 422, "more than 40 values"),
    "receive_seconds of the headers": (lambda s: raw(s, b"GET /v1/info HTTP/1.1\r\nHost"), 408, "headers did not arrive"),
    "receive_seconds": (
        lambda s: raw(s, _START + b"Content-Length: 99\r\n\r\n", *[b"{"] * 8, pause=0.2), 408, "body did not arrive within 1"
    ),
    "send_seconds": (unread, 200, ""),
    "max_file_bytes": (lambda s: files(s, b"a" * 1001), 200, "larger than 1000 bytes"),
    "max_file_bytes in a zip": (lambda s: files(s, zipped(1001, 0), name="a.zip"), 200, "larger than 1000 bytes"),
    "max_upload_bytes": (lambda s: files(s, *[b"a" * 834] * 3), 413, "more than 2500 bytes once unpacked"),
    "max_unpack_ratio": (lambda s: files(s, zipped(1000), name="a.zip"), 200, "bombs"),
    "unpack_free_bytes": (lambda s: files(s, zipped(1000), name="a.zip"), 200, "bombs"),
    "convert_seconds": (lambda s: files(s, b"%PDF-1.4\n1 0 obj\n", name="a.pdf"), 200, "took longer than 0.02 s"),
    "convert_memory_bytes": (memory, 200, "needs more memory"),
    "max_id_chars": (lambda s: post(s, one(id="i" * 21)), 422, "at most 20 characters"),
    "max_title_chars": (lambda s: post(s, one(title="t" * 31)), 422, "at most 30 characters"),
    "max_summary_sentences": (lambda s: post(s, {**one(), "max_sentences": 5}), 422, "less than or equal to 4"),
    "max_slowdown": (crowd, 429, "busy: try again in"),
    "burst_seconds": (crowd, 429, "busy: try again in"),
    "max_held_bytes": (held, 429, "busy: try again in 1 seconds"),
    "request_timeout_seconds": (late, 504, "no answer within 3 seconds"),
    "max_requests_per_minute": (often, 429, "more than 30 requests a minute"),
    "max_marked_sentences": (lambda s: correction(s, 3), 422, "at most 2 items"),
    "max_corrections_bytes": (lambda s: correction(s, 2), 503, "reached its limit of 100 bytes"),
}


@pytest.mark.parametrize("row", TABLE)
def test_what_passes_a_limit_gets_its_status_and_its_sentence(server: Server, row: str) -> None:
    ask, status, says = TABLE[row]
    answer = ask(server)
    assert answer.status_code == status, answer.text
    if says:
        body = answer.json()
        assert says in (body["errors"][0]["error"] if status == 200 else body["error"]), body


@pytest.mark.parametrize("ask", [
    lambda s: post(s, {"documents": [{"text": TEXT}] * 3}), lambda s: post(s, one(text="基" * 50)),
    lambda s: post(s, padded(4000)),
    lambda s: files(s, b"\n\xe5\x9f\xba" * 25), lambda s: post(s, one(id="i" * 20, title="t" * 30)),
    lambda s: post(s, {**one(), "max_sentences": 4}),
])
def test_what_just_keeps_to_the_limits_passes(server: Server, ask: Callable[[Server], httpx.Response]) -> None:
    answer = ask(server)
    assert answer.status_code == 200 and not (answer.content and answer.json()["errors"]), answer.text


def test_every_published_limit_is_in_the_table(server: Server) -> None:
    published = httpx.get(f"{server.url}/v1/info", headers=caller()).json()["limits"]
    assert {row.split()[0] for row in TABLE} == set(published)
    assert {name: published[name] for name in SETTINGS} == SETTINGS


def test_every_limit_is_published() -> None:
    """A setting whose name says that it is a limit is one; the others are of the batch command."""
    named = {name for name in Settings.model_fields if name.startswith("max_") or name.endswith("_seconds")}
    batch = {"max_nested_bytes", "max_depth", "max_batch_tokens", "retry_after_seconds"}
    assert named - batch <= set(Settings().limits())
