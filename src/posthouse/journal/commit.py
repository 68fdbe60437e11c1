"""Group commit: groups are opened, sealed, sent to disk, and told of.

Invariants:
    1. A group's waiters are woken, and its effects told, only when it is durable; groups become
       durable in the order in which they were appended to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final

from posthouse.clock import SystemClock
from posthouse.errors import PosthouseError
from posthouse.journal.attempts import Attempts
from posthouse.journal.checkpoints import Checkpoints
from posthouse.journal.codec import size_bound
from posthouse.journal.disk import DiskLatched
from posthouse.journal.format import FLAG_MARKER, FRAME_ALIGN, FRAME_HEADER_BYTES, SETTLE_BYTES
from posthouse.journal.group import Group
from posthouse.journal.halt import Halt
from posthouse.journal.idle import Idle, Timer
from posthouse.journal.log import Log
from posthouse.journal.options import Roll, Spare
from posthouse.journal.pipeline import Pipeline
from posthouse.journal.ring import position_of
from posthouse.journal.room import Room
from posthouse.journal.upkeep import Upkeep
from posthouse.journal.writer import Writer
from posthouse.records import Delivered, Record, Returned, Settled

_HALTED: Final = -1
_GATHERING_S: Final = 0.005
"""How long settlements that nobody waits for are gathered for one commit, seconds."""


class GroupCommit(ABC):
    """The part of the journal that knows groups, and not what is merged into their records.

    For the arguments see `posthouse.journal.journal.LogJournal`.
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
        carry: Callable[[int], list[Record]],
        now_ns: Callable[[], int] | None,
    ) -> None:
        options = log.options
        self._log = log
        self._writer = writer
        self._call_soon = call_soon
        self._call_later = call_later
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._carry = carry
        self._snapshot = snapshot
        self._now_ns = now_ns or SystemClock().now_ns
        self._group_bytes = options.group_bytes
        self._group_operations = options.group_operations
        self.instant = False
        self.failure: PosthouseError | None = None
        # Told when a segment was begun, and when the log falls idle.
        self.on_turn: Callable[[], None] = lambda: None
        self._halt = Halt(log.directory)
        self._live = log.live
        self._oldest = log.oldest
        self._sequence = log.next_sequence
        self._open: Group | None = None
        self._kicked = False
        self._gathering: Timer | None = None
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
        self._checkpoints = Checkpoints(
            log.unchecked, maker=log.maker, submit=writer.submit, made=disk.checkpoints.add
        )
        self._checkpoints.work()
        self.room = 0
        self.settle_room = 0
        self._recount()

    @property
    def inline_bytes(self) -> int:
        """Commit groups up to this size may be written on the loop, where the disk is quick."""
        return self._pipeline.inline_bytes

    @inline_bytes.setter
    def inline_bytes(self, size_bytes: int) -> None:
        self._pipeline.inline_bytes = size_bytes

    @abstractmethod
    def append(self, *records: Record) -> Group | None:
        """Add records to the open group: all of one call are in one group."""

    @abstractmethod
    def _forget_open_records(self) -> None:
        """Nothing may be merged any more into a record that was appended before."""

    def last_group(self) -> Group | None:
        """The group that must be durable for all that was appended to be; None: it all is."""
        if self._halt.halted:
            self._halt.refuse()
        if self._open is not None:
            return self._open
        in_flight = self._pipeline.in_flight
        return in_flight[-1] if in_flight else None

    def _position(self) -> int:
        group = self._open
        return position_of(self._sequence, 0 if group is None else len(group.records))

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
            if self._is_better_gathered(self._open):
                self._gathering = self._call_later(self._gathering_s(), self._gathered)
                return
            self._seal(on_loop=True)
            if self._pipeline.in_flight:  # else it is on disk already, and this is done
                self._upkeep.work()

    def _is_better_gathered(self, group: Group) -> bool:
        """Whether a group of settlements that nobody waits for should wait for more of them.

        They are promised for the next commit only, and each commit is a sync. What somebody waits
        for ends the gathering (`hurry`).
        """
        return (
            self._gathering is None
            and not (group.waiters or group.effects or group.flags)
            and all(isinstance(record, (Settled, Returned)) for record in group.records)
        )

    def _gathering_s(self) -> float:
        # On a full disk a commit of its own for each would take more room than is kept for it.
        short = self._upkeep.full and self.settle_room < SETTLE_BYTES * self._room.live
        return self._log.options.marker_idle_s if short else _GATHERING_S

    def hurry(self) -> None:
        """Somebody waits for the open group: commit it at the end of this turn of the loop."""
        if self._gathering is not None:
            self._stop_gathering()
            self._schedule_kick()

    def _gathered(self) -> None:
        self._gathering = None
        if self._open is not None and not self._pipeline.in_flight:
            self._seal()
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
        if spare not in self._room.spares:
            return  # the group that was open took it
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
        except PosthouseError as error:
            # A page that had to be looked at cannot be read: the journal has stopped. But this
            # group is on disk, and those who wait for that are told so.
            self._fail(error)
            _wake(group)
            return
        except Exception as error:
            self._pipeline.in_flight.appendleft(group)
            self._fail(error)
            raise
        _wake(group)
        self._advance_oldest()
        if group.roll is not None:
            self._checkpoints.sealed(group.segment - 1)
            self.on_turn()
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
        self.on_turn()
        if not self._room.fits(FRAME_HEADER_BYTES):
            return  # on a full disk; it is not worth failing for
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
        """Bring ``room`` and ``settle_room`` in line with the accounts.

        Returns what the first in line for room may have, bytes.
        """
        if self._halt.halted:
            return self.room
        opened = self._open_bytes()
        room = max(0, self._room.for_puts(opened))
        # Nobody passes those who stand in line: else small puts could starve a large one.
        self.room = 0 if self._upkeep.line else room
        self.settle_room = self._room.for_settlements(opened)
        return room

    async def make_room(self, size_bytes: int, *, copies: bool = False) -> None:
        """Return when ``room`` is at least ``size_bytes``.

        For ``copies`` of what lives in the oldest segment also what is kept for that is used.

        Raises:
            StorageFull: the disk has no space for it. Nothing was changed.
            StorageFailed: the journal has stopped.
        """
        if self._halt.halted:
            self._halt.refuse()
        if size_bytes > self.room:
            room = await self._upkeep.wait_for(size_bytes, copies=copies)
            if self._halt.halted:
                self._halt.refuse()
            # Until the next commit: the caller goes on in this very step.
            self.room = room

    def keep_spares(self, keeping: bool, most_spare_bytes: int) -> None:
        """Say whether a file should be kept for copies, and what all spares may come to."""
        if not self._halt.halted:
            self._upkeep.keep(keeping, most_spare_bytes)

    # Failing

    def _stop_gathering(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

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
        self.room = self.settle_room = _HALTED
        self._log.disk.latch(error)
        self._idle.stop()
        self._checkpoints.stop()
        self._stop_gathering()
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


def _wake(group: Group) -> None:
    for waiter in group.waiters:
        if not waiter.done():
            waiter.set_result(None)
