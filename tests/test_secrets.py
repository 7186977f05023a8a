"""What callers write stays out of logs, metrics and error messages, whatever it is and wherever it stands."""

import itertools
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest
from conftest import Server, SlowServer
from test_docx import make_docx, paragraph
from test_hostile_http import bomb
from test_routes import zipped

# Of document text, which no error may quote; and of names (ids, keys, options), which an error may give back to their caller.
TEXT, NAME = "zqtext絕密甲乙丙", "zqname絕密丁戊己"


def spellings(marker: str) -> list[bytes]:
    """The marker's parts in each spelling in which a log might hold them."""
    latin, chinese = marker[:6], marker[6:]
    escaped = chinese.encode("unicode_escape").decode(), quote(chinese), ascii(chinese.encode())[2:-1]
    spelt = [latin, chinese, chinese[:3], *escaped]
    return [*(text.encode() for text in spelt), chinese.encode("gb18030"), chinese.encode("utf-16-le")]


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SlowServer]:
    """With a key, and all that is ever logged; its model and analysis fail on some documents, with their text in the message."""
    started = SlowServer(
        tiny_model, tmp_path_factory.mktemp("secrets"), BENTOML_DEBUG="True", WENZHAI_API_KEY="zqkey",
        WENZHAI_REQUEST_TIMEOUT_SECONDS="1", WENZHAI_RECEIVE_SECONDS="1", WENZHAI_LOG_FORMAT="json",
    )
    started.wait()
    yield started
    started.go()
    started.stop()


def pdf(text: str) -> bytes:
    return f"%PDF-1.4\n1 0 obj<</Title({text})>>endobj\n{text}\ntrailer<</Root 1 0 R>>".encode()


GOOD = {"id": NAME, "title": TEXT, "text": f"{TEXT}，孕妇基因筛查。"}
BODIES = [
    {"documents": [GOOD]}, {"documents": [GOOD], "include_text": True}, {"documents": [{**GOOD, NAME: TEXT}]},
    {"documents": [GOOD], NAME: TEXT}, {"documents": [TEXT]}, {"documents": TEXT}, TEXT, [TEXT],
    {"documents": [GOOD], "topics": [NAME]}, {"documents": [GOOD], "focus": NAME}, {"documents": [GOOD], "order": TEXT},
    {"documents": [GOOD], "top_k": TEXT}, {"documents": [{**GOOD, "format": TEXT}]},
    {"documents": [{**GOOD, "text": [TEXT]}]}, {"documents": [GOOD] * 65},
    {"documents": [{**GOOD, "title": TEXT * 200}]}, {"documents": [{**GOOD, "id": NAME * 50}]},
    {"documents": [{**GOOD, "text": f"<script>{TEXT}</script>"}]}, {"documents": [{**GOOD, "text": TEXT * 30_000}]},
    {"documents": [{**GOOD, "text": f"---\ntitle: [{TEXT}\n: {TEXT}\n---\n{TEXT}"}]},
    {"documents": [{**GOOD, "text": f"<html><!ENTITY {TEXT}><body {TEXT}='{TEXT}'><p>&{TEXT};"}]},
    {"documents": [{**GOOD, "text": f"{TEXT}错误。"}]}, {"documents": [{**GOOD, "text": f"{TEXT}崩溃。"}]},
    {"documents": [GOOD], "focus": f"{TEXT}崩溃。"}, {"documents": [{**GOOD, "text": f"{TEXT}等待。"}]},
]
NO_JSON = [
    f'{{"documents": [{{"text": "{TEXT}', f'{{"documents": [{{"text": "{TEXT}\\x"}}]}}', TEXT, "[" * 50 + f'"{TEXT}"',
    f'{{"documents": [{{"text": "{TEXT * 20}\\ud800"}}]}}', f"{{'{TEXT}'}}",
]
FILES = [
    f"{TEXT}，孕妇基因筛查。".encode(), f"{TEXT}崩溃。".encode(), f"{TEXT}错误。".encode(), TEXT.encode("utf-16"), pdf(TEXT),
    make_docx(paragraph(TEXT), title=TEXT), make_docx(f"<{TEXT}>", title=TEXT), b"PK\x03\x04" + b"a" * 26 + TEXT.encode(),
    zipped(**{f"{NAME}_txt": TEXT.encode(), "b_pdf": pdf(TEXT), f"{NAME}_eml": f"Subject: {TEXT}\n\n{TEXT}".encode()}),
    f"Subject: {TEXT}\nContent-Type: text/{TEXT}; charset={TEXT}\n\n{TEXT}".encode(), bomb(99),
]
FILE_NAMES = [f"{NAME}.txt", f"../{NAME}.zip", f"{NAME}.pdf", f"{NAME}.docx", f"{NAME}.eml", f"a.{NAME}"]
PARTS = [TEXT, f"--{NAME[:6]}\r\n{TEXT}: {TEXT}\r\n\r\n{TEXT}", f"--{NAME[:6]}\r\nContent-Disposition: {TEXT}\r\n"]
PATHS = ["/{}", "/v1/{}", "/page/{}", "/v1/analyze?{}={}", "/docs.json?{}", "/static_content/{}"]
HEADERS = [
    "User-Agent", "Referer", "Cookie", "Content-Type", "Content-Encoding", "X-Request-ID", "Accept", "traceparent", "baggage",
    "X-Forwarded-For", "Forwarded", "Origin", "If-None-Match", "Range", "Authorization", "X-Custom", f"X-{NAME[:6]}",
]
_START = b"POST /v1/analyze HTTP/1.1\r\nAuthorization: Bearer zqkey\r\nContent-Type: application/json\r\n"
RAW = [
    TEXT.encode() + b"\r\n\r\n", f"GET /{NAME} HTTP/9.9\r\n\r\n".encode(), f"GET / HTTP/1.1\r\n{NAME}\r\n\r\n".encode(),
    _START + f"Content-Length: {NAME}\r\n\r\n".encode(), _START + b"Content-Length: 999\r\n\r\n" + TEXT.encode(),
    _START + b"Transfer-Encoding: chunked\r\n\r\n" + TEXT.encode(), b"GET /" + NAME.encode() * 9000,
    b"GET / HTTP/1.1\r\nX-Custom: " + quote(NAME).encode() * 2000 + b"\r\n\r\n",
]


