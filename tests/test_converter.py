"""The process that reads PDF and DOCX: replaced when it dies, ended when it hangs, gone when its parent is."""

from __future__ import annotations

import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import ROOT, Server
from test_docx import MAIN, make_docx, paragraph
from test_mail import message
from test_pdf import A, B, column, make_pdf

from serving import conversion
from serving.conversion import convert
from serving.errors import ReadingError
from serving.settings import get_settings

PDF = make_pdf(column(A))
SLOW = make_pdf(*[column(A, top=y) + column(B, top=y - 60) for y in (700, 690)] * 2, repeat=1500)  # 6,000 pages


@pytest.fixture(autouse=True)
def _fresh() -> Iterator[None]:
    """No process of another test, whose limits may differ."""
    conversion.close()
    yield
    conversion.close()
    get_settings.cache_clear()


def limit(monkeypatch: pytest.MonkeyPatch, **settings: object) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(f"WENZHAI_{name.upper()}", str(value))
    get_settings.cache_clear()


def pids() -> list[int]:
    return [child.process.pid for child in conversion._children]


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_until_gone(pid: int, seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not is_gone(pid):
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)


def test_one_process_reads_many_documents() -> None:
    assert not pids()
    for _ in range(3):
        assert convert(PDF, "pdf").text == A
        assert convert(make_docx(paragraph(B)), "docx").text == B
    assert len(pids()) == 1


def test_an_unreadable_document_costs_no_process() -> None:
    convert(PDF, "pdf")
    before = pids()
    with pytest.raises(ReadingError, match="damaged"):
        convert(b"%PDF-1.4", "pdf")
    assert convert(PDF, "pdf").text == A and pids() == before


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_a_process_that_died_is_replaced(number: int) -> None:
    convert(PDF, "pdf")
    [before] = pids()
    os.kill(before, number)
    assert convert(PDF, "pdf").text == A
    assert pids() != [before] and is_gone(before)


def test_ctrl_c_does_not_reach_it() -> None:
    convert(PDF, "pdf")
    [pid] = pids()
    assert os.getpgid(pid) == pid != os.getpgid(0)


def test_a_document_that_takes_too_long_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, convert_seconds=1)
    started = time.monotonic()
    with pytest.raises(ReadingError, match="the PDF took longer than 1 s to read: split it"):
        convert(SLOW, "pdf")
    assert time.monotonic() - started < 8
    assert not pids() and convert(PDF, "pdf").text == A


def test_a_hang_is_ended_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, convert_seconds=2)
    convert(PDF, "pdf")
    [pid] = pids()
    os.kill(pid, signal.SIGSTOP)  # it neither reads nor answers
    with pytest.raises(ReadingError, match="longer than 2 s"):
        convert(SLOW, "pdf")  # more than the pipe holds
    assert is_gone(pid) and convert(PDF, "pdf").text == A


def test_a_document_that_takes_too_much_memory_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, convert_memory_bytes=256 * 1024**2)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:  # not packed, or it would be refused as a bomb
        file.writestr("word/document.xml", f"<w:document xmlns:w='{MAIN}'><w:body>{paragraph(A * 800_000)}</w:body></w:document>")
    large = buffer.getvalue()
    with pytest.raises(ReadingError, match="memory"):
        convert(large, "docx")
    assert convert(PDF, "pdf").text == A


def test_a_document_with_too_much_text_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    limit(monkeypatch, max_file_bytes=100)
    with pytest.raises(ReadingError, match="more than 100 bytes of text"):
        convert(PDF, "pdf")


def test_threads_each_get_their_own_answer() -> None:
    texts = [f"{i}号文件。{A}" for i in range(12)]
    found: dict[int, str] = {}

    def work(i: int) -> None:
        found[i] = convert(make_docx(paragraph(texts[i])), "docx").text

    threads = [threading.Thread(target=work, args=(i,)) for i in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [found[i] for i in range(12)] == texts


def _convert_in_worker(connection: object) -> None:
    connection.send((convert(PDF, "pdf").text, pids()))  # type: ignore[attr-defined]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_daemonic_workers_have_processes_of_their_own(method: str) -> None:
    convert(PDF, "pdf")
    [mine] = pids()
    context = multiprocessing.get_context(method)
    ours, theirs = context.Pipe()
    worker = context.Process(target=_convert_in_worker, args=(theirs,), daemon=True)
    worker.start()
    assert ours.poll(60)
    text, [pid] = ours.recv()
    worker.join()
    assert text == A and pid != mine
    wait_until_gone(pid)
    assert convert(PDF, "pdf").text == A and pids() == [mine]


@pytest.mark.parametrize("slow", [False, True])
def test_it_does_not_outlive_a_killed_parent(tmp_path: Path, slow: bool) -> None:
    """Neither while it waits nor while it reads."""
    (tmp_path / "slow.pdf").write_bytes(SLOW)
    (tmp_path / "short.pdf").write_bytes(PDF)
    code = (
        "import sys, time; from pathlib import Path; from serving import conversion\n"
        "first, *rest = (Path(name).read_bytes() for name in sys.argv[1:])\n"
        "conversion.convert(first, 'pdf')\n"
        "print(*(child.process.pid for child in conversion._children), flush=True)\n"
        "[conversion.convert(data, 'pdf') for data in rest]\n"
        "time.sleep(60)\n"
    )
    names = ["short.pdf", "slow.pdf"][: 1 + slow]
    parent = subprocess.Popen(
        [sys.executable, "-c", code, *(str(tmp_path / name) for name in names)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    time.sleep(1)  # it is at the slow document
    assert not is_gone(pid)
    parent.kill()
    parent.wait()
    parent.stdout.close()
    wait_until_gone(pid, 5)


def test_it_imports_only_what_it_needs() -> None:
    code = (
        "import sys, serving.converter, serving.pdf, serving.docx\n"
        "sys.exit(' '.join({'numpy', 'openvino', 'bentoml', 'pydantic', 'trafilatura', 'yaml'} & set(sys.modules)) or 0)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0


def test_uploads(tiny_server: Server) -> None:
    mail = message()
    mail.set_content(B)
    files = [
        ("a.pdf", PDF), ("b.docx", make_docx(paragraph(B))), ("c.eml", mail.as_bytes()), ("d.pdf", b"%PDF-1.4"),
        ("e.doc", b"\xd0\xcf\x11\xe0"),
    ]
    options = {"options": json.dumps({"include_text": True})}
    response = httpx.post(f"{tiny_server.url}/v1/files", files=[("files", file) for file in files], data=options, timeout=60)
    answer = response.json()
    assert [(d["id"], d["text"]) for d in answer["documents"]] == [("a.pdf", A), ("b.docx", B), ("c.eml", B)]
    assert [e["id"] for e in answer["errors"]] == ["d.pdf", "e.doc"]


def test_other_requests_are_answered_while_a_file_is_read(tiny_server: Server) -> None:
    done: list[float] = []

    def upload() -> None:
        httpx.post(f"{tiny_server.url}/v1/files", files=[("files", ("slow.pdf", SLOW))], timeout=120)
        done.append(time.monotonic())

    threads = [threading.Thread(target=upload) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    body = {"documents": [{"text": A}]}
    for _ in range(5):
        assert httpx.post(f"{tiny_server.url}/v1/analyze", json=body, timeout=60).status_code == 200
    answered = time.monotonic()
    for thread in threads:
        thread.join()
    assert min(done) > answered
