"""A request on its way: what was said, who waits, and what becomes of it if the server dies."""

from __future__ import annotations

import asyncio
from typing import Any, Final, Literal, TypeAlias

Restart: TypeAlias = Literal["again", "repeat", "lease", "unknown"]
"""When the server was restarted, what was said to the old one and not answered is

again: said again, marked so: the server knows what it stored (puts, transactions);
repeat: said again: doing it twice is doing it once (reads, declarations);
lease: refused with LeaseExpired: the lease is gone (settlements);
unknown: refused with UnknownOutcome.
"""

AGAIN: Final = "again"


class Call:
    """One request. One that is for many messages has parts, each with its own future.

    Attributes:
        message: what is said, with its number.
        futures: who waits, by part; None for a part that is answered, or nobody's.
        left: parts that are not answered.
        sent: it was said to this server, or an earlier one.
        abandoned: whoever waited was cancelled: what comes nevertheless is given back.
        instead: what to raise when it was stopped on purpose.
        size_bytes: what it holds.
    """

    __slots__ = (
        "abandoned",
        "futures",
        "instead",
        "left",
        "message",
        "restart",
        "sent",
        "size_bytes",
    )

    def __init__(self, message: Any, restart: Restart, size_bytes: int = 0) -> None:
        self.message = message
        self.restart: Restart = restart
        self.futures: list[asyncio.Future[Any] | None] = []
        self.left = 1
        self.sent = False
        self.abandoned = False
        self.instead: Exception | None = None
        self.size_bytes = size_bytes

    def resolve(self, part: int, value: Any) -> None:
        """Tell whoever waits for a part."""
        future = self.futures[part] if part < len(self.futures) else None
        if future is not None:
            self.futures[part] = None
            self.left -= 1
            if not future.done():
                future.set_result(value)

    def resolve_run(self, part: int, first: int, count: int) -> None:
        """Tell those who wait for ``count`` parts: numbers, from ``first`` on."""
        futures = self.futures
        for number, future in enumerate(futures[part : part + count], first):
            if future is not None:
                self.left -= 1
                if not future.done():
                    future.set_result(number)
        futures[part : part + count] = [None] * len(futures[part : part + count])

    def unwanted(self) -> list[int]:
        """The parts that nobody waits for any more, though they are not answered."""
        if self.abandoned:
            return [0]
        return [
            part
            for part, future in enumerate(self.futures)
            if future is not None and (self.instead is not None or future.cancelled())
        ]

    def part_of(self, future: asyncio.Future[Any]) -> int:
        """The part that is waited for by ``future``; -1: it is answered."""
        return self.futures.index(future) if future in self.futures else -1

    def refuse(self, part: int, error: BaseException) -> None:
        """Raise an error from whoever waits for a part."""
        future = self.futures[part] if part < len(self.futures) else None
        if future is not None:
            self.futures[part] = None
            self.left -= 1
            if not future.done():
                future.set_exception(error)
                future.exception()  # nobody may be looking any more

    def refuse_all(self, error: BaseException) -> None:
        """Raise an error from all who wait."""
        for part in range(len(self.futures)):
            self.refuse(part, error)
