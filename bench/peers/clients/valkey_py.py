"""Streams over valkey-py, the client that most programs have."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from bench.peers.model import Ends
from bench.peers.server import HOST

valkey: Any = importlib.import_module("valkey.asyncio")

GROUP = "bench"
CONNECTIONS = 50
"""Of its pool: a task that waits for an answer has one for itself."""


class Client:
    """A stream, and a consumer of a group of it."""

    def __init__(self, connection: Any, stream: str) -> None:
        self._connection = connection
        self._stream = stream
        self._taken: list[bytes] = []

    async def put(self, body: bytes) -> None:
        """XADD."""
        await self._connection.xadd(self._stream, {b"b": body})

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """A pipeline of XADDs."""
        pipeline = self._connection.pipeline(transaction=False)
        for body in bodies:
            pipeline.xadd(self._stream, {b"b": body})
        await pipeline.execute()

    async def declare(self) -> None:
        """Make the stream and its group."""
        await self._connection.xgroup_create(self._stream, GROUP, id="0", mkstream=True)

    async def take(self, most: int) -> Sequence[bytes]:
        """XREADGROUP, blocking."""
        found = await self._connection.xreadgroup(
            GROUP, "one", {self._stream: ">"}, count=most, block=0
        )
        entries = found[0][1]
        self._taken = [number for number, _fields in entries]
        return [fields[b"b"] for _number, fields in entries]

    async def settle(self) -> None:
        """XACK."""
        await self._connection.xack(self._stream, GROUP, *self._taken)

    async def close(self) -> None:
        """Close the connections."""
        await self._connection.aclose()


async def connect(ends: Ends) -> Client:
    """Make a pool; the consumer makes the stream and its group."""
    pool = valkey.BlockingConnectionPool(host=HOST, port=ends.port, max_connections=CONNECTIONS)
    client = Client(valkey.Valkey(connection_pool=pool), ends.queue)
    if ends.role == "consumer":
        await client.declare()
    return client
