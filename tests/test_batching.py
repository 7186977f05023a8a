"""Concurrent requests: each gets its own answer, in order; who shares a batch, who waits, faults, callers that give up."""

import asyncio
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager

import httpx
import numpy as np
import pytest
from conftest import WORDS, Server

from serving.admission import Admission, Kind, Place
from serving.batching import Batcher, in_turns
from serving.document import Document
from serving.model import Job, Scores
from serving.reading import read
from serving.windows import Window


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
    """Scores a document by the number in its text, a window for each word; can be held back, and fails on 'bad'."""

    topics = ()

    def __init__(self) -> None:
        self.batches: list[list[str]] = []  # the words of each
        self.gate = threading.Event()
        self.gate.set()

    def begin(self, document: Document) -> Job:
        if "unsplittable" in document.text:
            raise ValueError("a fault")
        windows = [Window([0] * len(word), [word]) for word in document.text.split()]  # type: ignore[list-item]
        return Job(windows, None, None, np.zeros(1), np.zeros(1))  # type: ignore[arg-type]

    def forward(self, batch: list[tuple[Job, Window]]) -> tuple[int, int]:
        self.gate.wait(30)
        words = [str(window.pieces[0]) for _, window in batch]
        self.batches.append(words)
        if "bad" in words:
            raise ValueError("a fault")
        for job, window in batch:
            job.sums += int(window.pieces[0])
        return sum(len(word) for word in words), 0

    def finish(self, job: Job) -> Scores:
        return Scores(job.sums, job.sums, job.sums)


class Desk:
    """A batcher on a fake model that is busy with a document of its own until it is let go."""

    def __init__(self, batch_tokens: int, streams: int, turn_tokens: int) -> None:
        self.model = FakeModel()
        self.admission = Admission(streams, turn_tokens, 3, 0, 60, clock=lambda: 0.0)
        self.batcher = Batcher(self.model, self.admission, streams, turn_tokens, batch_tokens)  # type: ignore[arg-type]
        self.places: list[Place] = []

    def ask(self, *texts: str) -> asyncio.Task[list]:
        self.places.append(Place(1, Kind()))
        documents = [read(text, format="text") for text in texts]
        return asyncio.create_task(self.batcher.score(documents, self.places[-1]))

    async def until_waiting(self, tokens: int, place: int = -1) -> None:
        """Until the last request, or this one, waits in the queue with so many tokens."""
        while self.places[place].left != tokens:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def desk(batch_tokens: int, streams: int = 1, held: bool = True, turn_tokens: int = 0) -> AsyncIterator[Desk]:
    it = Desk(batch_tokens, streams, turn_tokens or batch_tokens)
    if held:
        it.model.gate.clear()
        busy = [it.ask("9" * batch_tokens) for _ in range(streams)]
        for place in range(streams):
            await it.until_waiting(batch_tokens, place)
    yield it
    it.model.gate.set()
    if held:
        await asyncio.gather(*busy)
    it.batcher.close()


def values(results: list) -> list[int]:
    return [int(scores.topics[0]) for scores in results]


def test_waiting_documents_share_batches_within_the_budget() -> None:
    async def run() -> None:
        async with desk(12) as it:
            asked = [it.ask(str(i), str(i * 11)) for i in range(2, 8)]
            await it.until_waiting(3)
            it.model.gate.set()
            assert [values(await task) for task in asked] == [[i, i * 11] for i in range(2, 8)]
        batches = it.model.batches[1:]
        assert len(batches) < 6 and all(len(batch) * max(map(len, batch)) <= 12 for batch in batches)

    asyncio.run(run())


def test_a_request_alone_is_spread_over_the_streams() -> None:
    async def run() -> None:
        async with desk(100, streams=2, held=False) as it:
            while it.batcher._idle < 2:
                await asyncio.sleep(0.01)
            assert values(await it.ask("1000 1000 1000 1000 1000 1000")) == [6_000]
        assert max(map(len, it.model.batches)) == 3

    asyncio.run(run())


def test_who_needs_a_small_batch_only_does_not_get_into_a_large_one() -> None:
    async def run() -> None:
        async with desk(100, turn_tokens=10) as it:
            asked = [it.ask("1000 1000 1000 1000 1000 1000"), it.ask("20 30")]
            await it.until_waiting(4)
            it.model.gate.set()
            assert [values(await task) for task in asked] == [[6_000], [50]]
        for batch in it.model.batches[1:]:
            assert sum(map(len, batch)) <= 10 or not {"20", "30"} & set(batch)
        assert max(map(len, it.model.batches)) >= 4

    asyncio.run(run())


