"""Requests get equal shares of the work that is done, whatever they ask for."""

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
    assert rest.index("short") <= 1 and max(i for i, name in enumerate(rest) if name == "two") < 6
    assert rest.count("long") == 997


def test_shares_are_equal_by_cost_not_by_number() -> None:
    queue: FairQueue[tuple[str, float]] = FairQueue()
    for name, cost in (("a", 10.0), ("b", 5.0), ("c", 2.5)):
        queue.add([((name, cost), cost)] * 400)
    done: Counter[str] = Counter()
    for _ in range(350):
        name, cost = queue.take()
        done[name] += cost
    assert max(done.values()) - min(done.values()) <= 10


def test_short_ones_that_follow_one_another_do_not_hold_up_a_long_one() -> None:
    queue: FairQueue[str] = FairQueue()
    queue.add(pieces("long", *[10] * 100))
    taken: Counter[str] = Counter()
    for _ in range(100):  # whenever a short one has been taken, another is there
        queue.add(pieces("short", 10))
        while (name := queue.take()) != "short":
            taken[name] += 1
        taken["short"] += 1
    assert 80 <= taken["long"] <= 100


def test_kinds_get_equal_shares_whatever_their_number() -> None:
    queue: FairQueue[str] = FairQueue()
    for kind, flows in (("a", 1), ("b", 10), ("c", 3)):
        for _ in range(flows):
            queue.add(pieces(kind, *[10] * 500), kind)
    taken = Counter(queue.take() for _ in range(900))
    assert all(280 <= count <= 320 for count in taken.values())
    while taken["a"] < 500:  # once all of a kind is done, the others share what was its
        taken[queue.take()] += 1
    rest = Counter(queue.take() for _ in range(400))
    assert rest["a"] == 0 and abs(rest["b"] - rest["c"]) <= 30


def test_what_is_dropped_is_not_taken_and_nothing_of_it_is_kept() -> None:
    queue: FairQueue[str] = FairQueue()
    flows = [queue.add(pieces(name, 10, 10)) for name in "abc"]
    assert queue.take() == "a"
    queue.drop(flows[0])
    queue.drop(flows[1])
    assert drain(queue) == ["c", "c"] and not flows[0].pieces and queue.first() is None
    queue.drop(flows[2])  # again, and after its end
    queue.add(pieces("d", 1))
    assert drain(queue) == ["d"]
