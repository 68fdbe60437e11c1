"""One queue, as one holder uses it: all verbs, and the queue as a whole.

A port is what a backend hands to the asyncio face. Its hot verbs are synchronous: they do
everything in one step, or change nothing and say so by returning None, and the face then takes
the waiting form.
"""

from __future__ import annotations

from itertools import islice

from posthouse.core import selecting
from posthouse.core.orders import rank_of
from posthouse.core.paged import settling_runs
from posthouse.core.pages import PAGE_MESSAGES
from posthouse.journal.format import SETTLE_BYTES
from posthouse.model import QueuePolicy, QueueStats
from posthouse.records import Entry
from posthouse.session.base import MOVE_BYTES, RECORD_BYTES, shut_down_error
from posthouse.session.find import FindPort
from posthouse.session.put import PutPort
from posthouse.session.settle import SettlePort, settle_bytes
from posthouse.session.take import TakePort


class Port(PutPort, TakePort, SettlePort, FindPort):
    """All verbs of one queue."""

    def now_ns(self) -> int:
        """The broker's time, nanoseconds since the epoch."""
        return self._engine.now_ns()

    def live(self) -> int:
        """Messages in the queue: waiting, delayed and in flight (and on their way in)."""
        return self._state.live

    def waiting(self) -> int:
        """Messages that may be delivered now."""
        return self._state.waiting() + self._state.reserved

    def is_full(self) -> bool:
        """Whether a put of an empty message would have to wait."""
        return not self._state.fits(1, 0)

    def policy(self) -> QueuePolicy:
        """The queue's settings as they are now."""
        return self._state.policy

    async def stats(self) -> QueueStats:
        """The queue's figures."""
        self._check_stopped()
        return self._engine.state.stats(self._state, self._engine.now_ns())

    async def peek(self, most: int) -> list[tuple[Entry, int]]:
        """The next messages in order, untouched: (entry, attempts so far)."""
        self._check_stopped()
        state = self._state
        if state.rich is None:
            entries = [entry for _, entry in sorted(state.returned)[:most]]
            entries += [entry for entry, _ in zip(state.ready, range(most), strict=False)]
            entries += await self._next_on_disk(most - len(state.ready))
            entries.sort(key=rank_of)
        else:
            entries = await self._whole(list(islice(state.rich.known(), most)))
            if state.outside:
                entries += await self._next_on_disk(most)
                entries.sort(key=selecting.order_key(state))
        return [(entry, state.attempts.get(rank_of(entry), 0)) for entry in entries[:most]]

    async def purge(self) -> int:
        """Settle everything that waits or is delayed, durably: how many."""
        engine = self._engine
        engine.check_loop()
        state = self._state
        paged = settling = 0
        if state.pages is not None:
            paged = state.pages.count
            settling = SETTLE_BYTES * len(settling_runs(state.pages))
        engine.check_settle_room(settle_bytes(state.live - paged) + settling)
        for entries in self._lane.reservations:
            self.restore(entries)
        count, records = engine.state.purge(state)
        for record in records:
            # Not all in one frame: it need not happen at once, and may be long.
            engine.keep([record])
        self._lane.left()
        if records:
            await self._settled()
        return count

    async def redrive(self, most: int) -> int:
        """Put dead letters back where they died, durably: how many.

        Raises:
            StorageFull: there is no room to write that down; nothing was done.
        """
        engine = self._engine
        engine.check_loop()
        # As many as there is room for: it goes on from there when the next commit gave more.
        most = min(most, max(engine.journal.settle_room // MOVE_BYTES, 1))
        state = self._state
        if state.cold is not None and state.outside:
            most = min(most, PAGE_MESSAGES)
            await self._bring_in(most)
        engine.check_settle_room(MOVE_BYTES * most)
        count, records = engine.state.redrive(state, most, engine.now_ns())
        while not count and state.rich is not None and state.cold is not None and state.outside:
            # Letters whose way back is not known stand before the others.
            await self._bring_in(state.rich.stands + PAGE_MESSAGES)
            count, records = engine.state.redrive(state, most, engine.now_ns())
        engine.keep_in_parts(records)
        await self._settled()
        return count

    async def bind(self, topic: str, pattern: str) -> None:
        """Let a topic's messages come here, durably.

        Raises:
            StorageFull: there is no room to write that down; nothing was done.
        """
        engine = self._engine
        engine.check_loop()
        engine.check_settle_room(RECORD_BYTES + 4 * (len(topic) + len(pattern)))
        records = engine.state.bind(topic, self._state, pattern)
        if records:
            engine.keep(records)
        await self._settled()

    async def unbind(self, topic: str, pattern: str) -> None:
        """End a binding, durably. Raises: as `bind`."""
        engine = self._engine
        engine.check_loop()
        engine.check_settle_room(RECORD_BYTES + 4 * (len(topic) + len(pattern)))
        records = engine.state.unbind(topic, self._state, pattern)
        if records:
            engine.keep(records)
        await self._settled()

    async def _settled(self) -> None:
        group = self._engine.journal.last_group()
        if group is not None:
            await self.durable(group)

    async def joined(self) -> None:
        """Return when the queue holds nothing."""
        self._check_stopped()
        self._engine.check_loop()
        await self._lane.joined()

    def shut_down(self, *, immediate: bool) -> None:
        """Refuse puts from now on; gets too when ``immediate``, else once nothing waits."""
        lane = self._lane
        self._most_body = -1
        if immediate:
            self._may_take = False
        lane.shut = shut_down_error(self._state.name)
        # Who joins waits for the end of what is there: a shutdown does not keep it from coming.
        # So do getters that a limit or a key keeps from what waits.
        done = immediate or self._state.waiting() <= 0
        lane.fail(lane.shut, joiners=immediate, getters=done)
        # The others look again: some find a message, some that another was faster.
        lane.wake_getters(len(lane.getters) + len(lane.selectors))
