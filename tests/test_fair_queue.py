"""Kinds get equal shares of the work, whatever they ask for; within a kind hardly anybody is done later than in turns."""

import random
from collections import Counter

from serving.fair_queue import FairQueue


def pieces(name: str, *costs: float) -> list[tuple[str, float]]:
    return [(name, cost) for cost in costs]


def drain(queue: FairQueue) -> list[str]:
    taken = []
    while queue.first() is not None:
        taken.append(queue.take())
    return taken


def test_who_comes_later_with_little_goes_before_the_rest_of_who_has_much() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add(pieces("long", *[10] * 1000))
    assert [queue.take() for _ in range(3)] == ["long"] * 3
    queue.add(pieces("short", 8))
    queue.add(pieces("two", 10, 10))
    rest = drain(queue)
    assert rest[:3] == ["short", "two", "two"] and rest.count("long") == 997


def test_equal_ones_are_done_in_the_order_in_which_they_came() -> None:
    queue: FairQueue[str] = FairQueue()
    for name in "abc":
        queue.add(pieces(name, 10, 10, 10))
    assert drain(queue) == list("aaabbbccc")


def test_who_has_less_left_is_done_first() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add(pieces("a", *[10] * 10))
    assert [queue.take() for _ in range(7)] == ["a"] * 7
    queue.add(pieces("b", *[10] * 4))
    queue.add(pieces("c", *[10] * 2))
    assert drain(queue) == list("ccaaabbbb")


def test_nobody_is_done_much_later_than_in_turns() -> None:
    """Against turns emulated beside it, with requests of all sizes that come at random."""
    draw = random.Random(0)
    queue: FairQueue[int] = FairQueue()
    left, turns = {}, {}  # pieces of one, here and in turns
    done, done_in_turns = {}, {}
    for now in range(20_000):
        if draw.random() < 0.06 and now < 19_000:
            size = draw.choice([1, 2, 5, 20, 40])
            queue.add([(now, 1)] * size)
            left[now] = turns[now] = size
        if queue.first():
            name = queue.take()
            left[name] -= 1
            if not left[name]:
                done[name] = now
        share = 1 / max(len(turns), 1)
        turns = {name: rest - share for name, rest in turns.items()}
        done_in_turns.update(dict.fromkeys((name for name, rest in turns.items() if rest < 1e-6), now))
        turns = {name: rest for name, rest in turns.items() if rest >= 1e-6}
    both = done.keys() & done_in_turns.keys()
    later = [done[name] - done_in_turns[name] for name in both]
    assert len(both) > 1_000 and sum(value <= 0 for value in later) > 0.85 * len(later) and max(later) <= 80
    assert sum(done[name] - name for name in both) < 0.7 * sum(done_in_turns[name] - name for name in both)


def test_short_ones_that_follow_one_another_do_not_hold_up_a_long_one() -> None:
    queue: FairQueue[str] = FairQueue()
    long, shorts = queue.add(pieces("long", *[10] * 100)), 0
    while long.pieces and shorts < 1_000:  # whenever a short one has been taken, another is there
        queue.add(pieces("short", 10))
        while queue.first() and queue.take() != "short":
            pass
        shorts += 1
    assert 150 <= shorts <= 250  # in turns the long one would be done after two hundred


def test_kinds_get_equal_shares_whatever_their_number() -> None:
    queue: FairQueue[str] = FairQueue()
    for kind, flows in (("a", 1), ("b", 10), ("c", 3)):
        for _ in range(flows):
            queue.add(pieces(kind, *[10] * 500), kind)
    taken = Counter(queue.take() for _ in range(900))
    assert all(299 <= count <= 301 for count in taken.values())
    while taken["a"] < 500:  # once all of a kind is done, the others share what was its
        taken[queue.take()] += 1
    rest = Counter(queue.take() for _ in range(400))
    assert rest["a"] == 0 and abs(rest["b"] - rest["c"]) <= 1


def test_a_kind_has_no_claim_on_the_time_when_it_was_not_there() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add(pieces("long", *[10] * 500), "long")
    assert [queue.take() for _ in range(300)] == ["long"] * 300
    queue.add(pieces("short", *[10] * 100), "short")
    taken = Counter(queue.take() for _ in range(100))
    assert abs(taken["long"] - taken["short"]) <= 1


def test_what_is_dropped_is_not_taken_and_nothing_of_it_is_kept() -> None:
    queue: FairQueue[str] = FairQueue()
    flows = [queue.add(pieces(name, 10, 10)) for name in "abc"]
    assert queue.take() == "a" and queue.waiting == 50
    queue.drop(flows[0])
    queue.drop(flows[1])
    assert queue.waiting == 20
    assert drain(queue) == ["c", "c"] and not flows[0].pieces and queue.first() is None
    queue.drop(flows[2])  # again, and after its end
    queue.add(pieces("d", 1))
    assert drain(queue) == ["d"] and queue.waiting == 0
