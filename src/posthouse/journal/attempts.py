"""Deliveries on their way into the attempts ring, and what happens when a bank of it is full."""

from __future__ import annotations

from collections.abc import Callable

from posthouse.journal.codec import size_bound
from posthouse.journal.disk import is_full
from posthouse.journal.group import Group
from posthouse.journal.ring import Ring
from posthouse.records import Delivered, Record


class Attempts:
    """The ring, and its snapshots in the log.

    ``position()`` is the place in the log now; ``append(*records)`` is the journal's;
    ``settle_room()`` what may still be appended; ``snapshot()`` gives `Delivered` of all that is
    in flight or has attempts.
    """

    def __init__(
        self,
        ring: Ring,
        *,
        position: Callable[[], int],
        append: Callable[..., Group | None],
        settle_room: Callable[[], int],
        snapshot: Callable[[], list[Delivered]],
    ) -> None:
        self._ring = ring
        self._position = position
        self._append = append
        self._settle_room = settle_room
        self._snapshot = snapshot
        self._saving: Group | None = None
        self._over = False  # something went behind the banks since the last snapshot

    def write(self, queue: int, ids: list[int], attempts: list[int] | int) -> None:
        """One ``pwrite``, and the delivery survives the process.

        Raises:
            OSError: the disk failed.
        """
        if not self._ring.write(queue, ids, attempts, self._position()):
            self._next_bank(queue, ids, attempts)

    def write_one(self, queue: int, rank: int, attempt: int) -> None:
        """`write` for one message."""
        if not self._ring.write_one(queue, rank, attempt, self._position()):
            self._next_bank(queue, [rank], attempt)

    def durable(self, group: Group) -> None:
        """A group is durable: if it has the last snapshot, the other bank is free."""
        if group is self._saving:
            self._saving = None
            if not self._over:
                self._ring.rewind_over()

    def _next_bank(self, queue: int, ids: list[int], attempts: list[int] | int) -> None:
        if self._saving is not None or not self._ring.fits(ids, attempts):
            # The other bank is needed until its snapshot is durable.
            if self._write_over(queue, ids, attempts):
                return
            # To the log itself: that survives the process only with its commit.
            column = [attempts] * len(ids) if isinstance(attempts, int) else list(attempts)
            late: Record = Delivered(queue, list(ids), column)
            if size_bound(late) <= self._settle_room():
                self._append(late)
            return
        facts = self._snapshot()
        if sum(map(size_bound, facts)) > self._settle_room():
            # No room for a snapshot: this bank's oldest attempts are given up.
            self._ring.rewind()
        else:
            if facts:
                self._saving = self._append(*facts)
                self._over = False
            self._ring.swap()
        self._ring.write(queue, ids, attempts, self._position())

    def _write_over(self, queue: int, ids: list[int], attempts: list[int] | int) -> bool:
        try:
            written = self._ring.write_over(queue, ids, attempts, self._position())
        except OSError as error:
            if not is_full(error):
                raise
            return False
        self._over |= written
        return written
