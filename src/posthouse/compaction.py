"""Writing again what lives in the oldest segment, so that the segment can go.

Invariants:
    1. What lives, and as what, is decided in the step of the loop that appends the copy; so a
       settlement stands in the log behind the copy, or there is no copy.
    2. A segment goes the usual way, when nothing in it lives: a copy counts only when it is
       durable (`LiveTable.carry`).
    3. A page tells the new place only then, and only of what still waits there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from functools import partial
from operator import attrgetter
from typing import Final, TypeVar

from posthouse.core.carrying import Row, carried, parts_in_memory
from posthouse.core.cold import Cold
from posthouse.core.pages import Page, Run
from posthouse.core.places import Placed
from posthouse.core.queue import QueueState
from posthouse.core.state import BrokerState
from posthouse.core.waiting import size_of
from posthouse.errors import PosthouseError, StorageFull
from posthouse.journal.codec import size_bound
from posthouse.journal.format import PUT_OVERHEAD_BYTES
from posthouse.journal.group import Group
from posthouse.journal.rounds import Rounds, Usage
from posthouse.lane import Lane
from posthouse.paging import Pager, read_into
from posthouse.records import Entry, Put, Record

STEP_MESSAGES: Final = 1_000
STEP_BYTES: Final = 256 * 1024
SCAN_MESSAGES: Final = 2_000
"""Looked at in one turn of the loop, about; where none of them lives in the segment."""
LOOK_EVERY: Final = 256
AGAIN_S: Final = 1.0
"""A segment of which little lives is looked at again after so long, if that was becoming less."""
RETURNED_BYTES: Final = 24
MESSAGE_BYTES: Final = 32
"""About what a message takes in the log beyond its body and headers."""

_SIZE_BYTES: Final = attrgetter("size_bytes")

T = TypeVar("T")
logger = logging.getLogger("posthouse.log")


class Compactor:
    """Looks whether there is need: after so many commits, where a segment was begun, and when the
    log falls idle. Works in a task of its own.
    """

    def __init__(
        self,
        state: BrokerState,
        pager: Pager,
        lanes: dict[int, Lane],
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._state = state
        self._pager = pager
        self._journal = pager.journal
        self._lanes = lanes
        self._loop = loop
        self._task: asyncio.Task[None] | None = None
        self._stopped = self._journal.options.compact_bytes_s == 0
        self._step_bytes = min(STEP_BYTES, self._journal.options.segment_bytes // 16)
        self._rounds = Rounds(self._journal.options, self._journal.live, self._usage)
        self._seen = 0
        self._again: asyncio.TimerHandle | None = None
        self._journal.on_turn = self.look

    def committed(self) -> None:
        """A group is durable: look now and then."""
        self._seen += 1
        if self._seen >= LOOK_EVERY:
            self.look()

    def look(self) -> None:
        """Begin to work if there is need."""
        self._seen = 0
        if self._stopped:
            return
        self._rounds.look()
        self._rounds.keep_spares(self._journal.keep_spares)
        if self._task is not None:
            return
        if self._rounds.next() is not None:
            self._task = self._loop.create_task(self._work())
        elif self._rounds.postponed and self._again is None:
            self._again = self._loop.call_later(AGAIN_S, self._look_again)

    def _look_again(self) -> None:
        self._again = None
        self.look()

    def stop(self) -> None:
        """Begin nothing more; what is under way ends at its next wait."""
        self._stopped = True
        if self._again is not None:
            self._again.cancel()
        if self._task is not None:
            self._task.cancel()

    def _usage(self) -> Usage:
        queues = self._state.queues.values()
        return self._journal.usage(
            sum(queue.size_bytes + MESSAGE_BYTES * queue.live for queue in queues)
        )

    async def _work(self) -> None:
        try:
            while (segment := self._rounds.next()) is not None and not self._stopped:
                before = self._journal.live.live_in(segment)
                await self._compact(segment)
                if self._journal.live.live_in(segment) >= before:
                    return  # what is left is on its way to another place: later
        except StorageFull:
            logger.info("compaction waits for room on the disk")
        except PosthouseError:
            return  # the journal has stopped, and has said so
        except Exception:
            logger.exception("compaction failed; it is tried again later")
        finally:
            self._task = None

    async def _compact(self, segment: int) -> None:
        for queue in list(self._state.queues.values()):
            if queue.live:
                await self._pages_of(queue, segment)
                await self._cold_of(queue, segment)
                await self._memory_of(queue, segment)

    async def _pages_of(self, queue: QueueState, segment: int) -> None:
        for page in [page for page in queue.pages or () if page.segment == segment]:
            entries = await self._read(queue.number, page)
            await self._make_room(_bytes_of(entries))
            if page.loaded is not None or page.segment != segment:
                continue  # it is in memory now
            attempts = queue.attempts
            rows: list[Row] = [
                (entry, attempts.get(entry[0], 0), 0, False)
                for entry in entries
                if page.holds(entry[0])
            ]
            if not rows:
                continue
            records = carried(queue.number, rows)
            group = self._append(records)
            start = len(group.records) - len(records)
            group.effects.append(partial(_relocated, page, group, start, len(records)))
            await self._durable(group, records)

    async def _cold_of(self, queue: QueueState, segment: int) -> None:
        while queue.cold is not None:
            found = _within(
                queue.cold.in_segment(segment, STEP_MESSAGES), self._step_bytes, _SIZE_BYTES
            )
            entries = {each[0]: each for each in await self._read_placed(queue.number, found)}
            await self._make_room(_bytes_of([*entries.values()]))
            cold = queue.cold
            if not entries or cold is None:
                return
            there = [now for row in found if (now := cold.now(row)) and now.segment == segment]
            if not there:
                continue  # all of these came into memory
            attempts = queue.attempts
            rows: list[Row] = [
                (
                    entries[row.id],
                    attempts.get(row.rank, 0),
                    cold.due_of(row, entries[row.id]),
                    False,
                )
                for row in there
            ]
            records = carried(queue.number, rows)
            group = self._append(records)
            start = len(group.records) - len(records)
            group.effects.append(partial(_placed_anew, cold, there, group, start, len(records)))
            await self._durable(group, records)

    async def _memory_of(self, queue: QueueState, segment: int) -> None:
        # Once more where a part was too large for a step.
        needed = 2 * self._step_bytes
        while needed:
            needed = await self._sweep(queue, segment, needed)

    async def _sweep(self, queue: QueueState, segment: int, needed: int) -> int:
        """Go through what is in memory, with room for so many bytes at every step.

        0, or the room for another sweep: not all that was found could be carried.
        """
        looked = missed = 0
        await self._make_room(needed)
        for part in parts_in_memory(queue, partial(self._reservations, queue), SCAN_MESSAGES):
            # What was carried is durable by now, and not in the segment any more.
            lives = self._journal.live.lives_in(segment)
            found = [row for row in part if lives(row[0][0])]
            rows = _within(found[:STEP_MESSAGES], self._step_bytes, lambda row: size_of(row[0]))
            looked += len(part)
            if len(rows) < len(found):
                missed = max(missed, needed)
            if rows and (size_bytes := _bytes_of([row[0] for row in rows])) > needed:
                missed = max(missed, size_bytes)
            elif rows:
                records = carried(queue.number, rows)
                await self._durable(self._append(records), records)
                looked = SCAN_MESSAGES
            if looked >= SCAN_MESSAGES:
                await asyncio.sleep(0)
                # Others had their turn; from here on to the append they have not.
                await self._make_room(needed)
                looked = 0
        return missed

    def _reservations(self, queue: QueueState) -> list[list[Entry]]:
        lane = self._lanes.get(queue.number)
        return [] if lane is None else lane.reservations

    def _append(self, records: list[Record]) -> Group:
        group = self._journal.append(*records)
        assert group is not None
        return group

    async def _read(self, number: int, page: Page) -> list[Entry]:
        if page.loaded is not None or not page.count:
            return []
        arrived: asyncio.Future[list[list[Entry]]] = self._loop.create_future()
        self._pager.fetch(number, [page], read_into(arrived))
        try:
            return (await arrived)[0]
        except (PosthouseError, OSError) as error:
            if page.loaded is None and page.count:
                self._stop_for(error)
            return []

    async def _read_placed(self, number: int, rows: list[Placed]) -> list[Entry]:
        if not rows:
            return []
        arrived: asyncio.Future[list[Entry]] = self._loop.create_future()
        self._pager.fetch_placed(number, rows, read_into(arrived))
        try:
            return await arrived
        except (PosthouseError, OSError) as error:
            self._stop_for(error)
            return []

    def _stop_for(self, error: BaseException) -> None:
        self._journal.read_failed(error)
        self._journal.refuse()

    async def _make_room(self, size_bytes: int) -> None:
        if self._journal.room < size_bytes:
            await self._journal.make_room(size_bytes, copies=True)

    async def _durable(self, group: Group, records: list[Record]) -> None:
        """Wait until the group is durable, and then as long as the rate asks for."""
        waiter: asyncio.Future[None] = self._loop.create_future()
        group.waiters.append(waiter)
        self._journal.hurry()
        await waiter
        size_bytes = sum(map(size_bound, records))
        await asyncio.sleep(size_bytes / self._journal.options.compact_bytes_s)


def _bytes_of(entries: list[Entry]) -> int:
    """The most that the records of these take."""
    if not entries:
        return 0
    return size_bound(Put(0, 0, 0, entries, True)) + (PUT_OVERHEAD_BYTES + RETURNED_BYTES) * len(
        entries
    )


def _within(rows: list[T], most_bytes: int, bytes_of: Callable[[T], int]) -> list[T]:
    """The first of them, within so many bytes; one at least."""
    total = 0
    for at, row in enumerate(rows):
        total += bytes_of(row) + PUT_OVERHEAD_BYTES
        if total > most_bytes and at:
            return rows[:at]
    return rows


def _relocated(page: Page, group: Group, start: int, count: int) -> None:
    """The copy of a page is durable: it stands there now."""
    there = Page(group.segment)
    for index in range(start, start + count):
        record = group.records[index]
        if isinstance(record, Put):
            place = record.entries[0][0], len(record.entries), group.offset, group.offsets[index]
            there.add(place, 0)
    page.relocate(there)


def _placed_anew(cold: Cold, rows: list[Placed], group: Group, start: int, count: int) -> None:
    """The copies of these are durable: they stand there now."""
    places: dict[int, Run] = {}
    for index in range(start, start + count):
        record = group.records[index]
        if isinstance(record, Put):
            for entry in record.entries:
                places[entry[0]] = entry[0], 1, group.offset, group.offsets[index]
    for row in rows:
        cold.relocate(row, group.segment, places[row.id])
