"""Streams over hiredis: commands of one turn of the loop leave in one write, answers in order.

The usual client takes a connection for each task that waits; this one is faster, which favours
the peer. Acked entries stay in the stream (XACK alone deletes nothing), which favours it too.
"""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from bench.peers.clients.pipe import Pipe
from bench.peers.model import Ends
from bench.peers.server import HOST

hiredis: Any = importlib.import_module("hiredis")
GROUP = b"bench"


class Commands(Pipe):
    """The protocol of Redis."""

    def __init__(self) -> None:
        super().__init__()
        self._reader = hiredis.Reader()

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        self._reader.feed(data)
        while (answer := self._reader.gets()) is not False:
            self.answered(answer)

    def command(self, *words: bytes) -> asyncio.Future[Any]:
        """Send one command."""
        return self.send(hiredis.pack_command(words))


class Client:
    """A stream, and a consumer of a group of it."""

    def __init__(self, pipe: Commands, stream: bytes) -> None:
        self._pipe = pipe
        self._stream = stream
        self._taken: list[bytes] = []

    async def put(self, body: bytes) -> None:
        """XADD."""
        await self._pipe.command(b"XADD", self._stream, b"*", b"b", body)

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """Pipelined XADDs."""
        command, stream = self._pipe.command, self._stream
        answers = [command(b"XADD", stream, b"*", b"b", body) for body in bodies]
        await answers[-1]
        for answer in answers:
            answer.result()

    async def take(self, most: int) -> Sequence[bytes]:
        """XREADGROUP, blocking."""
        found = await self._pipe.command(
            *(b"XREADGROUP", b"GROUP", GROUP, b"one", b"COUNT", str(most).encode()),
            *(b"BLOCK", b"0", b"STREAMS", self._stream, b">"),
        )
        entries = found[0][1]
        self._taken = [entry[0] for entry in entries]
        return [entry[1][1] for entry in entries]

    async def settle(self) -> None:
        """XACK."""
        await self._pipe.command(b"XACK", self._stream, GROUP, *self._taken)

    async def close(self) -> None:
        """Close the connection."""
        self._pipe.close()


async def connect(ends: Ends) -> Client:
    """Connect; the consumer makes the stream and its group."""
    loop = asyncio.get_running_loop()
    _transport, pipe = await loop.create_connection(Commands, HOST, ends.port)
    stream = ends.queue.encode()
    if ends.role == "consumer":
        await pipe.command(b"XGROUP", b"CREATE", stream, GROUP, b"0", b"MKSTREAM")
    return Client(pipe, stream)
