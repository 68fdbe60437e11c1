"""One queue, as one holder uses it: all verbs, and the queue as a whole.

A port is what a backend hands to the asyncio face. Its hot verbs are synchronous: they do
everything in one step, or change nothing and say so by returning None, and the face then takes
the waiting form.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from posthouse.core.orders import rank_of
from posthouse.journal.group import Group
from posthouse.model import QueuePolicy, QueueStats
from posthouse.records import Entry
from posthouse.session.base import MOST_TRAITS_BYTES, RECORD_BYTES, shut_down_error
from posthouse.session.find import FindPort
from posthouse.session.put import PutPort
from posthouse.session.settle import SettlePort, settle_bytes
from posthouse.session.take import TakePort

REDRIVE_BYTES: Final = RECORD_BYTES + MOST_TRAITS_BYTES


class Port(PutPort, TakePort, SettlePort, FindPort):
    """All verbs of one queue."""

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

    def last_group(self) -> Group | None:
        """What must be durable for all that was done so far to be; None: it is."""
        return self._engine.journal.last_group()

    def policy(self) -> QueuePolicy:
        """The queue's settings as they are now."""
        return self._state.policy

    def stats(self) -> QueueStats:
        """The queue's figures."""
        self._check_stopped()
        return self._engine.state.stats(self._state, self._engine.now_ns())

    def peek(self, most: int) -> list[tuple[Entry, int]]:
        """The next messages in order, untouched: (entry, attempts so far)."""
        self._check_stopped()
        state = self._state
        if state.rich is None:
            entries = [entry for _, entry in sorted(state.returned)[:most]]
            entries += [entry for entry, _ in zip(state.ready, range(most), strict=False)]
            entries.sort(key=rank_of)
        else:
            entries = list(islice(state.rich.entries(), most))
        return [(entry, state.attempts.get(rank_of(entry), 0)) for entry in entries[:most]]

    def purge(self) -> tuple[int, Group | None]:
        """Settle everything that waits or is delayed: (how many, what to wait for)."""
        engine = self._engine
        engine.check_loop()
        state = self._state
        engine.check_settle_room(settle_bytes(state.live))
        for entries in self._lane.reservations:
            self.restore(entries)
        count, records = engine.state.purge(state)
        group = None
        for record in records:
            # Not all in one frame: it need not happen at once, and may be long.
            group = engine.keep([record])
        self._lane.left()
        return count, group

    def redrive(self, most: int) -> tuple[int, Group | None]:
        """Put dead letters back where they died: (how many, what to wait for).

        Raises:
            StorageFull: there is no room to write that down; nothing was done.
        """
        engine = self._engine
        engine.check_loop()
        # As many as there is room for: it goes on from there when the next commit gave more.
        most = min(most, max(engine.journal.settle_room // REDRIVE_BYTES, 1))
        engine.check_settle_room(REDRIVE_BYTES * most)
        count, records = engine.state.redrive(self._state, most, engine.now_ns())
        engine.keep_in_parts(records)
        return count, engine.journal.last_group()

    def bind(self, topic: str, pattern: str) -> Group | None:
        """Let a topic's messages come here; what to wait for.

        Raises:
            StorageFull: there is no room to write that down; nothing was done.
        """
        engine = self._engine
        engine.check_loop()
        engine.check_settle_room(RECORD_BYTES + 4 * (len(topic) + len(pattern)))
        records = engine.state.bind(topic, self._state, pattern)
        return engine.keep(records) if records else engine.journal.last_group()

    def unbind(self, topic: str, pattern: str) -> Group | None:
        """End a binding; what to wait for. Raises: as `bind`."""
        engine = self._engine
        engine.check_loop()
        engine.check_settle_room(RECORD_BYTES + 4 * (len(topic) + len(pattern)))
        records = engine.state.unbind(topic, self._state, pattern)
        return engine.keep(records) if records else engine.journal.last_group()

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
