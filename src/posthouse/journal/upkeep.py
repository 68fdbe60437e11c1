"""Getting room and giving it back: prewriting, spares, segments that are no longer needed."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from functools import partial

from posthouse.errors import PosthouseError, StorageFull
from posthouse.journal.disk import Disk
from posthouse.journal.live import LiveTable
from posthouse.journal.options import LogOptions, Spare
from posthouse.journal.room import Need, Room, Step
from posthouse.journal.writer import Writer


class Upkeep:
    """Runs one job at a time in the writer, between the commits.

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
        self._waiters: deque[tuple[int, asyncio.Future[None]]] = deque()
        self._busy = False
        self._reclaiming = False
        self._full = False
        self._stopped = False
        self._dropped_upto = 0

    async def wait_for(self, size_bytes: int) -> None:
        """Return when puts may add so many bytes.

        Raises:
            StorageFull: the disk has no space for it.
            PosthouseError: the journal has stopped.
        """
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append((size_bytes, waiter))
        self._full = False
        self.work()
        await waiter

    def stop(self, failure: Callable[[], PosthouseError] | None) -> None:
        """Begin nothing more; who waits for room gets the failure."""
        self._stopped = True
        for _, waiter in self._waiters:
            if not waiter.done():
                if failure is None:
                    waiter.cancel()
                else:
                    waiter.set_exception(failure())
        self._waiters.clear()

    def work(self) -> None:
        """Wake who has room now, and begin the next step for those who have not."""
        while not self._stopped:
            room = self._changed()
            self._wake(room)
            if self._busy:
                return
            wanted = self._waiters[0][0] if self._waiters else 0
            if self._full and not wanted:
                return
            need = self._room.next_step(self._opened(), wanted)
            if need.step is Step.ADVANCE and need.spare is not None:
                self._advance(need.spare)
                continue
            if need.step is not Step.NONE:
                self._begin(need)
            return

    def _wake(self, room: int) -> None:
        waiting = deque[tuple[int, "asyncio.Future[None]"]]()
        for size, waiter in self._waiters:
            if waiter.done():
                continue
            if size <= room and not waiting:
                waiter.set_result(None)
            else:
                waiting.append((size, waiter))
        self._waiters = waiting

    def _begin(self, need: Need) -> None:
        self._busy = True
        if need.step is Step.GROW:
            self._writer.submit(
                partial(self._disk.grow, need.size_bytes), partial(self._grown, need)
            )
        else:
            self._writer.submit(
                partial(self._disk.make_spare, need.size_bytes), partial(self._spared, need)
            )

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

    def _no_room(self, need: Need, error: BaseException | None) -> None:
        if not isinstance(error, StorageFull):
            self._failed(error or OSError("the writer returned nothing"))
            return
        if 0 < need.least_bytes < need.size_bytes:
            self._begin(Need(need.step, need.least_bytes))
            return
        self._full = True
        for _, waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(StorageFull(str(error)))
        self._waiters.clear()

    def reclaim(self, durable_oldest: int) -> None:
        """Segments below this number are durably known not to be needed: take one out."""
        self._dropped_upto = max(self._dropped_upto, durable_oldest)
        live = self._live
        if self._reclaiming or self._stopped or live.oldest >= self._dropped_upto:
            return
        self._reclaiming = True
        keep = self._room.capacity if self._room.wants_spare(self._options.spares) else -1
        self._writer.submit(partial(self._disk.reclaim, live.oldest, keep), self._reclaimed)

    def _reclaimed(self, spare: Spare | None, error: BaseException | None) -> None:
        self._reclaiming = False
        if error is not None:
            self._failed(error)
            return
        self._live.forget_oldest()
        if spare is not None:
            self._room.spares.append(spare)
        self._full = False
        self.work()
        self.reclaim(self._dropped_upto)
