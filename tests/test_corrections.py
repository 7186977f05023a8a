"""Corrections: what is stored is what training reads; refusals, limits, several writers, and Label Studio over HTTP."""

import json
import multiprocessing
import os
import shutil
from pathlib import Path

import httpx
import pytest
from conftest import Server, run_module

from serving.corrections import append
from training.data import read_rows

TEXT = "孕妇基因筛查。费用免费。\n市民可以预约。"
ROW = {"id": "a", "title": "题", "text": TEXT, "topics": ["screening"], "key_sentences": ["费用免费。"],
       "evidence": {"screening": ["孕妇基因筛查。"]}, "model": "tiny@1"}


def post(server: Server, path: str, body: object) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/{path}", json=body, timeout=30)


def test_corrections_are_not_stored_unless_asked_for(tiny_server: Server) -> None:
    answer = post(tiny_server, "corrections", {"rows": [ROW]})
    assert answer.status_code == 404 and "WENZHAI_CORRECTIONS" in answer.json()["error"]
    assert httpx.get(f"{tiny_server.url}/v1/info").json()["corrections"] is False


def test_what_is_stored_is_what_training_reads(tiny_model: Path, tmp_path: Path) -> None:
    file = tmp_path / "new" / "corrections.jsonl"
    server = Server(tiny_model, tmp_path, WENZHAI_CORRECTIONS=str(file), WENZHAI_API_KEY="secret", WENZHAI_MAX_DOCUMENTS="3")
    try:
        server.wait()
        assert post(server, "corrections", {"rows": [ROW]}).status_code == 401
        client = httpx.Client(base_url=server.url, headers={"Authorization": "Bearer secret"})
        assert client.get("/v1/info").json()["corrections"] is True
        none = {"text": TEXT, "topics": []}
        assert client.post("/v1/corrections", json={"rows": [ROW, none]}).json() == {"stored": 2}
        refused = [
            ({"text": TEXT}, "teaches nothing"), ({**ROW, "topics": ["other"], "evidence": None}, "unknown topic 'other'"),
            ({**ROW, "key_sentences": ["别的。"]}, "not in 'text'"), ({**ROW, "topics": []}, "not among 'topics'"),
            ({**ROW, "more": 1}, "more"), ({**ROW, "key_sentences": ["费用免费。"] * 201}, "200"), ({**ROW, "text": ""}, "text"),
            ({**none, "text": " \n　"}, "blank"), ({**none, "text": "基因\ufffd"}, "U+FFFD"),
            ({**none, "title": "\ufffd"}, "U+FFFD"),
        ]
        for row, says in refused:
            answer = client.post("/v1/corrections", json={"rows": [none, row]})
            assert answer.status_code == 422 and says in answer.json()["error"] and "费用" not in answer.text, answer.text
        assert client.post("/v1/corrections", json={"rows": [none] * 4}).status_code == 422
        assert client.post("/v1/corrections", content=b"{", headers={"Content-Type": "application/json"}).status_code == 400
    finally:
        server.stop()
    assert "费用" not in server.log.read_text()
    first, second = read_rows(str(file))
    assert (first.id, first.title, first.text) == ("a", "题", TEXT)
    assert (first.topics, first.key_sentences) == (("screening",), ("费用免费。",))
    assert first.evidence == (("screening", ("孕妇基因筛查。",)),)
    assert (second.topics, second.key_sentences) == ((), None)
    assert {"model", "time"} <= set(json.loads(file.read_text("utf-8").splitlines()[0]))


def test_a_model_of_one_topic_stores_no_two(tiny_model: Path, tmp_path: Path) -> None:
    folder, file = tmp_path / "one", tmp_path / "c.jsonl"
    shutil.copytree(tiny_model, folder)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text("utf-8")), "single_label": True}), "utf-8")
    server = Server(folder, tmp_path, WENZHAI_CORRECTIONS=str(file))
    try:
        server.wait()
        for topics in (["finance", "screening"], []):
            answer = post(server, "corrections", {"rows": [{"text": TEXT, "topics": topics}]})
            assert answer.status_code == 422 and "exactly one" in answer.json()["error"]
        assert post(server, "corrections", {"rows": [ROW]}).json() == {"stored": 1}
    finally:
        server.stop()
    assert len(read_rows(str(file), single_label=True)) == 1


def _write(path: Path, name: str) -> None:
    for i in range(50):
        append(path, [{"name": name, "i": i, "text": "字" * 5000}] * 2, 1024**3)


def test_several_writers_never_mix_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    writers = [multiprocessing.get_context("fork").Process(target=_write, args=(file, name)) for name in "abc"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    rows = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    assert len(rows) == 300
    for name in "abc":
        assert [row["i"] for row in rows if row["name"] == name] == sorted([*range(50)] * 2)


def test_half_a_line_spoils_no_other_and_a_full_file_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "c.jsonl"
    file.write_bytes(b'{"text": "cut o')
    append(file, [{"text": "whole"}], 1000)
    assert file.read_text() == '{"text": "cut o\n{"text": "whole"}\n'
    before = file.read_bytes()
    with pytest.raises(OSError, match="limit of 40 bytes"):
        append(file, [{"text": "more"}], 40)
    assert file.read_bytes() == before


def test_a_file_that_cannot_be_written_is_said_at_the_start(tiny_model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "file"
    folder.mkdir()
    result = run_module(
        "bentoml", "serve", "serving.service:Wenzhai", "--port", "0", check=False, WENZHAI_MODEL=str(tiny_model),
        WENZHAI_CORRECTIONS=str(folder), BENTOML_HOME=str(tmp_path / "bentoml"), WENZHAI_WORKERS="1", PYTHONPATH=os.getcwd(),
    )
    assert result.returncode != 0 and "WENZHAI_CORRECTIONS" in result.stdout + result.stderr


def test_label_studio_over_http(tiny_server: Server) -> None:
    [analysis] = post(tiny_server, "analyze", {"documents": [{"text": TEXT}], "include_text": True}).json()["documents"]
    answer = post(tiny_server, "label-studio/export", {"documents": [ROW, analysis, {"id": "bad"}]}).json()
    annotated, predicted = answer["tasks"]
    assert "annotations" in annotated and predicted["predictions"][0]["model_version"] == analysis["model"]
    assert [error["id"] for error in answer["errors"]] == ["bad"] and 'alias="screening"' in answer["config"]
    back = post(tiny_server, "label-studio/import", {"tasks": [annotated, predicted]}).json()
    assert back["rows"] == [{key: value for key, value in ROW.items() if key != "model"}]
    assert "no annotation" in back["errors"][0]["error"]
