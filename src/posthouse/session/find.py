"""Finding what waits by what is in it, taking it, and acting on it as a set.

All of it looks at copies of references, in steps with turns of the loop between them; what is
taken or acted on is looked up again in the step that does it.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from heapq import merge
from itertools import accumulate, chain
from operator import itemgetter
from typing import Any, Final

from posthouse.core import acting, selecting
from posthouse.core.filters import Filter
from posthouse.core.leases import BatchLease
from posthouse.core.orders import rank_of
from posthouse.core.waiting import size_of
from posthouse.journal.format import SETTLE_BYTES
from posthouse.records import Entry, Moved, Record
from posthouse.session.base import MOVE_BYTES, RECORD_BYTES, shut_down_error
from posthouse.session.deep import DeepPort, Parts
from posthouse.session.look import Look

SCAN_MESSAGES: Final = 2_000
"""After so many messages, or bytes of bodies, a look lets the loop go on."""
SCAN_BYTES: Final = 1024 * 1024
HEAP_STEPS: Final = 32
"""Where taking messages out means looking through all, it is done in about so many batches."""
MOST_LOOKED: Final = 200_000

_ORDERS: Final[dict[str, Callable[[Entry], Any]]] = {
    "id": itemgetter(0),
    "-id": lambda entry: -entry[0],
    "priority": lambda entry: (_priority(entry), entry[0]),
    "-priority": lambda entry: (-_priority(entry), entry[0]),
}


class FindPort(DeepPort):
    """The verbs that go by content and attribute."""

    async def find(
        self, where: Filter | None, order: str, most: int, after: tuple[int, ...] | None
    ) -> tuple[list[tuple[Entry, int]], tuple[int, ...] | None]:
        """Up to ``most`` messages that wait or are delayed: (entry, attempts), and where to go on.

        ``order`` is one of `check_order`'s; ``after`` what an earlier call returned, or None.
        """
        self._check_stopped()
        self._engine.check_loop()
        state = self._state
        chosen = selecting.candidates(state, where)
        entries = selecting.everything(state)[0] if chosen is None else chosen
        for reserved in self._lane.reservations:
            entries += reserved
        key = _ORDERS[order]
        start: Any = None
        if after is not None:
            start = after if "priority" in order else after[0]
        backwards = order.startswith("-")
        disk = self._on_disk(key, start, backwards=backwards, known=entries)
        found: list[tuple[Entry, int]] = []
        async for entry in self._looked_through(where, entries, key, start, disk=disk):
            found.append((entry, state.attempts.get(rank_of(entry), 0)))
            if len(found) == most:
                last = key(entry)
                return found, last if isinstance(last, tuple) else (last,)
        return found, None

    async def _looked_through(
        self,
        where: Filter | None,
        entries: list[Entry],
        key: selecting.Key,
        start: Any = None,
        *,
        disk: Sequence[Parts] = (),
        skip: set[int] | None = None,
    ) -> AsyncIterator[Entry]:
        """What matches of messages in memory and on disk, by the key (None: as they are).

        Lets the loop have its turn after each step's work. What is on disk comes by the key.
        """
        memory = selecting.in_steps(entries, key, start)
        order = key or rank_of
        sources: list[tuple[Parts, list[Entry]]] = [(source, []) for source in disk]
        while sources:
            filled = [(source, part or await anext(source, [])) for source, part in sources]
            sources = [(source, part) for source, part in filled if part]
            if not sources:
                break
            # Up to here everything is known of all of them.
            last = min(order(part[-1]) for _, part in sources)
            before: list[Entry] = []
            for entry in memory:
                if entry is None:
                    await self._pause()
                elif order(entry) > last:
                    memory = chain((entry,), memory)
                    break
                else:
                    before.append(entry)
            cuts = [bisect_right(part, last, key=order) for _, part in sources]
            parts = [part[:cut] for (_, part), cut in zip(sources, cuts, strict=True)]
            sources = [(each[0], each[1][cut:]) for each, cut in zip(sources, cuts, strict=True)]
            both: Iterator[Entry] = merge(before, *parts, key=order)
            for entry in self._matching(where, both, skip):
                if entry is None:
                    await self._pause()
                else:
                    yield entry
        for entry in self._matching(where, memory, skip):
            if entry is None:
                await self._pause()
            else:
                yield entry

    def _matching(
        self,
        where: Filter | None,
        entries: Iterable[Entry | None],
        skip: set[int] | None = None,
    ) -> Iterator[Entry | None]:
        """What matches, and a None after each step's work: the loop must have its turn then.

        ``skip``: ranks known not to match; it grows.
        """
        look = Look()
        attempts = self._state.attempts
        reads = where is not None and "body" in where.roots
        left, left_bytes = SCAN_MESSAGES, SCAN_BYTES
        for entry in entries:
            if entry is None:
                left -= SCAN_MESSAGES // 4
            else:
                left -= 1
                rank = rank_of(entry)
                if skip is None or rank not in skip:
                    if where is not None:
                        look.at(entry, attempts.get(rank, 0) if attempts else 0)
                        left_bytes -= len(entry[2]) if reads else 0
                    if where is None or where.matches(look):
                        yield entry
                    elif skip is not None and len(skip) < MOST_LOOKED:
                        skip.add(rank)
            if left <= 0 or left_bytes <= 0:
                yield None
                left, left_bytes = SCAN_MESSAGES, SCAN_BYTES

    # acting

    async def delete(self, where: Filter | None) -> int:
        """Settle, durably, all that waits or is delayed and matches; how many."""
        return await self._act(
            where, lambda found: acting.delete(self._state, found), 2 * SETTLE_BYTES
        )

    async def delay(self, where: Filter | None, delay_ns: int) -> int:
        """Let it wait so long from now on (0: no longer), durably; how many."""
        engine = self._engine

        def act(found: acting.Found) -> list[Record]:
            due_ns = engine.now_ns() + delay_ns if delay_ns else 0
            return acting.delay(self._state, found, due_ns)

        return await self._act(where, act, RECORD_BYTES, again=True)

    async def move(self, where: Filter | None, target: str) -> int:
        """Move it to the end of another queue, which is there; durably; how many."""
        engine, state = self._engine, self._state
        other = engine.declare(target, None)

        def act(found: acting.Found) -> list[Record]:
            return acting.move(engine.state, state, other.state, found, engine.now_ns())

        return await self._act(where, act, MOVE_BYTES)

    async def redrive_found(self, where: Filter | None) -> int:
        """Put those dead letters back where they died; how many. Others stay."""
        engine, state = self._engine, self._state

        def act(found: acting.Found) -> list[Record]:
            return acting.redrive(engine.state, state, found, engine.now_ns())

        def may(entry: Entry) -> bool:
            return acting.origin_of(engine.state, state, entry) is not None

        return await self._act(where, act, MOVE_BYTES, may)

    async def _act(
        self,
        where: Filter | None,
        act: Callable[[acting.Found], list[Record]],
        each_bytes: int,
        may: Callable[[Entry], bool] | None = None,
        *,
        again: bool = False,
    ) -> int:
        """Act on all that matches, in batches, and wait until the last one is durable.

        Raises:
            StorageFull: there is no room to write that down; what was done is done.
        """
        engine, state = self._engine, self._state
        self._check_stopped()
        engine.check_loop()
        self._put_back_reserved()
        chosen = selecting.candidates(state, where)
        if chosen is None:
            entries, key = selecting.everything(state)
        else:
            entries, key = chosen, selecting.order_key(state)
        batch: list[Entry] = []
        done = 0
        disk = self._on_disk(key or rank_of, known=entries)
        async for entry in self._looked_through(where, entries, key, disk=disk):
            if may is None or may(entry):
                batch.append(entry)
            if len(batch) > SCAN_MESSAGES // 4 and len(batch) > self._batch(again=again):
                done += await self._act_on(batch, act, each_bytes, again=again)
                batch = []
        done += await self._act_on(batch, act, each_bytes, again=again)
        group = engine.journal.last_group()
        if done and group is not None:
            await self.durable(group)
        return done

    def _batch(self, *, again: bool) -> int:
        """How many to act on at once, at least: few where each time costs little."""
        state = self._state
        if state.rich is not None and state.rich.index is not None and not again:
            return 0
        if state.rich is not None:
            searched = state.waiting() - state.outside + len(state.delayed)
        else:
            searched = len(state.returned) + len(state.delayed)
        return searched // HEAP_STEPS

    async def _act_on(
        self,
        batch: list[Entry],
        act: Callable[[acting.Found], list[Record]],
        each_bytes: int,
        *,
        again: bool,
    ) -> int:
        engine = self._engine
        done = 0
        while batch:
            # As many as there is room for: it goes on from there when the next commit gave more.
            most = max(engine.journal.settle_room // (2 * each_bytes), 1)
            part, batch = batch[:most], batch[most:]
            engine.check_settle_room(each_bytes * len(part) + RECORD_BYTES)
            found = selecting.withdraw(self._state, part, again=again)
            records = act(found)
            engine.keep_in_parts(records)
            for number in {record.target for record in records if isinstance(record, Moved)}:
                engine.lane(number).wake_getters(len(records))
                engine.schedule(engine.lane(number))
            done += len(found)
            group = engine.journal.last_group()
            if batch and group is not None:
                await self.durable(group)
        return done

    def _put_back_reserved(self) -> None:
        # As much as it waits: what an iterator has set aside comes back to its place, and the
        # iterator sets aside anew what is there then.
        lane, state = self._lane, self._state
        reservations = [entries for entries in lane.reservations if entries]
        for entries in reservations:
            count = len(entries)
            state.reserved -= count
            state.restore(entries)
            entries.clear()
            lane.wake_getters(count)

    # taking

    async def select(
        self,
        where: Filter,
        most: int,
        most_bytes: int,
        lease_ns: int,
        timeout_s: float | None,
    ) -> tuple[int, BatchLease]:
        """Lease up to ``most`` messages that match, under one token; waits for the first.

        In the queue's order; what stands behind its key, or is held up by a limit, is passed over.
        What waits is looked through once at least, however little time there is.

        Raises:
            TimeoutError: none came within ``timeout_s`` (None: for ever).
            QueueShutDown: the handle was shut down (and nothing that waits matches).
            StorageFailed, BrokerClosed, ForkedProcess: the broker has stopped.
        """
        # A message never comes to match: of what it is only the count of its attempts changes.
        skip: set[int] | None = None if "attempts" in where.roots else set()
        loop = self._loop
        until = None if timeout_s is None else loop.time() + timeout_s
        while True:
            self._check_stopped()
            self._engine.check_loop()
            self._put_back_reserved()
            arrival = self._lane.next_arrival()
            try:
                taken = await self._select_now(where, most, most_bytes, lease_ns, skip)
                if taken is not None:
                    return taken
                self.check_open()
                if until is not None and loop.time() >= until:
                    raise TimeoutError
                async with asyncio.timeout_at(until):
                    await arrival
            finally:
                arrival.cancel()

    async def _select_now(
        self, where: Filter, most: int, most_bytes: int, lease_ns: int, skip: set[int] | None
    ) -> tuple[int, BatchLease] | None:
        state = self._state
        if state.rich is not None and not state.available(self._engine.now_ns()):
            self._engine.schedule(self._lane)
            return None
        for entries, key, disk in self._parts(where):
            wanted: list[Entry] = []
            part = self._looked_through(where, entries, key, disk=disk, skip=skip)
            async for entry in part:
                wanted.append(entry)
                if len(wanted) >= most:
                    taken = self._take_of(wanted, most_bytes, lease_ns)
                    if taken is not None:
                        return taken
                    wanted = []
            # From the head alone a batch may be smaller than it could be; it is there at once.
            taken = self._take_of(wanted, most_bytes, lease_ns)
            if taken is not None:
                return taken
        return None

    def _parts(self, where: Filter) -> Iterator[tuple[list[Entry], selecting.Key, list[Parts]]]:
        """What to look through for `select`, in order, part by part."""
        state = self._state
        chosen = selecting.candidates(state, where)
        if chosen is not None:
            yield chosen, selecting.order_key(state), []
            return
        # The head first: most of the time that is enough, and no copy of the rest is made.
        on_disk = state.outside > 0 or self._has_stubs
        if not on_disk or (state.rich is None and not state.dry and not state.returned):
            head = selecting.next_standing(state, SCAN_MESSAGES)
            yield head, None, []
            if len(head) < SCAN_MESSAGES and not on_disk:
                return
        entries, key = selecting.standing(state)
        # What is delayed or in its key's line cannot be taken: it need not be read.
        known = [*entries]
        if state.rich is not None and self._has_stubs:
            known += state.rich.lined()
            known += (entry for _, _, entry in state.delayed)
        yield entries, key, self._on_disk(key or rank_of, delayed=False, known=known)

    @property
    def _has_stubs(self) -> bool:
        cold = self._state.cold
        return cold is not None and cold.stubs.count > 0

    def _take_of(
        self, entries: list[Entry], most_bytes: int, lease_ns: int
    ) -> tuple[int, BatchLease] | None:
        """Lease those that can still be taken, within the bytes; None if none can."""
        if not entries:
            return None
        self._check_stopped()
        if not self._may_take:
            raise shut_down_error(self._state.name)
        engine, state, lane = self._engine, self._state, self._lane
        now_ns = engine.tick_ns or engine.tick()
        sums = accumulate(map(size_of, entries))
        count = max(1, sum(total <= most_bytes for total in sums))
        chosen = selecting.take(state, entries[:count], now_ns)
        if chosen:
            taken = state.lease_many(chosen, now_ns, lease_ns or state.timeout_ns, self._holder)
            if not engine.journal.instant:
                ranks = [rank_of(entry) for entry in chosen]
                engine.journal.delivered(state.number, ranks, taken[1].attempts or 1)
            engine.stir(lane)
        engine.schedule(lane)  # for the lease; or a limit may let them be taken later
        return taken if chosen else None


def _priority(entry: Entry) -> int:
    return 0 if entry[4] is None else entry[4].priority
