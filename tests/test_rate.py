"""The rate limit counts each caller alone, and all workers together."""

from pathlib import Path

import pytest

from serving import rate
from serving.access import address_of
from serving.rate import RateLimit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(rate.time, "monotonic", lambda: now[0])
    return now


def test_a_minutes_worth_at_once_then_evenly(clock: list[float], tmp_path: Path) -> None:
    workers = [RateLimit(6, tmp_path / "rate.sqlite") for _ in range(3)]
    assert [workers[i % 3].wait("a") for i in range(6)] == [0.0] * 6
    assert workers[0].wait("a") == pytest.approx(10) and workers[1].wait("a") == pytest.approx(10)
    assert workers[2].wait("b") == 0  # another caller
    clock[0] += 9.9
    assert workers[0].wait("a") == pytest.approx(0.1)
    clock[0] += 0.2
    assert [workers[0].wait("a"), workers[1].wait("a") > 9] == [0.0, True]
    clock[0] += 600
    assert [workers[i % 3].wait("a") > 0 for i in range(7)] == [False] * 6 + [True]


def test_on_a_full_disk_requests_are_let_through(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    limit = RateLimit(6, tmp_path / "rate.sqlite")
    pages = limit._db.execute("PRAGMA page_count").fetchone()[0]
    limit._db.execute(f"PRAGMA max_page_count = {pages}")
    assert {limit.wait("a" * 200 + str(i)) for i in range(100)} == {0.0} and "full" in caplog.text
    limit._db.execute("PRAGMA max_page_count = 10000")
    assert [limit.wait("b") > 0 for _ in range(7)] == [False] * 6 + [True]


def test_never_more_than_a_minutes_worth_beyond_the_rate(clock: list[float]) -> None:
    limit = RateLimit(30, ":memory:")
    passed = 0
    for _ in range(6000):  # ten minutes, ten times a second
        passed += limit.wait("a") == 0
        clock[0] += 0.1
    assert passed in (30 + 299, 30 + 300)


def test_callers_who_went_away_are_forgotten(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate, "_KEPT", 10)
    limit = RateLimit(6, ":memory:")
    for i in range(100):
        limit.wait(str(i))
        clock[0] += 10
    [(rows,)] = limit._db.execute("SELECT count(*) FROM caller")
    assert rows <= 12


def test_addresses() -> None:
    assert address_of(("203.0.113.9", 5)) == "203.0.113.9"
    assert address_of(("2001:db8:1:2:3:4:5:6", 5)) == address_of(("2001:db8:1:2::9", 1)) == "2001:db8:1:2::/64"
    assert address_of(None) == address_of(("testclient", 1)) == "unknown"
