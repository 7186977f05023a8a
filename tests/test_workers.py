"""Processes in two steps; one that dies is replaced, and what it died of is given up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from serving.parts import Key, Part
from serving.rows import Item
from serving.workers import WorkerError, Workers


class Double:
    """Doubles numbers; ``-9`` kills the process at reading, ``-8`` at scoring, ``disk`` is full."""

    def __init__(self, pause: float = 0) -> None:
        self.pause = pause

    def prepare(self, part: Part, mark: Any) -> tuple[list[str], tuple[Part, list[str]]]:
        for at, item in enumerate(part.items):
            if mark:
                mark(at)
            if item.content == "-9":
                time.sleep(0.05)
                os._exit(9)
        return [item.id for item in part.items], (part, [str(threading.get_ident())])

    def finish(self, prepared: tuple[Part, list[str]], decision: list[int], mark: Any) -> list[Any]:
        found = []
        time.sleep(self.pause)
        for at, (item, extra) in enumerate(zip(prepared[0].items, decision)):
            if mark:
                mark(at)
            if item.content == "-8":
                time.sleep(0.05)
                os._exit(8)
            if item.content == "disk":
                raise OSError(28, "No space left on device")
            found.append(item.error or 2 * int(item.content) + extra)
        return [prepared[0].key.number, *found]


class Faulty:
    def __init__(self) -> None:
        raise ZeroDivisionError("at the start")


def _deadly() -> object:
    os._exit(7)


def parts(*contents: list[str]) -> Iterator[Part]:
    for number, values in enumerate(contents):
        yield Part(Key(0, number), [Item(f"{number}-{i}", value) for i, value in enumerate(values)])


def zero(part: Part, stated: list[str]) -> list[int]:
    assert stated == [item.id for item in part.items]
    return [0] * len(stated)


def test_parts_are_taken_as_they_can_be_and_decided_in_order() -> None:
    taken: list[int] = []
    decided: list[int] = []

    def source() -> Iterator[Part]:
        for part in parts(*([str(i)] for i in range(20))):
            taken.append(part.key.number)
            yield part

    def decide(part: Part, stated: list[str]) -> list[int]:
        decided.append(part.key.number)
        return [100 * part.key.number]

    found = []
    with Workers(2, Double, (0.01,)) as pool:
        for result in pool.run(source(), decide):
            found.append(result)
            assert len(taken) <= len(found) + 5, "parts are held in memory ahead of the workers"
    assert decided == list(range(20))
    assert sorted(found) == [[i, 2 * i + 100 * i] for i in range(20)]


@pytest.mark.parametrize("deadly", ["-8", "-9"])
def test_a_process_that_dies_is_replaced_and_the_document_given_up(deadly: str) -> None:
    decided: list[int] = []

    def decide(part: Part, stated: list[str]) -> list[int]:
        decided.append(part.key.number)
        return zero(part, stated)

    contents = [["1", "2"], ["3", deadly, "4"], ["5", "6"], [deadly], ["7"], ["8"], ["9"]]
    with Workers(2, Double, ()) as pool:
        found = sorted(pool.run(parts(*contents), decide))
    assert decided == list(range(7)), "each is decided once"
    code = deadly.removeprefix("-")
    assert all(f"die (exit code {code})" in reason for reason in (found[1][2], found[3][1]))
    assert [row[1:] for row in found] == [[2, 4], [6, found[1][2], 8], [10, 12], found[3][1:], [14], [16], [18]]


def test_a_document_given_up_does_not_shift_decisions() -> None:
    def decide(part: Part, stated: list[str]) -> list[int]:
        return [int(id.split("-")[1]) for id in stated]

    with Workers(1, Double, ()) as pool:
        ((_, given_up, *rest),) = pool.run(parts(["-8", "10", "20"]), decide)
    assert "die (exit code 8)" in given_up and rest == [21, 42]


def test_large_parts_do_not_stop_up_the_pipe() -> None:
    long = [Part(Key(0, number), [Item("x" * 3_000_000, "1")]) for number in range(6)]
    with Workers(1, Double, ()) as pool:
        assert len(list(pool.run(long, zero))) == 6


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="asks the kernel which signals are blocked")
def test_the_first_process_starts_with_interrupts_blocked() -> None:
    """As in a fresh interpreter: the first start also starts ``multiprocessing``'s resource tracker."""
    program = """
import multiprocessing, pathlib, sys, time
from serving.worker_process import interrupts_blocked
process = multiprocessing.get_context("spawn").Process(target=time.sleep, args=(60,))
with interrupts_blocked():
    process.start()
print(*(pathlib.Path(f"/proc/{number}/status").read_text() for number in (process.pid, "self")), sep="=====")
process.kill()
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    masks = [line.split()[1] for line in run.stdout.splitlines() if line.startswith("SigBlk:")]
    bit = 1 << signal.SIGINT - 1
    assert [bool(int(mask, 16) & bit) for mask in masks] == [True, False], "the process, and its parent afterwards"


def test_what_is_no_documents_fault_ends_the_run() -> None:
    with Workers(1, Faulty, ()) as pool, pytest.raises(WorkerError, match="at the start"):
        list(pool.run(parts(["1"]), zero))
    with Workers(2, _deadly, ()) as pool, pytest.raises(WorkerError, match="keep dying .exit code 7"):
        list(pool.run(parts(["1"], ["2"]), zero))
    with Workers(1, Double, ()) as pool, pytest.raises(OSError, match="No space left"):
        list(pool.run(parts(["1"], ["disk"]), zero))
