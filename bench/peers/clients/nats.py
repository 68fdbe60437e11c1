"""JetStream over nats-py: a push consumer, whose last ack settles all before it.

Acked messages stay in the stream (the policy "limits"), which favours the peer.
"""

from __future__ import annotations

import asyncio
import importlib
import json
from collections.abc import Sequence
from itertools import count
from typing import Any

from bench.peers.model import Ends
from bench.peers.server import HOST

nats: Any = importlib.import_module("nats")
api: Any = importlib.import_module("nats.js.api")

UNACKED = 20_000
"""Messages that the server pushes ahead of the acks."""
CALL_TIMEOUT_S = 20.0


class Client:
    """A stream, and a push consumer of it."""

    def __init__(self, connection: Any, stream: Any, subject: str, atomic: bool) -> None:
        self._connection = connection
        self._stream = stream
        self._subject = subject
        self._atomic = atomic
        self._batches = count(1)
        self._come: asyncio.Queue[Any] = asyncio.Queue()
        self._last: Any = None

    async def put(self, body: bytes) -> None:
        """Publish one."""
        await (await self._stream.publish_async(self._subject, body))

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """Publish all, then await all; or one atomic batch, which has one answer."""
        if not self._atomic:
            publish, subject = self._stream.publish_async, self._subject
            await asyncio.gather(*[await publish(subject, body) for body in bodies])
            return
        batch = f"b{next(self._batches)}"
        publish = self._connection.publish
        for number, body in enumerate(bodies[:-1], 1):
            headers = {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)}
            await publish(self._subject, body, headers=headers)
        answer = await self._connection.request(
            self._subject,
            bodies[-1],
            timeout=CALL_TIMEOUT_S,
            headers={
                "Nats-Batch-Id": batch,
                "Nats-Batch-Sequence": str(len(bodies)),
                "Nats-Batch-Commit": "1",
            },
        )
        said = json.loads(answer.data)
        if "error" in said or said.get("count") != len(bodies):
            raise RuntimeError(f"the batch was refused: {said}")

    async def subscribe(self) -> None:
        """Make the stream and its consumer."""
        config = api.StreamConfig(
            name=self._subject,
            subjects=[self._subject],
            storage=api.StorageType.FILE,
            allow_atomic=self._atomic or None,
        )
        await self._stream.add_stream(config)

        async def come(message: Any) -> None:
            self._come.put_nowait(message)

        await self._stream.subscribe(
            self._subject,
            cb=come,
            durable="bench",
            manual_ack=True,
            config=api.ConsumerConfig(ack_policy=api.AckPolicy.ALL, max_ack_pending=UNACKED),
        )

    async def take(self, most: int) -> Sequence[bytes]:
        """What was pushed."""
        taken = [await self._come.get()]
        while len(taken) < most and not self._come.empty():
            taken.append(self._come.get_nowait())
        self._last = taken[-1]
        return [message.data for message in taken]

    async def settle(self) -> None:
        """Ack the last; the server does not answer."""
        await self._last.ack()

    async def close(self) -> None:
        """Close the connection, all written."""
        await self._connection.flush()
        await self._connection.close()


async def connect(ends: Ends) -> Client:
    """Connect; the consumer makes the stream."""
    connection = await nats.connect(
        f"nats://{HOST}:{ends.port}", connect_timeout=2, allow_reconnect=False
    )
    atomic = ends.settings.get("atomic") == "yes"
    stream = connection.jetstream(timeout=CALL_TIMEOUT_S)
    client = Client(connection, stream, ends.queue, atomic)
    if ends.role == "consumer":
        await client.subscribe()
    return client
