"""Plain puts of one turn of the loop to one queue: they are said in one message."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from posthouse.link.call import AGAIN, Call
from posthouse.wire.requests import PutEach

MOST_RUN: Final = 5_000
MOST_RUN_BYTES: Final = 1024 * 1024
"""When so much is to be said, it is: the server then works on it while the program goes on."""


class Run(Call):
    """A call with a part for each put. While it is open, more may be added.

    ``left``, and what the link counts of it, is right only when it is closed.

    Attributes:
        queue: the one that the puts are for.
    """

    __slots__ = ("_bodies", "_create", "_full", "_kinds", "queue")

    def __init__(
        self, queue: str, sequence: int, loop: asyncio.AbstractEventLoop, full: Callable[[], None]
    ) -> None:
        self.queue = queue
        self._kinds: list[int] = []
        self._bodies: list[bytes] = []
        self._create = loop.create_future
        self._full = full
        super().__init__(PutEach(0, queue, sequence, self._kinds, self._bodies), AGAIN)

    def add(self, kind: int, body: bytes) -> asyncio.Future[int]:
        """One more put; its id, when it is stored."""
        self._kinds.append(kind)
        self._bodies.append(body)
        self.size_bytes += len(body)
        future: asyncio.Future[int] = self._create()
        futures = self.futures
        futures.append(future)
        if self.size_bytes > MOST_RUN_BYTES or len(futures) >= MOST_RUN:
            self._full()
        return future
