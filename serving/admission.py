"""Whether a request is taken in, by the work that it is and the work that waits; if not, when to come back.

Work is counted in tokens: estimated from a request's size when it comes, known once it is split. Under fair queueing the
time that a request takes grows with what the others can still claim beside it: of each of them as much work as it has itself,
or what that one has left. It is taken in if this makes it take at most ``max_slowdown`` times the time it would take alone.

A burst is no overload: as long as they do not stand for ever, more may wait, up to ``burst_seconds``. The first request
beyond that shows that the queue does stand, and from then on only the first rule holds, until requests have been few enough
that the worker idles. (As in Maurer, "Fail at scale", ACM Queue 13(8), 2015, after Nichols and Jacobson's CoDel, "Controlling
queue delay", ACM Queue 10(5), 2012; here a request is refused when it comes rather than after it has waited.)

Short and long requests are judged apart: the long ones may claim half of the slowdown, so that they leave places for short
ones; and a crowd of one kind does not close the door on the other. All of it runs in the event loop's thread.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

TOKENS_PER_CHARACTER = 0.75  # of Chinese text, heads of windows included
TOKENS_PER_BYTE = 0.25
TOKENS_PER_FILE_BYTE = 0.03  # of PDF and DOCX, most of whose bytes are no text
_LONG_SECONDS = 1.0  # that a request takes alone, from which it counts as long
_LEAST_TOKENS = 128  # of a request: a forward pass over fewer hardly takes less time
_MEMORY = 0.95  # of earlier batches, at each further one, in the measured speed
_REST_SECONDS = 1.0  # of idleness that end a crowd …
_REST_SHARE = 0.05  # … beyond this share of all time


class OverloadedError(RuntimeError):
    """Too much is waiting. ``retry_after`` says in how many seconds what waits now will be done."""

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"the service is busy: try again in {retry_after} seconds")
        self.retry_after = retry_after


@dataclass(eq=False)
class Place:
    """A request that has been taken in; ``left`` tokens of it are still to be scored."""

    left: float


class _Kind:
    """Requests of one kind, and whether they have been too many."""

    def __init__(self, slack: float) -> None:
        self.slack, self.crowded = slack, False
        self._running, self._rest, self._seen = 0, 0.0, 0.0

    def look(self, now: float, more: int = 0) -> None:
        """Note the time, at which so many more requests run: an idle time long enough ends the crowd."""
        elapsed, self._seen = now - self._seen, now
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
        batch_tokens: of one forward pass; a request of fewer keeps one stream busy, a larger one several.
        max_slowdown: how many times the time alone a request may take beside others.
        burst_seconds: of work that may wait as long as that does not last.
        timeout_seconds: after which nobody waits for an answer any more.
    """

    def __init__(
        self, streams: int, batch_tokens: int, max_slowdown: float, burst_seconds: float, timeout_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._streams, self._batch_tokens = streams, batch_tokens
        self._burst, self._timeout, self._clock = burst_seconds, timeout_seconds, clock
        self._short, self._long = _Kind(max_slowdown - 1), _Kind((max_slowdown - 1) / 2)
        self._places: set[Place] = set()
        self._tokens, self._seconds = 5.0, 0.001  # a guess that the first batch outweighs

    @property
    def speed(self) -> float:
        """Tokens a second of one stream, as last measured."""
        return self._tokens / self._seconds

    @property
    def waiting(self) -> float:
        """Tokens that are still to be scored."""
        return sum(place.left for place in self._places)

    def measured(self, tokens: float, seconds: float) -> None:
        """A batch was scored."""
        self._tokens, self._seconds = self._tokens * _MEMORY + tokens, self._seconds * _MEMORY + seconds

    def check(self, tokens: float) -> None:
        """Whether a request of so many tokens would be taken in now.

        Raises:
            OverloadedError: it would not.
        """
        if not self._places:
            return
        tokens = max(tokens, _LEAST_TOKENS)
        alone, kind = self._alone(tokens), self._kind(tokens)
        kind.look(self._clock())
        claims = (min(max(place.left, _LEAST_TOKENS), tokens) for place in self._places if place.left)
        wait = sum(claims) / (self._streams * self.speed)
        steady = min(kind.slack * alone, max(self._timeout - alone, 0.0))
        if wait > (steady if kind.crowded else max(steady, self._burst)):
            kind.crowd()
            raise OverloadedError(max(math.ceil(wait - steady), 1))

    @contextmanager
    def admit(self, tokens: float) -> Iterator[Place]:
        """Take in a request of so many tokens, until the end of the block.

        Raises:
            OverloadedError: it is refused.
        """
        self.check(tokens)
        place, kind = Place(tokens), self._kind(tokens)
        kind.look(self._clock(), +1)
        self._places.add(place)
        try:
            yield place
        finally:
            self._places.remove(place)
            kind.look(self._clock(), -1)

    def _alone(self, tokens: float) -> float:
        """Seconds that it takes when nothing else runs."""
        busy = min(max(tokens / self._batch_tokens, 1.0), self._streams)
        return tokens / busy / self.speed

    def _kind(self, tokens: float) -> _Kind:
        return self._long if self._alone(tokens) > _LONG_SECONDS else self._short
