"""Putting: at once where there is room, else in line."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from threading import get_ident

import msgspec

from posthouse.core.transaction import PutStep
from posthouse.engine import wrong_loop
from posthouse.errors import BadArgument, MessageTooLarge, QueueFull
from posthouse.journal.format import PUT_OVERHEAD_BYTES
from posthouse.journal.group import Group
from posthouse.model import (
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    MAX_BODY_BYTES,
    MAX_HEADERS_BYTES,
    check_seconds,
)
from posthouse.records import Entry, Traits
from posthouse.session.base import MOST_TRAITS_BYTES, PortBase, traits_room
from posthouse.session.line import in_line_async
from posthouse.session.settle import settle_bytes


class PutPort(PortBase):
    """The verbs of producers."""

    def put_plain(self, kind: int, body: bytes) -> tuple[int, Group | None] | None:
        """`put_one` for a message without headers or traits."""
        if get_ident() != self._thread:
            wrong_loop()
        engine = self._engine
        journal = engine.journal
        lane = self._lane
        if len(body) > self._most_body:
            self._check_size(body, b"")
        if lane.line:
            return None
        if self._state.ttl_ns:
            return self.put_one(kind, body)
        if journal.instant:
            entry = self._state.put_plain(engine.tick_ns or engine.tick(), kind, body, True)
            if entry is None:
                return None
            if lane.getters or lane.selectors:
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
        state = self._state
        if traits is not None or state.ttl_ns:
            traits = self._complete(traits)
            if traits is not None and traits.dedup:
                known = state.dedup.find(traits.dedup, engine.tick_ns or engine.tick())
                if known:
                    return known, journal.last_group()
        if size + PUT_OVERHEAD_BYTES + traits_room(traits) > journal.room or lane.line:
            return None
        now_ns = engine.tick_ns or engine.tick()
        entry = state.put_one(now_ns, kind, body, headers, traits)
        if entry is None and self._make_way(1, size):
            entry = state.put_one(now_ns, kind, body, headers, traits)
        if entry is None:
            return None
        if traits is not None and traits.dedup:
            state.dedup.remember(traits.dedup, entry[0])
        engine.sequence = sequence = engine.sequence + 1
        return entry[0], self._journal_put(sequence, [entry], size)

    def _complete(self, traits: Traits | None) -> Traits | None:
        """The message's traits with what the queue's policy adds.

        Raises:
            BadArgument: a priority in a queue of another order.
        """
        state = self._state
        if traits is not None and traits.priority and state.policy.order != "priority":
            raise BadArgument(
                f"queue {state.name!r} has order {state.policy.order!r}; a priority needs a "
                "queue with order='priority'"
            )
        if not state.ttl_ns or (traits is not None and traits.expires_ns):
            return traits
        engine = self._engine
        expires_ns = (engine.tick_ns or engine.tick()) + state.ttl_ns
        return msgspec.structs.replace(traits or Traits(), expires_ns=expires_ns)

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
        count = len(bodies)
        size = sum(map(len, bodies)) + count * len(headers)
        if size > self._most_body:  # else no body of it can be too large
            self._check_batch(bodies, headers, size)
        if count > MAX_BATCH_MESSAGES:
            raise BadArgument(f"a batch has at most {MAX_BATCH_MESSAGES:,} messages, not {count:,}")
        traits = self._complete(traits)
        each = PUT_OVERHEAD_BYTES + traits_room(traits)
        if size + count * each > journal.room or lane.line:
            return None
        state = self._state
        now_ns = engine.tick_ns or engine.tick()
        entries = state.put_many(now_ns, kinds, bodies, size, headers, traits)
        if entries is None and self._make_way(count, size):
            entries = state.put_many(now_ns, kinds, bodies, size, headers, traits)
        if entries is None:
            return None
        sequence = engine.sequence + 1
        engine.sequence += count
        return entries[0][0], self._journal_put(sequence, entries, size)

    def _journal_put(self, sequence: int, entries: list[Entry], size: int) -> Group | None:
        engine = self._engine
        state = self._state
        plain = entries[0][4] is None
        if plain and len(entries) == 1:
            # Those that come one after the other share a record.
            group = engine.journal.put(state.number, engine.producer, sequence, entries[0])
        else:
            group = engine.journal.put_many(
                state.number, engine.producer, sequence, entries, size if plain else None
            )
        if group is None:
            state.publish(entries)
            lane = self._lane
            if lane.getters or lane.selectors:
                lane.wake_getters(len(entries))
            if entries[0][4] is not None:
                engine.schedule(lane)
        return group

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

    async def put_one_waiting(
        self,
        kind: int,
        body: bytes,
        headers: bytes,
        traits: Traits | None,
        timeout_s: float | None,
    ) -> tuple[int, Group | None]:
        """`put_one`, waiting in line for room. Raises: as `put_many_waiting`."""
        return await self._put_waiting(
            lambda: self.put_one(kind, body, headers, traits),
            1,
            len(body) + len(headers),
            timeout_s,
        )

    async def put_many_waiting(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes,
        traits: Traits | None,
        timeout_s: float | None,
    ) -> tuple[int, Group | None]:
        """`put_many`, waiting in line for room.

        Raises:
            QueueFull: the policy rejects, or the queue could never hold it.
            QueueShutDown: the handle was shut down.
            TimeoutError: no room within ``timeout_s`` seconds; nothing was stored.
            StorageFull, StorageFailed, BrokerClosed: see `posthouse.errors`.
        """
        return await self._put_waiting(
            lambda: self.put_many(kinds, bodies, headers, traits),
            len(bodies),
            sum(map(len, bodies)) + len(bodies) * len(headers),
            timeout_s,
        )

    async def _put_waiting(
        self,
        attempt: Callable[[], tuple[int, Group | None] | None],
        count: int,
        size: int,
        timeout_s: float | None,
    ) -> tuple[int, Group | None]:
        self.check_open()
        state = self._state
        need = size + count * (PUT_OVERHEAD_BYTES + MOST_TRAITS_BYTES)
        if timeout_s is not None:
            check_seconds("timeout", timeout_s)
        self._check_line(count, size)

        async def try_it() -> tuple[int, Group | None] | None:
            lane = self._lane
            while True:
                self.check_open()
                if need > self._engine.journal.room:
                    await self._engine.journal.make_room(need)
                    continue
                # The verbs refuse while there is a line, and this is its head.
                lane.line = False
                try:
                    placed = attempt()
                finally:
                    lane.line = True
                if placed is not None:
                    return placed
                if not state.fits(count, size):
                    # The policy may be another one by now.
                    self._check_line(count, size)
                    return None

        async with asyncio.timeout(timeout_s):
            return await in_line_async(self._lane, try_it)

    def put_refusal(self, count: int, size_bytes: int) -> Exception:
        """What a put that may not wait should raise, when one for now returned None."""
        failure = self._engine.journal.failure
        if failure is not None:
            return type(failure)(*failure.args)
        return self._full()

    def _make_way(self, count: int, size_bytes: int) -> bool:
        """Drop the oldest for a put of this size, if the policy says so and it then fits."""
        state = self._state
        if state.policy.overflow != "drop_oldest" or not state.could_fit(count, size_bytes):
            return False
        engine = self._engine
        engine.check_settle_room(settle_bytes(state.waiting()))
        records = engine.state.drop_oldest(state, count, size_bytes)
        for record in records:
            engine.keep([record])
        return bool(records)

    def _check_line(self, count: int, size_bytes: int) -> None:
        state = self._state
        if not state.could_fit(count, size_bytes):
            raise QueueFull(
                f"queue {state.name!r} can never hold this: {count:,} messages of "
                f"{size_bytes:,} bytes; its limits are {state.policy.max_messages} messages, "
                f"{state.max_bytes:,} bytes"
            )
        self._check_stopped()
        if state.policy.overflow == "reject" and not state.fits(count, size_bytes):
            raise self._full()

    def put_step(self, kind: int, body: bytes, headers: bytes, traits: Traits | None) -> PutStep:
        """A put as a transaction's step. Raises MessageTooLarge, QueueShutDown."""
        if len(body) + len(headers) > self._most_body:
            self._check_size(body, headers)
        traits = self._complete(traits)
        return PutStep(self._state, kind, body, headers, traits)
