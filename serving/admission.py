"""Whether a request is taken in, by the work that it is and the work that waits; if not, when to come back.

Work is counted in tokens: estimated from a request's size when it comes, known once it is split. Requests are of three
kinds, short, medium and long. The fair queue gives each kind a third of the work, or what the others leave of it, and within a
kind hardly anybody is served later than in turns. So how long a request will take is known when it comes: of the others of its
kind each claims as much as it does itself, or what that one has left. It is taken in if it would take at most ``max_slowdown``
times as long as alone, or if there is no other of its kind: however many long ones come, there is a place for a short one, and
the reverse.

A burst is no overload: as long as they do not stand for ever, more may wait, up to ``burst_seconds`` of work at the pace of
a kind among those that run at the time. The first request beyond that shows that the queue does stand, and from then on only
the first rule holds for its kind, until there are so few that none is there at times. (As in Maurer, "Fail at scale", ACM
Queue 13(8), 2015, after Nichols and Jacobson's CoDel, "Controlling queue delay", ACM Queue 10(5), 2012; here a request is
refused when it comes rather than after it has waited.)

All of it runs in the event loop's thread, but for ``short_ones_come``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NoReturn

from prometheus_client import Counter, Gauge

RUNNING = Gauge("wenzhai_running_requests", "Requests taken in and not yet answered", multiprocess_mode="livesum")
REFUSED = Counter("wenzhai_refused_requests", "Requests refused because too much was waiting")
_TOKENS_PER_BYTE = 0.03, 0.25  # of a body: a page that is mostly mark-up, or a PDF, and text without anything else
_MEDIUM, _LONG = 512, 8_192  # tokens beyond which a request is no longer short, or medium
_LEAST_TOKENS = 64  # of a request: a forward pass over fewer hardly takes less time
_FIRST_GUESS = 1_000, 0.1  # tokens and seconds of a stream, that the first ten batches or so outweigh
_OUTLIER = 4.0  # times as long as expected: whatever beyond that delayed one batch says nothing of the next
_MEMORY = 0.95  # of earlier batches, at each further one, in the measured speed
_OFTEN_SECONDS = 0.1  # between short requests
_LATELY_SECONDS = 5.0  # over which the work of a kind is averaged
_REST_SECONDS = 5.0  # of idleness that end a crowd …
_REST_SHARE = 0.05  # … beyond this share of all time
_BISECTIONS = 12  # when a wait is computed, which is told in whole seconds


class OverloadedError(RuntimeError):
    """Too much is waiting. ``retry_after`` says in how many seconds what waits now will be done."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the service is busy: try again in {retry_after} seconds")
        self.retry_after = retry_after


@dataclass(eq=False)
class Place:
    """A request that has been taken in; ``left`` tokens of it are still to be scored."""

    left: float
    kind: Kind


class Kind:
    """Requests of one kind, and whether they have been too many."""

    def __init__(self) -> None:
        self.crowded, self.done = False, 0.0  # tokens scored lately
        self._running, self._rest, self._seen = 0, 0.0, 0.0

    def look(self, now: float, more: int = 0) -> None:
        """Note the time, at which so many more requests run: an idle time long enough ends the crowd."""
        elapsed, self._seen = now - self._seen, now
        self.done *= math.exp(-elapsed / _LATELY_SECONDS)
        self._rest = max(self._rest + elapsed * ((not self._running) - _REST_SHARE), 0.0)
        self.crowded = self.crowded and self._rest < _REST_SECONDS
        self._running += more

    def crowd(self) -> None:
        """One had to be refused."""
        self.crowded, self._rest = True, 0.0


