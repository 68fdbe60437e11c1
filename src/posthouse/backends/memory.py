"""``memory:``: the same engine with a journal that keeps nothing. For tests, and for speed."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Mapping
from typing import Any

from posthouse.backends.hosted import Hosted
from posthouse.backends.registry import only_options
from posthouse.clock import Clock, SystemClock
from posthouse.core.state import BrokerState
from posthouse.engine import Engine
from posthouse.errors import BadArgument
from posthouse.journal.null import NullJournal
from posthouse.model import DEFAULT_MAX_BYTES_MEMORY
from posthouse.session.look import look_at


class MemoryBackend(Hosted):
    """Messages in this process, gone when it closes."""

    def __init__(
        self, clock: Clock | None = None, chance: Callable[[], float] = random.random
    ) -> None:
        super().__init__()
        self._clock = clock
        self._chance = chance

    async def start(self) -> None:
        """See `posthouse.backends.contract.Backend`."""
        state = BrokerState(DEFAULT_MAX_BYTES_MEMORY, look_at)
        clock = self._clock or SystemClock()
        loop = asyncio.get_running_loop()
        self.host(Engine(state, NullJournal(), clock, loop, chance=self._chance))


def connect(rest: str, options: Mapping[str, Any]) -> MemoryBackend:
    """The backend for ``memory:``. Options, for tests: ``clock``, ``chance``."""
    if rest:
        raise BadArgument(f"'memory:' takes nothing after the colon, not {rest!r}")
    only_options(options, {"clock", "chance"}, "'memory:'")
    return MemoryBackend(**options)
