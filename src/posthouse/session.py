"""One holder's view of an engine: its leases, its limits, one `Port` for each queue.

A port is what a backend hands to the asyncio face. Its hot verbs are synchronous: they do
everything in one step, or change nothing and say so by returning None, and the face then takes
the waiting form.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from threading import get_ident
from typing import Final, TypeVar

from posthouse.core.leases import BatchLease
from posthouse.core.queue import rank_of
from posthouse.core.state import EXPIRED_LEASE
from posthouse.core.transaction import PutStep, SettleStep, Step
from posthouse.engine import Engine, wrong_loop
from posthouse.errors import (
    BadArgument,
    LeaseExpired,
    MessageTooLarge,
    QueueFull,
    QueueShutDown,
)
from posthouse.journal.format import PUT_OVERHEAD_BYTES, SETTLE_BYTES
from posthouse.journal.group import Group
from posthouse.lane import Lane, Putter
from posthouse.model import (
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    MAX_BODY_BYTES,
    MAX_HEADERS_BYTES,
    QueuePolicy,
    QueueStats,
)
from posthouse.records import Entry, Traits

T = TypeVar("T")

TRAITS_BYTES: Final = 64
RECORD_BYTES: Final = 128


class Session:
    """One holder of leases on an engine."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.holder = engine.new_holder()

    def port(self, name: str, policy: QueuePolicy | None) -> Port:
        """The queue of that name, declared with the policy where it is not yet.

        Raises:
            StorageFull, StorageFailed, BrokerClosed: the declaration cannot be kept.
        """
        engine = self.engine
        engine.check_loop()
        return Port(engine, engine.declare(name, policy), self.holder)

    def queue_names(self) -> list[str]:
        """The names of all queues, sorted."""
        return sorted(self.engine.state.by_name)

    def stats(self) -> list[QueueStats]:
        """All queues' figures, by name."""
        state = self.engine.state
        now_ns = self.engine.now_ns()
        return [state.stats(state.by_name[name], now_ns) for name in self.queue_names()]

    async def commit(
        self, steps: list[Step], timeout_s: float | None, done: Callable[[], None]
    ) -> list[int]:
        """Do all steps together, durably: the ids of the puts.

        ``done`` is called in the step that decides, before the wait for the disk. Waits for
        room in a full queue outside of any lock. Raises:
            LeaseExpired: a lease ran out before the commit; nothing was done.
            QueueFull: a queue that rejects (or could never take it) is full; nothing was done.
            TimeoutError: no room within ``timeout_s`` seconds; nothing was done.
            StorageFull, StorageFailed, UnknownOutcome: see `posthouse.errors`.
        """
        engine = self.engine
        engine.check_loop()
        size = sum(_step_bytes(step) for step in steps)
        if size > MAX_BATCH_BYTES:
            raise MessageTooLarge("the transaction", size, MAX_BATCH_BYTES)
        puts = any(isinstance(step, PutStep) for step in steps)
        async with asyncio.timeout(timeout_s):
            while True:
                if puts and size > engine.journal.room:
                    await engine.journal.make_room(size)
                    continue
                engine.check_settle_room(size)
                try:
                    ids, group = engine.commit(steps)
                    done()
                    break
                except QueueFull:
                    await self._room_for(steps)
        if group is not None:
            await _durable(engine, group)
        return ids

    async def _room_for(self, steps: list[Step]) -> None:
        needs: dict[int, tuple[int, int]] = {}
        for step in steps:
            if isinstance(step, PutStep):
                count, size = needs.get(step.queue.number, (0, 0))
                size += len(step.body) + len(step.headers)
                needs[step.queue.number] = (count + 1, size)
        for number, (count, size) in needs.items():
            lane = self.engine.lane(number)
            state = lane.state
            if state.fits(count, size):
                continue
            if state.policy.overflow == "reject" or not state.could_fit(count, size):
                raise QueueFull(f"queue {state.name!r} has no room for the transaction's messages")
            await in_line(lane, lambda: True if state.fits(count, size) else None)  # noqa: B023


def _step_bytes(step: Step) -> int:
    if isinstance(step, PutStep):
        return len(step.body) + len(step.headers) + PUT_OVERHEAD_BYTES + RECORD_BYTES
    return RECORD_BYTES + len(step.reason) * 4 + len(step.error or "") * 4