class Admission:
    """Takes requests in, or refuses them.

    Args:
        streams: forward passes at the same time.
        turn_tokens: of a small forward pass; a request of fewer keeps one stream busy, a larger one several.
        max_slowdown: how many times the time alone a request may take beside others.
        burst_seconds: of work that may wait as long as that does not last.
        timeout_seconds: after which nobody waits for an answer any more.
    """

    def __init__(
        self, streams: int, turn_tokens: int, max_slowdown: float, burst_seconds: float, timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams, self._turn_tokens = streams, turn_tokens
        self._burst, self._timeout, self._clock = burst_seconds, timeout_seconds, clock
        self._slowdown, self._kinds = max_slowdown, (Kind(), Kind(), Kind())
        self._places: set[Place] = set()
        self._short_came = -math.inf
        self._tokens, self._seconds = _FIRST_GUESS

    @property
    def speed(self) -> float:
        """Tokens a second of one stream, as last measured."""
        return self._tokens / self._seconds

    @property
    def short_ones_come(self) -> bool:
        """Whether there are so many short requests that they should not have to wait for a large batch."""
        return self._clock() - self._short_came < _OFTEN_SECONDS

    def measured(self, tokens: float, seconds: float) -> None:
        """A batch was scored in so long."""
        tokens = max(tokens, _LEAST_TOKENS)
        seconds = min(seconds, _OUTLIER * tokens / self.speed)
        self._tokens, self._seconds = self._tokens * _MEMORY + tokens, self._seconds * _MEMORY + seconds

    def book(self, place: Place, tokens: float) -> None:
        """So much of a request was scored."""
        place.left = max(place.left - tokens, 0.0)
        place.kind.look(self._clock())
        place.kind.done += tokens

    def check(self, size: int) -> None:
        """Whether a request with a body of so many bytes could be taken in now, whatever is in it.

        Raises:
            OverloadedError: it could not.
        """
        if self._kind(size * _TOKENS_PER_BYTE[1]) is self._kinds[0]:
            self._short_came = self._clock()
        least, most = (self._delay(size * rate) for rate in _TOKENS_PER_BYTE)
        if least and most:
            self._refuse(self._kind(size * _TOKENS_PER_BYTE[1]), most)

    def _refuse(self, kind: Kind, seconds: float) -> NoReturn:
        kind.crowd()
        REFUSED.inc()
        raise OverloadedError(max(math.ceil(seconds), 1))

    def _delay(self, tokens: float) -> float:
        """Seconds until a request of so many tokens could be taken in; 0 if now."""
        tokens, kind, now = max(tokens, _LEAST_TOKENS), self._kind(tokens), self._clock()
        for each in self._kinds:
            each.look(now)
        lefts = [place.left for place in self._places if place.kind is kind and place.left]
        if not lefts:
            return 0.0
        others = sum(min(max(left, _LEAST_TOKENS), tokens) for left in lefts)
        capacity, share = self._streams * self.speed, 1 / len(self._kinds)
        taken = sum(min(each.done / (capacity * _LATELY_SECONDS), share) for each in self._kinds if each is not kind)
        pace = capacity * (1 - taken)
        alone = tokens / min(max(tokens / self._turn_tokens, 1.0), self._streams) / self.speed
        expected, bearable = (others + tokens) / pace, min(self._slowdown * alone, max(self._timeout, alone))
        kinds = len({kind, *(place.kind for place in self._places if place.left)})
        burst = not kind.crowded and others / (capacity / kinds) <= self._burst
        if expected <= bearable or burst:
            return 0.0
        return self._wait(lefts, tokens, bearable * pace - tokens) / pace

    @staticmethod
    def _wait(lefts: Sequence[float], tokens: float, room: float) -> float:
        """Tokens to be scored until requests that have ``lefts`` to do, all at the same pace, keep one of ``tokens`` from no
        more than ``room``: one that is larger counts for as many as the newcomer until it has less to do."""
        low, high = 0.0, max(lefts)  # of what each has done by then
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            keeps = sum(min(max(left - middle, 0.0), tokens) for left in lefts) <= room
            low, high = (low, middle) if keeps else (middle, high)
        return sum(min(left, high) for left in lefts)

    @contextmanager
    def admit(self, tokens: float) -> Iterator[Place]:
        """Take in a request of so many tokens, until the end of the block.

        Raises:
            OverloadedError: it is refused.
        """
        kind = self._kind(tokens)
        if delay := self._delay(tokens):
            self._refuse(kind, delay)
        kind.look(self._clock(), +1)
        place = Place(tokens, kind)
        self._places.add(place)
        RUNNING.inc()
        try:
            yield place
        finally:
            RUNNING.dec()
            self._places.remove(place)
            place.kind.look(self._clock(), -1)

    def resize(self, place: Place, tokens: float) -> None:
        """A request is now known, or better known, to be so many tokens."""
        now = self._clock()
        place.kind.look(now, -1)
        place.left, place.kind = tokens, self._kind(tokens)
        place.kind.look(now, +1)

    def _kind(self, tokens: float) -> Kind:
        return self._kinds[(tokens > _MEDIUM) + (tokens > _LONG)]
