"""Rates: so many a second, enforced where messages are taken.

The algorithm is the generic cell rate algorithm (GCRA; ITU-T I.371, "virtual scheduling"): one
number, the theoretical arrival time of the next message, is all there is to keep.
"""

from __future__ import annotations

from typing import Final

from posthouse.model import NANOSECONDS, parse_rate

_BURST_S: Final = 1.0


class Rate:
    """At most ``count`` in ``per_s`` seconds; up to a second's worth at once."""

    __slots__ = ("_burst_ns", "_interval_ns", "_next_ns")

    def __init__(self, text: str) -> None:
        count, per_s = parse_rate(text)
        self._interval_ns = max(1, int(per_s * NANOSECONDS / count))
        # A burst that took all of a long period at once would be no rate.
        burst = max(1.0, _BURST_S * count / per_s)
        self._burst_ns = int((burst - 1) * self._interval_ns)
        self._next_ns = 0

    def free_ns(self) -> int:
        """The time from which one may be taken."""
        return self._next_ns - self._burst_ns

    def take(self, now_ns: int) -> None:
        """One is taken."""
        self._next_ns = max(self._next_ns, now_ns) + self._interval_ns
