"""One queue for all requests, fair by work: who asks for much does not hold up who asks for little.

Requests are of several kinds, and the kinds that wait get equal shares of the work, piece by piece, whatever the number of
their requests: the kind that has had least is next, and one that comes back has no claim on the time when it was not there
(start-time fair queueing: Goyal, Vin, Cheng, SIGCOMM 1996).

Within a kind those go first that would be done first if all were served at the same pace, as in Friedman and Henderson,
"Fairness and efficiency in web server protocols", SIGMETRICS 2003: all but few are done earlier than if they did take turns,
equal ones in the order in which they came. Their clock also counts those whose turns would not be over yet; this one does not.
So it runs faster, and a stream of small requests delays a large one for as long as it would in turns, not for ever.
Not thread-safe.
"""

from __future__ import annotations

import heapq
from collections import defaultdict, deque
from collections.abc import Hashable, Iterable
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Flow(Generic[Item]):
    """The pieces of one request that still wait, with their costs."""

    def __init__(self, pieces: Iterable[tuple[Item, float]], kind: Hashable) -> None:
        self.pieces, self.kind = deque(pieces), kind

    @property
    def cost(self) -> float:
        """Of all of them."""
        return sum(cost for _, cost in self.pieces)


class _Kind(Generic[Item]):
    """Requests of one kind, by when they would be done; ``clock`` is the work that each has had if all had the same."""

    def __init__(self) -> None:
        self.heap: list[tuple[float, int, Flow[Item]]] = []
        self.running, self.clock, self.had = 0, 0.0, 0.0


class FairQueue(Generic[Item]):
    """Pieces of work in the order in which fairness wants them done."""

    def __init__(self) -> None:
        self._kinds: dict[Hashable, _Kind[Item]] = defaultdict(_Kind)
        self._order, self._now = count(), 0.0
        self.waiting = 0.0  # costs of all pieces

    def add(self, pieces: Iterable[tuple[Item, float]], kind: Hashable = None) -> Flow[Item]:
        """A request's pieces, at least one, with their costs, in the order in which they are to be taken."""
        flow, its = Flow(pieces, kind), self._kinds[kind]
        if not its.running:
            its.had = max(its.had, self._now)
        its.running += 1
        self.waiting += flow.cost
        heapq.heappush(its.heap, (its.clock + flow.cost, next(self._order), flow))
        return flow

    def drop(self, flow: Flow[Item]) -> None:
        """Take out what is left of a request."""
        if flow.pieces:
            self.waiting -= flow.cost
            flow.pieces.clear()
            self._kinds[flow.kind].running -= 1

    def first(self) -> tuple[Item, float] | None:
        """The piece whose turn it is, with its cost; None if nothing waits."""
        its = self._next()
        return its.heap[0][2].pieces[0] if its else None

    def take(self) -> Item:
        """Take that piece."""
        its = self._next()
        assert its is not None, "nothing waits"
        flow = its.heap[0][2]
        item, cost = flow.pieces.popleft()
        self.waiting -= cost
        self._now = its.had
        its.had += cost
        its.clock += cost / its.running
        its.running -= not flow.pieces
        return item

    def _next(self) -> _Kind[Item] | None:
        """The kind whose turn it is, with the request whose turn it is on top."""
        its = min((each for each in self._kinds.values() if each.running), key=lambda each: each.had, default=None)
        while its and not its.heap[0][2].pieces:
            heapq.heappop(its.heap)
        return its
