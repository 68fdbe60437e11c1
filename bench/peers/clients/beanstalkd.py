"""A small client of beanstalkd that pipelines: commands of one turn leave in one write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from bench.peers.clients.pipe import Pipe
from bench.peers.model import Ends
from bench.peers.server import HOST

RUN_S = 60
"""How long a reserved job is held."""
TIMED_OUT = b"TIMED_OUT"
Answer = tuple[list[bytes], bytes]


class Refused(Exception):
    """The server answered something else than was asked for."""


class Lines(Pipe):
    """Answers are a line and, where the line says so, a body."""

    def __init__(self) -> None:
        super().__init__()
        self._unread = bytearray()

    def data_received(self, data: bytes) -> None:
        """Asyncio's."""
        unread = self._unread
        unread += data
        at = 0
        while (end := unread.find(b"\r\n", at)) >= 0:
            words = bytes(unread[at:end]).split()
            body = b""
            after = end + 2
            if words[0] == b"RESERVED":
                length = int(words[-1])
                if len(unread) < after + length + 2:
                    break
                body = bytes(unread[after : after + length])
                after += length + 2
            at = after
            self.answered((words, body))
        del unread[:at]


def _want(answer: Answer, word: bytes) -> Answer:
    if answer[0][0] != word:
        raise Refused(f"beanstalkd answered {b' '.join(answer[0])!r} instead of {word!r}")
    return answer


class Client:
    """A tube."""

    def __init__(self, pipe: Lines) -> None:
        self._pipe = pipe
        self._taken: list[bytes] = []

    async def put(self, body: bytes) -> None:
        """One put."""
        _want(await self._pipe.send(_put(body)), b"INSERTED")

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """Pipelined puts."""
        answers = [self._pipe.send(_put(body)) for body in bodies]
        await answers[-1]
        for answer in answers:
            _want(answer.result(), b"INSERTED")

    async def take(self, most: int) -> Sequence[bytes]:
        """Wait for one, then ask for the rest in one write."""
        found = [_want(await self._pipe.send(b"reserve\r\n"), b"RESERVED")]
        more = [self._pipe.send(b"reserve-with-timeout 0\r\n") for _ in range(most - 1)]
        if more:
            await more[-1]
        answers = [answer.result() for answer in more]
        found += [_want(a, b"RESERVED") for a in answers if a[0][0] != TIMED_OUT]
        self._taken = [words[1] for words, _body in found]
        return [body for _words, body in found]

    async def settle(self) -> None:
        """Pipelined deletes."""
        answers = [self._pipe.send(b"delete " + number + b"\r\n") for number in self._taken]
        await answers[-1]
        for answer in answers:
            _want(answer.result(), b"DELETED")

    async def close(self) -> None:
        """Close the connection."""
        self._pipe.close()


def _put(body: bytes) -> bytes:
    return b"put 0 0 %d %d\r\n%b\r\n" % (RUN_S, len(body), body)


async def connect(ends: Ends) -> Client:
    """Connect and choose the tube."""
    loop = asyncio.get_running_loop()
    _transport, pipe = await loop.create_connection(Lines, HOST, ends.port)
    tube = ends.queue.encode()
    if ends.role == "producer":
        _want(await pipe.send(b"use " + tube + b"\r\n"), b"USING")
    else:
        _want(await pipe.send(b"watch " + tube + b"\r\n"), b"WATCHING")
        _want(await pipe.send(b"ignore default\r\n"), b"WATCHING")
    return Client(pipe)
