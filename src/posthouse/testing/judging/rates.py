"""Rates: no stretch of time has more deliveries than the rate allows, and a burst.

The burst is what ``docs/limits.md`` names: a second's worth, at least one.
"""

from __future__ import annotations

from dataclasses import dataclass

from posthouse.model import NANOSECONDS, parse_rate
from posthouse.testing.judging.board import Board
from posthouse.testing.trace import Delivered

ROUNDING_NS = 1_000
"""Allowed for intervals that are no whole number of nanoseconds."""


@dataclass(slots=True)
class Meter:
    """How far the deliveries are ahead of an even pace.

    Attributes:
        interval_ns, burst_ns: the rate: one in so long, and so far ahead at the most.
        next_ns: when the next one would be on pace.
        last_ns: of the last delivery, at least.
    """

    interval_ns: float
    burst_ns: float
    next_ns: float = 0.0
    last_ns: float = 0.0

    @classmethod
    def of(cls, text: str) -> Meter:
        """A rate's meter, at its beginning."""
        count, per_s = parse_rate(text)
        interval_ns = per_s * NANOSECONDS / count
        return cls(interval_ns, (max(1.0, count / per_s) - 1.0) * interval_ns)

    def take(self, since_ns: int, at_ns: int) -> float:
        """One was taken between these times; by how much that is too early, 0 if it is not.

        It is taken to have been as early as it may have been: that leaves most to what follows.
        """
        free_ns = self.next_ns - self.burst_ns
        taken_ns = max(float(since_ns), self.last_ns, free_ns)
        early_ns = max(taken_ns - at_ns, 0.0)
        self.last_ns = taken_ns - early_ns
        self.next_ns = max(self.next_ns, self.last_ns) + self.interval_ns
        return early_ns if early_ns > ROUNDING_NS else 0.0


class Rates:
    """Judges rates."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._meters: dict[tuple[str, str | None], Meter] = {}

    def restarted(self) -> None:
        """Rates are kept in memory: in a new life they begin anew."""
        self._meters.clear()

    def delivered(self, event: Delivered, key: str | None) -> None:
        """A message of this key was handed out."""
        policies = self._board.policies
        text = policies.rate.get(event.queue)
        if text is not None:
            self._take(event, None, text)
        text = policies.rate_per_key.get(event.queue)
        if text is not None and key is not None:
            self._take(event, key, text)

    def _take(self, event: Delivered, key: str | None, text: str) -> None:
        if event.at_ns is None:
            return
        name = event.queue, key
        meter = self._meters.get(name)
        if meter is None:
            meter = self._meters[name] = Meter.of(text)
        since_ns = event.at_ns if event.since_ns is None else event.since_ns
        early_ns = meter.take(since_ns, event.at_ns)
        if early_ns:
            whose = "its queue" if key is None else f"key {key!r}"
            self._board.say(
                f"{event.body!r} of queue {event.queue!r} was delivered "
                f"{early_ns / NANOSECONDS:.6f} s before the rate of {whose} allowed it ({text})"
            )
