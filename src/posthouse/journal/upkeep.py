"""Getting room and giving it back: prewriting, spares, segments that are no longer needed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from posthouse.errors import PosthouseError, StorageFull
from posthouse.journal.disk import Disk
from posthouse.journal.live import LiveTable
from posthouse.journal.options import LogOptions, Spare
from posthouse.journal.room import Need, Room, Step
from posthouse.journal.writer import Writer


@dataclass(slots=True, eq=False)
class Waiting:
    """A put's place in the line for room, and the future that wakes it.

    ``copies``: it is for copies, which may have what is kept for them.
    """

    size_bytes: int
    future: asyncio.Future[None]
    copies: bool = False


class Upkeep:
    """Runs one job at a time in the writer, between the commits.

    Attributes:
        line: who waits for room, in order; the first is served first, however much it wants.
        full: the disk had no space when it was last asked for some.

    ``changed()`` is called when the accounts are better, ``advance(spare)`` to begin a new
    segment there, ``opened()`` tells the size of the open group, ``failed(error)`` of a disk
    that fails.
    """

    def __init__(
        self,
        disk: Disk,
        writer: Writer,
        room: Room,
        live: LiveTable,
        options: LogOptions,
        *,
        opened: Callable[[], int],
        changed: Callable[[], int],
        advance: Callable[[Spare], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._disk = disk
        self._writer = writer
        self._room = room
        self._live = live
        self._options = options
        self._opened = opened
        self._changed = changed
        self._advance = advance
        self._failed = failed
        self.line: deque[Waiting] = deque()
        self.full = False
        self._busy = False
        self._asked = False
        self._reclaiming = False
        self._stopped = False
        self._dropped_upto = 0

    async def wait_for(self, size_bytes: int, *, copies: bool = False) -> int:
        """Stand in line until puts (or ``copies``) may add so many bytes; how many they may.

        Raises:
            StorageFull: the disk has no space for it.
            PosthouseError: the journal has stopped.
        """
        loop = asyncio.get_running_loop()
        me = Waiting(size_bytes, loop.create_future(), copies)
        self.line.append(me)
        try:
            self._may_have_space()
            self.work()
            while True:
                await me.future
                room = self._changed()
                if self._stopped:
                    return room
                if copies:
                    room = self._room.for_puts(self._opened(), copies=True)
                first = self.line[0] is me
                if first and room >= size_bytes:
                    return room
                # Settlements took it. The place in line is kept.
                me.future = loop.create_future()
                if first:
                    self.work()
        finally:
            if me in self.line:
                self.line.remove(me)
            if self.line and not self._asked:
                # When the caller has taken its room, or gone without; once for all of a turn.
                self._asked = True
                loop.call_soon(self._work_as_asked)

    def stop(self, failure: Callable[[], PosthouseError]) -> None:
        """Begin nothing more; who waits for room gets the failure."""
        self._stopped = True
        line, self.line = self.line, deque()
        for waiting in line:
            if not waiting.future.done():
                waiting.future.set_exception(failure())

    def _work_as_asked(self) -> None:
        self._asked = False
        self.work()

    def work(self) -> None:
        """Wake who has room now, and begin the next step for those who have not."""
        while not self._stopped:
            self._changed()
            self._wake()
            if self._busy:
                return
            first = self.line[0] if self.line else None
            if self.full and first is None:
                return
            wanted, copies = (first.size_bytes, first.copies) if first is not None else (0, False)
            need = self._room.next_step(self._opened(), wanted, copies=copies)
            if need.step is Step.ADVANCE and need.spare is not None:
                self._advance(need.spare)
                continue
            if need.step is not Step.NONE:
                self._begin(need)
            return

    def _wake(self) -> None:
        """Wake those at the head of the line for whom there is room, all together."""
        taken = 0
        for waiting in self.line:
            opened = self._opened() + taken
            if waiting.size_bytes > self._room.for_puts(opened, copies=waiting.copies):
                return
            if not waiting.future.done():
                waiting.future.set_result(None)
            taken += waiting.size_bytes

    def _begin(self, need: Need) -> None:
        self._busy = True
        size_bytes, spare = need.size_bytes, need.spare
        disk, submit = self._disk, self._writer.submit
        if need.step is Step.GROW:
            submit(partial(disk.grow, size_bytes), partial(self._grown, need))
        elif need.step is Step.DROP and spare is not None:
            self._room.spares.remove(spare)
            submit(partial(disk.drop_spare, spare), self._dropped)
        elif need.step is Step.KEEP and spare is not None:
            submit(partial(disk.grow_spare, spare, size_bytes), partial(self._kept, need))
        elif need.step is Step.KEEP:
            submit(partial(disk.make_spare, size_bytes), partial(self._kept, need))
        else:
            submit(partial(disk.make_spare, size_bytes), partial(self._spared, need))

    def _grown(self, need: Need, size: int | None, error: BaseException | None) -> None:
        self._busy = False
        if size is not None:
            self._room.grown(size)
            self.work()
        else:
            self._no_room(need, error)

    def _spared(self, need: Need, spare: Spare | None, error: BaseException | None) -> None:
        self._busy = False
        if spare is not None:
            self._room.spares.append(spare)
            self.work()
        else:
            self._no_room(need, error)

    def _kept(self, need: Need, spare: Spare | None, error: BaseException | None) -> None:
        self._busy = False
        room, before = self._room, need.spare
        if spare is None:
            if isinstance(error, StorageFull):
                # Nobody waits for this; who waits for something else is tried by itself.
                self.full = not self.line
                self.work()
            else:
                self._failed(error or OSError("the writer returned nothing"))
            return
        if room.keeping and room.kept is before:
            room.take_back(spare)
        elif before is None:
            room.spares.append(spare)
        elif before in room.spares:  # it was lent, or is not wanted any more
            room.spares[room.spares.index(before)] = spare
        self.work()

    def _dropped(self, result: object, error: BaseException | None) -> None:
        self._busy = False
        if error is not None:
            self._failed(error)
            return
        self.work()

    def _no_room(self, need: Need, error: BaseException | None) -> None:
        if not isinstance(error, StorageFull):
            self._failed(error or OSError("the writer returned nothing"))
            return
        if 0 < need.least_bytes < need.size_bytes:
            self._begin(Need(need.step, need.least_bytes))
            return
        if self.line and need.step is Step.GROW:
            # It may go on in a spare.
            self._room.stuck = True
            self.work()
            return
        if self.line and self.line[0].copies and self._room.lend():
            self.work()
            return
        self.full = True
        # What fails for the first fails for all that want as much; the others are tried next.
        first = self.line[0].size_bytes if self.line else 0
        for waiting in [*self.line]:
            if waiting.size_bytes >= first and not waiting.future.done():
                self.line.remove(waiting)
                waiting.future.set_exception(StorageFull(str(error)))
        if self.line:
            self.work()

    def _may_have_space(self) -> None:
        self.full = self._room.stuck = False

    def reclaim(self, durable_oldest: int) -> None:
        """Segments below this number are durably known not to be needed: take one out."""
        self._dropped_upto = max(self._dropped_upto, durable_oldest)
        live = self._live
        if self._reclaiming or self._stopped or live.oldest >= self._dropped_upto:
            return
        self._reclaiming = True
        room = self._room
        keep = room.capacity if room.wants_kept or room.wants_spare(self._options.spares) else -1
        self._writer.submit(partial(self._disk.reclaim, live.oldest, keep), self._reclaimed)

    def _reclaimed(self, spare: Spare | None, error: BaseException | None) -> None:
        self._reclaiming = False
        if error is not None:
            self._failed(error)
            return
        self._live.forget_oldest()
        if spare is not None:
            self._take_in(spare)
        self._may_have_space()
        self.work()
        self.reclaim(self._dropped_upto)

    def _take_in(self, spare: Spare) -> None:
        """A segment's file is free: it is kept for copies, or to go on in."""
        room = self._room
        kept = room.kept
        if not room.wants_kept or (kept is not None and kept.size_bytes >= spare.size_bytes):
            room.spares.append(spare)
            return
        room.take_back(spare)
        if kept is not None:
            room.spares.append(kept)

    def keep(self, keeping: bool, most_spare_bytes: int) -> None:
        """See `Room.keep`."""
        self._room.keep(keeping, most_spare_bytes)
        self.work()
