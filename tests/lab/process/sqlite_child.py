"""A process that works on an SQLite database until it is killed, telling a witness what it does.

Run as ``python -m tests.lab.process.sqlite_child JOB``, the job as JSON (`SqliteJob`). Reports go
to standard output, as in `tests.lab.process.job`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from random import Random
from typing import Any, Final, Literal

import msgspec

import posthouse
from posthouse.backends.sqlite.backend import WallClock
from posthouse.errors import LeaseExpired
from posthouse.model import NANOSECONDS, Retry
from tests.lab.process.child import OUT_FD
from tests.lab.process.job import say_on
from tests.lab.process.life import WAIT_S, Life, Say, body_of, drain, key_of

TASKS: Final = 4
LEASE_S: Final = 0.3


class SqliteJob(msgspec.Struct, kw_only=True):
    """One life.

    Attributes:
        path: the database.
        seed: of what it does.
        name: begins the keys of its bodies.
        work: ``"live"`` alone, judged by all it says; ``"share"`` among others; or an end, which
            takes all there is: ``"drain"`` of the first, ``"empty"`` of the second.
        operations: how many things it does before it closes.
        shift_s: its clock is so far ahead, seconds.
    """

    path: str
    seed: int
    name: str = ""
    work: Literal["live", "share", "drain", "empty"] = "live"
    operations: int = 60
    shift_s: float = 0.0


class ShiftedClock:
    """The wall clock, so far ahead."""

    def __init__(self, shift_s: float) -> None:
        self._shift_ns = int(shift_s * NANOSECONDS)

    def now_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return WallClock().now_ns() + self._shift_ns


class SqliteLife(Life):
    """`Life` on a backend that has to be asked for everything."""

    def __init__(self, *what: Any, **more: Any) -> None:
        super().__init__(*what, **more)
        self._under_way = 0
        self._routes = asyncio.Lock()

    async def end(self, number: int, call: Awaitable[Any], **more: Any) -> bool:
        """See `Life.end`; counts what is under way."""
        self._under_way += 1
        try:
            return await super().end(number, call, **more)
        finally:
            self._under_way -= 1

    async def _purge(self) -> None:
        # What comes back while a purge is under way may be part of it or not: the witness, who
        # knows settlements that are decided at once, would have it one way.
        if not self._under_way:
            await super()._purge()

    async def _publish(self) -> None:
        async with self._routes:  # it tells where it goes before it goes
            await super()._publish()

    async def _bind(self) -> None:
        async with self._routes:
            await super()._bind()

    async def _get(self) -> None:
        queue = self._source()

        async def take() -> list[posthouse.Message[str]]:
            wait_s = 0 if self._random.random() < 0.5 else WAIT_S
            return [await queue.get(timeout=wait_s)]

        await self._take(queue, take)

    async def _iterate(self) -> None:
        queue, most = self._source(), self._random.randint(1, 4)

        async def take() -> list[posthouse.Message[str]]:
            iterator: Any = aiter(queue)
            self._say("iterating", queue.name, 1)
            try:
                async with asyncio.timeout(0.02):
                    for _ in range(most):
                        # Told at once: what it waits for meanwhile may come from elsewhere.
                        self._got(await anext(iterator))
            except TimeoutError:
                pass
            finally:
                await iterator.aclose()
                # What it had set aside is back before anything is said of it.
                await queue.stats()
                self._say("iterating", queue.name, -1)
            return []

        await self._take(queue, take)


class Sharer:
    """One of many processes that put, take, pass on and settle on the same queues."""

    def __init__(
        self, broker: posthouse.Broker, say: Callable[..., None], random: Random, name: str
    ) -> None:
        retry = Retry(max_attempts=10_000, backoff="fixed", first_s=0.001, jitter=False)
        self._broker = broker
        self._say = say
        self._random = random
        self._name = name
        self._count = 0
        self._queues = [
            broker.queue(queue, str, visibility_timeout=LEASE_S, retry=retry, max_messages=400)
            for queue in ("a", "b")
        ]

    async def run(self, operations: int) -> None:
        """Do so many things, some at a time."""
        await asyncio.gather(*(self._work(operations // TASKS) for _ in range(TASKS)))

    async def _work(self, operations: int) -> None:
        for _ in range(operations):
            verb = self._random.choices(
                [self._put, self._get, self._get_many, self._pass_on, self._iterate],
                [5, 4, 2, 3, 2],
            )[0]
            try:
                await verb()
            except (TimeoutError, LeaseExpired):
                pass  # nothing is there, or it was somebody else's by then

    def _keys(self, count: int) -> list[str]:
        first = self._count
        self._count += count
        return [f"{self._name}.{number}" for number in range(first, first + count)]

    def _queue(self) -> posthouse.Queue[str]:
        return self._random.choice(self._queues)

    async def _put(self) -> None:
        keys = self._keys(self._random.choice([1, 1, 2, 7]))
        self._say("put", keys)
        if len(keys) == 1:
            await self._queue().put(body_of(keys[0]), timeout=0.05)
        else:
            await self._queue().put_many(map(body_of, keys), timeout=0.05)
        self._say("stored", keys)

    def _got(self, message: posthouse.Message[str]) -> str:
        key = key_of(message.body)
        self._say("got", key, message.token, message.attempts)
        return key

    async def _settle(self, message: posthouse.Message[str]) -> None:
        key = self._got(message)
        if self._random.random() < 0.2:
            await (message.nack(delay=0) if self._random.random() < 0.5 else message.give_back())
            return
        if self._random.random() < 0.1:
            await asyncio.sleep(LEASE_S * self._random.random() * 1.5)
        self._say("acking", key)
        await message.ack()
        self._say("acked", key, message.token)

    async def _get(self) -> None:
        await self._settle(await self._queue().get(timeout=0.01))

    async def _get_many(self) -> None:
        queue = self._queue()
        messages = await queue.get_many(self._random.randint(1, 9), timeout=0.01)
        keys = [self._got(message) for message in messages]
        for key in keys:
            self._say("acking", key)
        await queue.ack_many(messages)
        for key, message in zip(keys, messages, strict=True):
            self._say("acked", key, message.token)

    async def _pass_on(self) -> None:
        message = await self._queue().get(timeout=0.01)
        key = self._got(message)
        (copy,) = self._keys(1)
        self._say("acking", key)
        self._say("put", [copy])
        async with self._broker.transaction(timeout=0.05) as tx:
            tx.ack(message)
            tx.put(self._queue(), body_of(copy))
        self._say("acked", key, message.token)
        self._say("stored", [copy])

    async def _iterate(self) -> None:
        left = self._random.randint(1, 5)
        async with asyncio.timeout(0.05):
            async for message in self._queue():
                await self._settle(message)
                left -= 1
                if not left:
                    return


async def empty(broker: posthouse.Broker, say: Callable[..., None]) -> None:
    """Take and ack all there is, of dead processes too, and say what it was."""
    for name in ("a", "b"):
        queue = broker.queue(name, str)
        found: list[str] = []
        while True:
            stats = await queue.stats()
            if not stats.waiting + stats.delayed + stats.in_flight:
                break
            messages = await queue.get_many(1000, timeout=20.0)
            found += [key_of(message.body) for message in messages]
            await queue.ack_many(messages)
        say("left", name, found)


async def run(job: SqliteJob) -> None:
    """Do the job; returns only if nothing killed this process on the way."""
    say: Say = partial(say_on, OUT_FD)
    random = Random(job.seed)
    leaving: list[int] = []
    clock = ShiftedClock(job.shift_s)
    async with posthouse.open(f"sqlite:///{job.path}", clock=clock) as broker:
        say("opened")
        if job.work == "live":
            life = SqliteLife(broker, say, random, job.name)
            await life.run(job.operations)
            leaving = life.leave()
        elif job.work == "share":
            await Sharer(broker, say, random, job.name).run(job.operations)
        elif job.work == "drain":
            await drain(broker, say)
        else:
            await empty(broker, say)
    for number in leaving:
        say("done", number, None)


if __name__ == "__main__":
    asyncio.run(run(msgspec.json.decode(sys.argv[1], type=SqliteJob)))
