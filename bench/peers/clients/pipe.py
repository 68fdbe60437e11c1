"""A pipelined connection: what one turn of the loop sends leaves in one write, answers in order."""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections import deque
from typing import Any, cast


class Pipe(asyncio.Protocol):
    """The base of the clients that speak a line protocol themselves."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._unsent: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio's."""
        # uvloop's is one without saying so.
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio's: nobody will be answered."""
        for waiter in self._waiting:
            if not waiter.done():
                waiter.set_exception(ConnectionResetError("the server closed the connection"))

    @abstractmethod
    def data_received(self, data: bytes) -> None:
        """Asyncio's: to be cut into answers for `answered`."""

    def send(self, command: bytes) -> asyncio.Future[Any]:
        """Send a command with the others of this turn; the future has its answer."""
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(command)
        waiter: asyncio.Future[Any] = self._loop.create_future()
        self._waiting.append(waiter)
        return waiter

    def answered(self, answer: object) -> None:
        """Give an answer to the oldest command that has none; an exception is raised there."""
        waiter = self._waiting.popleft()
        if waiter.done():
            return
        if isinstance(answer, Exception):
            waiter.set_exception(answer)
        else:
            waiter.set_result(answer)

    def close(self) -> None:
        """Close the connection."""
        if self._transport is not None:
            self._transport.close()

    def _flush(self) -> None:
        assert self._transport is not None
        self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
