"""A peer to try the harness on: a broker in memory, in Python, with no package to install.

``python -m bench.peers.fake PORT TRICK`` serves; this module is its client too. With a trick it
misbehaves: ``lose`` forgets a message, ``double`` delivers one twice, ``die`` ends at a put.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.peers.model import Ends, Mode
from bench.peers.packages import Kit, NotToBeHad, Place
from bench.peers.server import HOST, Server

TRICK_AT = 150
"""Which message the trick is played on."""


class Fake:
    """One mode a trick ("" for none)."""

    name = "fake"
    client = "bench.peers.fake"

    def __init__(self, *tricks: str, missing: str = "") -> None:
        self.modes: Sequence[Mode] = [
            Mode(trick, "none (memory)", syncs=True, settings={"trick": trick}) for trick in tricks
        ]
        self._missing = missing
        self.servers: list[Server] = []

    def install(self, kit: Kit) -> Place:
        """Nothing to do, or, if it was told so, not to be had."""
        if self._missing:
            raise NotToBeHad(self._missing)
        return Place("fake 0", Path())

    def start(self, place: Place, mode: Mode, directory: Path) -> Server:
        """Serve from memory."""
        server = Server(directory)
        self.servers.append(server)
        root = Path(__file__).resolve().parent.parent.parent
        server.run(
            [sys.executable, "-m", "bench.peers.fake", str(server.port), mode.settings["trick"]],
            env={"PYTHONPATH": os.pathsep.join((str(root), str(root / "src")))},
        )
        server.wait_until_open()
        return server


class Client:
    """Asks and reads the answers in order."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        # One task at a time may read.
        self._turn = asyncio.Lock()

    async def put(self, body: bytes) -> None:
        """Put one."""
        await self.put_many([body])

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """Put them in one write, each answered."""
        async with self._turn:
            self._writer.write(b"".join(b"put %d\n%b" % (len(body), body) for body in bodies))
            for _ in bodies:
                await self._reader.readexactly(1)

    async def take(self, most: int) -> Sequence[bytes]:
        """Take one, whatever ``most`` is."""
        self._writer.write(b"take\n")
        length = int(await self._reader.readline())
        return [await self._reader.readexactly(length)]

    async def settle(self) -> None:
        """What was taken is gone already."""

    async def close(self) -> None:
        """Close the connection."""
        self._writer.close()


async def connect(ends: Ends) -> Client:
    """Connect and name the queue."""
    reader, writer = await asyncio.open_connection(HOST, ends.port)
    writer.write(f"{ends.queue}\n".encode())
    return Client(reader, writer)


async def serve(port: int, trick: str) -> None:
    """Serve until the process is stopped."""
    queues: dict[bytes, asyncio.Queue[bytes]] = {}
    puts = 0

    async def put(queue: asyncio.Queue[bytes], body: bytes) -> None:
        nonlocal puts
        puts += 1
        played = puts == TRICK_AT
        if played and trick == "die":
            raise SystemExit(3)
        if not (played and trick == "lose"):
            queue.put_nowait(body)
        if played and trick == "double":
            queue.put_nowait(body)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue = queues.setdefault(await reader.readline(), asyncio.Queue())
        while words := (await reader.readline()).split():
            if words[0] == b"put":
                await put(queue, await reader.readexactly(int(words[1])))
                writer.write(b".")
            else:
                body = await queue.get()
                writer.write(b"%d\n%b" % (len(body), body))
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await talk(reader, writer)

    server = await asyncio.start_server(connected, HOST, port)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
