"""A program that uses a broker at random: the workload of the simulated disk."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

from posthouse.broker import Broker
from posthouse.errors import (
    BrokerClosed,
    CallerError,
    PosthouseError,
    StorageFailed,
    StorageFull,
    UnknownOutcome,
)
from posthouse.message import Message
from posthouse.model import Retry
from posthouse.testing.history import History, Operation
from tests.lab.disk.bodies import make_body, named_in, story_name
from tests.lab.disk.queues import (
    DROPS,
    FIXED_S,
    FLEET,
    KEYED,
    LIMITS,
    ORDER,
    PLAIN,
    QUEUES,
    RICH,
    SHORT,
    Names,
    declare_rich,
)
from tests.lab.disk.rich import WAIT_S, RichSteps, draw_rich


@dataclass
class Program:
    """Steps on an open broker, each written into the history.

    Attributes:
        now_ns, before_ns: the clock, in this turn of the loop and in the one before.
        churn: nothing is kept for long, and much is put: segments come and go.
        big_bytes: the size of the larger bodies.
        all: its queues.
    """

    broker: Broker
    history: History
    rng: Random
    names: Names
    now_ns: Callable[[], int]
    before_ns: Callable[[], int]
    churn: bool = False
    big_bytes: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    held: list[Message[Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.all = (*QUEUES, *draw_rich(self.rng))
        self.rich = RichSteps(
            self.broker, self.history, self.rng, self.names, self.now_ns, self._ends
        )

    async def declare(self) -> None:
        """The queues, with their policies."""
        self.big_bytes = 25_000 if self.churn else self.rng.choice((3000, 9000, 25_000))
        timeout = self.rng.choice((2.0, 30.0))
        self.broker.queue(PLAIN, visibility_timeout=timeout)
        self.broker.queue(SHORT, retry=Retry(max_attempts=LIMITS[SHORT]), visibility_timeout=1.0)
        self.broker.queue(
            DROPS, retry=Retry(max_attempts=LIMITS[DROPS], first_s=0.5), dead_letter=None
        )
        for name in self.all[len(QUEUES) :]:
            declare_rich(self.broker, name)
        await self.rich.look()

    async def run(self, steps: int) -> None:
        """So many random steps."""
        verbs: list[tuple[int, Callable[[], Awaitable[None]]]] = [
            (16, self._put),
            (8, self._put_many),
            (18, self._get),
            (8, self._get_many),
            (16, self._settle),
            (6, self._ack_many),
            (7, self._transaction),
            (1, self._purge),
            (3, lambda: self.rich.bind(self.all)),
            (5, self._publish),
            (2, self._redrive),
            (2, lambda: self.rich.act(self.all)),
            (2, self._policy),
            (6, self._pause),
            (8, self._turn),
            (4, self._wait),
            # Some programs keep nothing, so that segments go and are used again; some take much
            # at once, so that the attempts ring overflows.
            (20 if self.churn else self.rng.choice((0, 0, 15)), self._drain),
            (self.rng.choice((0, 1, 8)), self._burst),
        ]
        weights = [weight for weight, _ in verbs]
        calls = [call for _, call in verbs]
        for call in self.rng.choices(calls, weights, k=steps):
            await call()

    async def finish(self) -> None:
        """Wait for all that is under way."""
        while self.tasks:
            await asyncio.gather(*self.tasks)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def _queue(self, names: tuple[str, ...] = ()) -> Any:
        return self.broker.queue(self.rng.choice(names or self.all))

    def _body(self) -> tuple[str, int]:
        size = self.rng.choice((17, 17, 60, 300, 300, 1500, self.big_bytes))
        return next(self.names), size

    def _options(self, queue: str) -> dict[str, Any]:
        """What a put may ask for beside its body."""
        rng, options = self.rng, dict[str, Any]()
        if queue == FLEET:
            options["timeout"] = WAIT_S  # what is in flight is never dropped
        if rng.random() < (0.8 if queue == KEYED else 0.03):
            options["key"] = rng.choice("klm")
        if ORDER.get(queue) == "priority":
            options["priority"] = rng.choice((0, 0, 1, 255))
        if rng.random() < 0.05:
            options["ttl"] = rng.choice((0.3, 2.0))
        return options

    def _put_started(
        self, queue: str, names: list[str], options: dict[str, Any], again: bool = False
    ) -> Operation:
        return self.history.put_started(
            queue,
            names,
            options.get("delay"),
            key=options.get("key"),
            ttl_s=options.get("ttl", RICH.get(queue, {}).get("ttl")),
            again=again,
            priority=options.get("priority", 0),
        )

    async def _put(self) -> None:
        queue = self._queue()
        name, size = self._body()
        options = self._options(queue.name)
        again = False
        if "ttl" not in options and self.rng.random() < 0.15:
            name, size, more, again = self.rich.again(queue.name, name, size)
            options = {**options, "key": name[-1] if "key" in options else None, **more}
        else:
            options["delay"] = self.rng.choice((None, None, None, 0.5, 5.0))
        if self.rng.random() < 0.2:
            options["headers"] = {"n": name}

        async def work() -> None:
            op = self._put_started(queue.name, [name], options, again)
            await self._ends(op, queue.put(make_body(name, size), **options))

        self._spawn(work())

    async def _put_many(self) -> None:
        queue = self._queue()
        most = 4 if queue.name == FLEET else 7
        pairs = [self._body() for _ in range(self.rng.randrange(1, most))]
        options = self._options(queue.name)

        async def work() -> None:
            op = self._put_started(queue.name, [name for name, _ in pairs], options)
            bodies = [make_body(name, size) for name, size in pairs]
            await self._ends(op, queue.put_many(bodies, **options))

        self._spawn(work())

    async def _publish(self) -> None:
        self._spawn(self.rich.publish())

    async def _redrive(self) -> None:
        self._spawn(self.rich.redrive())

    async def _ends(self, op: Operation, call: Awaitable[Any]) -> None:
        """Write down how a call ends."""
        try:
            answer = await call
        except UnknownOutcome as error:
            op.unknown(error)
        except (CallerError, StorageFailed, StorageFull, TimeoutError) as error:
            op.failed(error)
        except PosthouseError as error:
            op.unknown(error)
        else:
            ids = [answer] if isinstance(answer, str) else answer
            op.done(list(ids) if isinstance(ids, Sequence) else None)

    async def _get(self) -> None:
        # A dead-letter queue that is named before it exists would be made as any other.
        there = set(await self.broker.queue_names())
        names = (*self.all, *(f"{name}.dead" for name in self.all))
        queue = self._queue(tuple(name for name in names if name in there))
        try:
            message = queue.get_nowait()
        except asyncio.QueueEmpty:
            return
        self._took(message)

    async def _get_many(self) -> None:
        await self._take_many(self._queue(), self.rng.randrange(1, 6))

    async def _take_many(self, queue: Any, most: int) -> bool:
        """Whether there was something to take: a limit, or a key, may hold it up."""
        if queue.empty():
            return False
        try:
            messages = await queue.get_many(most, timeout=0.0)
        except TimeoutError:
            return False
        for message in messages:
            self._took(message)
        return True

    def _took(self, message: Message[Any]) -> None:
        self.history.delivered(
            message.queue_name,
            message.id,
            story_name(message.raw, message.queue_name),
            message.token,
            message.attempts,
            # A little less: the engine reads its clock once a turn.
            FIXED_S - 1.0 if message.queue_name in RICH else None,
            self.before_ns(),
        )
        self.held.append(message)

    def _one(self) -> Message[Any] | None:
        if not self.held:
            return None
        return self.held.pop(self.rng.randrange(len(self.held)))

    async def _settle(self) -> None:
        message = self._one()
        if message is None:
            return
        durable, delay, call = False, None, message.ack()
        verb = self.rng.choice(("ack", "ack", "ack", "nack", "nack", "reject", "give_back"))
        if verb == "ack":
            durable = self.rng.random() < 0.4
            call.close()
            call = message.ack(durable=durable)
        else:
            call.close()
            if verb == "nack":
                delay = self.rng.choice((None, 0, 0.5))
                call = message.nack(delay, error="on purpose")
            elif verb == "reject":
                call = message.reject("on purpose")
            else:
                call = message.give_back()

        async def work() -> None:
            op = self.history.settle_started(
                verb, message.queue_name, message.id, message.token, durable, delay
            )
            await self._ends(op, call)

        if durable:
            self._spawn(work())
        else:
            await work()

    async def _drain(self) -> None:
        for name in await self.broker.queue_names():
            queue = self.broker.queue(name)
            while await self._take_many(queue, 50):
                pass
        while self.held:
            await self._ack_many(50)

    async def _burst(self) -> None:
        for _ in range(60):
            await self._get()

    async def _ack_many(self, most: int = 5) -> None:
        if not self.held:
            return
        name = self.held[-1].queue_name
        mine = [message for message in self.held if message.queue_name == name][:most]
        self.held = [message for message in self.held if message not in mine]
        ops = [self.history.settle_started("ack", m.queue_name, m.id, m.token) for m in mine]
        try:
            await self.broker.queue(name).ack_many(mine)
        except CallerError:
            for op in ops:
                op.unknown("some of them had expired")
        except PosthouseError as error:
            for op in ops:
                op.unknown(error)
        else:
            for op in ops:
                op.done()

    async def _transaction(self) -> None:
        settles = []
        for _ in range(self.rng.randrange(0, 3)):
            message = self._one()
            if message is not None:
                settles.append((message, self.rng.choice(("ack", "ack", "nack", "reject"))))
        puts = [(self._queue(), *self._body()) for _ in range(self.rng.randrange(0, 3))]
        publish = self.rich.draw_publish() if self.rng.random() < 0.3 else None
        if not settles and not puts and publish is None:
            return
        transaction = self.broker.transaction(timeout=WAIT_S)

        async def commit() -> None:
            async with transaction:
                for message, verb in settles:
                    if verb == "nack":
                        transaction.nack(message, delay=0)
                    else:
                        getattr(transaction, verb)(message)
                for queue, name, size in puts:
                    transaction.put(queue, make_body(name, size))
                if publish is not None:
                    topic, key, name, size = publish
                    body = make_body(name, size)
                    transaction.publish(self.broker.topic(topic), body, key=key, unroutable=True)

        async def work() -> None:
            named = [(queue.name, name) for queue, name, _ in puts]
            if publish is not None:
                topic, key, name, _ = publish
                named += [(q, named_in(name, q)) for q in self.rich.routes(topic, key)]
            if not settles and not named:
                return  # nowhere to go
            op = self.history.transaction_started(
                [(verb, m.queue_name, m.id, m.token) for m, verb in settles], named
            )
            await self._ends(op, commit())

        self._spawn(work())

    async def _purge(self) -> None:
        queue = self._queue((SHORT, DROPS, *self.all[len(QUEUES) :]))

        async def work() -> None:
            op = self.history.purged_started(queue.name)
            await self._ends(op, queue.purge())

        self._spawn(work())

    async def _policy(self) -> None:
        try:
            self.broker.queue(PLAIN, visibility_timeout=self.rng.choice((2.0, 30.0, 31.0)))
        except (StorageFull, StorageFailed, BrokerClosed):
            return

    async def _pause(self) -> None:
        await asyncio.sleep(self.rng.choice((0.01, 0.3, 1.2, 3.0)))

    async def _turn(self) -> None:
        await asyncio.sleep(self.rng.choice((0, 0.0003)))

    async def _wait(self) -> None:
        if self.rng.random() < 0.5:
            await self.finish()