def test_while_short_requests_come_often_one_stream_takes_small_batches() -> None:
    async def run(size: int) -> int:
        async with desk(100, turn_tokens=10) as it:
            it.admission.check(size)
            long = it.ask("1000 1000 1000 1000 1000 1000")
            await it.until_waiting(24)
            it.model.gate.set()
            assert values(await long) == [6_000]
        return max(map(len, it.model.batches))

    assert asyncio.run(run(1_000)) == 2 and asyncio.run(run(100_000)) == 6


def test_a_long_document_is_scored_between_others() -> None:
    async def run() -> None:
        async with desk(10) as it:
            long = it.ask(" ".join(["1000"] * 100))
            await it.until_waiting(400)
            short = it.ask("20 30")
            await it.until_waiting(4)
            it.model.gate.set()
            assert values(await short) == [50]
            assert values(await long) == [100_000]
        flat = [word for batch in it.model.batches for word in batch]
        assert flat.index("30") < 10 and flat[-1] == "1000" and flat.count("1000") == 100

    asyncio.run(run())


@pytest.mark.parametrize("streams", [1, 3])
def test_a_word_longer_than_the_budget_and_many_at_once(streams: int) -> None:
    async def run() -> None:
        async with desk(4, streams, held=False) as it:
            asked = [it.ask(f"{i} 1{i:08} 3", "5") for i in range(50)]
            for i, task in enumerate(asked):
                assert values(await task) == [i + 100_000_003 + i, 5]
            assert await it.batcher.score([], Place(0, Kind())) == []
            assert all(place.left == 0 for place in it.places)

    asyncio.run(run())


def test_one_faulty_document_fails_alone() -> None:
    async def run() -> None:
        async with desk(100) as it:
            asked, other = it.ask("1", "2 bad", "unsplittable", "3 4"), it.ask("5")
            await it.until_waiting(1)
            it.model.gate.set()
            one, fault, unsplit, three = await asked
            assert isinstance(fault, ValueError) and isinstance(unsplit, ValueError)
            assert values([one, three]) == [1, 7] and values(await other) == [5]
            assert len(await it.ask("unsplittable")) == 1
            assert values(await it.ask("6")) == [6]

    asyncio.run(run())


def test_who_gives_up_takes_the_documents_along() -> None:
    async def run() -> None:
        async with desk(4) as it:
            gone, stays = it.ask("2222 3333", "4444"), it.ask("5555")
            await it.until_waiting(4)
            gone.cancel()
            await asyncio.wait([gone])
            assert [place.left for place in it.places] == [4, 0, 4]
            it.model.gate.set()
            assert values(await stays) == [5555]
        assert it.model.batches == [["9999"], ["5555"]]

    asyncio.run(run())


def test_speed_and_what_is_left_are_booked() -> None:
    async def run() -> None:
        async with desk(4, held=False) as it:
            before = it.admission.speed
            await it.ask("1111 2222")
            assert it.places[0].left == 0 and it.admission.speed != before

    asyncio.run(run())


def test_what_fails_says_nothing_of_the_speed() -> None:
    """It fails at once, and the rest of its windows is left out, which takes no time."""
    async def run() -> None:
        async with desk(4, held=False) as it:
            measured: list[float] = []
            it.admission.measured = lambda tokens, seconds: measured.append(tokens)  # type: ignore[method-assign]
            assert isinstance((await it.ask("bad " + "1111 " * 50))[0], ValueError)
            assert it.places[0].left == 0
            assert sum(measured) == sum(4 for batch in it.model.batches if "bad" not in batch)

    asyncio.run(run())


def test_work_in_threads_is_given_up_between_turns() -> None:
    started: list[int] = []

    def work(number: int) -> int:
        started.append(number)
        threading.Event().wait(0.03)
        return number * 2

    async def run() -> None:
        assert await in_turns(work, range(4)) == [0, 2, 4, 6] and await in_turns(work, []) == []
        task = asyncio.create_task(in_turns(work, range(1000)))
        while len(started) < 6:
            await asyncio.sleep(0.01)
        task.cancel()
        await asyncio.wait([task])
        so_far = len(started)
        await asyncio.sleep(0.2)
        assert len(started) <= so_far + 1

    asyncio.run(run())
