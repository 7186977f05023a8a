"""Everything that can go wrong with a request, and the one shape in which it is said; the key, limits and logs."""

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from conftest import Server

SECRET = "绝密的孕妇基因筛查原文"
JSON = {"Content-Type": "application/json"}


def assert_shape(response: httpx.Response, status: int, *says: str) -> dict:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/json"
    body = response.json()
    assert set(body) <= {"error", "detail"} and isinstance(body["error"], str) and body["error"]
    for part in says:
        assert part in body["error"]
    return body


def with_one(**document: object) -> dict:
    return {"documents": [{"text": SECRET, **document}]}


@pytest.mark.parametrize(
    "body, status, field",
    [
        ({}, 422, "documents"),
        ({"documents": []}, 422, "documents"),
        ({"documents": SECRET}, 422, "documents"),
        ({"documents": [SECRET]}, 422, "documents.0"),
        ({"documents": [{}]}, 422, "documents.0.text"),
        ({"documents": [{"text": 5}]}, 422, "documents.0.text"),
        ({"documents": [{"text": None}]}, 422, "documents.0.text"),
        ({"documents": [{"text": SECRET}] * 65}, 422, "documents"),
        (with_one(id=7), 422, "documents.0.id"),
        (with_one(id="i" * 257), 422, "documents.0.id"),
        (with_one(title="t" * 1001), 422, "documents.0.title"),
        (with_one(format="docx"), 422, "documents.0.format"),
        (with_one(txt=SECRET), 422, "documents.0.txt"),
        ({**with_one(), "topk": 1}, 422, "topk"),
        ({**with_one(), "top_k": 0}, 422, "top_k"),
        ({**with_one(), "top_k": "1"}, 422, "top_k"),
        ({**with_one(), "top_k": 1.5}, 422, "top_k"),
        ({**with_one(), "threshold": 1.1}, 422, "threshold"),
        ({**with_one(), "threshold": -0.1}, 422, "threshold"),
        ({**with_one(), "threshold": "0.5"}, 422, "threshold"),
        ({**with_one(), "max_sentences": 21}, 422, "max_sentences"),
        ({**with_one(), "max_chars": 0}, 422, "max_chars"),
        ({**with_one(), "order": "up"}, 422, "order"),
        ({**with_one(), "at_least_one": 1}, 422, "at_least_one"),
        ({**with_one(), "include_text": "yes"}, 422, "include_text"),
        ({**with_one(), "topics": []}, 422, "topics"),
        ({**with_one(), "topics": "finance"}, 422, "topics"),
        ({**with_one(), "focus": 3}, 422, "focus"),
        ("", 422, ""),
        ([with_one()], 422, ""),
        (SECRET, 422, ""),
    ],
)
def test_requests_of_the_wrong_shape(tiny_server: Server, body: object, status: int, field: str) -> None:
    answer = assert_shape(httpx.post(f"{tiny_server.url}/v1/analyze", json=body), status)
    assert answer["detail"][0]["field"] == field
    assert SECRET not in json.dumps(answer, ensure_ascii=False)


@pytest.mark.parametrize("option", ["topics", "focus"])
def test_unknown_topics_are_named(tiny_server: Server, option: str) -> None:
    body = {**with_one(), option: ["sports"] if option == "topics" else "sports"}
    answer = httpx.post(f"{tiny_server.url}/v1/analyze", json=body)
    assert_shape(answer, 422, "unknown topic 'sports'", "finance, screening")


@pytest.mark.parametrize(
    "body",
    [b"", b" \n", b"{", b"documents=1", f'{{"documents": [{{"text": "{SECRET}'.encode(),
     json.dumps(with_one(), ensure_ascii=False).encode("utf-16"), b'{"documents": [{"text": "\\x"}]}'],
)
@pytest.mark.parametrize("path", ["analyze", "label-studio/import"])
def test_what_is_not_json(tiny_server: Server, body: bytes, path: str) -> None:
    answer = httpx.post(f"{tiny_server.url}/v1/{path}", content=body, headers=JSON)
    assert_shape(answer, 400, "the body is not JSON in UTF-8")
    assert SECRET not in answer.text


@pytest.mark.parametrize(
    "path, headers, wanted",
    [
        ("analyze", {}, "application/json"),
        ("analyze", {"Content-Type": "text/plain"}, "application/json"),
        ("summarize", {"Content-Type": "application/x-www-form-urlencoded"}, "application/json"),
        ("classify", {"Content-Type": "application/vnd.bentoml+pickle"}, "application/json"),
        ("files", JSON, "multipart/form-data"),
        ("analyze", {**JSON, "Content-Encoding": "gzip"}, "uncompressed"),
    ],
)
def test_bodies_of_another_type(tiny_server: Server, path: str, headers: dict, wanted: str) -> None:
    assert_shape(httpx.post(f"{tiny_server.url}/v1/{path}", content=b"{}", headers=headers), 415, wanted)


def test_the_content_type_may_have_parameters_and_capitals(tiny_server: Server) -> None:
    body = b'{"documents": [{"text": "\xff\xff\xff\xff"}, {"text": "\xe5\x9f\xba\xe5\x9b\xa0"}]}'
    answer = httpx.post(f"{tiny_server.url}/v1/analyze", content=body, headers={"Content-Type": "Application/JSON;charset=UTF-8"})
    assert [e["id"] for e in answer.json()["errors"]] == ["0"]


