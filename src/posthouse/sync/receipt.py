"""What a put answers with, for threads."""

from __future__ import annotations

import asyncio
from typing import NoReturn

from posthouse import receipt as aio
from posthouse.sync.portal import Portal, refuse_copies


class Receipt:
    """What `Queue.put_nowait` returns, for threads. As `posthouse.Receipt`.

    Attributes:
        aio: the same for coroutines on the broker's loop.
        id: the message's id, known at once.
    """

    __slots__ = ("_portal", "_stored", "aio", "id")

    def __init__(self, receipt: aio.Receipt, portal: Portal) -> None:
        self.aio = receipt
        self.id = receipt.id
        self._portal = portal
        self._stored: asyncio.Future[str] | None = None

    def wait(self) -> str:
        """Return the id when the message is on disk: what awaiting is in the asyncio face.

        Raises:
            StorageFailed, UnknownOutcome: the disk failed; see `posthouse.errors`.
        """
        return self._portal.call(self._wait, finish=True)

    async def _wait(self) -> str:
        # Several threads may wait, and one again.
        if self._stored is None:
            self._stored = asyncio.ensure_future(_awaited(self.aio))
        return await asyncio.shield(self._stored)

    def __reduce__(self) -> NoReturn:
        refuse_copies(self)


async def _awaited(receipt: aio.Receipt) -> str:
    return await receipt
