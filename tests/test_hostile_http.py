"""What a caller may send to do harm, over HTTP: the service says no, stays up, and stays small."""

import io
import json
import os
import socket
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import Server

JSON = {"Content-Type": "application/json"}
FORM = {"Content-Type": "multipart/form-data; boundary=x"}
FIELD = b'--x\r\nContent-Disposition: form-data; name="files"\r\n\r\n'
PART = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
_MEGABYTE = 1 << 20


def worker_memory(server: Server) -> int:
    """Resident bytes of all processes of the service."""
    parents: dict[int, list[int]] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            status = folder.joinpath("stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents.setdefault(int(status[1]), []).append(int(folder.name))
    found, ours = [server.process.pid], []
    while found:
        ours.append(found.pop())
        found += parents.get(ours[-1], [])
    return sum(map(_resident_pages, ours)) * os.sysconf("SC_PAGE_SIZE")


def _resident_pages(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    except OSError:  # it has ended since
        return 0


def ok(server: Server) -> bool:
    answer = httpx.post(f"{server.url}/v1/analyze", json={"documents": [{"text": "基因筛查。"}]}, timeout=30)
    return answer.status_code == 200


def bomb(size: int) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for i in range(4):
            file.writestr(f"{i}.txt", b"\0" * size)
    return buffer.getvalue()


def form(name: str, content: bytes) -> bytes:
    return PART.replace(b"a.txt", name.encode()) + content + b"\r\n--x--\r\n"


LAUGHS = "<!DOCTYPE a [" + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 9}">' for i in range(1, 20)) + "]><a>&a19;</a>"
# (path, headers, body, statuses): none of them a 5xx
HOSTILE = {
    "nesting": ("analyze", JSON, b'{"documents":' + b"[" * 100_000, {400}),
    "closed nesting": ("analyze", JSON, b"[" * 100_000 + b"]" * 100_000, {400}),
    "objects in objects": ("analyze", JSON, b'{"a":' * 100_000, {400}),
    "nesting in options": (
        "files", FORM, FIELD.replace(b"files", b"options") + b"[" * 100_000 + b"\r\n" + form("a.txt", b"a"), {422}),
    "a NaN": ("analyze", JSON, b'{"documents":[{"text":"a"}],"threshold":NaN}', {400, 422}),
    "infinity": ("analyze", JSON, b'{"documents":[{"text":"a"}],"threshold":1e999}', {422}),
    "a number without end": ("analyze", JSON, b'{"documents":[{"text":"a"}],"top_k":' + b"9" * 100_000 + b"}", {400, 422}),
    "a million unknown fields": (
        "analyze", JSON, b'{"documents":[{"text":"a"}]' + b"".join(b',"%d":1' % i for i in range(_MEGABYTE)) + b"}", {400}),
    "a million topics": ("analyze", JSON, b'{"documents":[{"text":"a"}],"topics":[' + b'"tcm",' * _MEGABYTE + b'"tcm"]}', {400}),
    "many options": (
        "files", FORM, FIELD.replace(b"files", b"options") + b"[" + b"1," * 400_000 + b"1]\r\n" + form("a.txt", b"a"), {422}),
    "a million tasks of a wrong kind": ("label-studio/import", JSON, b'{"tasks":[' + b"1," * _MEGABYTE + b"1]}", {422}),
    "lone surrogates": ("analyze", JSON, b'{"documents":[{"text":"\\ud800","id":"\\udfff","title":"\\ud800"}]}', {200}),
    "a lone surrogate as an option": ("analyze", JSON, b'{"documents":[{"text":"a"}],"focus":"\\ud800"}', {422}),
    "a lone surrogate as a key": ("analyze", JSON, b'{"documents":[{"text":"a"}],"\\ud800":1}', {422}),
    "zero characters": ("analyze", JSON, b'{"documents":[{"text":"\\u0000\\u0000","id":"\\u0000"}]}', {200}),
    "keys twice": ("analyze", JSON, b'{"documents":[{"text":"a","text":5}]}', {422}),
    "a string where a file belongs": ("files", FORM, FIELD + b"a\r\n--x--\r\n", {422}),
    "an address where a file belongs": ("files", FORM, FIELD + b"http://127.0.0.1:9/\r\n--x--\r\n", {422}),
    "a part without an end": ("files", FORM, PART + b"a", {400}),
    "a boundary that never comes": ("files", FORM, b"a" * 100_000, {400}),
    "no boundary": ("files", {"Content-Type": "multipart/form-data"}, form("a.txt", b"a"), {400}),
    "a part without a name": ("files", FORM, b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", {400}),
    "a part's headers without end": ("files", FORM, b"--x\r\n" + b"A: " + b"a" * _MEGABYTE, {400}),
    "many headers of a part": ("files", FORM, b"--x\r\n" + b"".join(b"A%d: a\r\n" % i for i in range(9999)), {400}),
    "ten thousand parts": ("files", FORM, b"".join(PART + b"a\r\n" for _ in range(10_000)) + b"--x--\r\n", {413}),
    "ten thousand fields": ("files", FORM, FIELD.replace(b"files", b"f") * 10_000 + b"a\r\n--x--\r\n", {400}),
    "a name that leads out": ("files", FORM, form("../../etc/passwd", "基因。".encode()), {200}),
    "a bomb": ("files", FORM, form("a.zip", bomb(100 * _MEGABYTE)), {200}),
    "a bomb in a bomb": ("files", FORM, form("a.zip", bomb(1)), {200}),
    "a broken zip": ("files", FORM, form("a.zip", bomb(9999)[:200]), {200}),
    "a broken pdf": ("files", FORM, form("a.pdf", b"%PDF-1.7\n" + bytes(range(256)) * 99), {200}),
    "a broken docx": ("files", FORM, form("a.docx", bomb(9999)[:200]), {200}),
    "broken mail": ("files", FORM, form("a.eml", b"Content-Type: multipart/mixed; boundary=\n\n--\n\xff\xfe"), {200}),
    "tags in tags": ("analyze", JSON, b'{"documents":[{"text":"' + b"<div>" * 39_000 + b'","format":"html"}]}', {200}),
    "quotes": ("analyze", JSON, b'{"documents":[{"text":"' + b"> " * 90_000 + b'","format":"markdown"}]}', {200}),
    "entities": ("analyze", JSON, json.dumps({"documents": [{"text": LAUGHS, "format": "html"}]}).encode(), {200}),
}


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(tiny_model, tmp_path_factory.mktemp("hostile"))
    started.wait()
    yield started
    started.stop()


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_of_it_is_a_failure_of_the_service(server: Server, name: str) -> None:
    path, headers, body, statuses = HOSTILE[name]
    answer = httpx.post(f"{server.url}/v1/{path}", content=body, headers=headers, timeout=120)
    assert answer.status_code in statuses, answer.text[:300]
    assert len(answer.content) < _MEGABYTE
    assert isinstance(answer.json(), dict) and answer.json().keys() <= {"documents", "errors", "error", "detail"}


def large(chunks: int) -> Iterator[bytes]:
    for _ in range(chunks):
        yield b" " * _MEGABYTE


def test_large_bodies_do_not_make_it_grow(server: Server) -> None:
    """200 MB each, four at a time, with their length stated and without, after the same once to warm up."""
    def send(number: int) -> int:
        headers = {**JSON, "Content-Length": str(200 * _MEGABYTE)} if number % 2 else JSON
        return httpx.post(f"{server.url}/v1/analyze", content=large(200), headers=headers, timeout=120).status_code

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(send, range(4))) == {413}
        before = worker_memory(server)
        assert set(pool.map(send, range(8))) == {413}
    assert worker_memory(server) - before < 100 * _MEGABYTE
    assert ok(server)


def test_a_head_without_end_does_not_make_it_grow(server: Server) -> None:
    before = worker_memory(server)
    post = b"POST /v1/analyze HTTP/1.1\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"
    long, many = b"a" * _MEGABYTE, b"".join(b"A%d: a\r\n" % i for i in range(99_999))
    for start, more in [
        (b"GET /", long), (b"GET / HTTP/1.1\r\nX: ", long), (b"GET / HTTP/1.1\r\n", many),
        (post + b"0\r\nX: ", long), (post + b"0\r\n", many), (post + b"1;", long),
    ]:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=20) as connection:
            connection.sendall(start)
            with pytest.raises(OSError):  # the connection ends long before
                for _ in range(100):
                    connection.sendall(more)
    assert worker_memory(server) - before < 50 * _MEGABYTE
    assert ok(server)


def test_a_hundred_connections_that_say_nothing_are_in_nobodys_way(server: Server) -> None:
    idle = [socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1]))) for _ in range(100)]
    for connection in idle[::2]:
        connection.sendall(b"POST /v1/analyze HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n\r\n{")
    try:
        assert ok(server)
    finally:
        for connection in idle:
            connection.close()
