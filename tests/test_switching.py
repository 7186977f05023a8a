"""A new model folder is taken into use under load, in two workers; one that can't be read is not; all workers are counted."""

import itertools
import json
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from conftest import Server
from prometheus_client.parser import text_string_to_metric_families

from serving.switching import state


def variant(source: Path, folder: Path) -> Path:
    """The same network under another version."""
    shutil.copytree(source, folder)
    config = folder / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text("utf-8")), "note": folder.name}), "utf-8")
    return folder


def lead(link: Path, target: Path) -> None:
    """Point the link elsewhere at one stroke, as ``ln -sfn`` does not."""
    new = link.with_suffix(".new")
    new.symlink_to(target)
    new.replace(link)


@pytest.fixture(scope="module")
def link(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    lead(folder / "current", variant(tiny_model, folder / "first"))
    variant(tiny_model, folder / "second")
    return folder / "current"


@pytest.fixture(scope="module")
def server(link: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    started = Server(link, tmp_path_factory.mktemp("switching"), WENZHAI_WORKERS="2", WENZHAI_MAX_SLOWDOWN="1000")
    started.wait()
    yield started
    started.stop()


def test_what_is_hidden_in_a_folder_does_not_tell_of_another_model(tiny_model: Path, tmp_path: Path) -> None:
    """A training that ends writes its model there, and then moves it."""
    folder = variant(tiny_model, tmp_path / "model")
    before = state(folder)
    (folder / ".new").mkdir()
    assert state(folder) == before
    (folder / "config.json").touch()
    assert state(folder) != before


def info(server: Server) -> dict:
    return httpx.get(f"{server.url}/v1/info", timeout=30).json()


def everywhere(server: Server, part: str, seconds: float = 60) -> None:
    """Until all workers say so; each connection comes to one of them by chance."""
    deadline = time.monotonic() + seconds
    while not all(part in json.dumps(info(server)) for _ in range(12)):
        assert time.monotonic() < deadline, f"{part}\n{info(server)}\n{server.log.read_text()[-2000:]}"
        time.sleep(0.2)


def samples(server: Server) -> dict[str, float]:
    text = httpx.get(f"{server.url}/metrics", timeout=30).text
    return {
        f"{sample.name}{sorted(sample.labels.items()) or ''}": sample.value
        for family in text_string_to_metric_families(text) for sample in family.samples
    }


def test_the_model_is_switched_under_load_and_back(server: Server, link: Path) -> None:
    answers: Counter[tuple[int, str]] = Counter()
    stop, numbers = threading.Event(), itertools.count()

    def ask() -> None:
        while not stop.is_set():
            body = {"documents": [{"text": f"孕妇基因筛查第{next(numbers)}条。" * 5}] * 4}
            answer = httpx.post(f"{server.url}/v1/analyze", json=body, timeout=60)
            names = {d["model"] for d in answer.json().get("documents", [])}
            answers[answer.status_code, " ".join(sorted(names))] += 1

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for name in ("second", "first"):
            lead(link, link.parent / name)
            everywhere(server, f'"model": "{name}@')
            time.sleep(0.5)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert {status for status, _ in answers} == {200}
    assert {name.split("@")[0] for _, name in answers} == {"first", "second"}, answers
    assert all(" " not in name for _, name in answers)  # one model an answer
    assert sum(answers.values()) > 20
    deadline = time.monotonic() + 60
    while server.log.read_text().count("the model is now first@") < 2:  # all twelve connections may have come to one worker
        assert time.monotonic() < deadline, "one worker has not switched"
        time.sleep(0.1)
    assert re.search(r"Traceback|ERROR|destroyed", server.log.read_text()) is None
    assert samples(server)[f"wenzhai_model_workers[('model', '{info(server)['model']}')]"] == 2


@pytest.mark.parametrize("damage, says", [("half a file", "model.safetensors is damaged"), ("no graph", "graph.xml is missing")])
def test_a_damaged_folder_is_refused_and_a_whole_one_taken(server: Server, link: Path, damage: str, says: str) -> None:
    before = info(server)["model"]
    whole = link.parent / before.split("@")[0]
    broken = link.parent / damage.replace(" ", "_")
    shutil.copytree(whole, broken)
    if damage == "half a file":
        with (broken / "model.safetensors").open("r+b") as file:
            file.truncate(1000)
    else:
        (broken / "graph.xml").unlink()
    lead(link, broken)
    everywhere(server, says)
    assert info(server)["model"] == before and str(link.parent) not in json.dumps(info(server))
    assert httpx.post(f"{server.url}/v1/analyze", json={"documents": [{"text": "基因。"}]}, timeout=30).status_code == 200
    assert f"the model stays {before}: " in server.log.read_text()
    shutil.copy(whole / "model.safetensors", broken)  # in place, as the copy goes on
    shutil.copy(whole / "graph.xml", broken)
    everywhere(server, f'"model": "{broken.name}@')
    assert "model_refused" not in info(server)


def test_a_folder_that_is_overwritten_in_use_fails_no_request(server: Server, link: Path) -> None:
    """Weights that are mapped into memory would end the process here."""
    folder = link.resolve()
    name = info(server)["model"]
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(10)
    for _ in range(8):
        answer = httpx.post(f"{server.url}/v1/analyze", json={"documents": [{"text": "基因。" * 50}]}, timeout=30)
        assert answer.json()["documents"][0]["model"] == name


def test_one_scrape_counts_what_all_workers_did(server: Server) -> None:
    body = {"documents": [{"text": "孕妇基因筛查。" * 3}, {"text": ""}, {"text": "股权融资。"}]}
    before = samples(server)
    sent, processes = 0, set[str]()

    def ask(number: int) -> int:
        headers = {"X-Request-ID": f"count-{number}"}
        return httpx.post(f"{server.url}/v1/classify", json=body, headers=headers, timeout=30).status_code

    with ThreadPoolExecutor(8) as pool:
        while len(processes) < 2 and sent < 240:  # the kernel gives a connection to whichever worker it likes
            assert set(pool.map(ask, range(sent, sent + 24))) == {200}
            sent += 24
            server.logged(f"request=count-{sent - 1}\n")
            lines = [line for line in server.log.read_text().splitlines() if "request=count-" in line]
            processes = {re.search(r"\[(\d+)\]", line)[1] for line in lines}
    assert len(processes) == 2, "all connections came to one worker"
    httpx.get(f"{server.url}/v1/{'x' * 50}")
    after = samples(server)

    def more(name: str, *labels: tuple[str, str]) -> float:
        key = f"{name}{list(labels) or ''}"
        return after[key] - before.get(key, 0)

    assert more("wenzhai_requests_total", ("endpoint", "/v1/classify"), ("status", "200")) == sent
    assert more("wenzhai_requests_total", ("endpoint", "other"), ("status", "404")) == 1
    assert more("wenzhai_request_seconds_count", ("endpoint", "/v1/classify")) == sent
    assert more("wenzhai_documents_total", ("outcome", "ok")) == 2 * sent
    assert more("wenzhai_document_errors_total", ("kind", "unreadable")) == sent
    assert more("wenzhai_characters_total") == sent * (7 * 3 + 5)
    assert more("wenzhai_queue_seconds_count") == sent
    assert more("wenzhai_batch_documents_sum") == 2 * sent
    assert more("wenzhai_model_seconds_count") == more("wenzhai_batch_documents_count") > 0
    assert more("wenzhai_tokens_total", ("kind", "document")) > 0 < more("wenzhai_tokens_total", ("kind", "padding"))
    assert more("wenzhai_topic_score_count", ("topic", "finance")) == 2 * sent
    assert 0 < more("wenzhai_topic_predictions_total", ("topic", "screening")) <= 2 * sent
    assert more("wenzhai_request_bytes_total") > sent * 50
    assert after["wenzhai_queue_documents"] == 0
    assert not any("x" * 50 in name for name in after)
