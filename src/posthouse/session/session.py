"""A session: one holder of leases on an engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from posthouse.access.rights import Rights
from posthouse.core import letters
from posthouse.core.transaction import PutStep, SettleStep, Step, problem, short_of_room
from posthouse.engine import Engine
from posthouse.errors import BadArgument, MessageTooLarge, QueueFull, Unroutable
from posthouse.journal.format import PUT_OVERHEAD_BYTES
from posthouse.model import MAX_BATCH_BYTES, QueuePolicy, QueueStats
from posthouse.records import Publication, Traits
from posthouse.session.base import MOST_TRAITS_BYTES, RECORD_BYTES
from posthouse.session.line import in_line
from posthouse.session.named import NamedPort, named
from posthouse.session.port import Port
from posthouse.session.rights import (
    GuardedNamedPort,
    GuardedPort,
    check_declaration,
    check_steps,
    check_traits,
    published,
)


class Session:
    """One holder of leases on an engine.

    With ``rights`` it does only what they allow, and raises `AccessDenied` for the rest before
    anything is done; without, all.

    Attributes:
        rights: None: all; else replaced, by those of a new login of the same user, but never
            taken off.
    """

    def __init__(self, engine: Engine, rights: Rights | None = None) -> None:
        self.engine = engine
        self.holder = engine.new_holder()
        self.rights = rights

    def port(self, name: str, given: Mapping[str, Any]) -> Port:
        """The queue of that name, declared with these settings; the others stay as they are.

        Raises:
            BadArgument: settings that do not go together.
            StorageFull, StorageFailed, BrokerClosed: the declaration cannot be kept.
            AccessDenied: no right on it; or none to make it, or to change its settings.
        """
        engine = self.engine
        engine.check_loop()
        rights = self.rights
        if rights is not None:
            rights.check_any(name)
        known = engine.state.by_name.get(name)
        if known is None:
            policy = QueuePolicy(**given)
        else:
            policy = msgspec.structs.replace(known.policy, **given)
        if rights is None:
            return Port(engine, engine.declare(name, policy), self.holder)
        check_declaration(rights, name, known, policy)
        return GuardedPort(engine, engine.declare(name, policy), self.holder, self)

    def named_port(self, name: str, producer: int, sequence: int) -> NamedPort:
        """A port for one put that is ``producer``'s. Raises: as `port`."""
        port = self.port(name, {})
        engine = self.engine
        lane = engine.lane(engine.state.by_name[name].number)
        if isinstance(port, GuardedPort):
            return GuardedNamedPort(engine, lane, self.holder, self, producer, sequence)
        return NamedPort(engine, lane, self.holder, producer, sequence)

    def queue_names(self) -> list[str]:
        """The names of all queues, sorted; with rights, of those on which there is any."""
        names, rights = sorted(self.engine.state.by_name), self.rights
        return names if rights is None else [name for name in names if rights.on(name)]

    def stats(self) -> list[QueueStats]:
        """All queues' figures, by name; with rights, of those that may be browsed."""
        state, rights = self.engine.state, self.rights
        now_ns = self.engine.now_ns()
        return [
            state.stats(state.by_name[name], now_ns)
            for name in self.queue_names()
            if rights is None or "browse" in rights.on(name)
        ]

    async def commit(
        self,
        steps: list[Step],
        timeout_s: float | None,
        done: Callable[[], None],
        producer: tuple[int, int] | None = None,
    ) -> list[int]:
        """Do all steps together, durably: the ids of the puts.

        ``producer`` is who puts, and the first put's sequence (None: this broker itself).
        ``done`` is called in the step that decides, before the wait for the disk. Waits for
        room in a full queue outside of any lock. Raises:
            BadArgument: a message or a queue is of another broker; nothing was done.
            LeaseExpired: a lease ran out before the commit; nothing was done.
            QueueFull: a queue that rejects (or could never take it) is full; nothing was done.
            TimeoutError: no room within ``timeout_s`` seconds; nothing was done.
            AccessDenied: there is no right to one of the steps (any more); nothing was done.
            StorageFull, StorageFailed, UnknownOutcome: see `posthouse.errors`.
        """
        engine, rights = self.engine, self.rights
        engine.check_loop()
        for step in steps:
            if not isinstance(step, (PutStep, SettleStep)):
                raise BadArgument("a queue or a message is another broker's")
            if engine.state.queues.get(step.queue.number) is not step.queue:
                raise BadArgument(f"queue {step.queue.name!r} is another broker's")
        size = sum(_step_bytes(step) for step in steps)
        if size > MAX_BATCH_BYTES:
            raise MessageTooLarge("the transaction", size, MAX_BATCH_BYTES)
        puts = any(isinstance(step, PutStep) for step in steps)
        async with asyncio.timeout(timeout_s):
            while True:
                if rights is not None:
                    check_steps(rights, steps)
                if puts and size > engine.journal.room:
                    await engine.journal.make_room(size)
                    continue
                engine.check_settle_room(size)
                try:
                    if producer is None:
                        ids, group = engine.commit(steps)
                    else:
                        with named(engine, *producer):
                            ids, group = engine.commit(steps)
                        for number, message_id in enumerate(ids, producer[1]):
                            engine.state.producers.note(producer[0], number, 1, message_id)
                    done()
                    break
                except QueueFull:
                    await self._room_for(steps)
        if group is not None:
            future = engine.loop.create_future()
            group.waiters.append(future)
            engine.journal.hurry()
            await future
        return ids

    def publish_steps(self, what: Publication) -> list[Step]:
        """The puts that a message published to a topic comes to.

        Raises:
            Unroutable: there are none, and that is not allowed.
            AccessDenied: no right to put on the topic.
        """
        engine, rights = self.engine, self.rights
        engine.check_loop()
        if rights is not None:
            rights.check("put", what.topic)
            check_traits(what.traits)
        steps: list[Step] = []
        for number in engine.state.router.route(what.topic, what.key):
            queue = engine.state.queues[number]
            fitting = what.traits
            if fitting is not None and fitting.priority and queue.policy.order != "priority":
                fitting = msgspec.structs.replace(fitting, priority=0)
            if queue.ttl_ns and (fitting is None or not fitting.expires_ns):
                expires_ns = engine.now_ns() + queue.ttl_ns
                fitting = msgspec.structs.replace(fitting or Traits(), expires_ns=expires_ns)
            again = bool(steps)
            step = PutStep(queue, what.kind, what.body, what.headers, fitting, shared=again)
            steps.append(step)
        if not steps and not what.unroutable:
            raise Unroutable(
                f"no queue is bound to topic {what.topic!r} for routing key {what.key!r}; "
                "bind one with Queue.bind, or pass unroutable=True"
            )
        return steps if rights is None else published(what.topic, steps)

    async def publish(self, what: Publication, timeout_s: float | None) -> dict[str, int]:
        """Put it on every queue that is bound, all or none, durably: ids by queue.

        Raises: as `publish_steps` and `commit`.
        """
        steps = self.publish_steps(what)
        ids = await self.commit(steps, timeout_s, lambda: None) if steps else []
        return {step.queue.name: number for step, number in zip(steps, ids, strict=True)}

    def bindings(self, topic: str | None = None) -> list[tuple[str, str, str]]:
        """All bindings (of one topic): (topic, queue's name, pattern).

        With rights, those of which topic and queue may be seen.
        """
        state, rights = self.engine.state, self.rights
        found = [
            (name, state.queues[number].name, pattern)
            for name, number, pattern in state.router.bindings(topic)
        ]
        if rights is None:
            return found
        return [each for each in found if rights.on(each[0]) and rights.on(each[1])]

    def close(self) -> None:
        """Give back everything that is held, the attempts not counted."""
        engine = self.engine
        if engine.journal.failure is None:
            engine.keep_in_parts(engine.state.release_holder(self.holder))

    async def _room_for(self, steps: list[Step]) -> None:
        now_ns = self.engine.now_ns
        queue = short_of_room(steps, now_ns())
        if queue is None:
            return

        def attempt() -> bool | None:
            failure = self.engine.journal.failure
            if failure is not None:
                raise type(failure)(*failure.args) from failure
            # Its own acks count, and a lease that runs out in line ends the waiting.
            if problem(steps, now_ns()) is None or short_of_room(steps, now_ns()) is not queue:
                return True
            if not all(step.queue.holds(step.token, step.message_id) for step in settles):
                return True
            if queue.policy.overflow == "reject" or not queue.could_fit(count, size):
                raise QueueFull(f"queue {queue.name!r} has no room for the transaction's messages")
            return None

        settles = [step for step in steps if isinstance(step, SettleStep)]
        puts = [step for step in steps if isinstance(step, PutStep) and step.queue is queue]
        count = len(puts)
        size = sum(len(step.body) + len(step.headers) for step in puts)
        if attempt() is None:
            await in_line(self.engine.lane(queue.number), attempt)


def _step_bytes(step: Step) -> int:
    if isinstance(step, PutStep) and step.shared:
        return PUT_OVERHEAD_BYTES + RECORD_BYTES + MOST_TRAITS_BYTES
    if isinstance(step, PutStep):
        return (
            MOST_TRAITS_BYTES
            + len(step.body)
            + len(step.headers)
            + PUT_OVERHEAD_BYTES
            + RECORD_BYTES
        )
    if step.verb == "ack":
        return RECORD_BYTES
    return RECORD_BYTES + letters.size_bound(step.reason, step.error)
