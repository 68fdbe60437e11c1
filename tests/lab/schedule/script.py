"""Calls on a broker, each written down with its outcome."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from posthouse.broker import Broker
from posthouse.errors import (
    BrokerClosed,
    LeaseExpired,
    QueueFull,
    QueueShutDown,
    UnknownOutcome,
)
from posthouse.message import Message
from posthouse.model import NANOSECONDS
from posthouse.queue import Queue
from posthouse.testing.history import History, Operation
from posthouse.testing.trace import Verb
from posthouse.topic import Topic
from tests.lab.schedule.world import World, message_name, name_of
from tests.lab.topics import PUBLISHED, copy_name, routes

AnyMessage: TypeAlias = "Message[Any]"

REFUSALS = (QueueFull, QueueShutDown, BrokerClosed, LeaseExpired, TimeoutError)
"""Nothing was done."""


class Over(Exception):
    """The queue, or the broker, takes nothing more: the actor goes home."""


@dataclass
class Script:
    """One life's calls. Dead, it writes down nothing any more."""

    world: World
    broker: Broker

    def __post_init__(self) -> None:
        self.history = self.world.history

    def die(self) -> None:
        """The process has ended; what its tasks still do is a ghost's."""
        self.history = History()

    # putting

    def put_started(
        self, queue: Queue[Any], names: list[str], options: dict[str, Any], again: bool = False
    ) -> Operation:
        """Write down that a put begins."""
        plan = self.world.plans[queue.name]
        return self.history.put_started(
            queue.name,
            names,
            options.get("delay"),
            key=options.get("key"),
            ttl_s=options.get("ttl", plan.more.get("ttl")),
            again=again,
            priority=options.get("priority", 0),
        )

    async def putting(
        self,
        operation: Operation,
        call: Awaitable[Any],
    ) -> Any:
        """Await a call that puts; write down its outcome."""
        try:
            result = await call
        except (QueueShutDown, BrokerClosed) as error:
            operation.failed(error)
            raise Over from error
        except REFUSALS as error:
            operation.failed(error)
            return None
        except (asyncio.CancelledError, UnknownOutcome) as error:
            operation.unknown(error)
            raise
        return result

    async def put(self, queue: Queue[Any], **options: Any) -> None:
        """`Queue.put`."""
        body, again = self.world.body(), False
        dedup = options.get("dedup")
        if dedup is not None:
            again = dedup in self.world.dedups
            body = self.world.dedups.setdefault(dedup, body)
        operation = self.put_started(queue, [name_of(body)], options, again)
        message_id = await self.putting(operation, queue.put(body, **options))
        if message_id is not None:
            operation.done([message_id])

    async def put_many(self, queue: Queue[Any], count: int, **options: Any) -> None:
        """`Queue.put_many`."""
        bodies = [self.world.body() for _ in range(count)]
        names = [name_of(body) for body in bodies]
        operation = self.put_started(queue, names, options)
        ids = await self.putting(operation, queue.put_many(bodies, **options))
        if ids is not None:
            operation.done(list(ids))

    async def put_nowait(self, queue: Queue[Any], *, waits: bool) -> None:
        """`Queue.put_nowait`, and its receipt or not."""
        body = self.world.body()
        operation = self.put_started(queue, [name_of(body)], {})
        try:
            receipt = queue.put_nowait(body)
        except (QueueShutDown, BrokerClosed) as error:
            operation.failed(error)
            raise Over from error
        except QueueFull as error:
            operation.failed(error)
            return
        if not waits:
            return  # never looked at: its outcome is not known
        message_id = await self.putting(operation, _await(receipt))
        if message_id is not None:
            operation.done([message_id])

    # taking

    def got(self, message: AnyMessage, lease_s: float | None) -> AnyMessage:
        """Write down a delivery, in the step in which it came."""
        plan = self.world.plans.get(message.queue_name)
        if lease_s is None:
            lease_s = plan.lease_s if plan is not None else 30.0
        # The engine reads its clock once a turn, or takes the reading of the turn before.
        loop = self.world.loop
        lease_s -= (loop.now_ns() - loop.before_ns) / NANOSECONDS
        self.history.delivered(
            message.queue_name,
            message.id,
            message_name(message),
            message.token,
            message.attempts,
            lease_s,
            loop.before_ns,
        )
        return message

    async def get(
        self, queue: Queue[Any], timeout: float | None, lease_s: float | None
    ) -> AnyMessage | None:
        """`Queue.get`; None if none came in time."""
        try:
            message = await queue.get(timeout=timeout, visibility_timeout=lease_s)
        except TimeoutError:
            return None
        except (QueueShutDown, BrokerClosed) as error:
            raise Over from error
        return self.got(message, lease_s)

    async def get_many(self, queue: Queue[Any], most: int, timeout: float | None) -> list[Any]:
        """`Queue.get_many`."""
        try:
            messages = await queue.get_many(most, timeout=timeout)
        except TimeoutError:
            return []
        except (QueueShutDown, BrokerClosed) as error:
            raise Over from error
        for message in messages:
            self.got(message, None)
        return messages

    # settling

    def settling(
        self, verb: Verb, message: AnyMessage, durable: bool = False, delay_s: float | None = None
    ) -> Operation:
        """Write down that a settlement begins."""
        return self.history.settle_started(
            verb, message.queue_name, message.id, message.token, durable, delay_s
        )

    async def settle(
        self,
        verb: Verb,
        message: AnyMessage,
        call: Callable[[], Awaitable[None]],
        *,
        durable: bool = False,
        delay_s: float | None = None,
    ) -> bool:
        """Settle a message; whether it was done."""
        operation = self.settling(verb, message, durable, delay_s)
        try:
            await call()
        except BrokerClosed as error:
            operation.failed(error)
            raise Over from error
        except REFUSALS as error:
            operation.failed(error)
            return False
        except (asyncio.CancelledError, UnknownOutcome) as error:
            operation.unknown(error)
            raise
        operation.done()
        return True

    async def ack(self, message: AnyMessage, *, durable: bool = False) -> bool:
        """`Message.ack`."""
        return await self.settle("ack", message, lambda: message.ack(durable), durable=durable)

    async def nack(self, message: AnyMessage, delay: float | None) -> bool:
        """`Message.nack`."""
        return await self.settle("nack", message, lambda: message.nack(delay), delay_s=delay)

    async def reject(self, message: AnyMessage) -> bool:
        """`Message.reject`."""
        return await self.settle("reject", message, message.reject)

    async def give_back(self, message: AnyMessage) -> bool:
        """`Message.give_back`."""
        return await self.settle("give_back", message, message.give_back)

    async def extend(self, message: AnyMessage, seconds: float) -> bool:
        """`Message.extend`."""
        return await self.settle(
            "extend", message, lambda: message.extend(seconds), delay_s=seconds
        )

    async def ack_many(
        self, queue: Queue[Any], messages: Sequence[AnyMessage], *, durable: bool
    ) -> None:
        """`Queue.ack_many`: each message is an operation; those not held any more failed."""
        operations = [self.settling("ack", message, durable) for message in messages]
        try:
            await queue.ack_many(messages, durable)
        except LeaseExpired as error:
            # Which of them were acked it does not say.
            for operation in operations:
                operation.unknown(error)
        except (BrokerClosed, asyncio.CancelledError) as error:
            for operation in operations:
                if isinstance(error, BrokerClosed):
                    operation.failed(error)
                else:
                    operation.unknown(error)
            if isinstance(error, BrokerClosed):
                raise Over from error
            raise
        else:
            for operation in operations:
                operation.done()

    async def within(self, message: AnyMessage, work: Callable[[], Awaitable[None]]) -> None:
        """`async with message`, with work that may raise or be cancelled."""
        operation: Operation | None = None
        verb: Verb = "ack"
        try:
            async with message:
                # Written down before it is done: what moves may be seen while it is waited for.
                try:
                    await work()
                except asyncio.CancelledError:
                    verb = "give_back"
                    raise
                except ArithmeticError:
                    verb = "nack"
                    raise
                finally:
                    if message.settled is None:
                        operation = self.settling(verb, message)
        except LeaseExpired as error:
            assert operation is not None
            operation.failed(error)
        except (asyncio.CancelledError, ArithmeticError) as error:
            if operation is not None:
                if message.settled == verb:
                    operation.done()
                else:
                    operation.failed("no longer held")
            if isinstance(error, asyncio.CancelledError):
                raise
        except BrokerClosed as error:
            if operation is not None:
                operation.failed(error)
            raise Over from error
        else:
            assert operation is not None
            operation.done()

    # transactions

    async def transact(
        self,
        settles: Sequence[tuple[Verb, AnyMessage]],
        puts: Sequence[Queue[Any]],
        timeout: float | None,
        publish: tuple[str, str] | None = None,
    ) -> None:
        """`Broker.transaction`; ``publish``: to a topic, with a routing key."""
        operation: Operation | None = None
        transaction = self.broker.transaction(timeout=timeout)
        try:
            async with transaction as tx:
                for verb, message in settles:
                    if verb == "ack":
                        tx.ack(message)
                    elif verb == "nack":
                        tx.nack(message)
                    else:
                        tx.reject(message)
                bodies = [(queue, self.world.body()) for queue in puts]
                for queue, body in bodies:
                    tx.put(queue, body)
                named = [(queue.name, name_of(body)) for queue, body in bodies]
                if publish is not None:
                    topic, key = self.broker.topic(publish[0]), publish[1]
                    body, more = await self._copies(topic, key)
                    tx.publish(topic, body, key=key, unroutable=True)
                    named += more
                if not settles and not named:
                    return  # nowhere to go: nothing is written
                operation = self.history.transaction_started(
                    [(verb, m.queue_name, m.id, m.token) for verb, m in settles], named
                )
        except (asyncio.CancelledError, UnknownOutcome) as error:
            if operation is not None:
                operation.unknown(error)
            raise
        except REFUSALS as error:
            if operation is not None:
                operation.failed(error)
            if isinstance(error, (QueueShutDown, BrokerClosed)):
                raise Over from error
        else:
            if operation is not None:
                # In which order those of a publish come, it does not say.
                operation.done(transaction.ids if publish is None else None)

    # topics

    async def _copies(self, topic: Topic, key: str) -> tuple[str, list[tuple[str, str]]]:
        """A body to publish, and what it comes to: (queue, the history's name)."""
        body = self.world.body(PUBLISHED)
        queues = routes(await topic.bindings(), key)
        return body, [(queue, copy_name(name_of(body), queue)) for queue in queues]

    async def publish(self, name: str, key: str, **options: Any) -> None:
        """`Topic.publish`."""
        topic = self.broker.topic(name)
        body, puts = await self._copies(topic, key)
        if not puts:
            if await topic.publish(body, key=key, unroutable=True):
                self.world.problems.append(f"published to nowhere, {body} went somewhere")
            return
        operation = self.history.transaction_started([], puts)
        ids = await self.putting(operation, topic.publish(body, key=key, **options))
        if ids is not None:
            operation.done([ids[queue] for queue, _ in puts])

    async def bind(self, topic: str, queue: Queue[Any], pattern: str, bound: bool) -> None:
        """`Queue.bind`, or `Queue.unbind`."""
        operation = self.history.bind_started(topic, queue.name, pattern, bound)
        change = queue.bind if bound else queue.unbind
        try:
            await change(self.broker.topic(topic), pattern)
        except (QueueShutDown, BrokerClosed) as error:
            operation.failed(error)
            raise Over from error
        except (asyncio.CancelledError, UnknownOutcome) as error:
            operation.unknown(error)
            raise
        operation.done()

    # queues

    async def act(
        self, queue: Queue[Any], where: str | None, verb: str, target: Queue[Any] | None = None
    ) -> None:
        """What a filter finds in a queue: `delete`, `delay`, or `move` to ``target``."""
        found = queue.find(where)
        if target is not None:
            operation = self.history.move_started(queue.name, target.name)
            call: Awaitable[int] = found.move(target)
        elif verb == "delete":
            operation = self.history.purged_started(queue.name)
            call = found.delete()
        else:
            operation = self.history.delay_started(queue.name)
            call = found.delay(self.world.chance.choice([0, 0.02]))
        try:
            await call
        except BrokerClosed as error:
            raise Over from error
        finally:
            operation.unknown("which they were it does not say")

    async def purge(self, queue: Queue[Any]) -> None:
        """`Queue.purge`."""
        operation = self.history.purged_started(queue.name)
        try:
            await queue.purge()
        except BrokerClosed as error:
            operation.failed(error)
            raise Over from error
        except (asyncio.CancelledError, UnknownOutcome) as error:
            operation.unknown(error)
            raise
        operation.done()

    async def redrive(self, queue: Queue[Any]) -> None:
        """`Queue.redrive`, of a dead-letter queue."""
        operation = self.history.redrive_started(queue.name)
        try:
            await queue.redrive()
        except BrokerClosed as error:
            operation.unknown(error)  # it goes in steps
            raise Over from error
        except (asyncio.CancelledError, UnknownOutcome) as error:
            operation.unknown(error)
            raise
        operation.done()


async def _await(receipt: Any) -> Any:
    return await receipt