@pytest.mark.parametrize("path", ["/nothing", "/v1/nothing", "/page/../service.py", "/v1"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_unknown_addresses(tiny_server: Server, path: str, method: str) -> None:
    connection = httpx.Client(base_url=tiny_server.url)
    request = connection.build_request(method, "/")
    request.url = request.url.copy_with(raw_path=path.encode())
    assert_shape(connection.send(request), 404, "/docs.json")


@pytest.mark.parametrize(
    "method, path, allow",
    [("GET", "/v1/analyze", "POST"), ("PUT", "/v1/classify", "POST"), ("DELETE", "/v1/files", "POST"),
     ("GET", "/v1/files", "POST"), ("POST", "/v1/topics", "GET"), ("POST", "/v1/info", "GET"), ("POST", "/", "GET"),
     ("PATCH", "/docs.json", "GET")],
)
def test_wrong_methods(tiny_server: Server, method: str, path: str, allow: str) -> None:
    response = httpx.request(method, f"{tiny_server.url}{path}")
    assert_shape(response, 405, "method")
    assert allow in response.headers["allow"]


@pytest.mark.parametrize(
    "body, status",
    [(b"", 400), (b"x", 400), (b"--x\r\n", 400), (b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--\r\n", 400)],
)
def test_broken_multipart(tiny_server: Server, body: bytes, status: int) -> None:
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    response = httpx.post(f"{tiny_server.url}/v1/files", content=body, headers=headers)
    if body in (b"", b"--x\r\n"):  # nothing wrong as far as it goes, but no file either
        assert response.status_code in (400, 422)
        assert "file" in response.json()["error"] or "multipart" in response.json()["error"]
    else:
        assert_shape(response, status, "multipart")


def test_no_document_text_in_the_log(tiny_server: Server) -> None:
    url = f"{tiny_server.url}/v1"
    for body in (with_one(), with_one(x=SECRET), {"documents": [SECRET]}, {**with_one(), "top_k": SECRET}):
        httpx.post(f"{url}/analyze", json=body)
    httpx.post(f"{url}/analyze", content=f'{{"documents": [{{"text": "{SECRET}'.encode(), headers=JSON)
    httpx.post(f"{url}/files", files={"files": ("a.txt", SECRET.encode("gb18030"))}, data={"options": SECRET})
    httpx.post(f"{url}/files", files={"files": ("a.txt", SECRET.encode())})
    log = tiny_server.logged("endpoint=/v1/files")
    assert SECRET[:4] not in log and SECRET[:4].encode("unicode_escape").decode() not in log
    assert "Traceback" not in log  # what the client did wrong is no failure of the service


def test_metrics(tiny_server: Server) -> None:
    def value(metrics: str, name: str) -> float:
        return sum(float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(name))

    before = httpx.get(f"{tiny_server.url}/metrics").text
    body = {"documents": [{"text": "基因筛查。"}, {"text": ""}, {"text": "股权融资。"}]}
    httpx.post(f"{tiny_server.url}/v1/analyze", json=body)
    after = httpx.get(f"{tiny_server.url}/metrics").text
    for name, more in [('wenzhai_documents_total{outcome="ok"}', 2), ('wenzhai_documents_total{outcome="error"}', 1)]:
        assert value(after, name) - value(before, name) == more
    assert value(after, "wenzhai_batch_documents_sum") - value(before, "wenzhai_batch_documents_sum") == 2


# --- Servers with other settings ---------------------------------------------------------------------------------------


@pytest.fixture
def serve(tiny_model: Path, tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Start a server with these environment variables, and end it after the test."""
    started: list[Server] = []

    def start(model: Path = tiny_model, wait: bool = True, **environment: str) -> Server:
        server = Server(model, tmp_path, **environment)
        started.append(server)
        if wait:
            server.wait()
        return server

    yield start
    for server in started:
        server.stop()


def test_the_key_guards_the_endpoints(serve: Callable[..., Server]) -> None:
    server = serve(WENZHAI_API_KEY="open sesame é")
    for value in (None, "Bearer no", "Basic open sesame é".encode(), b"Bearer \xff", "Bearer open sesame é!".encode()):
        headers = {} if value is None else {"Authorization": value}
        for method, path in [("POST", "analyze"), ("POST", "files"), ("GET", "topics"), ("GET", "info"), ("GET", "nothing")]:
            response = httpx.request(method, f"{server.url}/v1/{path}", headers=headers)
            assert_shape(response, 401, "Authorization: Bearer")
            assert response.headers["www-authenticate"] == "Bearer"
    key = {"Authorization": "Bearer open sesame é".encode()}
    assert httpx.post(f"{server.url}/v1/analyze", json=with_one(), headers=key).status_code == 200
    for scheme in ("Bearer", "bearer", "BEARER"):
        headers = {"Authorization": f"{scheme} open sesame é".encode()}
        assert httpx.get(f"{server.url}/v1/topics", headers=headers).status_code == 200
    for path in ("/", "/healthz", "/readyz", "/livez", "/docs.json"):
        assert httpx.get(f"{server.url}{path}").status_code == 200
    document = httpx.get(f"{server.url}/docs.json").json()
    assert document["paths"]["/v1/analyze"]["post"]["security"] == [{"key": []}]
    assert "sesame" not in server.log.read_text()


def test_no_telemetry_and_nothing_before_the_model_is_loaded(
    serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts it without our Makefile's environment; an attempt to report usage would connect to this proxy."""
    monkeypatch.delenv("BENTOML_DO_NOT_TRACK")
    with socket.create_server(("127.0.0.1", 0)) as proxy:
        proxy.settimeout(0.5)
        address = f"http://127.0.0.1:{proxy.getsockname()[1]}"
        server = serve(wait=False, HTTPS_PROXY=address, HTTP_PROXY=address)
        server.wait()
        assert "initialized" in server.log.read_text()  # BentoML says so after __init__, which loads the model
        assert httpx.post(f"{server.url}/v1/analyze", json=with_one()).status_code == 200
        with pytest.raises(TimeoutError):
            proxy.accept()
