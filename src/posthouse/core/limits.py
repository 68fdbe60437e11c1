"""Rates: so many a second, enforced where messages are taken.

The algorithm is the generic cell rate algorithm (GCRA; ITU-T I.371, "virtual scheduling"): one
number, the theoretical arrival time of the next message, is all there is to keep.
"""

from __future__ import annotations

from typing import Final

from posthouse.model import NANOSECONDS, parse_rate

_BURST_S: Final = 1.0


class Pace:
    """At most ``count`` in ``per_s`` seconds; up to a second's worth at once.

    ``next_ns`` is what somebody keeps: when the next one would come if they came evenly.
    """

    __slots__ = ("_burst_ns", "_interval_ns")

    def __init__(self, text: str) -> None:
        count, per_s = parse_rate(text)
        self._interval_ns = max(1, int(per_s * NANOSECONDS / count))
        # A burst that took all of a long period at once would be no rate.
        burst = max(1.0, _BURST_S * count / per_s)
        self._burst_ns = int((burst - 1) * self._interval_ns)

    def free_ns(self, next_ns: int) -> int:
        """The time from which one may be taken."""
        return next_ns - self._burst_ns

    def allowed(self, next_ns: int, now_ns: int) -> int:
        """How many may be taken now."""
        free_ns = max(next_ns, now_ns) - self._burst_ns
        return 0 if free_ns > now_ns else (now_ns - free_ns) // self._interval_ns + 1

    def after(self, next_ns: int, now_ns: int, count: int = 1) -> int:
        """What is kept after so many were taken."""
        return max(next_ns, now_ns) + count * self._interval_ns


class Rate:
    """A pace with its one number kept here."""

    __slots__ = ("_next_ns", "_pace")

    def __init__(self, text: str) -> None:
        self._pace = Pace(text)
        self._next_ns = 0

    def free_ns(self) -> int:
        """The time from which one may be taken."""
        return self._pace.free_ns(self._next_ns)

    def take(self, now_ns: int) -> None:
        """One is taken."""
        self._next_ns = self._pace.after(self._next_ns, now_ns)
