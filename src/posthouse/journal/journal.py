"""The journal on the loop's side: what is appended to, and how it ends.

Invariants:
    1. Put ids grow from call to call.
    2. Two records may be open for merging, a put and a settlement: they may pass each other, as
       a settlement never names a message of its own group (`_settle_below`). Every other record
       closes both.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, NoReturn

from posthouse.errors import BrokerBug, PosthouseError, UnknownOutcome
from posthouse.journal.codec import entries_bound, size_bound, traits_bound
from posthouse.journal.commit import GroupCommit
from posthouse.journal.format import FLAG_CLOSED, PUT_OVERHEAD_BYTES, SETTLE_BYTES
from posthouse.journal.group import Group
from posthouse.journal.idle import Timer
from posthouse.journal.log import Log
from posthouse.journal.protocol import Journal
from posthouse.journal.rounds import Usage
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
    Returned,
    Settled,
)

__all__ = ["Group", "Journal", "LogJournal"]

_NONE: Final = -1
_ANY_ID: Final = 1 << 64


class LogJournal(GroupCommit):
    """A `protocol.Journal` over an open log.

    ``call_soon`` and ``call_later`` are the loop's. ``on_commit(group)`` runs when the group is
    durable, before its waiters are woken; ``on_failure(error)`` once, when the disk fails;
    ``carry(first_id)`` gives what must be remembered of messages with lower ids, whose records
    are about to leave the log. ``snapshot()`` gives `Delivered` of all that is in flight or has
    attempts.
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
        super().__init__(
            log,
            writer,
            call_soon=call_soon,
            call_later=call_later,
            on_commit=on_commit,
            on_failure=on_failure,
            snapshot=snapshot,
            carry=carry,
            now_ns=now_ns,
        )
        self.reader = log.reader
        self.live = log.live
        self.options = log.options
        self._close_deadline_s = close_deadline_s
        # The two records open for merging; see `_forget_open_records`.
        self._entries: list[Entry] = []
        self._put_queue = _NONE
        self._put_producer = _NONE
        self._next_producer_sequence = _NONE
        self._ids: list[int] = []
        self._settle_queue = _NONE
        self._settle_below = _ANY_ID

    # Appending

    def put(self, queue: int, producer: int, sequence: int, entry: Entry) -> Group | None:
        """One message joined a queue. Its id is higher than all before."""
        message_id, _, body, headers, traits = entry
        size = len(body) + len(headers) + PUT_OVERHEAD_BYTES
        if traits is not None:
            size += traits_bound(traits)
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
        self,
        queue: int,
        producer: int,
        sequence: int,
        entries: list[Entry],
        plain_bytes: int | None = None,
    ) -> Group | None:
        """See `protocol.Journal`."""
        if not entries:
            return self.last_group()
        if plain_bytes is None:
            size = entries_bound(entries)
        else:
            size = PUT_OVERHEAD_BYTES * len(entries) + plain_bytes
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
        if self._gathering is not None and not isinstance(records[0], Returned):
            self.hurry()
        for record in records:
            if isinstance(record, Put):
                if not record.carried:
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

    def delivered_one(self, queue: int, rank: int, attempt: int) -> None:
        """`delivered` for one message."""
        if self._halt.halted:
            self._halt.refuse()
        try:
            self._attempts.write_one(queue, rank, attempt)
        except OSError as error:
            self._fail(error)
            self._halt.refuse()

    def _open_put(self, queue: int, producer: int, sequence: int, entries: list[Entry]) -> Group:
        first_id = entries[0][0]
        group = self._begin()
        if self._gathering is not None:
            self.hurry()
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
            self.hurry()
            await waiter
        if self._log.options.sync != "commit":
            await self._run(self._log.disk.sync)

    # Reading, and what the log holds

    def usage(self, lives_bytes: int) -> Usage:
        """What the log's segments take, when what lives in it comes to so much.

        Segments from before this opening count as full ones.
        """
        needed, odd = self.live.needed_from(), self._room.odd_bytes
        for number in [number for number in odd if number < needed]:
            del odd[number]
        full = (self.live.newest - needed) * self.options.segment_bytes
        return Usage(
            log=full + sum(odd.values()) + self._room.size_bytes,
            written=self._room.written,
            lives=lives_bytes,
        )

    def submit(
        self, job: Callable[[], Any], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Run a job that reads in the writer, then ``done(result, error)`` on the loop."""
        self._writer.submit(job, done)

    def read_failed(self, error: BaseException) -> None:
        """What was written cannot be read: stop."""
        self._fail(error)

    def refuse(self) -> NoReturn:
        """Raise what a journal that has stopped raises."""
        self._halt.refuse()

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
            self._upkeep.stop(self._halt.stopped)
            self._idle.stop()
            self._checkpoints.stop()
            self._writer.submit(self._log.abandon, lambda result, error: None)
            self._writer.close(patience_s)

    async def _close(self) -> None:
        if self.failure is not None:
            raise self._halt.stopped()
        # Nothing may follow the frame of the clean close.
        self._idle.stop()
        self._checkpoints.stop()
        self._upkeep.stop(self._halt.stopped)
        # Now, not after the flush: a take that is refused meanwhile may have counted an attempt.
        facts = self._snapshot()
        await self.flush()
        # The clean close makes the attempts ring void: what it knows goes into the log.
        if sum(map(size_bound, facts)) + SETTLE_BYTES <= self.settle_room:
            self._begin().flags = FLAG_CLOSED
            self.append(*facts, Closed(self._now_ns()))
        await self.flush()
