"""Taking: leases now, or set aside for an iterator."""

from __future__ import annotations

import asyncio
from threading import get_ident

from posthouse.core.leases import BatchLease
from posthouse.core.orders import rank_of
from posthouse.core.pages import PAGE_MESSAGES
from posthouse.engine import wrong_loop
from posthouse.errors import PosthouseError, QueueEmpty, QueueShutDown
from posthouse.model import check_seconds
from posthouse.records import Entry
from posthouse.session.base import shut_down_error
from posthouse.session.deep import DeepPort
from posthouse.session.feed import EngineFeed


class TakePort(DeepPort):
    """The verbs of consumers."""

    def take_one(self, timeout_ns: int) -> tuple[int, Entry, int] | None:
        """Lease the next message: (token, entry, attempts); None if none waits in memory.

        ``timeout_ns`` 0 is the queue's visibility timeout.
        """
        if get_ident() != self._thread:
            wrong_loop()
        state = self._state
        if (state.pages is not None or state.cold is not None) and not self._read_ahead():
            return None
        if not (state.ready or state.returned or state.rich or self._take_back()) or (
            not self._may_take
        ):
            return None
        engine = self._engine
        timeout_ns = timeout_ns or state.timeout_ns
        taken = state.take_one(engine.tick_ns or engine.tick(), timeout_ns, self._holder)
        if taken is None and self._take_back():
            taken = state.take_one(engine.tick_ns or engine.tick(), timeout_ns, self._holder)
        if taken is None:
            engine.schedule(self._lane)  # a limit may let it be taken later
            return None
        journal = engine.journal
        if not journal.instant:
            journal.delivered_one(state.number, rank_of(taken[1]), taken[2])
        lane = self._lane
        if state.rich is not None:
            engine.stir(lane)
        elif state.next_deadline_ns < lane.scheduled_ns:
            engine.schedule(lane)
        return taken

    def take_many(
        self, most: int, most_bytes: int, timeout_ns: int
    ) -> tuple[int, BatchLease] | None:
        """Lease up to ``most`` messages under one token; None if none is waiting."""
        if get_ident() != self._thread:
            wrong_loop()
        state = self._state
        if (state.pages is not None or state.cold is not None) and not self._read_ahead(most):
            return None
        if not (state.ready or state.returned or state.rich or self._take_back()) or (
            not self._may_take
        ):
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
            engine.schedule(self._lane)  # a limit may let it be taken later
            return None
        journal = engine.journal
        if not journal.instant:
            lease = taken[1]
            # `rank_of`, inline: most have no traits.
            ranks = [e[0] if e[4] is None else rank_of(e) for e in lease.entries]
            journal.delivered(state.number, ranks, lease.attempts or 1)
        lane = self._lane
        if state.rich is not None:
            engine.stir(lane)
        elif state.next_deadline_ns < lane.scheduled_ns:
            engine.schedule(lane)
        return taken

    def take_one_from_disk(self, timeout_ns: int) -> tuple[int, Entry, int] | None:
        """`take_one`, but what comes next is read here and now if it is on disk only. Blocks."""
        taken = self.take_one(timeout_ns)
        while taken is None and self._waits_for_disk() and self._state.read_next():
            taken = self.take_one(timeout_ns)
        return taken

    def _waits_for_disk(self) -> bool:
        """Whether a take only waits for what has to be read."""
        state = self._state
        if not self._may_take or not state.dry:
            return False
        return state.rich is None or state.available(self._engine.now_ns())

    async def _read_in(self) -> None:
        """Return when what comes next is in memory, or is waited for because of a limit."""
        pager = self._engine.pager
        while pager is not None and self._waits_for_disk():
            pager.ahead(self._lane)
            arrival = pager.arrival(self._lane)
            if arrival is None:
                return
            await arrival
            self._check_stopped()

    async def take_one_waiting(
        self, lease_ns: int, timeout_s: float | None
    ) -> tuple[int, Entry, int]:
        """`take_one`, waiting for a message. Raises: as `readable`, and TimeoutError."""
        if timeout_s is not None:
            check_seconds("timeout", timeout_s)
            if timeout_s == 0:
                # What is there now is asked for, and it may be on disk.
                await self._read_in()
                taken = self.take_one(lease_ns)
                if taken is not None:
                    return taken
            async with asyncio.timeout(timeout_s):
                return await self.take_one_waiting(lease_ns, None)
        while True:
            await self.readable()
            taken = self.take_one(lease_ns)
            if taken is not None:
                return taken

    async def take_many_waiting(
        self, most: int, most_bytes: int, lease_ns: int, timeout_s: float | None
    ) -> tuple[int, BatchLease]:
        """`take_many`, waiting for a message. Raises: as `readable`, and TimeoutError."""
        if timeout_s is not None:
            check_seconds("timeout", timeout_s)
        if timeout_s == 0:
            # What is there now is asked for, and it may be on disk.
            await self._read_in()
            await self._bring_in(min(most, PAGE_MESSAGES))
            taken = self.take_many(most, most_bytes, lease_ns)
            if taken is not None:
                return taken
        async with asyncio.timeout(timeout_s):
            while True:
                await self.readable()
                await self._bring_in(min(most, PAGE_MESSAGES))
                taken = self.take_many(most, most_bytes, lease_ns)
                if taken is not None:
                    return taken

    def reserve(self, most: int, most_bytes: int) -> list[Entry]:
        """Set messages aside for an iterator, in memory only: no lease, no attempt yet.

        The iterator takes them off the list, which is shared: what another consumer needs
        meanwhile is taken off its beginning.
        """
        if get_ident() != self._thread:
            wrong_loop()
        if not self._may_take:
            return []
        engine = self._engine
        state = self._state
        if (state.pages is not None or state.cold is not None) and not self._read_ahead():
            return []
        if state.rich is not None:
            most = min(most, state.rich.prefetch)
        now_ns = engine.tick_ns or engine.tick()
        entries = state.pop_many(most, most_bytes, now_ns)
        if not entries and self._take_back():
            entries = state.pop_many(most, most_bytes, now_ns)
        if entries:
            state.reserved += len(entries)
            self._lane.reservations.append(entries)
        if state.rich is not None:
            engine.stir(self._lane)
        return entries

    def lease_reserved(self, entry: Entry) -> tuple[int, Entry, int]:
        """Deliver a reserved message: (token, entry, attempts).

        Raises QueueShutDown if the handle was shut down at once; it is still reserved then.
        """
        if get_ident() != self._thread:
            wrong_loop()
        if not self._may_take:
            raise shut_down_error(self._state.name)
        state = self._state
        engine = self._engine
        now_ns = engine.tick_ns or engine.tick()
        state.reserved -= 1
        taken = state.lease_one(entry, now_ns, state.timeout_ns, self._holder)
        journal = engine.journal
        if not journal.instant:
            journal.delivered_one(state.number, rank_of(entry), taken[2])
        lane = self._lane
        if state.rich is not None:
            engine.stir(lane)
        elif state.next_deadline_ns < lane.scheduled_ns:
            engine.schedule(lane)
        return taken

    def restore(self, entries: list[Entry]) -> None:
        """Put reserved messages back in their places, off the list that `reserve` returned."""
        count = len(entries)
        self._state.reserved -= count
        self._state.restore(entries)
        entries.clear()
        self._lane.wake_getters(count)

    def _read_ahead(self, most: int = 1) -> bool:
        """Let what is on disk be read before it is needed; whether the next ones are in memory.

        Where the order is more than first in, first out, as many as are asked for: what else
        comes next may be kept back by its key.
        """
        pager = self._engine.pager
        if pager is not None:
            pager.ahead(self._lane)
        state = self._state
        if state.dry:
            return False
        few = state.rich is not None and state.rich.stands < min(most, PAGE_MESSAGES)
        return not (few and state.outside)

    def _take_back(self) -> bool:
        """Nothing waits: put back half of what the fullest iterator has set aside, if any has.

        Else a consumer would wait beside messages that a slow iterator is far from needing; or
        for ever, where a cancelled task's traceback keeps its iterator alive.
        """
        state = self._state
        if not state.reserved or state.ready or state.returned or state.pages is not None:
            return False
        if state.rich is not None and state.available(self._engine.now_ns()):
            return False
        lane = self._lane
        lane.reservations = [entries for entries in lane.reservations if entries]
        if not lane.reservations:
            return False
        fullest = max(lane.reservations, key=len)
        count = (len(fullest) + 1) // 2
        self.restore(fullest[:count])
        # Its end is what the iterator takes next.
        del fullest[:count]
        return True

    def take_refusal(self) -> Exception:
        """What a get that may not wait should raise, when one for now returned None."""
        try:
            self._check_takes()
        except (PosthouseError, QueueShutDown) as error:
            return error
        return QueueEmpty(f"queue {self._state.name!r} has no message waiting")

    def feed(self, most: int, most_bytes: int) -> EngineFeed:
        """What an iterator draws from; sets aside up to so much."""
        return EngineFeed(self, most, most_bytes)

    def _check_takes(self) -> None:
        if self._most_body >= 0 or not self._may_take or self._state.waiting() <= 0:
            self.check_open()
        else:
            self._check_stopped()

    async def readable(self) -> None:
        """Return when a message may be waiting.

        Raises:
            QueueShutDown: the handle was shut down, at once or with nothing waiting any more.
            StorageFailed, BrokerClosed, ForkedProcess: the broker has stopped.
        """
        if not self._may_be_there():
            await self._lane.readable()

    def arrival(self) -> asyncio.Future[None] | None:
        """`readable` for who waits with no task: done when a message may be waiting.

        None: one may be now. `depart` when it is not waited for any more. Raises: as `readable`.
        """
        return None if self._may_be_there() else self._lane.getter()

    def depart(self, arrival: asyncio.Future[None]) -> None:
        """Give up an `arrival`; a message that it was for is another's."""
        self._lane.depart(arrival)

    def _may_be_there(self) -> bool:
        """Whether a message was read from disk since the caller looked."""
        self._check_takes()
        state = self._state
        if state.pages is not None or state.cold is not None:
            self._read_ahead()
        rich, engine = state.rich, self._engine
        # By the time that a take looks at: else one of them would say yes and the other no, for
        # as long as the turn of the loop lasts.
        return bool(
            state.ready
            or (
                rich is not None
                and rich.stands
                and not state.dry
                and state.available(engine.tick_ns or engine.tick())
            )
        )
