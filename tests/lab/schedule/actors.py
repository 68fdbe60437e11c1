"""Who acts in a seeded run: producers, consumers of every style, and mischief."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import Any

from posthouse.errors import BrokerClosed, QueueShutDown
from posthouse.queue import Queue
from tests.lab.schedule.script import AnyMessage, Over, Script
from tests.lab.topics import KEYS, MATCHES, TOPICS


class Actors:
    """The actors of one life. Each is a coroutine that ends by itself, or by `Over`."""

    def __init__(
        self, script: Script, queues: dict[str, Queue[Any]], dead: list[Queue[Any]]
    ) -> None:
        self._script = script
        self._queues = list(queues.values())
        self._dead = dead
        self._world = script.world
        self._chance: random.Random = script.world.chance
        # Patient consumers have no timeouts: a wake-up that is lost leaves them asleep for ever.
        self._patient = self._chance.random() < 0.4
        self._styles: list[Callable[[Queue[Any]], Awaitable[None]]] = [
            self._singly,
            self._singly,
            self._in_batches,
            self._iterating,
            self._within,
            self._transacting,
        ]

    def _queue(self) -> Queue[Any]:
        return self._chance.choice(self._queues)

    async def pause(self, most_s: float = 0.02) -> None:
        """Let others run: a turn, or some time."""
        await asyncio.sleep(self._chance.choice([0.0, 0.0, self._chance.random() * most_s]))

    def _patience(self, timeout_s: float | None) -> float | None:
        return None if self._patient else timeout_s

    # producers

    async def produce(self, count: int) -> None:
        """Some puts, of every kind."""
        for _ in range(count):
            try:
                await self._put()
                await self._burst()
            except Over:
                return
            if self._chance.random() < 0.5:
                await self.pause()

    async def _burst(self) -> None:
        """Now and then, where a rate is: much at once, after a time in which it was not used."""
        queue = self._queue()
        if "rate" not in self._world.plans[queue.name].more or self._chance.random() < 0.7:
            return
        await asyncio.sleep(self._chance.choice([0.0, 3.0]))
        await self._script.put_many(queue, 6, timeout=0.05)

    async def _topics(self) -> None:
        """Bind, unbind or publish."""
        chance = self._chance
        if chance.random() < 0.4:
            bound = chance.random() < 0.7
            pattern = chance.choice(list(MATCHES))
            await self._script.bind(chance.choice(TOPICS), self._queue(), pattern, bound)
        timeout = chance.choice([None, 0.0, 0.05])
        await self._script.publish(chance.choice(TOPICS), chance.choice(KEYS), timeout=timeout)

    async def _put(self) -> None:
        chance, script, queue = self._chance, self._script, self._queue()
        if chance.random() < 0.2:
            await self._topics()
            return
        options: dict[str, Any] = {}
        if chance.random() < 0.2:
            options["delay"] = chance.choice([0.0, 0.001, 0.05])
        if chance.random() < 0.1:
            options["headers"] = {"h": "x"}
        plan = self._world.plans[queue.name]
        if plan.more and chance.random() < 0.7:
            options["key"] = chance.choice(["k", "l", "m"])
        if plan.more.get("order") == "priority":
            options["priority"] = chance.choice([0, 0, 1, 255])
        if plan.more and chance.random() < 0.1:
            options["ttl"] = chance.choice([0.001, 0.05])
        kind = chance.random()
        if kind < 0.15:
            await script.put_nowait(queue, waits=chance.random() < 0.7)
            return
        if chance.random() < 0.3:
            options["timeout"] = chance.choice([0.0, 0.001, 0.05])
        if kind < 0.4:
            await script.put_many(queue, chance.randint(1, 5), **options)
        elif "delay" not in options and "ttl" not in options and chance.random() < 0.3:
            # The same one again: after a cancellation, a crash, or for nothing.
            dedup = f"{queue.name} {chance.randint(1, 3)}"
            options["key"] = dedup if "key" in options else None
            await script.put(queue, dedup=dedup, **options)
        else:
            await script.put(queue, **options)

    # consumers

    async def consume(self, queue: Queue[Any]) -> None:
        """Consume until the queue is shut down, changing the style now and then."""
        try:
            while True:
                await self._chance.choice(self._styles)(queue)
                await self.pause()
        except Over:
            return

    async def bury(self, queue: Queue[Any]) -> None:
        """Ack all that comes, dead letters, at once or when some wait; now and then look only."""
        try:
            while True:
                if self._chance.random() < 0.3:
                    await asyncio.sleep(self._chance.random() * 0.2)
                message = await self._script.get(queue, None, None)
                if message is None:
                    continue
                if self._chance.random() < 0.2:
                    await self._script.give_back(message)
                else:
                    await self._script.ack(message)
        except Over:
            return

    async def _work(self) -> None:
        """Be done at once, or soon, or later than the lease."""
        if self._chance.random() < 0.5:
            await self.pause(self._chance.choice([0.001, 0.01, 0.2]))

    async def _settle(self, message: AnyMessage) -> None:
        chance, script = self._chance, self._script
        if chance.random() < 0.15:
            await script.extend(message, chance.choice([0.01, 0.1, 1.0]))
            await self._work()
        way = chance.random()
        if way < 0.6:
            await script.ack(message, durable=chance.random() < 0.3)
        elif way < 0.75:
            await script.nack(message, chance.choice([None, 0.0, 0.03]))
        elif way < 0.82:
            await script.reject(message)
        elif way < 0.92:
            await script.give_back(message)
        # else forgotten: the lease runs out

    async def _singly(self, queue: Queue[Any]) -> None:
        chance = self._chance
        for _ in range(chance.randint(1, 5)):
            lease_s = chance.choice([None, None, 0.01, 1.0])
            timeout = self._patience(chance.choice([None, None, 0.0, 0.05]))
            message = await self._script.get(queue, timeout, lease_s)
            if message is not None:
                await self._work()
                await self._settle(message)

    async def _in_batches(self, queue: Queue[Any]) -> None:
        chance = self._chance
        messages = await self._script.get_many(
            queue, chance.randint(1, 6), self._patience(chance.choice([None, 0.05]))
        )
        if chance.random() < 0.3:
            messages += await self._script.get_many(queue, 3, 0.0)  # in a delivery of its own
        await self._work()
        if chance.random() < 0.5:
            chance.shuffle(messages)
        cut = chance.randint(0, len(messages))
        for message in messages[:cut]:
            await self._settle(message)
        if messages[cut:]:
            await self._script.ack_many(queue, messages[cut:], durable=chance.random() < 0.3)

    async def _iterating(self, queue: Queue[Any]) -> None:
        chance, script = self._chance, self._script
        script.history.iterating(queue.name, 1)
        iterator: Any = aiter(queue)
        if chance.random() < 0.5:
            try:
                async with aclosing(iterator):
                    await self._some_of(iterator)
            finally:
                script.history.iterating(queue.name, -1)
            return
        # Not closed, it gives back all the same when it goes; a task that was cancelled in its
        # loop keeps it alive, and what it has set aside: so it is not written down as closed.
        await self._some_of(iterator)
        del iterator
        script.history.iterating(queue.name, -1)

    async def _some_of(self, iterator: Any) -> None:
        left = self._chance.randint(1, 6)
        try:
            async for message in iterator:
                self._script.got(message, None)
                await self._work()
                await self._settle(message)
                left -= 1
                if not left:
                    return
        except (QueueShutDown, BrokerClosed) as error:
            raise Over from error
        raise Over

    async def _within(self, queue: Queue[Any]) -> None:
        chance = self._chance

        async def work() -> None:
            await self._work()
            if chance.random() < 0.3:
                raise ArithmeticError

        for _ in range(chance.randint(1, 4)):
            message = await self._script.get(queue, None, None)
            if message is not None:
                await self._script.within(message, work)

    async def _transacting(self, queue: Queue[Any]) -> None:
        chance = self._chance
        messages = await self._script.get_many(queue, chance.randint(1, 3), self._patience(0.05))
        await self._work()
        verbs = ["ack", "ack", "ack", "nack", "reject"]
        settles: list[Any] = [(chance.choice(verbs), message) for message in messages]
        puts = [self._queue() for _ in range(chance.randint(0, 3))] if chance.random() < 0.7 else []
        publish = None
        if chance.random() < 0.2:
            publish = (chance.choice(TOPICS), chance.choice(KEYS))
        if settles or puts or publish:
            await self._script.transact(settles, puts, chance.choice([0.05, 0.5]), publish)

    # mischief

    async def _find(self) -> None:
        """Act on what a filter finds. Only put messages have headers, and only they are moved."""
        chance, plans = self._chance, self._world.plans
        source, target = chance.sample(self._queues, 2)
        plain = not any(plan.more or plan.drops for plan in plans.values())
        verb = chance.choice(["delete", "delay", "move"])
        if verb == "move" and plain:
            await self._script.act(source, "headers.h == 'x'", verb, target)
        elif verb != "move":
            where = chance.choice([None, "attempts > 0", "headers.h == 'x'"])
            await self._script.act(source, where, verb)

    async def mischief(
        self, tasks: list[asyncio.Task[None]], respawn: Callable[[int], None]
    ) -> None:
        """Cancel, purge and wait for the end, at random."""
        chance = self._chance
        for _ in range(chance.randint(0, 6)):
            await self.pause(0.05)
            kind = chance.random()
            if kind < 0.7:
                number = chance.randrange(len(tasks))
                task = tasks[number]
                task.cancel()
                await asyncio.wait([task])
                respawn(number)
            elif kind < 0.85:
                try:
                    if chance.random() < 0.3:
                        await self._find()
                    elif self._dead and chance.random() < 0.5:
                        await self._script.redrive(chance.choice(self._dead))
                    else:
                        await self._script.purge(self._queue())
                except Over:
                    return
            else:
                try:
                    async with asyncio.timeout(chance.random() * 0.05):
                        await self._queue().join()
                except (TimeoutError, QueueShutDown, BrokerClosed):
                    pass
