"""A live server on real sockets, told things that no client says: see `LiveServer`."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from random import Random
from typing import Any, Final

import posthouse
from posthouse.server import Limits
from posthouse.testing.serving import ServedBroker, serve
from posthouse.wire.answers import Pong, Refused
from posthouse.wire.connection import encode
from posthouse.wire.requests import Credit, Goodbye, Ping, Returned, Subscribe, Unsubscribe
from tests.lab.fuzz.messages import CLIENTS, INTEGERS, draw
from tests.lab.fuzz.wire import damaged
from tests.server.raw import Raw

LIMITS: Final = Limits(
    frame_bytes=1 << 20,
    connections=50,
    requests=2_000,
    flight_bytes=1 << 20,
    subscriptions=20,
    handshake_s=5.0,
    linger_s=1.0,
)
BURST: Final = 40
LAST: Final = 1 << 50
"""The number of the ping that ends a burst."""
PATIENCE_S: Final = 30.0
WITNESS_EVERY: Final = 25
"""Bursts between two looks of a well-behaved client."""
OFTEN: Final = tuple(each for each in CLIENTS if each is not Goodbye)
SUBSCRIBED: Final = (Credit, Unsubscribe, Returned)


class Complaints(logging.Handler):
    """What was logged as an error: the server was surprised."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.found: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.found.append(logging.Formatter().format(record))


class LiveServer:
    """A server under fire.

    1. It never dies, and nothing surprises it: nothing is logged as an error.
    2. Who breaks the protocol is refused, or closed; who does not, is answered.
    3. A client that behaves goes on all the while: it puts, gets and acks.
    4. What the server holds for clients stays within its limits.
    """

    def __init__(self, served: ServedBroker, complaints: Complaints) -> None:
        self.served = served
        self.complaints = complaints
        self.messages = self.refused = self.closed = self.answered = 0

    def burst(self, random: Random) -> int:
        """One connection, and what it says; how many messages that were."""
        parts = [bytes(encode(message)) for message in _conversation(random)]
        if random.random() < 0.3:
            at = random.randrange(len(parts))
            parts[at] = damaged(parts[at], random)
        if random.random() < 0.05:
            parts.append(random.randbytes(random.randrange(1, 2_000)))
        data = b"".join(parts) + bytes(encode(Ping(LAST)))
        with Raw(self.served.url, PATIENCE_S) as client:
            if random.random() < 0.95:
                client.hello()
            try:
                while data:
                    size = (
                        len(data) if random.random() < 0.8 else random.randrange(1, len(data) + 1)
                    )
                    client.socket.sendall(data[:size])
                    data = data[size:]
            except OSError:
                pass  # closed before all was said
            if random.random() < 0.9:
                self.judge(client)
        assert not self.complaints.found, "\n".join(self.complaints.found[:3])
        return len(parts)

    def judge(self, client: Raw) -> None:
        """Hear it to its end: its last ping answered, refused, or closed."""
        # Half a frame may be waiting for its rest, and then nobody has to answer.
        client.socket.settimeout(0.05)
        until_s = time.monotonic() + PATIENCE_S
        shut = False
        while True:
            try:
                answer = client.hear()
            except TimeoutError:
                assert time.monotonic() < until_s, "neither an answer nor an end"
                if not shut:
                    shut = True
                    with suppress(OSError):  # the server closed it just now: then that is heard
                        client.socket.shutdown(1)  # there is no rest
                continue
            except OSError:
                answer = None
            if answer is None:
                self.closed += 1
                return
            if isinstance(answer, Refused):
                self.refused += 1
            elif answer == Pong(LAST):
                self.answered += 1
                return

    def witness(self, random: Random) -> None:
        """A client that behaves is served, and the server is no larger than it may be."""
        asyncio.run(self._behave(random.getrandbits(32)))
        held = self.served.call(self.served.server.held_bytes)
        assert held <= LIMITS.memory_bytes, held
        members = len(self.served.call(self.served.server.members))
        assert members <= 2 * LIMITS.connections, members

    async def _behave(self, value: int) -> None:
        async with asyncio.timeout(PATIENCE_S), posthouse.open(self.served.url) as broker:
            queue = broker.queue("witness")
            await queue.put_many([value, value + 1])
            for expected in (value, value + 1):
                message = await queue.get()
                assert message.body == expected
                await message.ack(durable=True)
            async for message in self._again(queue, value):
                assert message.body == value
                await message.ack()
                break
            assert (await queue.stats()).waiting == 0
            for name in ("q", "r", "q.dead", "a.b"):
                await broker.queue(name).purge()

    @staticmethod
    async def _again(queue: posthouse.Queue[Any], value: int) -> Any:
        await queue.put(value)
        async for message in queue:
            yield message


def _conversation(random: Random) -> Iterator[Any]:
    """Messages as a client numbers them, with values that no client has."""
    number, subscription = 0, 0
    for _ in range(random.randrange(1, BURST)):
        kind = random.choice(OFTEN)
        message = draw(kind, random)
        if hasattr(message, "id") and random.random() < 0.99:
            number += 1
            message.id = number
            if kind is Subscribe:
                subscription = number
        if hasattr(message, "tokens") and hasattr(message, "ids") and random.random() < 0.9:
            message.tokens = [random.choice(INTEGERS) for _ in message.ids]
        if kind in SUBSCRIBED and random.random() < 0.7:
            message.of = subscription
        yield message


@contextmanager
def live_server(complaints: Complaints) -> Iterator[LiveServer]:
    """A server to fire at, in memory."""
    with ExitStack() as stack:
        for name in ("posthouse", "asyncio"):
            logger = logging.getLogger(name)
            before, propagates = logger.level, logger.propagate
            logger.addHandler(complaints)
            logger.setLevel(logging.ERROR)
            logger.propagate = False
            stack.callback(logger.removeHandler, complaints)
            stack.callback(logger.setLevel, before)
            stack.callback(setattr, logger, "propagate", propagates)
        yield LiveServer(stack.enter_context(serve(limits=LIMITS)), complaints)


def run_live(seed: int, seconds: float, most: int = 1 << 62) -> LiveServer:
    """Bursts from a seed for so long, or so many; what came of them is counted.

    Raises:
        AssertionError: an invariant does not hold; the text has the command to see it again.
    """
    end = time.monotonic() + seconds
    with live_server(Complaints()) as live:
        count = 0
        try:
            while count < most:
                count += 1
                live.messages += live.burst(Random(f"{seed}:{count}"))
                if count % WITNESS_EVERY == 0 or count == most:
                    live.witness(Random(seed))
                if time.monotonic() >= end:
                    break
            live.witness(Random(seed))
        except Exception as error:
            command = f"python -m tests.lab.fuzz --target live --seed {seed} --count {count}"
            raise AssertionError(
                f"live, burst {count}: {type(error).__name__}: {error}\nto replay: {command}"
            ) from error
        return live
