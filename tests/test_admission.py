"""Who is taken in, by the work there is; speeds and times are made up, so that the machine's do not matter."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from serving.admission import Admission, OverloadedError, Place

SPEED = 1_000.0  # tokens a second of a stream
SHORT, MEDIUM, LONG = 200, 2_000, 20_000  # tokens: alone on two streams 0.2, 1 and 10 seconds


class Desk:
    """An admission with a clock of its own, and the requests that it has taken in."""

    def __init__(self, streams: int = 2, burst: float = 0.0, slowdown: float = 3.001, timeout: float = 1_000.0) -> None:
        self.now = 100.0
        self.admission = Admission(streams, 500, slowdown, burst, timeout, clock=lambda: self.now)
        for _ in range(200):
            self.admission.measured(SPEED / 10, 0.1)
        self.inside: list[tuple[ExitStack, Place]] = []

    def come(self, tokens: float) -> bool:
        stack = ExitStack()
        try:
            self.inside.append((stack, stack.enter_context(self.admission.admit(tokens))))
        except OverloadedError:
            return False
        return True

    def take_in(self, tokens: float, at_most: int = 100) -> int:
        """How many of this size are taken in until one is refused."""
        return next((count for count in range(at_most) if not self.come(tokens)), at_most)

    def try_(self, tokens: float) -> None:
        with self.admission.admit(tokens):
            pass

    def leave(self, stay: int = 0) -> None:
        for stack, _ in self.inside[stay:]:
            stack.close()
        del self.inside[stay:]


def test_the_number_of_equals_keeps_each_within_the_slowdown() -> None:
    assert Desk(streams=1).take_in(SHORT) == 3  # each takes three times as long as alone
    assert Desk(streams=2).take_in(SHORT) == 6  # which alone keep one of two streams busy
    assert Desk(streams=2).take_in(LONG) == 3  # which alone keep both busy
    assert Desk(streams=2, slowdown=10.001).take_in(SHORT) == 20
    assert Desk(streams=1).take_in(1) == 3  # the smallest takes a forward pass too


def test_who_comes_alone_is_taken_in_whatever_it_is() -> None:
    desk = Desk(timeout=5)
    assert desk.come(10_000_000)
    assert not desk.come(10_000_000)


def test_what_is_left_counts_not_what_was() -> None:
    desk = Desk()
    assert desk.take_in(LONG) == 3
    for _, place in desk.inside:
        place.left = 100
    assert desk.come(LONG)
    desk = Desk()
    assert desk.take_in(SHORT) == 6
    for _, place in desk.inside:
        place.left = 0  # scored, and being written down
    assert desk.come(SHORT)


@pytest.mark.parametrize("streams", [1, 2, 4])
@pytest.mark.parametrize("first", [SHORT, MEDIUM, LONG])
def test_each_kind_has_a_place_however_many_there_are_of_another(streams: int, first: int) -> None:
    desk = Desk(streams)
    desk.take_in(first)
    assert not desk.come(first)
    for other in {SHORT, MEDIUM, LONG} - {first}:
        assert desk.come(other)


def test_a_kind_counts_on_what_the_others_leave_but_on_a_third_at_least() -> None:
    desk = Desk()
    assert desk.come(LONG) and desk.come(MEDIUM)
    assert desk.take_in(SHORT) == 6  # nothing has been scored of the others yet
    desk.leave(stay=2)
    for _, place in desk.inside:
        desk.admission.book(place, 2 * SPEED * 5)  # five seconds of all streams
        place.left = SHORT
    assert desk.take_in(SHORT) == 2  # of a third of the work each gets half: 0.6 s in place of 0.2
    assert desk.come(LONG), "as yet the short ones took little"
    desk.now += 600
    desk.leave(stay=2)
    assert desk.take_in(SHORT) == 6


def test_a_burst_is_taken_in_but_a_queue_that_stands_is_not() -> None:
    desk = Desk(burst=2.0)
    assert desk.come(LONG) and desk.come(MEDIUM)
    assert desk.take_in(SHORT) == 7  # of 0.2 s each, on a third of two streams
    desk = Desk(burst=2.0)
    assert desk.take_in(SHORT) == 21  # that none else wants
    desk.leave(stay=6)
    assert not desk.come(SHORT), "once one was refused, only what keeps within the slowdown comes in"
    desk.leave(stay=5)
    assert desk.come(SHORT)


def test_idleness_ends_a_crowd() -> None:
    desk = Desk(burst=2.0)
    desk.take_in(SHORT)
    desk.leave()
    desk.now += 0.5
    assert desk.take_in(SHORT) == 6
    for _ in range(200):  # a moment of idleness now and then is no end
        desk.leave()
        desk.now += 0.01
        assert desk.take_in(SHORT, at_most=6) == 6
        desk.now += 0.5
    assert not desk.come(SHORT)
    desk.leave()
    desk.now += 5.5
    assert desk.take_in(SHORT) == 21


def test_a_crowd_of_long_ones_does_not_make_short_ones_a_crowd() -> None:
    desk = Desk(burst=4.0)
    assert desk.take_in(LONG) == 3
    assert desk.take_in(SHORT) == 21


def test_come_back_when_there_will_be_a_place() -> None:
    desk = Desk(streams=1)
    desk.take_in(LONG)
    with pytest.raises(OverloadedError) as refused:
        desk.try_(LONG)
    assert refused.value.retry_after == 20  # the four would take 80 seconds, and may take 60
    assert "try again in 20 seconds" in str(refused.value)
    for _ in range(200):
        desk.admission.measured(SPEED / 10, 0.2)  # half as fast
    with pytest.raises(OverloadedError) as refused:
        desk.try_(LONG)
    assert refused.value.retry_after == pytest.approx(40, abs=2)


def test_a_large_one_keeps_a_smaller_of_its_kind_out_until_it_has_less_to_do() -> None:
    """Three of 100 seconds, and one of 20, which may take 60: it has a place once they have 40 to do, all together."""
    desk = Desk(streams=1)
    assert [desk.come(100 * SPEED) for _ in range(3)] == [True] * 3
    with pytest.raises(OverloadedError) as refused:
        desk.try_(20 * SPEED)
    assert refused.value.retry_after == pytest.approx(260, abs=2)


def test_work_that_is_booked_late_counts() -> None:
    desk = Desk(streams=1)
    desk.come(LONG)
    for _ in range(300):
        desk.now += 0.1
        desk.admission.book(desk.inside[0][1], SPEED / 10)
    kind = desk.inside[0][1].kind
    assert kind.done / SPEED == pytest.approx(5.0, rel=0.05), "five seconds are remembered, all of them busy"


def test_nobody_is_taken_in_to_be_too_late() -> None:
    desk = Desk(streams=1, timeout=30)
    assert desk.come(LONG)
    assert not desk.come(LONG), "it would take 40 s"
    assert desk.come(SHORT)


def test_a_refused_request_leaves_no_trace() -> None:
    desk = Desk()
    desk.take_in(SHORT)
    assert not desk.come(SHORT)
    desk.leave()
    assert desk.take_in(SHORT) == 6


def test_what_turns_out_larger_or_smaller_changes_its_kind() -> None:
    desk = Desk()
    desk.take_in(LONG)
    for _, place in desk.inside:
        desk.admission.resize(place, SHORT)
    assert desk.take_in(SHORT) == 3 and desk.take_in(LONG) == 3
    desk.leave()
    assert desk.take_in(SHORT) == 6


def test_a_body_is_refused_by_its_size_only_if_nothing_in_it_could_be_taken_in() -> None:
    desk = Desk()
    desk.admission.check(1_000_000)
    desk.take_in(20 * LONG)
    with pytest.raises(OverloadedError):
        desk.admission.check(1_000_000)
    desk.admission.check(100_000)  # 25,000 tokens of text, but a page of 3,000
    desk.take_in(5_000)
    with pytest.raises(OverloadedError):
        desk.admission.check(100_000)
    desk.admission.check(1_000)


def test_a_batch_that_was_held_up_does_not_make_the_service_seem_slow_but_many_do() -> None:
    admission = Admission(2, 500, 3.0, 0.0, 60.0)
    admission.measured(8, 2.0)  # the first, on a machine that does other things
    assert admission.speed > 5_000
    for _ in range(200):
        admission.measured(100, 2.0)
    assert admission.speed == pytest.approx(50, rel=0.01)


def test_whether_short_ones_come_often() -> None:
    desk = Desk()
    assert not desk.admission.short_ones_come
    desk.admission.check(50_000)  # bytes
    assert not desk.admission.short_ones_come
    desk.admission.check(1_000)
    assert desk.admission.short_ones_come
    desk.now += 0.5
    assert not desk.admission.short_ones_come
