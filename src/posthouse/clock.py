"""The clock as a parameter.

One unit everywhere: nanoseconds since the Unix epoch, on a scale that is set from the wall clock
once, when the clock is made, and from then on advances with the monotonic clock. So within one
process it never jumps, whatever is done to the wall clock; a jump shows only across a restart.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final, Protocol

_READINGS: Final = 3
"""A process may be held up between two readings; other processes' clocks should agree with it."""


class Clock(Protocol):
    """Where the engine gets the time from."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch; never goes back."""
        ...


class SystemClock:
    """The machine's clock, anchored at its making."""

    __slots__ = ("_anchor_ns", "_monotonic_ns")

    def __init__(
        self,
        wall_ns: Callable[[], int] = time.time_ns,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._anchor_ns = min(_reading(wall_ns, monotonic_ns) for _ in range(_READINGS))[1]

    def now_ns(self) -> int:
        """Nanoseconds since the epoch; never goes back."""
        return self._anchor_ns + self._monotonic_ns()


def _reading(wall_ns: Callable[[], int], monotonic_ns: Callable[[], int]) -> tuple[int, int]:
    """How long it took to read both clocks, and by how much the wall's is ahead."""
    before_ns = monotonic_ns()
    ahead_ns = wall_ns() - before_ns
    return monotonic_ns() - before_ns, ahead_ns
