"""More requests than the service can answer, through the real HTTP server, with a model that is held back.

Nothing here is timed: what is compared is who is answered while others wait, in which order, and how many.
"""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import httpx
import psutil
import pytest
from conftest import Server, SlowServer

STRICT = {"WENZHAI_BURST_SECONDS": "0", "WENZHAI_MAX_SLOWDOWN": "3", "WENZHAI_STREAMS": "1"}
SECONDS = 120  # after which a test fails rather than waits on


def post(server: Server, *texts: str) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/analyze", json={"documents": [{"text": text} for text in texts]}, timeout=SECONDS)


def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def hold(server: SlowServer, pool: ThreadPoolExecutor, text: str = "甲等待。") -> Future[httpx.Response]:
    """Ask for something that keeps the model until it is let go."""
    held = pool.submit(post, server, text)
    until(lambda: any("甲" in batch for batch in server.batches()), "the model got nothing")
    return held


def test_a_flood_is_refused_at_once_while_those_taken_in_are_answered(slow: Callable[..., SlowServer]) -> None:
    server = slow(**STRICT)
    with ThreadPoolExecutor(40) as pool:
        held = hold(server, pool)
        flood = {pool.submit(post, server, f"基因{i}。") for i in range(39)}
        waiting = flood
        while len(flood) - len(waiting) < 37:  # the model stands still all the while
            done, waiting = wait(waiting, SECONDS, FIRST_COMPLETED)
            assert done, "those who are refused are not told"
        assert not held.done()
        server.go()
        answers = [future.result() for future in flood]
        assert held.result().status_code == 200
    refused = [answer for answer in answers if answer.status_code == 429]
    assert [answer.status_code for answer in answers].count(200) == 2 and len(refused) == 37
    assert all(int(answer.headers["retry-after"]) >= 1 for answer in refused)
    assert all(set(answer.json()) == {"error"} and "try again in" in answer.json()["error"] for answer in refused)
    assert post(server, "基因。").status_code == 200  # as before


def test_a_burst_is_answered_in_full(slow: Callable[..., SlowServer]) -> None:
    server = slow()
    server.go()
    with ThreadPoolExecutor(16) as pool:
        assert {answer.status_code for answer in pool.map(lambda i: post(server, f"基因{i}。"), range(64))} == {200}


def test_short_documents_come_back_before_a_long_one(slow: Callable[..., SlowServer]) -> None:
    server = slow(WENZHAI_STREAMS="1", WENZHAI_TURN_TOKENS="128", WENZHAI_BURST_SECONDS="60")
    with ThreadPoolExecutor(9) as pool:
        long = pool.submit(post, server, "长" + "基因筛查缓慢。" * 20_000)  # some 2,000 batches, a tenth of a second each
        until(lambda: "长" in server.batches(), "the long one did not begin")
        for short in [pool.submit(post, server, f"短{i}。") for i in range(8)]:
            assert short.result().status_code == 200
        assert not long.done()
        server.go()
        assert long.result().status_code == 200
    batches = server.batches()
    assert max(i for i, batch in enumerate(batches) if "短" in batch) < len(batches) - 100


def test_a_caller_that_hangs_up_frees_its_place_and_is_not_scored(slow: Callable[..., SlowServer]) -> None:
    server = slow(**STRICT)
    body = json.dumps({"documents": [{"text": "乙走了。"}]}).encode()
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    address = httpx.URL(server.url)
    with ThreadPoolExecutor(2) as pool:
        held = hold(server, pool)
        callers = [socket.create_connection((address.host, address.port)) for _ in range(2)]
        for caller in callers:
            caller.sendall(head.encode() + body)
        until(lambda: running(server) == 3, "they were not taken in")
        assert post(server, "丁。").status_code == 429
        for caller in callers:
            caller.close()
        until(lambda: running(server) == 1, "the service did not notice")
        stays = pool.submit(post, server, "丙留下。")
        until(lambda: running(server) == 2, "their places were not free")
        assert not held.done()
        server.go()
        assert held.result().status_code == stays.result().status_code == 200
    assert any("丙" in batch for batch in server.batches()) and not any("乙" in batch for batch in server.batches())
    assert server.log.read_text().count("status=499") == 2


