"""Taking: leases now, or set aside for an iterator."""

from __future__ import annotations

import asyncio
from threading import get_ident

from posthouse.core.leases import BatchLease
from posthouse.core.orders import rank_of
from posthouse.engine import wrong_loop
from posthouse.errors import PosthouseError, QueueEmpty, QueueShutDown
from posthouse.model import check_seconds
from posthouse.records import Entry
from posthouse.session.base import PortBase, shut_down_error
from posthouse.session.feed import EngineFeed


class TakePort(PortBase):
    """The verbs of consumers."""

    def take_one(self, timeout_ns: int) -> tuple[int, Entry, int] | None:
        """Lease the next message: (token, entry, attempts); None if none is waiting.

        ``timeout_ns`` 0 is the queue's visibility timeout.
        """
        if get_ident() != self._thread:
            wrong_loop()
        state = self._state
        if state.pages is not None:
            self._read_ahead()
            if state.dry:
                # Here and now, for `get_nowait` comes this way too: one page, of a cold queue.
                state.read_next()
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
        if state.pages is not None and not self._read_ahead():
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
            ranks = [rank_of(entry) for entry in lease.entries]
            journal.delivered(state.number, ranks, lease.attempts or 1)
        lane = self._lane
        if state.rich is not None:
            engine.stir(lane)
        elif state.next_deadline_ns < lane.scheduled_ns:
            engine.schedule(lane)
        return taken

    async def take_one_waiting(
        self, lease_ns: int, timeout_s: float | None
    ) -> tuple[int, Entry, int]:
        """`take_one`, waiting for a message. Raises: as `readable`, and TimeoutError."""
        if timeout_s is not None:
            check_seconds("timeout", timeout_s)
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
        if timeout_s == 0 and self._state.dry:
            # What is there now is asked for, and it may be on disk.
            self._state.read_next()
            taken = self.take_many(most, most_bytes, lease_ns)
            if taken is not None:
                return taken
        async with asyncio.timeout(timeout_s):
            while True:
                await self.readable()
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
        if state.pages is not None and not self._read_ahead():
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

    def _read_ahead(self) -> bool:
        """Let what is on disk be read before it is needed; whether the next one is in memory."""
        pager = self._engine.pager
        if pager is not None:
            pager.ahead(self._lane)
        return not self._state.dry

    def _take_back(self) -> bool:
        """Nothing waits: put back half of what the fullest iterator has set aside, if any has.

        Else a consumer would wait beside messages that a slow iterator is far from needing; or
        for ever, where a cancelled task's traceback keeps its iterator alive.
        """
        state = self._state
        if not state.reserved or state.ready or state.returned or state.pages is not None:
            return False
        if state.rich is not None and state.rich.available(self._engine.now_ns()):
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
        self._check_takes()
        state = self._state
        if state.pages is not None:
            self._read_ahead()
        if state.ready:
            return  # read from disk since the caller looked
        await self._lane.readable()