def calls(client: httpx.Client) -> Iterator[httpx.Response]:
    for path, body in itertools.product(("analyze", "classify", "summarize"), BODIES):
        yield client.post(f"/v1/{path}", json=body)
    for content, encoding in itertools.product(NO_JSON, ("utf-8", "gb18030", "utf-16")):
        yield client.post("/v1/analyze", content=content.encode(encoding), headers={"Content-Type": "application/json"})


def uploads(client: httpx.Client) -> Iterator[httpx.Response]:
    for name, file in itertools.product(FILE_NAMES, FILES):
        yield client.post("/v1/files", files={"files": (name, file)}, data={"options": '{"include_text": true}'})
    for options in (TEXT, json.dumps({NAME: TEXT}), json.dumps({"focus": NAME}), json.dumps({"order": TEXT})):
        yield client.post("/v1/files", files={"files": ("a.txt", TEXT.encode())}, data={"options": options})
    for data in ({NAME: TEXT}, {"files": TEXT}):
        yield client.post("/v1/files", files={"files": ("a.txt", TEXT.encode())}, data=data)
    yield client.post("/v1/files", files=[("files", (f"{NAME}.txt", TEXT.encode()))] * 65)
    yield client.post("/v1/files", files={NAME: ("a.txt", TEXT.encode())})
    form = {"Content-Type": f"multipart/form-data; boundary={NAME[:6]}"}
    for content in PARTS:
        yield client.post("/v1/files", content=content.encode(), headers=form)


def surroundings(client: httpx.Client) -> Iterator[httpx.Response]:
    for path, method in itertools.product(PATHS, ("GET", "POST", NAME[:6].upper())):
        yield client.request(method, path.format(NAME, NAME))
    for name, value in itertools.product(HEADERS, (NAME.encode(), b"Bearer " + NAME.encode())):
        yield client.post("/v1/analyze", json={"documents": [GOOD]}, headers={name: value})
        yield client.get("/v1/info", headers={name: value})


def connections(server: Server) -> Iterator[httpx.Response]:
    for sent in RAW:
        with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=10) as connection:
            connection.sendall(sent)
            answer = b""
            with suppress(ConnectionResetError):  # what is refused before it has all arrived
                while chunk := connection.recv(65536):
                    answer += chunk
        if not answer:
            continue
        head, _, body = answer.partition(b"\r\n\r\n")
        yield httpx.Response(int(head.split()[1]), content=body)


def send(server: Server) -> Iterator[httpx.Response]:
    """Every way in which text can be given, with success and with each kind of failure."""
    with httpx.Client(base_url=server.url, headers={"Authorization": "Bearer zqkey"}, timeout=60) as client:
        yield from itertools.chain(calls(client), uploads(client), surroundings(client))
    yield from connections(server)


def test_nothing_of_it_is_in_logs_metrics_and_errors(server: Server) -> None:
    statuses = set()
    for answer in send(server):
        statuses.add(answer.status_code)
        if answer.status_code >= 400:
            quoted = answer.content
        else:
            answered = answer.json() if answer.content[:1] == b"{" else {}
            quoted = json.dumps(answered.get("errors", []), ensure_ascii=False).encode()
        assert not any(spelt in quoted for spelt in spellings(TEXT)), quoted.decode(errors="replace")[:2000]
    assert statuses >= {200, 400, 401, 404, 405, 408, 413, 415, 422, 431, 500, 504}
    log, metrics = server.log.read_bytes(), httpx.get(f"{server.url}/metrics").content
    for marker in (TEXT, NAME):
        for spelt in spellings(marker):
            for where in (log, metrics):
                at = where.find(spelt)
                assert at < 0, where[max(0, at - 500) : at + 200].decode(errors="replace")
    assert b"zqkey" not in log and log.count(b"/v1/analyze") > 50