def test_a_body_that_is_refused_is_in_nobodys_way(slow: Callable[..., SlowServer]) -> None:
    """It may still be on its way for seconds, but what has come of it is forgotten."""
    server = slow(WENZHAI_MAX_HELD_BYTES=str(4 * 1024**2))
    url, size = httpx.URL(server.url), 3 * 1024**2
    head = f"POST /v1/analyze HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: {size}\r\n\r\n".encode()
    with socket.create_connection((url.host, url.port)) as waits, socket.create_connection((url.host, url.port)) as refused:
        waits.sendall(head + b" " * (size - 1))
        time.sleep(2)  # until it has been read, on a busy machine too
        refused.settimeout(SECONDS)
        refused.sendall(head + b" " * (size // 2))
        assert refused.recv(12).endswith(b" 429")
        assert [post(server, "基因筛查。").status_code for _ in range(5)] == [200] * 5


def running(server: Server) -> int:
    """Requests that the service has taken in and not yet answered."""
    lines = httpx.get(f"{server.url}/metrics", timeout=SECONDS).text.splitlines()
    return int(sum(float(line.split()[-1]) for line in lines if line.startswith("wenzhai_running_requests")))


def test_sigterm_answers_all_that_were_taken_in_and_nobody_else(slow: Callable[..., SlowServer]) -> None:
    server = slow(WENZHAI_STREAMS="1")
    with ThreadPoolExecutor(20) as pool:
        accepted = [hold(server, pool)]
        accepted += [pool.submit(post, server, f"基因{i}。", f"股权{i}。") for i in range(12)]
        accepted.append(pool.submit(post, server, "长" + "基因筛查。" * 1_000))
        until(lambda: running(server) == len(accepted), "not all were taken in")
        server.process.send_signal(signal.SIGTERM)
        with pytest.raises(httpx.HTTPError):  # nothing new is taken
            while True:
                httpx.get(f"{server.url}/healthz", timeout=5)
        assert not any(answer.done() for answer in accepted)
        server.go()
        assert {answer.result().status_code for answer in accepted} == {200}
    assert server.process.wait(SECONDS) == 0


def test_memory_is_bounded_whatever_waits_to_be_let_in(slow: Callable[..., SlowServer]) -> None:
    server = slow(**STRICT, WENZHAI_MAX_HELD_BYTES=str(20 * 1024**2))
    worker = max(psutil.Process(server.process.pid).children(recursive=True), key=lambda process: process.memory_info().rss)
    large = json.dumps({"documents": [{"text": "基因筛查。" * 30_000}] * 20}, ensure_ascii=False).encode()  # 9 MB

    def send(announced: bool) -> int | None:
        content = large if announced else iter([large[i : i + 65_536] for i in range(0, len(large), 65_536)])
        try:
            return httpx.post(
                f"{server.url}/v1/analyze", content=content, headers={"Content-Type": "application/json"}, timeout=SECONDS
            ).status_code
        except httpx.WriteError:  # refused while it was still sending
            return 429

    with ThreadPoolExecutor(21) as pool:
        held = hold(server, pool, "甲等待。" + "基因筛查。" * 3_000)
        before = worker.memory_info().rss
        answers = [pool.submit(send, i % 2 == 0) for i in range(80)]
        peak = before
        while not all(answer.done() for answer in answers):
            peak = max(peak, worker.memory_info().rss)
            time.sleep(0.01)
        assert {answer.result() for answer in answers} == {429}
        assert peak - before < 200 * 1024**2, "80 bodies of 9 MB are 720 MB"
        server.go()
        assert held.result().status_code == 200
