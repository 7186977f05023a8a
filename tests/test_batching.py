"""Concurrent requests: each gets its own answer, in order; load beyond the limits; faults."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import numpy as np
import pytest
from conftest import WORDS, Server

from serving.batching import Batcher, OverloadedError
from serving.document import Document
from serving.model import Model, Scores
from serving.reading import read


def text(number: int, sentences: int) -> str:
    words = [*WORDS["screening"], *WORDS["finance"], *WORDS["none"]]
    return "".join(f"{words[(number + i) % len(words)]}第{number}条第{i}句。" for i in range(sentences))


def post(server: Server, documents: list[dict], **options: object) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/analyze", json={"documents": documents, **options}, timeout=120)


def scores_of(answer: dict) -> list[list[float]]:
    return [[topic["score"] for topic in sorted(d["topics"], key=lambda t: t["id"])] for d in answer["documents"]]


def test_parallel_requests_are_answered_as_alone(tiny_server: Server) -> None:
    """64 at a time, of one to five documents, one of them long; the scores are those of the document alone."""
    requests = [
        [{"id": f"{r}-{i}", "text": text(r * 7 + i, 1 + (r + i) % 9)} for i in range(1 + r % 5)] for r in range(64)
    ]
    requests[20][0]["text"] = text(20, 5_000)
    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda documents: post(tiny_server, documents, threshold=0, include_text=True), requests))
    for documents, answer in zip(requests, answers):
        assert answer.status_code == 200, answer.text
        assert [d["id"] for d in answer.json()["documents"]] == [d["id"] for d in documents]
        assert [d["text"] for d in answer.json()["documents"]] == [d["text"] for d in documents]
    for r in (0, 19, 20, 21, 63):
        alone = [post(tiny_server, [document], threshold=0).json() for document in requests[r]]
        together = scores_of(answers[r].json())
        assert np.allclose(together, [scores_of(one)[0] for one in alone], atol=0.02)
    assert len({str(s) for answer in answers for s in scores_of(answer.json())}) > 10  # they do differ


class FakeModel:
    """Scores a document by the number in its text; counts batches; can be held back, and fails on 'bad'."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.gate.set()

    def split(self, document: Document) -> list:
        return [type("Window", (), {"token_ids": [0] * len(document.text)})()]

    def score_windows(self, documents: list[Document], split: list, max_batch_tokens: int) -> list[Scores]:
        self.gate.wait(10)
        self.batches.append([document.text for document in documents])
        if any("bad" in document.text for document in documents):
            raise ValueError("a fault")
        return [Scores(*[np.array([int(document.text.split()[0])])] * 3) for document in documents]


def documents(*texts: str) -> list[Document]:
    return [read(text, format="text") for text in texts]


@pytest.fixture
def fake() -> Model:
    return FakeModel()  # type: ignore[return-value]


def test_waiting_documents_are_scored_together_within_the_budget(fake: FakeModel) -> None:
    async def run() -> list:
        batcher = Batcher(fake, 10, 100)
        fake.gate.clear()
        first = asyncio.create_task(batcher.score(documents("1")))
        await asyncio.sleep(0.2)  # the model is busy with the first
        rest = [asyncio.create_task(batcher.score(documents(str(i), str(i * 10)))) for i in range(2, 6)]
        await asyncio.sleep(0.2)
        fake.gate.set()
        return [await first, *[await task for task in rest]]

    results = asyncio.run(run())
    assert [[int(s.topics[0]) for s in scores] for scores in results] == [[1], [2, 20], [3, 30], [4, 40], [5, 50]]
    assert fake.batches[0] == ["1"] and len(fake.batches) < 6
    assert all(sum(map(len, batch)) <= 10 for batch in fake.batches)


def test_a_document_beyond_the_budget_is_scored_alone(fake: FakeModel) -> None:
    long = "7 " + "x" * 50
    results = asyncio.run(Batcher(fake, 10, 100).score(documents("1", long, "2")))
    assert [int(s.topics[0]) for s in results] == [1, 7, 2]
    assert [long] in fake.batches


def test_one_faulty_document_fails_alone(fake: FakeModel) -> None:
    async def run() -> list:
        batcher = Batcher(fake, 100, 100)
        return [await batcher.score(documents("1", "2 bad", "3")), await batcher.score(documents("4"))]

    (one, fault, three), [four] = asyncio.run(run())
    assert isinstance(fault, ValueError)
    assert [int(s.topics[0]) for s in (one, three, four)] == [1, 3, 4]


def test_requests_that_arrive_together_do_not_slip_past_the_limit(fake: FakeModel) -> None:
    async def run() -> list:
        batcher = Batcher(fake, 100, 4)
        fake.gate.clear()
        tasks = [asyncio.create_task(batcher.score(documents("1", "2"))) for _ in range(5)]
        await asyncio.sleep(0.2)
        fake.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        return [*results, await batcher.score(documents(*"12345"))]  # alone, a request of more than the limit is let in

    results = asyncio.run(run())
    assert [isinstance(result, OverloadedError) for result in results] == [False, False, True, True, True, False]


def test_who_gives_up_takes_the_documents_along(fake: FakeModel) -> None:
    async def run() -> list:
        batcher = Batcher(fake, 1, 3)
        fake.gate.clear()
        first = asyncio.create_task(batcher.score(documents("1")))
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(batcher.score(documents("2", "3")), 0.2)
        late = asyncio.create_task(batcher.score(documents("4", "5")))  # there is room again
        await asyncio.sleep(0.1)
        fake.gate.set()
        return [*await first, *await late]

    assert [int(s.topics[0]) for s in asyncio.run(run())] == [1, 4, 5]
    assert fake.batches == [["1"], ["4"], ["5"]]
