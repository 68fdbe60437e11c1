"""What all verbs of a queue over a link start from."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from posthouse.errors import PosthouseError, QueueShutDown, Unsupported
from posthouse.link.link import Link


class PortBase:
    """One queue over a link.

    Attributes:
        broker: what the ports of one broker share, and no others.
        answers: always: settlements are decided by the server.
    """

    answers = True

    def __init__(self, link: Link, name: str) -> None:
        self.broker: object = link
        self._link = link
        self._name = name
        self._declaring: asyncio.Future[Any] | None = None
        self._shut: QueueShutDown | None = None

    def durable(self, wait: Any) -> Awaitable[None]:
        """See the contract."""
        future: Awaitable[None] = wait
        return future

    async def _ready(self) -> None:
        """Wait until the queue is declared. Raises, once, why it could not be (so)."""
        declaring = self._declaring
        if declaring is None:
            return
        try:
            await asyncio.shield(declaring)
        except asyncio.CancelledError:
            if declaring.cancelled() and self._declaring is declaring:
                self._declaring = None
            raise
        except BaseException:
            if self._declaring is declaring:
                self._declaring = None
            raise
        if self._declaring is declaring:
            self._declaring = None

    def _unsupported(self, what: str) -> Exception:
        try:
            self._check_open()
        except PosthouseError as error:
            return error
        return Unsupported(
            f"{what} would have to ask the server at {self._link.place}: capability 'nowait' is "
            "the embedded backends' (memory:, a directory)"
        )

    def _check_open(self) -> None:
        self._link.check()
        if self._shut is not None:
            raise QueueShutDown(*self._shut.args)
