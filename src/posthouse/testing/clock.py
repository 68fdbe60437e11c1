"""A clock that only a test moves."""

from __future__ import annotations

from typing import Final

from posthouse.errors import BadArgument
from posthouse.model import NANOSECONDS

START_NS: Final = 1_700_000_000 * NANOSECONDS


class ManualClock:
    """A `posthouse.clock.Clock` that stands still until `advance`.

    The engine's timers sleep on the event loop: under a real loop, moving this clock does not
    wake them early.
    """

    def __init__(self, start_ns: int = START_NS) -> None:
        self._now_ns = start_ns

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return self._now_ns

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` go by.

        Raises:
            BadArgument: a clock never goes back.
        """
        if seconds < 0:
            raise BadArgument(f"a clock never goes back: {seconds!r} seconds")
        self._now_ns += int(seconds * NANOSECONDS)