class Port:
    """One queue, as one holder uses it."""

    def __init__(self, engine: Engine, lane: Lane, holder: int) -> None:
        self._engine = engine
        self._lane = lane
        self._state = lane.state
        self._loop = engine.loop
        self._thread = engine.thread
        self._holder = holder
        self._most_body = MAX_BODY_BYTES
        self._may_take = True

    # put

    def put_plain(self, kind: int, body: bytes) -> tuple[int, Group | None] | None:
        """`put_one` for a message without headers or traits."""
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        journal = engine.journal
        lane = self._lane
        if len(body) > self._most_body:
            self._check_size(body, b"")
        if lane.putters:
            return None
        if journal.instant:
            entry = self._state.put_plain(engine.tick_ns or engine.tick(), kind, body, True)
            if entry is None:
                return None
            if lane.getters:
                lane.wake_getters(1)
            return entry[0], None
        if len(body) + PUT_OVERHEAD_BYTES > journal.room:
            return None
        state = self._state
        entry = state.put_plain(engine.tick_ns or engine.tick(), kind, body, False)
        if entry is None:
            return None
        engine.sequence = sequence = engine.sequence + 1
        return entry[0], journal.put(state.number, engine.producer, sequence, entry)

    def put_one(
        self, kind: int, body: bytes, headers: bytes = b"", traits: Traits | None = None
    ) -> tuple[int, Group | None] | None:
        """Accept one message now: (id, what to wait for); None if that needs waiting.

        Raises:
            MessageTooLarge: the body is over 16 MiB, or the headers over 64 KiB.
            WrongLoop: called from another loop or thread.
        """
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        journal = engine.journal
        lane = self._lane
        size = len(body) + len(headers)
        if size > self._most_body:
            self._check_size(body, headers)
        if size + PUT_OVERHEAD_BYTES > journal.room or lane.putters:
            return None
        state = self._state
        entry = state.put_one(engine.tick_ns or engine.tick(), kind, body, headers, traits)
        if entry is None:
            return None
        engine.sequence = sequence = engine.sequence + 1
        return entry[0], self._journal_put(sequence, [entry])

    def put_many(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes = b"",
        traits: Traits | None = None,
    ) -> tuple[int, Group | None] | None:
        """Accept all of a batch now: (first id, what to wait for); None if that needs waiting.

        Raises:
            MessageTooLarge: a body, or the batch (64 MiB), is over its limit.
            BadArgument: more than 100,000 messages.
        """
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        journal = engine.journal
        lane = self._lane
        sizes = list(map(len, bodies))
        count = len(bodies)
        size = sum(sizes) + count * len(headers)
        if max(sizes) + len(headers) > self._most_body or size > MAX_BATCH_BYTES:
            self._check_batch(bodies, headers, size)
        if count > MAX_BATCH_MESSAGES:
            raise BadArgument(f"a batch has at most {MAX_BATCH_MESSAGES:,} messages, not {count:,}")
        if self._batch_room(count, size, traits) > journal.room or lane.putters:
            return None
        state = self._state
        now_ns = engine.tick_ns or engine.tick()
        entries = state.put_many(now_ns, kinds, bodies, size, headers, traits)
        if entries is None:
            return None
        sequence = engine.sequence + 1
        engine.sequence += count
        return entries[0][0], self._journal_put(sequence, entries)

    def _journal_put(self, sequence: int, entries: list[Entry]) -> Group | None:
        engine = self._engine
        state = self._state
        group = engine.journal.put_many(state.number, engine.producer, sequence, entries)
        if group is None:
            state.publish(entries)
            lane = self._lane
            if lane.getters:
                lane.wake_getters(len(entries))
            if entries[0][4] is not None:
                engine.schedule(lane)
        return group

    @staticmethod
    def _batch_room(count: int, size: int, traits: Traits | None) -> int:
        return size + count * (PUT_OVERHEAD_BYTES + (TRAITS_BYTES if traits is not None else 0))

    def _check_size(self, body: bytes, headers: bytes) -> None:
        self.check_open()
        if len(headers) > MAX_HEADERS_BYTES:
            raise MessageTooLarge("the headers", len(headers), MAX_HEADERS_BYTES)
        if len(body) > MAX_BODY_BYTES:
            raise MessageTooLarge("the body", len(body), MAX_BODY_BYTES)

    def _check_batch(self, bodies: Sequence[bytes], headers: bytes, size: int) -> None:
        self.check_open()
        for body in bodies:
            self._check_size(body, headers)
        if size > MAX_BATCH_BYTES:
            raise MessageTooLarge("the batch", size, MAX_BATCH_BYTES)

    async def put_waiting(
        self,
        attempt: Callable[[], tuple[int, Group | None] | None],
        bodies: Sequence[bytes],
        headers: bytes,
        timeout_s: float | None,
    ) -> tuple[int, Group | None]:
        """Wait, in line, until ``attempt`` (one of the put verbs) can be done; its answer.

        Raises:
            QueueFull: the policy rejects, or the queue could never hold it.
            QueueShutDown: the handle was shut down.
            TimeoutError: no room within ``timeout_s`` seconds; nothing was stored.
            StorageFull, StorageFailed, BrokerClosed: see `posthouse.errors`.
        """
        self.check_open()
        state = self._state
        count = len(bodies)
        size = sum(map(len, bodies)) + count * len(headers)
        if not state.could_fit(count, size):
            raise QueueFull(
                f"queue {state.name!r} can never hold this: {count:,} messages of {size:,} bytes; "
                f"its limits are {state.policy.max_messages} messages, {state.max_bytes:,} bytes"
            )
        need = size + count * (PUT_OVERHEAD_BYTES + TRAITS_BYTES)
        self.check_may_wait(count, size)

        async def try_it() -> tuple[int, Group | None] | None:
            self.check_open()
            journal = self._engine.journal
            if need > journal.room:
                await journal.make_room(need)
                self.check_open()
            putters = self._lane.putters
            # The verbs refuse while somebody is in line: step out of it for the attempt.
            mine = putters.popleft()
            try:
                return attempt()
            finally:
                putters.appendleft(mine)

        async with asyncio.timeout(timeout_s):
            return await in_line_async(self._lane, try_it)

    def check_may_wait(self, count: int, size_bytes: int) -> None:
        """Raise what a put that may not wait should raise.

        Raises:
            QueueFull: the queue is full and its policy is to reject.
            StorageFailed, BrokerClosed, ForkedProcess: the journal is not in use any more.
        """
        failure = self._engine.journal.failure
        if failure is not None:
            raise type(failure)(*failure.args) from failure
        state = self._state
        if state.policy.overflow == "reject" and not state.fits(count, size_bytes):
            raise self.full()

    def full(self) -> QueueFull:
        """What to raise from a put that does not wait."""
        state = self._state
        return QueueFull(
            f"queue {state.name!r} is full: {state.live:,} messages, {state.size_bytes:,} bytes"
        )

    def durable(self, group: Group) -> asyncio.Future[None]:
        """Done when the group is on disk. Cancelling it cancels nothing else."""
        future = self._loop.create_future()
        group.waiters.append(future)
        return future

    # take

    def take_one(self, timeout_ns: int) -> tuple[int, Entry, int] | None:
        """Lease the next message: (token, entry, attempts); None if none is waiting.

        ``timeout_ns`` 0 is the queue's visibility timeout.
        """
        if get_ident() != self._thread:
            wrong_loop()
        state = self._state
        if not (state.ready or state.returned) or not self._may_take:
            return None
        engine = self._engine
        taken = state.take_one(
            engine.tick_ns or engine.tick(), timeout_ns or state.timeout_ns, self._holder
        )
        if taken is None:
            return None
        journal = engine.journal
        if not journal.instant:
            journal.delivered(state.number, [rank_of(taken[1])], taken[2])
        lane = self._lane
        if state.next_deadline_ns < lane.scheduled_ns:
            engine.schedule(lane)
        return taken

    def take_many(
        self, most: int, most_bytes: int, timeout_ns: int
    ) -> tuple[int, BatchLease] | None:
        """Lease up to ``most`` messages under one token; None if none is waiting."""
        if get_ident() != self._thread:
            wrong_loop()
        state = self._state
        if not (state.ready or state.returned) or not self._may_take:
            return None
        engine = self._engine
        taken = state.take_many(
            most,
            most_bytes,
            engine.tick_ns or engine.tick(),
            timeout_ns or state.timeout_ns,
            self._holder,
        )
        if taken is None:
            return None
        journal = engine.journal
        if not journal.instant:
            lease = taken[1]
            ranks = [rank_of(entry) for entry in lease.entries]
            journal.delivered(state.number, ranks, lease.attempts or 1)
        lane = self._lane
        if state.next_deadline_ns < lane.scheduled_ns:
            engine.schedule(lane)
        return taken

    def reserve(self, most: int, most_bytes: int) -> list[Entry]:
        """Set messages aside for an iterator, in memory only: no lease, no attempt yet."""
        if get_ident() != self._thread:
            wrong_loop()
        if not self._may_take:
            return []
        entries = self._state.pop_many(most, most_bytes)
        self._state.reserved += len(entries)
        return entries

    def lease_reserved(self, entry: Entry) -> tuple[int, Entry, int]:
        """Deliver a reserved message: (token, entry, attempts)."""
        if get_ident() != self._thread:
            wrong_loop()
        state = self._state
        engine = self._engine
        state.reserved -= 1
        taken = state.lease_one(
            entry, engine.tick_ns or engine.tick(), state.timeout_ns, self._holder
        )
        journal = engine.journal
        if not journal.instant:
            journal.delivered(state.number, [rank_of(entry)], taken[2])
        lane = self._lane
        if state.next_deadline_ns < lane.scheduled_ns:
            engine.schedule(lane)
        return taken

    def restore(self, entries: list[Entry]) -> None:
        """Put reserved messages back in their places."""
        self._state.reserved -= len(entries)
        self._state.restore(entries)
        self._lane.wake_getters(len(entries))

    async def readable(self) -> None:
        """Return when a message may be waiting.

        Raises:
            QueueShutDown: the handle was shut down.
            StorageFailed, BrokerClosed, ForkedProcess: the broker has stopped.
        """
        self.check_open()
        await self._lane.readable()

    # settle

    def ack_one(self, token: int, message_id: int) -> Group | None:
        """Settle a delivered message for good, checked against its lease.

        Raises:
            LeaseExpired: it is not held (any more); nothing was done.
            StorageFull: there is no room to write that down; nothing was done.
        """
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        if not engine.tick_ns:
            engine.tick()
        journal = engine.journal
        if journal.settle_room < SETTLE_BYTES:
            engine.check_settle_room(SETTLE_BYTES)
        state = self._state
        if not state.ack_one(token, message_id):
            raise self._expired(message_id)
        group = None if journal.instant else journal.settle(state.number, message_id)
        lane = self._lane
        if lane.watched:
            lane.left()
        return group

    def ack_batch(self, token: int, ids: list[int]) -> Group | None:
        """Settle messages of one delivery; whole deliveries at the cost of one.

        Raises:
            LeaseExpired: some are not held (any more); the others were settled.
            StorageFull: there is no room to write that down; nothing was done.
        """
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        engine.check_settle_room(SETTLE_BYTES * len(ids))
        state = self._state
        missing: list[int] = []
        if not state.ack_batch(token, ids):
            held = [number for number in ids if state.ack_one(token, number)]
            missing = [number for number in ids if number not in set(held)]
            ids = held
        group = engine.journal.settle_many(state.number, ids) if ids else None
        lane = self._lane
        if lane.watched:
            lane.left()
        if missing:
            raise self._expired(missing[0], len(missing))
        return group

    def _expired(self, message_id: int, count: int = 1) -> LeaseExpired:
        more = f" (and {count - 1} more)" if count > 1 else ""
        return LeaseExpired(
            f"message {message_id:x}{more} of queue {self._state.name!r} is no longer held: "
            f"{EXPIRED_LEASE} or it was settled elsewhere; it may be delivered again"
        )

    def nack(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> Group | None:
        """Give a message back as failed; ``delay_ns`` None takes the policy's backoff.

        Raises: as `ack_one`.
        """
        step = self.nack_step(token, message_id, delay_ns, error)
        records = self._engine.state.nack(
            self._state, token, message_id, self._engine.now_ns(), step.due_ns, error
        )
        return self._kept(records, message_id)

    def nack_step(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> SettleStep:
        """The same as a transaction's step; the due time is drawn here.

        Raises: as `ack_one`, except that the lease is not checked.
        """
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        engine.check_settle_room(RECORD_BYTES + 4 * len(error or ""))
        state = self._state
        if delay_ns is None:
            attempts = state.attempts_of(token, message_id)
            delay_ns = state.policy.retry.delay_ns(max(attempts, 1), engine.chance())
        due_ns = engine.now_ns() + delay_ns if delay_ns else 0
        return SettleStep(state, "nack", token, message_id, due_ns, error=error)

    def reject(self, token: int, message_id: int, reason: str, error: str | None) -> Group | None:
        """Send a message to the dead-letter queue. Raises: as `ack_one`."""
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        engine.check_settle_room(RECORD_BYTES + 4 * len(reason) + 4 * len(error or ""))
        records = engine.state.reject(
            self._state, token, message_id, engine.now_ns(), reason, error
        )
        return self._kept(records, message_id)

    def give_back(self, token: int, message_id: int) -> Group | None:
        """Undo the delivery: available at once, the attempt not counted. Raises: as `ack_one`."""
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        engine.check_settle_room(RECORD_BYTES)
        return self._kept(engine.state.give_back(self._state, token, message_id), message_id)

    def _kept(self, records: list | None, message_id: int) -> Group | None:  # type: ignore[type-arg]
        if records is None:
            raise self._expired(message_id)
        return self._engine.keep(records)

    def holds(self, token: int, message_id: int) -> bool:
        """Whether the delivery still holds the message."""
        return self._state.holds(token, message_id)

    def extend(self, token: int, timeout_ns: int) -> None:
        """Let the lease run ``timeout_ns`` from now. Raises LeaseExpired."""
        if get_ident() != self._thread:
            wrong_loop()
        if not self._state.extend(token, self._engine.now_ns() + timeout_ns):
            raise LeaseExpired(f"the lease on queue {self._state.name!r} has run out")
        self._engine.schedule(self._lane)

    # the queue as a whole

    def put_step(self, kind: int, body: bytes, headers: bytes, traits: Traits | None) -> PutStep:
        """A put as a transaction's step. Raises MessageTooLarge, QueueShutDown."""
        if len(body) + len(headers) > self._most_body:
            self._check_size(body, headers)
        return PutStep(self._state, kind, body, headers, traits)

    def ack_step(self, token: int, message_id: int) -> SettleStep:
        """An ack as a transaction's step."""
        return SettleStep(self._state, "ack", token, message_id)

    def reject_step(
        self, token: int, message_id: int, reason: str, error: str | None
    ) -> SettleStep:
        """A reject as a transaction's step."""
        return SettleStep(self._state, "reject", token, message_id, reason=reason, error=error)

    def due_ns(self, delay_ns: int) -> int:
        """When a delay that starts now ends."""
        return self._engine.now_ns() + delay_ns

    def live(self) -> int:
        """Messages in the queue: waiting, delayed and in flight (and on their way in)."""
        return self._state.live

    def waiting(self) -> int:
        """Messages that may be delivered now."""
        return self._state.waiting() + self._state.reserved

    def is_full(self) -> bool:
        """Whether a put of an empty message would have to wait."""
        return not self._state.fits(1, 0)

    def stats(self) -> QueueStats:
        """The queue's figures."""
        return self._engine.state.stats(self._state, self._engine.now_ns())

    def peek(self, most: int) -> list[tuple[Entry, int]]:
        """The next messages in order, untouched: (entry, attempts so far)."""
        state = self._state
        entries = [entry for _, entry in state.returned]
        entries += [entry for entry, _ in zip(state.ready, range(most), strict=False)]
        entries.sort(key=rank_of)
        return [(entry, state.attempts.get(rank_of(entry), 0)) for entry in entries[:most]]

    def purge(self) -> tuple[int, Group | None]:
        """Settle everything that waits or is delayed: (how many, what to wait for)."""
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        state = self._state
        engine.check_settle_room(RECORD_BYTES + SETTLE_BYTES * state.live)
        count, records = engine.state.purge(state)
        group = engine.keep(records) if records else None
        self._lane.left()
        return count, group

    async def joined(self) -> None:
        """Return when the queue holds nothing."""
        self._check_stopped()
        await self._lane.joined()

    def shut_down(self, *, immediate: bool) -> None:
        """Refuse puts from now on; gets too when ``immediate``, else once nothing waits."""
        lane = self._lane
        self._most_body = -1
        if immediate:
            self._may_take = False
        lane.shut = True
        lane.fail(_shut_down(self._state.name))

    def _check_stopped(self) -> None:
        failure = self._engine.journal.failure
        if failure is not None:
            raise type(failure)(*failure.args) from failure

    def check_open(self) -> None:
        """Raise what a call on a stopped broker or a shut-down handle should raise."""
        self._check_stopped()
        if self._most_body < 0:
            raise _shut_down(self._state.name)


async def in_line(lane: Lane, attempt: Callable[[], T | None]) -> T:
    """Wait in line for room until ``attempt`` gives an answer."""

    async def try_it() -> T | None:
        return attempt()

    return await in_line_async(lane, try_it)


async def in_line_async(lane: Lane, attempt: Callable[[], object]) -> T:  # type: ignore[type-var]
    """The same with an attempt that may wait; only the first in line tries."""
    me = Putter()
    putters = lane.putters
    putters.append(me)
    lane.watched = True
    try:
        while True:
            if putters[0] is me:
                done = await attempt()  # type: ignore[misc]
                if done is not None:
                    return done  # type: ignore[no-any-return]
            me.future = lane.loop.create_future()
            await me.future
    finally:
        putters.remove(me)
        lane.wake_putter()
        lane.watched = bool(putters or lane.joiners)


async def _durable(engine: Engine, group: Group) -> None:
    future = engine.loop.create_future()
    group.waiters.append(future)
    await future


def _shut_down(name: str) -> QueueShutDown:
    return QueueShutDown(f"queue {name!r} was shut down in this process")
