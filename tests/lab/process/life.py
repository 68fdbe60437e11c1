"""One life of a process that uses a broker, and tells a witness what it does, step by step.

What it does is drawn from a seed. It says what it is about to do before each call and how the
call ended after it, so that a witness knows, wherever the life is cut off, what was promised.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final

from posthouse import (
    BodyError,
    Broker,
    Message,
    Queue,
    QueueFull,
    StorageFailed,
    StorageFull,
    UnknownOutcome,
)
from posthouse.errors import DiskError
from tests.lab.process.bodies import body_of, key_of, told_key
from tests.lab.process.drain import drain
from tests.lab.process.queues import queues_of
from tests.lab.process.rich import WAIT_S, RichVerbs
from tests.lab.process.telling import Say, tell_bindings
from tests.lab.topics import KEYS, MATCHES, PUBLISHED, TOPICS, copy_name, routes

__all__ = ["LONGEST_S", "WAIT_S", "Life", "Say", "Stopped", "body_of", "drain", "key_of"]

WORKERS: Final = 3
LONGEST_S: Final = 600.0
"""The longest delay, seconds, if nothing else is said."""
MOST_HELD: Final = 12
# How often each verb is drawn; see `Life._work`.
_FILLING: Final = (6.0, 3.0, 2.0, 5.0, 3.0, 2.0, 8.0, 2.0, 5.0, 1.0, 1.0, 0.1, 3.0, 1.0)
_EMPTYING: Final = (4.0, 1.0, 0.5, 6.0, 5.0, 3.0, 9.0, 5.0, 4.0, 1.0, 0.5, 0.5, 2.0, 1.0)


class Stopped(Exception):
    """The broker has stopped: the disk failed. The life is over."""


class Life:
    """What one process does with its broker."""

    def __init__(
        self,
        broker: Broker,
        say: Say,
        random: Random,
        name: str,
        *,
        longest_s: float = LONGEST_S,
        rich: tuple[str, ...] = (),
        scope: str = "",
    ) -> None:
        self._broker = broker
        self._say = say
        self._random = random
        self._name = name
        self._longest_s = longest_s
        self._rich = rich
        self._queues = queues_of(broker, rich)
        self._more = RichVerbs(self, random, self._queues, rich, scope)
        self._emptying = random.random() < 0.5
        self._held: list[Message[str]] = []
        self._puts = 0
        self._calls = 0

    async def run(self, operations: int) -> None:
        """Do so many things, some at a time.

        Raises:
            Stopped: the broker stopped because the disk failed.
        """
        await tell_bindings(self._broker, self._say)
        workers = [asyncio.ensure_future(self._work(operations // WORKERS)) for _ in range(WORKERS)]
        ends = await asyncio.gather(*workers, return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, Stopped):
                raise end
        for end in ends:
            if isinstance(end, Stopped):
                raise end

    async def _work(self, operations: int) -> None:
        verbs: list[Callable[[], Awaitable[None]]]
        verbs = [self._put, self._put_many, self._put_later, self._get, self._get_many]
        verbs += [self._iterate, self._settle, self._settle_many, self._transact, self._rest]
        verbs += [self._extend, self._purge, self._publish, self._bind]
        weights = list(_EMPTYING if self._emptying else _FILLING)
        if self._rich:
            for weight, verb in self._more.verbs():
                weights.append(weight)
                verbs.append(verb)
        for _ in range(operations):
            (verb,) = self._random.choices(verbs, weights)
            await verb()

    def leave(self) -> list[int]:
        """Say what closing the broker will do with what is held; the numbers of its ends."""
        return [
            self.begin("settle", "give_back", m.queue_name, m.id, m.token, False, None)
            for m in self._held
        ]

    # telling

    def begin(self, word: str, *fields: Any) -> int:
        """Say what is about to be done; the number by which its end will be told."""
        self._calls += 1
        self._say(word, self._calls, *fields)
        return self._calls

    async def end(self, number: int, call: Awaitable[Any], *, of_some: bool = False) -> bool:
        """Await the call and say how it ended; whether it was done.

        ``of_some``: it is about some of a queue's messages, and nobody knows which they were.

        Raises:
            Stopped: the disk failed.
        """
        try:
            answer = await call
        except UnknownOutcome as error:
            self._say("unknown", number, str(error))
            raise Stopped(str(error)) from error
        except StorageFailed as error:
            self._say("failed", number, str(error))
            raise Stopped(str(error)) from error
        except (StorageFull, QueueFull, TimeoutError) as error:
            why = f"{type(error).__name__}: {error}"
            self._say("unknown" if of_some else "failed", number, why)
            return False
        if of_some:
            self._say("unknown", number, "which they were it does not say")
            return True
        self._say("done", number, list(answer) if answer is not None else None)
        return True

    # putting

    def _keys(self, count: int) -> list[str]:
        first = self._puts
        self._puts += count
        return [f"{self._name}.{number}" for number in range(first, first + count)]

    def _target(self) -> tuple[str, Queue[str]]:
        name = self._random.choice([*"aabc", *self._rich, *self._rich])
        return name, self._queues[name]

    def _options(self, queue: str) -> dict[str, Any]:
        return self._more.options(queue) if self._rich else {}

    async def _put(self, delay_s: float | None = None) -> None:
        name, queue = self._target()
        keys, options = self._keys(1), self._options(name)
        number = self.begin("put", name, keys, delay_s, options)

        async def call() -> list[str]:
            body = body_of(keys[0])
            return [await queue.put(body, delay=delay_s, timeout=WAIT_S, **options)]

        await self.end(number, call())

    async def _put_later(self) -> None:
        # A message that is delayed for long keeps its segment in use.
        most_s = 0.005 if self._emptying else self._longest_s
        await self._put(self._random.choice([0.001, 0.005, most_s]))

    async def _put_many(self) -> None:
        name, queue = self._target()
        keys = self._keys(self._random.randint(1, 12))
        options = self._options(name)
        number = self.begin("put", name, keys, None, options)
        await self.end(number, queue.put_many(map(body_of, keys), timeout=WAIT_S, **options))

    # topics

    async def _publish(self) -> None:
        topic = self._broker.topic(self._random.choice(TOPICS))
        key = self._random.choice(KEYS)
        body_key = PUBLISHED + self._keys(1)[0]
        queues = routes(await topic.bindings(), key)
        if not queues:
            return
        puts = [[queue, copy_name(body_key, queue)] for queue in queues]
        number = self.begin("transaction", [], puts)

        async def call() -> list[str]:
            ids = await topic.publish(body_of(body_key), key=key, timeout=WAIT_S)
            return [ids[queue] for queue in queues]

        await self.end(number, call())

    async def _bind(self) -> None:
        name, pattern = self._random.choice("abc"), self._random.choice(list(MATCHES))
        topic = self._broker.topic(self._random.choice(TOPICS))
        bound = self._random.random() < 0.6
        queue = self._queues[name]
        number = self.begin("bind", topic.name, name, pattern, bound)
        await self.end(
            number, queue.bind(topic, pattern) if bound else queue.unbind(topic, pattern)
        )

    # taking

    def _source(self) -> Queue[str]:
        names = ["a", "a", "b", "c", "a.dead", *self._rich, *self._rich]
        return self._queues[self._random.choice(names)]

    def _got(self, message: Message[str]) -> None:
        try:
            key = told_key(message)
        except BodyError as error:
            key = f"not whole: {error}"
        self._say("got", message.queue_name, message.id, key, message.token, message.attempts)
        self._held.append(message)

    async def _take(
        self, queue: Queue[str], take: Callable[[], Awaitable[list[Message[str]]]]
    ) -> None:
        if len(self._held) >= MOST_HELD:
            await self._settle()
            return
        self._say("taking", queue.name, 1)
        try:
            taken = await take()
        except (asyncio.QueueEmpty, TimeoutError):
            taken = []
        except (StorageFailed, UnknownOutcome) as error:
            raise Stopped(str(error)) from error
        for message in taken:
            self._got(message)
        self._say("taking", queue.name, -1)

    async def _get(self) -> None:
        queue = self._source()

        async def take() -> list[Message[str]]:
            if self._random.random() < 0.5:
                return [queue.get_nowait()]
            return [await queue.get(timeout=WAIT_S)]

        await self._take(queue, take)

    async def _get_many(self) -> None:
        queue, most = self._source(), self._random.randint(1, 6)
        await self._take(queue, lambda: queue.get_many(most, timeout=WAIT_S))

    async def _iterate(self) -> None:
        queue, most = self._source(), self._random.randint(1, 4)

        async def take() -> list[Message[str]]:
            iterator: Any = aiter(queue)
            self._say("iterating", queue.name, 1)
            try:
                # What waits now is set aside at the first step: none of these has to wait, but
                # where a key, a limit or its age holds it up, or it left meanwhile.
                for _ in range(min(most, queue.qsize())):
                    async with asyncio.timeout(WAIT_S):
                        self._got(await anext(iterator))
            finally:
                await iterator.aclose()
                self._say("iterating", queue.name, -1)
            return []

        await self._take(queue, take)

    # settling

    def _pick(self) -> Message[str] | None:
        if not self._held:
            return None
        return self._held.pop(self._random.randrange(len(self._held)))

    async def _settle(self) -> None:
        message = self._pick()
        if message is None:
            return
        verb = self._random.choices(["ack", "nack", "reject", "give_back"], [6, 3, 1, 1])[0]
        durable = verb == "ack" and self._random.random() < 0.4
        delay_s = self._random.choice([0.0, 0.0, 0.002]) if verb == "nack" else None
        fields = (message.queue_name, message.id, message.token, durable, delay_s)
        number = self.begin("settle", verb, *fields)
        calls: dict[str, Callable[[], Awaitable[None]]] = {
            "ack": lambda: message.ack(durable=durable),
            "nack": lambda: message.nack(delay_s),
            "reject": message.reject,
            "give_back": message.give_back,
        }
        if not await self.end(number, calls[verb]()):
            self._held.append(message)

    async def _settle_many(self) -> None:
        message = self._pick()
        if message is None:
            return
        mine = [m for m in self._held if m.source.port is message.source.port]
        self._held = [m for m in self._held if m not in mine]
        mine.append(message)
        durable = self._random.random() < 0.5
        numbers = [
            self.begin("settle", "ack", m.queue_name, m.id, m.token, durable, None) for m in mine
        ]
        queue = self._queues[message.queue_name]
        # One call, but a delivery at a time: when it fails, some may have been settled.
        try:
            await queue.ack_many(mine, durable=durable)
        except (DiskError, UnknownOutcome) as error:
            for number in numbers:
                self._say("unknown", number, str(error))
            if isinstance(error, StorageFull):
                return
            raise Stopped(str(error)) from error
        for number in numbers:
            self._say("done", number, None)

    async def _extend(self) -> None:
        if not self._held:
            return
        message = self._random.choice(self._held)
        number = self.begin(
            "settle", "extend", message.queue_name, message.id, message.token, False, None
        )
        await self.end(number, message.extend(60.0))

    async def _transact(self) -> None:
        settles: list[tuple[str, Message[str]]] = []
        for _ in range(self._random.randint(0, 3)):
            message = self._pick()
            if message is not None:
                settles.append((self._random.choice(["ack", "ack", "nack", "reject"]), message))
        puts = [(*self._target(), self._keys(1)[0]) for _ in range(self._random.randint(0, 3))]
        topic, routing, published = None, "", ""
        copies: list[list[str]] = []
        if self._rich and self._random.random() < 0.3:
            topic = self._broker.topic(self._random.choice(TOPICS))
            routing, published = self._random.choice(KEYS), PUBLISHED + self._keys(1)[0]
            queues = routes(await topic.bindings(), routing)
            copies = [[name, copy_name(published, name)] for name in queues]
        if not settles and not puts and not copies:
            return
        number = self.begin(
            "transaction",
            [[verb, m.queue_name, m.id, m.token] for verb, m in settles],
            [[name, key] for name, _, key in puts] + copies,
        )

        async def call() -> list[str] | None:
            async with self._broker.transaction(timeout=WAIT_S) as tx:
                for verb, message in settles:
                    {"ack": tx.ack, "nack": tx.nack, "reject": tx.reject}[verb](message)
                for _, queue, key in puts:
                    tx.put(queue, body_of(key))
                if topic is not None:
                    tx.publish(topic, body_of(published), key=routing, unroutable=True)
            return None if copies else tx.ids  # in which order copies come, it does not say

        if not await self.end(number, call()):
            self._held += [message for _, message in settles]

    async def _purge(self) -> None:
        queue = self._source()
        number = self.begin("purge", queue.name)

        async def call() -> None:
            await queue.purge()

        await self.end(number, call())

    async def _rest(self) -> None:
        await asyncio.sleep(self._random.choice([0, 0, 0.001, 0.003]))
