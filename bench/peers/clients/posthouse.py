"""posthouse's client, through its public face."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import posthouse
from bench.peers.model import Ends
from bench.peers.server import HOST


class Client:
    """A broker at the other end of a connection."""

    def __init__(self, broker: posthouse.Broker, queue: posthouse.Queue[Any]) -> None:
        self._broker = broker
        self._queue = queue
        self._taken: list[posthouse.Message[Any]] = []

    async def put(self, body: bytes) -> None:
        """Put one."""
        await self._queue.put(body)

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """Put a batch."""
        await self._queue.put_many(bodies)

    async def take(self, most: int) -> Sequence[bytes]:
        """Get a batch."""
        self._taken = await self._queue.get_many(most)
        return [message.body for message in self._taken]

    async def settle(self) -> None:
        """Ack it."""
        await self._queue.ack_many(self._taken)

    async def close(self) -> None:
        """Close the broker."""
        await self._broker.close()


async def connect(ends: Ends) -> Client:
    """Open the server's URL."""
    broker = await posthouse.open(f"tcp://{HOST}:{ends.port}")
    return Client(broker, broker.queue(ends.queue))
