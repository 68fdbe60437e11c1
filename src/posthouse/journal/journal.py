"""The journal on the loop's side: group commit over a log.

Invariants:
    1. A group's waiters are woken, and its effects told, only when it is durable; groups become
       durable in the order in which they were appended to.
    2. Put ids grow from call to call.
    3. Two records may be open for merging, a put and a settlement: they may pass each other, as
       a settlement never names a message of its own group (`_settle_below`). Every other record
       closes both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

from posthouse.clock import SystemClock
from posthouse.errors import BrokerBug, PosthouseError, UnknownOutcome
from posthouse.journal.attempts import Attempts
from posthouse.journal.codec import entries_bound, size_bound
from posthouse.journal.disk import DiskLatched
from posthouse.journal.format import (
    FLAG_CLOSED,
    FLAG_MARKER,
    FRAME_ALIGN,
    FRAME_HEADER_BYTES,
    PUT_OVERHEAD_BYTES,
    SETTLE_BYTES,
)
from posthouse.journal.group import Group
from posthouse.journal.halt import Halt
from posthouse.journal.idle import Idle, Timer
from posthouse.journal.log import Log
from posthouse.journal.options import Roll, Spare
from posthouse.journal.pipeline import Pipeline
from posthouse.journal.protocol import Journal
from posthouse.journal.ring import position_of
from posthouse.journal.room import Room
from posthouse.journal.upkeep import Upkeep
from posthouse.journal.writer import Writer
from posthouse.records import (
    Bound,
    Closed,
    Copied,
    Declared,
    Delivered,
    Entry,
    Put,
    Record,
    Settled,
)

__all__ = ["Group", "Journal", "LogJournal"]

_NONE: Final = -1
_ANY_ID: Final = 1 << 64


class LogJournal:
    """A `protocol.Journal` over an open log.

    ``call_soon`` and ``call_later`` are the loop's. ``on_commit(group)`` runs when the group is
    durable, before its waiters are woken; ``on_failure(error)`` once, when the disk fails;
    ``carry(first_id)`` gives what must be remembered of messages with lower ids, whose records are
    about to leave the log. ``snapshot()`` gives `Delivered` of all that is in flight or has attempts.
    ``close_deadline_s``: how long `close` may take, seconds.
    """

    def __init__(
        self,
        log: Log,
        writer: Writer,
        *,
        call_soon: Callable[[Callable[[], None]], object],
        call_later: Callable[[float, Callable[[], None]], Timer],
        on_commit: Callable[[Group], None],
        on_failure: Callable[[PosthouseError], None],
        snapshot: Callable[[], list[Delivered]],
        carry: Callable[[int], list[Record]] = lambda first_id: [],
        now_ns: Callable[[], int] | None = None,
        close_deadline_s: float = 30.0,
    ) -> None:
        options = log.options
        self._log = log
        self._writer = writer
        self._call_soon = call_soon
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._carry = carry
        self._snapshot = snapshot
        self._now_ns = now_ns or SystemClock().now_ns
        self._close_deadline_s = close_deadline_s
        self._group_bytes = options.group_bytes
        self._group_operations = options.group_operations
        self.instant = False
        self.failure: PosthouseError | None = None
        self._halt = Halt(log.directory)
        self._live = log.live
        self._oldest = log.oldest
        self._sequence = log.next_sequence
        self._open: Group | None = None
        self._kicked = False
        # The two records open for merging; see `_forget_open_records`.
        self._entries: list[Entry] = []
        self._put_queue = _NONE
        self._put_producer = _NONE
        self._next_producer_sequence = _NONE
        self._ids: list[int] = []
        self._settle_queue = _NONE
        self._settle_below = _ANY_ID
        self._next_id = log.last_id + 1
        disk = log.disk
        self._room = Room(
            options, disk.number, disk.size_bytes, disk.size_bytes - disk.position, log.spares
        )
        self._room.live = log.live.total
        self._room.catalog_bytes = sum(map(size_bound, log.catalog_records()))
        self._idle = Idle(options, call_later, busy=self._busy, mark=self._mark, sync=self._sync)
        self._attempts = Attempts(
            log.ring,
            position=self._position,
            append=self.append,
            settle_room=lambda: self.settle_room,
            snapshot=snapshot,
        )
        self._pipeline = Pipeline(disk, writer, self._durable, self._write_failed)
        self._upkeep = Upkeep(
            disk,
            writer,
            self._room,
            log.live,
            options,
            opened=self._open_bytes,
            changed=self._recount,
            advance=self._advance,
            failed=self._fail,
        )
        self.room = 0
        self.settle_room = 0
        self._recount()

    # Appending

    def put(self, queue: int, producer: int, sequence: int, entry: Entry) -> Group | None:
        """One message joined a queue. Its id is higher than all before."""
        message_id, _, body, headers, traits = entry
        size = len(body) + len(headers) + PUT_OVERHEAD_BYTES
        if traits is not None:
            size += len(traits.death)
        group = self._open
        if (
            message_id == self._next_id
            and queue == self._put_queue
            and sequence == self._next_producer_sequence
            and producer == self._put_producer
            and group is not None
        ):
            self._entries.append(entry)
        else:
            group = self._open_put(queue, producer, sequence, [entry])
        self._next_id = message_id + 1
        self._next_producer_sequence = sequence + 1
        self.room -= size
        self.settle_room -= size
        group.size_bytes += size
        group.operations += 1
        if group.size_bytes >= self._group_bytes or group.operations >= self._group_operations:
            self._seal()
        return group

    def put_many(
        self, queue: int, producer: int, sequence: int, entries: list[Entry]
    ) -> Group | None:
        """Messages with consecutive ids joined a queue. The list is kept, not copied."""
        if not entries:
            return self.last_group()
        size = entries_bound(entries)
        group = self._open_put(queue, producer, sequence, entries)
        self._put_queue = _NONE
        self._next_id = entries[-1][0] + 1
        self._count(group, size, len(entries))
        return group

    def settle(self, queue: int, message_id: int) -> Group | None:
        """One message left for good."""
        group = self._open
        if queue == self._settle_queue and message_id < self._settle_below and group is not None:
            self._ids.append(message_id)
            self.settle_room -= 8
            group.size_bytes += 8
            group.operations += 1
            if group.operations >= self._group_operations:
                self._seal()
            return group
        # Later settlements join it unchecked: it begins only where they all fit.
        group = self._begin(SETTLE_BYTES + self._room.margin)
        self._ids = [message_id]
        self._settle_queue = queue
        group.records.append(Settled(queue, self._ids))
        self._count(group, SETTLE_BYTES, 1)
        return group

    def settle_many(self, queue: int, ids: list[int]) -> Group | None:
        """Messages left for good. The list is kept, not copied."""
        if not ids:
            return self.last_group()
        size = SETTLE_BYTES + 8 * len(ids)
        group = self._begin(size)
        # A later settlement may still join an earlier open record: they commute.
        group.records.append(Settled(queue, ids))
        self._count(group, size, len(ids))
        return group

    def append(self, *records: Record) -> Group | None:
        """Other records, or a transaction: all of one call are in one group."""
        if not records:
            return self.last_group()
        size = sum(map(size_bound, records))
        group = self._begin(size)
        self._forget_open_records()
        for record in records:
            if isinstance(record, Put):
                self._check_ids(record.entries[0][0])
                self._next_id = record.entries[-1][0] + 1
            elif isinstance(record, Copied):
                self._check_ids(record.entry[0])
                self._next_id = record.entry[0] + 1
            elif isinstance(record, (Declared, Bound)):
                before = self._log.catalog.size_bytes
                self._log.catalog.note(record)
                self._room.catalog_bytes += self._log.catalog.size_bytes - before
            group.records.append(record)
        self._count(group, size, len(records))
        return group

    def last_group(self) -> Group | None:
        """The group that must be durable for all that was appended to be; None: it all is."""
        if self._halt.halted:
            self._halt.refuse()
        if self._open is not None:
            return self._open
        in_flight = self._pipeline.in_flight
        return in_flight[-1] if in_flight else None

    def delivered(self, queue: int, ids: list[int], attempts: list[int] | int) -> None:
        """Messages are being handed out: one ``pwrite``, and it survives the process."""
        if self._halt.halted:
            self._halt.refuse()
        if not ids:
            return
        try:
            self._attempts.write(queue, ids, attempts)
        except OSError as error:
            self._fail(error)
            self._halt.refuse()

    def _position(self) -> int:
        group = self._open
        return position_of(self._sequence, 0 if group is None else len(group.records))

    def _open_put(self, queue: int, producer: int, sequence: int, entries: list[Entry]) -> Group:
        first_id = entries[0][0]
        group = self._begin()
        self._check_ids(first_id)
        if self._settle_below == _ANY_ID:
            self._settle_below = first_id
        self._entries = entries
        self._put_queue = queue
        self._put_producer = producer
        group.records.append(Put(queue, producer, sequence, entries))
        return group

    def _check_ids(self, first_id: int) -> None:
        if first_id < self._next_id:
            raise BrokerBug(f"message id {first_id} is not higher than {self._next_id - 1}")

    def _forget_open_records(self) -> None:
        self._put_queue = _NONE
        self._settle_queue = _NONE
        self._settle_below = _ANY_ID

    def _count(self, group: Group, size: int, operations: int) -> None:
        self.room -= size
        self.settle_room -= size
        group.size_bytes += size
        group.operations += operations
        if group.size_bytes >= self._group_bytes or group.operations >= self._group_operations:
            self._seal()

    # Groups

    def _begin(self, size: int = 0) -> Group:
        """The open group; a new one if there is none, or ``size`` bytes more do not fit in it."""
        if self._halt.halted:
            self._halt.refuse()
        group = self._open
        if group is not None and size and not self._room.fits(group.size_bytes + size):
            self._seal()
            group = None
        if group is None:
            group = self._open = Group(FRAME_HEADER_BYTES + FRAME_ALIGN)
            self.room -= group.size_bytes
            self.settle_room -= group.size_bytes
            if not self._pipeline.in_flight:
                self._schedule_kick()
        return group

    def _schedule_kick(self) -> None:
        # At the end of the loop's turn: all that is put in one turn goes to disk together.
        if not self._kicked:
            self._kicked = True
            self._call_soon(self._kick)

    def _kick(self) -> None:
        self._kicked = False
        if self._open is not None and not self._pipeline.in_flight:
            self._seal(on_loop=True)
            self._upkeep.work()

    def _seal(self, *, on_loop: bool = False) -> None:
        """Give the open group its place in the log, and send it on its way."""
        group = self._open
        if group is None:
            return
        self._open = None
        self._forget_open_records()
        self._room.count(group.records)
        if not self._room.fits(group.size_bytes):
            spare = self._room.spare_for(group.size_bytes)
            if spare is not None:
                group.roll = self._roll(spare)
        self._send(group, on_loop=on_loop)

    def _send(self, group: Group, *, on_loop: bool = False) -> None:
        group.sequence = self._sequence
        group.segment = self._room.segment
        group.oldest = self._oldest
        self._sequence += 1
        self._room.take(group.size_bytes)
        self._pipeline.add(group, on_loop=on_loop)

    def _roll(self, spare: Spare) -> Roll:
        self._room.advance(spare)
        return Roll(spare, self._log.catalog_records(), self._next_id - 1)

    def _advance(self, spare: Spare) -> None:
        """Begin a new segment now, before anything is written there."""
        self._seal()
        group = Group(FRAME_HEADER_BYTES)
        group.flags = FLAG_MARKER
        group.roll = self._roll(spare)
        self._send(group)

    def _durable(self, group: Group, used: int) -> None:
        """A group is on disk."""
        self._room.settle_up(group.segment, group.size_bytes, used)
        live = self._live
        live.apply(group.segment, group.records)
        self._attempts.durable(group)
        try:
            if group.flags != FLAG_MARKER:
                self._on_commit(group)
        except Exception as error:
            self._pipeline.in_flight.appendleft(group)
            self._fail(error)
            raise
        for waiter in group.waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._advance_oldest()
        self._upkeep.reclaim(group.oldest)
        self._upkeep.work()
        if self._open is not None and not self._pipeline.in_flight:
            self._schedule_kick()
        if not group.flags:
            self._idle.committed()

    def _advance_oldest(self) -> None:
        """Segments that nothing needs may go, when what must outlive them is carried on."""
        oldest = self._live.needed_from()
        if oldest > self._oldest:
            carried = self._carry(self._live.first_id_from(oldest))
            if sum(map(size_bound, carried)) > self.settle_room:
                return
            if carried:
                # Into the open group: no later than the frame that lets the segments go.
                self.append(*carried)
            self._oldest = oldest

    def _mark(self) -> None:
        """The log is idle: say durably that all before this is on disk."""
        marker = Group(FRAME_HEADER_BYTES)
        marker.flags = FLAG_MARKER
        self._send(marker)

    def _sync(self) -> None:
        self._writer.submit(self._log.disk.sync, self._synced)

    def _synced(self, result: object, error: BaseException | None) -> None:
        if error is not None:
            self._fail(error)

    def _busy(self) -> bool:
        return self._open is not None or bool(self._pipeline.in_flight)

    # Room

    def _open_bytes(self) -> int:
        return 0 if self._open is None else self._open.size_bytes

    def _recount(self) -> int:
        """Bring ``room`` and ``settle_room`` in line with the accounts; return ``room``."""
        if not self._halt.halted:
            opened = self._open_bytes()
            self.room = max(0, self._room.for_puts(opened))
            self.settle_room = self._room.for_settlements(opened)
        return self.room

    async def make_room(self, size_bytes: int) -> None:
        """Return when ``room`` is at least ``size_bytes``.

        Raises:
            StorageFull: the disk has no space for it. Nothing was changed.
            StorageFailed: the journal has stopped.
        """
        if self._halt.halted:
            self._halt.refuse()
        while size_bytes > self.room:
            await self._upkeep.wait_for(size_bytes)
            if self._halt.halted:
                self._halt.refuse()

    # Flushing and stopping

    async def flush(self) -> None:
        """Return when all that was appended is durable (and synced, whatever ``sync`` is).

        Raises:
            StorageFailed, UnknownOutcome: it is not, or may not be.
        """
        group = self.last_group()
        loop = asyncio.get_running_loop()
        if group is not None:
            waiter: asyncio.Future[None] = loop.create_future()
            group.waiters.append(waiter)
            await waiter
        if self._log.options.sync != "commit":
            await self._run(self._log.disk.sync)

    async def _run(self, job: Callable[[], Any]) -> None:
        """Run a job in the writer and wait for it."""
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def done(result: object, error: BaseException | None) -> None:
            if isinstance(error, OSError):
                self._fail(error)
            if not finished.done():
                if error is None:
                    finished.set_result(None)
                else:
                    finished.set_exception(self._halt.stopped())

        self._writer.submit(job, done)
        await finished

    async def close(self) -> None:
        """Flush, mark the log as closed cleanly, and let go of it.

        Raises:
            StorageFailed: it could not be done in time, or the disk failed; the lock is
                released once the disk answers.
        """
        if self._halt.halted and self.failure is None:
            return
        patience_s = self._close_deadline_s
        try:
            async with asyncio.timeout(patience_s):
                await self._close()
        except TimeoutError as error:
            patience_s = 0
            self._fail(OSError("the disk did not answer in time to close"))
            raise self._halt.stopped() from error
        except UnknownOutcome as error:
            # Nothing that a caller asked for is in doubt: those who wait are told themselves.
            raise self._halt.stopped() from error
        finally:
            self._halt.close()
            self.room = self.settle_room = _NONE
            self._upkeep.stop(None)
            self._idle.stop()
            self._writer.submit(self._log.abandon, lambda result, error: None)
            self._writer.close(patience_s)

    async def _close(self) -> None:
        if self.failure is not None:
            raise self._halt.stopped()
        # Nothing may follow the frame of the clean close.
        self._idle.stop()
        self._upkeep.stop(None)
        # Now, not after the flush: a take that is refused meanwhile may have counted an attempt.
        facts = self._snapshot()
        await self.flush()
        # The clean close makes the attempts ring void: what it knows goes into the log.
        if sum(map(size_bound, facts)) + SETTLE_BYTES <= self.settle_room:
            self._begin().flags = FLAG_CLOSED
            self.append(*facts, Closed(self._now_ns()))
        await self.flush()

    def _fail(self, error: BaseException) -> None:
        """The disk failed: nothing is written any more, and whoever waits is told."""
        self._give_up(error, len(self._pipeline.in_flight))

    def _write_failed(self, error: BaseException) -> None:
        """The oldest group under way failed; those behind it are not written any more."""
        self._give_up(error, 0 if isinstance(error, DiskLatched) else 1)

    def _give_up(self, error: BaseException, begun: int) -> None:
        """Stop for good; of ``begun`` groups nobody knows whether they are on disk."""
        if self.failure is not None:
            return
        self.failure = self._halt.fail(error)
        self.room = self.settle_room = _NONE
        self._log.disk.latch(error)
        self._idle.stop()
        groups = self._pipeline.give_up()
        if self._open is not None:
            groups.append(self._open)
            self._open = None
        self._forget_open_records()
        for index, group in enumerate(groups):
            tell = self._halt.unknown if index < begun else self._halt.stopped
            for waiter in group.waiters:
                if not waiter.done():
                    waiter.set_exception(tell())
        self._upkeep.stop(self._halt.stopped)
        self._on_failure(self.failure)
