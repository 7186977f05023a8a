"""One queue for all requests, fair by work: who asks for much does not hold up who asks for little.

Self-clocked fair queueing (Golestani, "A self-clocked fair queueing scheme for broadband applications", INFOCOM 1994). Each
request is a flow of pieces of work. A piece is stamped with when it would be finished if all flows were served at the same
pace: the flow's last stamp, or for a new flow the stamp of the piece last taken, plus its own cost. The least stamp goes first.
So flows take turns piece by piece, and one of a single piece that comes after one of ten thousand is soon gone. Flows that
come one after another count together as one, so a stream of short ones does not hold up a long one for ever either.

Flows are of several kinds, and the kinds that wait get equal shares of the work, whatever the number of their flows: a cost
counts as many times as there are flows of its kind. Not thread-safe.
"""

from __future__ import annotations

import heapq
from collections import Counter, deque
from collections.abc import Hashable, Iterable
from itertools import count
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Flow(Generic[Item]):
    """The pieces of one request that still wait, with their costs, and the stamp of the first."""

    def __init__(self, pieces: Iterable[tuple[Item, float]], kind: Hashable, now: float) -> None:
        self.pieces, self.kind, self.stamp = deque(pieces), kind, now


class FairQueue(Generic[Item]):
    """Pieces of work in the order in which fairness wants them done."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Flow[Item]]] = []
        self._flows: Counter[Hashable] = Counter()  # with pieces left, by kind
        self._order, self._now = count(), 0.0
        self.waiting = 0.0  # costs of all pieces

    def add(self, pieces: Iterable[tuple[Item, float]], kind: Hashable = None) -> Flow[Item]:
        """A request's pieces, at least one, with their costs, in the order in which they are to be taken."""
        flow = Flow(pieces, kind, self._now)
        self.waiting += sum(cost for _, cost in flow.pieces)
        self._flows[kind] += 1
        self._push(flow)
        return flow

    def drop(self, flow: Flow[Item]) -> None:
        """Take out what is left of a request."""
        if flow.pieces:
            self.waiting -= sum(cost for _, cost in flow.pieces)
            flow.pieces.clear()
            self._flows[flow.kind] -= 1

    def first(self) -> tuple[Item, float] | None:
        """The piece whose turn it is, with its cost; None if nothing waits."""
        while self._heap and not self._heap[0][2].pieces:
            heapq.heappop(self._heap)
        return self._heap[0][2].pieces[0] if self._heap else None

    def take(self) -> Item:
        """Take that piece."""
        self._now, _, flow = heapq.heappop(self._heap)
        item, cost = flow.pieces.popleft()
        self.waiting -= cost
        if flow.pieces:
            self._push(flow)
        else:
            self._flows[flow.kind] -= 1
        return item

    def _push(self, flow: Flow[Item]) -> None:
        flow.stamp += flow.pieces[0][1] * self._flows[flow.kind]
        heapq.heappush(self._heap, (flow.stamp, next(self._order), flow))
