"""aio-pika with publisher confirms, persistent messages, and one ack for all that was taken."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from bench.peers.model import Ends
from bench.peers.server import HOST

aio_pika: Any = importlib.import_module("aio_pika")

PREFETCH = 1_000


class Client:
    """A queue, through the default exchange."""

    def __init__(self, connection: Any, channel: Any, queue: str) -> None:
        self._connection = connection
        self._channel = channel
        self._queue = queue
        self._exchange = channel.default_exchange
        self._come: asyncio.Queue[Any] = asyncio.Queue()
        self._last: Any = None

    async def put(self, body: bytes) -> None:
        """Publish and await the confirm."""
        message = aio_pika.Message(body, delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await self._exchange.publish(message, routing_key=self._queue)

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """Publish all and await all confirms."""
        await asyncio.gather(*map(self.put, bodies))

    async def subscribe(self, kind: str) -> None:
        """Declare the queue and consume from it."""
        await self._channel.set_qos(prefetch_count=PREFETCH)
        queue = await self._channel.declare_queue(
            self._queue, durable=True, arguments={"x-queue-type": kind}
        )
        await queue.consume(self._come.put)

    async def take(self, most: int) -> Sequence[bytes]:
        """What was pushed."""
        taken = [await self._come.get()]
        while len(taken) < most and not self._come.empty():
            taken.append(self._come.get_nowait())
        self._last = taken[-1]
        return [message.body for message in taken]

    async def settle(self) -> None:
        """Ack the last and all before it; the server does not answer."""
        await self._last.ack(multiple=True)

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()


async def connect(ends: Ends) -> Client:
    """Connect; the consumer declares the queue."""
    connection = await aio_pika.connect(host=HOST, port=ends.port)
    channel = await connection.channel(publisher_confirms=True)
    client = Client(connection, channel, ends.queue)
    if ends.role == "consumer":
        await client.subscribe(ends.settings["type"])
    return client
