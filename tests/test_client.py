"""A client generated from /docs.json by openapi-python-client calls every endpoint, and gets the types stated there."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from conftest import Server

KEY = "a-key-for-this-test"
TEXT = "孕妇染色体筛查检测第1条。基因采血检测筛查第2条。天气音乐旅游第3条。"
ROW = {"id": "r1", "text": TEXT, "topics": ["screening"], "key_sentences": ["孕妇染色体筛查检测第1条。"]}


@pytest.fixture(scope="module")
def server(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """With a key and a file for corrections, so that no endpoint is without use."""
    folder = tmp_path_factory.mktemp("client_server")
    started = Server(tiny_model, folder, WENZHAI_API_KEY=KEY, WENZHAI_CORRECTIONS=str(folder / "corrections.jsonl"))
    started.wait()
    yield started
    started.stop()


class Client:
    """The generated package: its models and types, and a call of each operation, noted in ``called``."""

    def __init__(self, server: Server) -> None:
        generated = importlib.import_module("wenzhai_client")
        self.models, self.types = (importlib.import_module(f"wenzhai_client.{name}") for name in ("models", "types"))
        self.anonymous = generated.Client(base_url=server.url, raise_on_unexpected_status=True, timeout=120)
        self.known = generated.AuthenticatedClient(
            base_url=server.url, token=KEY, raise_on_unexpected_status=True, timeout=120
        )
        self.called: set[str] = set()

    def __call__(self, operation: str, *, status: int = 200, key: bool = True, **arguments: object) -> Any:
        """What the operation answers, parsed."""
        call: Callable = importlib.import_module(f"wenzhai_client.api.default.{operation}").sync_detailed
        response = call(client=self.known if key else self.anonymous, **arguments)
        assert response.status_code == status, response.content
        self.called.add(operation)
        return response.parsed


@pytest.fixture(scope="module")
def client(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("client")
    (folder / "config.yaml").write_text("post_hooks: []\n")  # no formatting: nobody reads it
    result = subprocess.run(
        [sys.executable, "-m", "openapi_python_client", "generate", "--url", f"{server.url}/docs.json", "--meta", "none",
         "--output-path", str(folder / "wenzhai_client"), "--config", str(folder / "config.yaml"), "--fail-on-warning"],
        capture_output=True, text=True, timeout=120,
    )
    assert result.returncode == 0 and "arning" not in result.stdout + result.stderr, result.stdout + result.stderr
    sys.path.insert(0, str(folder))
    yield Client(server)
    sys.path.remove(str(folder))


def check(client: Client, answer: Any) -> None:
    """An answer on one document with its text, about screening alone."""
    models = client.models
    assert isinstance(answer, models.AnalyzeResponse) and answer.errors == []
    [document] = answer.documents
    assert isinstance(document, models.Analysis)
    assert document.text == TEXT
    for topic in document.topics or []:
        assert isinstance(topic, models.TopicResult) and isinstance(topic.score, float)
        for sentence in topic.evidence:
            assert isinstance(sentence, models.Evidence)
            assert document.text[sentence.offset : sentence.offset + sentence.length] == sentence.text


def documents(client: Client) -> None:
    models, unset = client.models, client.types.UNSET
    options = {"include_text": True, "max_sentences": 1, "topics": [models.TopicId.SCREENING], "focus": models.TopicId.SCREENING}
    request = models.AnalyzeRequest(documents=[models.DocumentInput(id="d1", text=TEXT)], **options)
    answers = {name: client(name, body=request) for name in ("analyze", "classify", "summarize")}
    for answer in answers.values():
        check(client, answer)
    [analysis], [classes], [summary] = (answer.documents for answer in answers.values())
    assert [topic.id for topic in analysis.topics] == [topic.id for topic in classes.topics] == ["screening"]
    assert isinstance(analysis.summary, models.Summary) and analysis.summary == summary.summary
    assert isinstance(summary.summary.sentences[0], models.SummarySentence)
    assert classes.summary is summary.topics is analysis.sentences is unset


def files(client: Client) -> None:
    models, file = client.models, client.types.File
    uploads = [file(payload=content, file_name=name, mime_type="text/plain") for name, content in (
        ("一.txt", TEXT.encode("gb18030")), ("二.html", f"<p>{TEXT}</p>".encode()), ("三.pdf", b"%PDF-1.4 damaged"),
    )]
    one = models.FilesBody(files=uploads[:1], options=models.Options(include_text=True, topics=[models.TopicId.SCREENING]))
    check(client, client("files", body=one))
    answer = client("files", body=models.FilesBody(files=uploads))
    assert [document.id for document in answer.documents] == ["一.txt", "二.html"]
    [error] = answer.errors
    assert isinstance(error, models.DocumentError) and error.id == "三.pdf" and error.error


def corrections_and_label_studio(client: Client) -> None:
    models = client.models
    row = models.Correction.from_dict(ROW)
    stored = client("corrections", body=models.CorrectionsRequest(rows=[row]))
    assert isinstance(stored, models.CorrectionsResponse) and stored.stored == 1
    exported = client("export_label_studio", body=models.ExportRequest.from_dict({"documents": [ROW]}))
    assert isinstance(exported, models.ExportResponse) and exported.errors == []
    task = {**exported.tasks[0].to_dict(), "id": 1}
    imported = client("import_label_studio", body=models.ImportRequest.from_dict({"tasks": [task]}))
    assert isinstance(imported, models.ImportResponse) and imported.errors == []
    [back] = [labelled.to_dict() for labelled in imported.rows]
    assert back["topics"] == ROW["topics"] and back["key_sentences"] == ROW["key_sentences"]


def what_is_only_read(client: Client) -> None:
    topics = client("topics")
    assert isinstance(topics, client.models.TopicsResponse)
    assert [(t.id, type(t.threshold)) for t in topics.topics] == [("finance", float), ("screening", float)]
    info = client("info")
    assert isinstance(info, client.models.InfoResponse) and info.corrections is True and info.limits["max_documents"] == 64
    assert "<html" in client("page", key=False) and "wenzhai_requests_total" in client("metrics", key=False)
    assert client("docs", key=False)["openapi"] == "3.1.0"
    assert all(isinstance(client(name, key=False), str) for name in ("livez", "healthz", "readyz"))


def test_every_operation_answers_with_its_type(client: Client, server: Server) -> None:
    for part in (documents, files, corrections_and_label_studio, what_is_only_read):
        part(client)
    described = httpx.get(f"{server.url}/docs.json").json()["paths"]
    assert client.called == {call["operationId"] for item in described.values() for call in item.values()}


def test_errors_are_typed(client: Client) -> None:
    models = client.models
    refused = client("topics", status=401, key=False)
    assert isinstance(refused, models.ErrorResponse) and refused.error
    request = models.AnalyzeRequest(documents=[models.DocumentInput(text=TEXT)], top_k=0)
    wrong = client("classify", status=422, body=request)
    assert isinstance(wrong, models.ErrorResponse)
    assert [(type(field), field.field) for field in wrong.detail] == [(models.FieldError, "top_k")]
