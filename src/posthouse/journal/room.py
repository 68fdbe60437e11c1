"""Space, counted on the loop: what may still be appended before the disk must be asked.

Invariants:
    1. All that was promised is prewritten: groups fit into the current file, or into a spare.
    2. ``reserve`` bytes, for the settlements of what lives, stay free: puts cannot have them.
    3. Of what was kept for copies puts cannot have anything before the copies are made.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from posthouse.journal.codec import size_bound
from posthouse.journal.format import (
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    SETTLE_RESERVE_BYTES,
)
from posthouse.journal.options import MIB, LogOptions, Spare
from posthouse.records import Copied, Put, Record, Settled

CHUNK_BYTES: Final = MIB
"""Prewritten in one job: between two of them commits get their turn."""

_MOST_AHEAD_BYTES: Final = 16 * MIB
_PAGE: Final = 4096


class Step(enum.Enum):
    """What gives more room."""

    NONE = "there is enough"
    GROW = "prewrite more of the current file"
    SPARE = "prewrite a spare"
    ADVANCE = "go on in a spare that is there"
    KEEP = "prewrite more of the file that is kept for copies"
    DROP = "remove a spare"


@dataclass(slots=True, frozen=True)
class Need:
    """The next step.

    Attributes:
        size_bytes: how much to prewrite, for `Step.GROW`, `Step.SPARE` and `Step.KEEP`.
        least_bytes: how much will do if the disk has no space for that; 0: nothing less.
        spare: where to go on, for `Step.ADVANCE`; what to prewrite more of, for `Step.KEEP`
            (None: a new file); what to remove, for `Step.DROP`.
    """

    step: Step
    size_bytes: int = 0
    least_bytes: int = 0
    spare: Spare | None = None


class Room:
    """The accounts.

    Attributes:
        segment: the number of the segment that new groups go to.
        left: bytes of its file that no sealed group has.
        size_bytes: of its file.
        spares: files to go on in.
        kept: a file for copies of what lives in the oldest segment, on a full disk, and the last
            one for settlements; not a spare before it is needed (`lend`).
        keeping: there should be one.
        stuck: the current file could not be made larger when that was last tried.
        most_spare_bytes: what the spares, and what is kept, may take on disk beyond need.
        live: messages whose settlement room is reserved.
        pending: bytes of sealed groups that are not durable yet.
        catalog_bytes: what the catalog takes at the beginning of each segment.
        odd_bytes: of segments whose files became larger (smaller) than most, by how much.
        written: bytes of all sealed groups so far, but for what was carried.
    """

    def __init__(
        self, options: LogOptions, segment: int, size_bytes: int, left: int, spares: list[Spare]
    ) -> None:
        self._segment_bytes = options.segment_bytes
        self._first_bytes = options.first_bytes
        self._pending_bytes = options.pending_bytes
        self._ahead = min(MIB, options.segment_bytes // 4)
        self.base = min(MIB, options.segment_bytes // 4)
        # Settlements share a group with puts: so much puts leave them in the current file.
        self.margin = min(8 * options.group_operations + _PAGE, options.segment_bytes // 16)
        self.segment = segment
        self.size_bytes = size_bytes
        self.left = left
        self.spares = list(spares)
        self.kept: Spare | None = None
        self.keeping = False
        self.stuck = False
        self.most_spare_bytes = 1 << 62
        self._lent = 0
        self.live = 0
        self.pending = 0
        self.catalog_bytes = 0
        self.odd_bytes: dict[int, int] = {}
        self.written = 0

    @property
    def reserve(self) -> int:
        """What must stay free for settlements, bytes."""
        return self.base + SETTLE_RESERVE_BYTES * self.live

    @property
    def capacity(self) -> int:
        """How large a segment's file becomes, bytes."""
        return max(self._segment_bytes, 4 * (self.catalog_bytes + SEGMENT_HEADER_BYTES))

    def usable(self, spare: Spare) -> int:
        """What groups can have of a spare, bytes."""
        head = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + self.catalog_bytes
        return max(0, spare.size_bytes - head)

    def _spare_bytes(self) -> int:
        # At the end of a file there may be a bit that no group fits in. (No generator: it is asked
        # for a dozen times for each group.)
        total = 0
        for spare in self.spares:
            total += self.usable(spare) * 15 // 16
        return total

    def _space(self, opened: int, lent: int) -> int:
        """What puts may have, bytes; ``opened`` is the size of the open group."""
        reserve = self.reserve + lent - self._spare_bytes()
        return self.left - opened - max(self.margin, reserve)

    def for_puts(self, opened: int, *, copies: bool = False) -> int:
        """Bytes that puts (or ``copies``) may still add, when the open group has ``opened``.

        May be negative.
        """
        space = self._space(opened, 0 if copies else self._lent)
        if self.pending + opened == 0:
            return space
        return min(space, self._pending_bytes - self.pending - opened)

    def for_settlements(self, opened: int) -> int:
        """Bytes that everything else may still add."""
        kept = 0 if self.kept is None else self.usable(self.kept) * 15 // 16
        return max(0, self.left - opened + self._spare_bytes() + kept)

    def fits(self, size_bytes: int) -> bool:
        """Whether a sealed group has its place in the current file."""
        return size_bytes <= self.left

    def take(self, size_bytes: int) -> None:
        """A group of at most this size was sealed."""
        self.left -= size_bytes
        self.pending += size_bytes
        self.written += size_bytes

    def count(self, records: Iterable[Record]) -> None:
        """A group of these records was sealed: the settlements it will need, or that it is."""
        for record in records:
            if isinstance(record, Put):
                if record.carried:
                    size_bytes = size_bound(record)
                    self.written -= size_bytes
                    self._lent = max(0, self._lent - size_bytes)
                else:
                    self.live += len(record.entries)
            elif isinstance(record, Copied):
                self.live += 1
            elif isinstance(record, Settled):
                self.live -= len(record.ids)

    def settle_up(self, segment: int, size_bytes: int, used: int) -> None:
        """A group of at most ``size_bytes`` is durable and took ``used``."""
        self.pending -= size_bytes
        if segment == self.segment:
            self.left += size_bytes - used

    def grown(self, size_bytes: int) -> None:
        """The current file is prewritten up to this size."""
        self.left += size_bytes - self.size_bytes
        self.size_bytes = size_bytes

    def spare_for(self, size_bytes: int) -> Spare | None:
        """A spare that holds a group of this size; what is kept for copies, if nothing else does.

        (Then it is settlements that need it: they free segments as well.)
        """
        while True:
            for spare in self.spares:
                if self.usable(spare) >= size_bytes:
                    return spare
            if not self.lend():
                return None

    def advance(self, spare: Spare) -> None:
        """The next group goes to a new segment made of this spare."""
        if self.size_bytes != self._segment_bytes:
            self.odd_bytes[self.segment] = self.size_bytes - self._segment_bytes
        self.left = self.usable(spare)
        self.spares.remove(spare)
        self.size_bytes = spare.size_bytes
        self.segment += 1

    def lend(self) -> bool:
        """Let copies have what is kept for them; False if nothing is."""
        if self.kept is None:
            return False
        self.spares.append(self.kept)
        self._lent += self.usable(self.kept) * 15 // 16
        self.kept = None
        return True

    def keep(self, keeping: bool, most_spare_bytes: int) -> None:
        """Say whether there should be a file for copies, and what all spares may come to."""
        self.keeping, self.most_spare_bytes = keeping, most_spare_bytes
        if self.kept is None and keeping:
            for spare in self.spares:
                if spare.size_bytes >= self.capacity and self._not_needed(spare):
                    self.spares.remove(spare)
                    self.take_back(spare)
                    return
        elif self.kept is not None and not keeping:
            self.spares.append(self.kept)
            self.kept = None

    def take_back(self, spare: Spare) -> None:
        """Keep this file for copies."""
        self.kept, self._lent = spare, 0

    @property
    def wants_kept(self) -> bool:
        """Whether a file of a segment's size should be kept for copies, and none is yet."""
        return self.keeping and (self.kept is None or self.kept.size_bytes < self.capacity)

    def wants_spare(self, most: int) -> bool:
        """Whether one more spare is worth keeping; ``most`` is how many there should be."""
        if self._spare_bytes() < self.reserve:
            return True
        count = len(self.spares) + (self.kept is not None)
        return count < most and self._spares_take() + self.capacity <= self.most_spare_bytes

    def _spares_take(self) -> int:
        kept = 0 if self.kept is None else self.kept.size_bytes
        return kept + sum(spare.size_bytes for spare in self.spares)

    def _not_needed(self, spare: Spare) -> bool:
        """Whether there is another one, and the reserve has its place without this one."""
        rest = self._spare_bytes() - self.usable(spare) * 15 // 16
        return len(self.spares) > 1 and rest >= self.reserve

    def next_step(self, opened: int, wanted: int, *, copies: bool = False) -> Need:
        """What to do next so that puts (or ``copies``) find ``wanted`` bytes.

        With 0: what keeps ahead of them.
        """
        growable = 0 if self.stuck else max(0, self.capacity - self.size_bytes)
        if wanted:
            return self._step_for(opened, growable, wanted, 0 if copies else self._lent)
        space = self._space(opened, 0)
        if growable:
            if space >= self._ahead:
                return self._tidy_step()
            self._ahead = min(2 * self._ahead, _MOST_AHEAD_BYTES, self.capacity // 4)
            return Need(Step.GROW, min(CHUNK_BYTES, growable))
        short = self.reserve - self._spare_bytes()
        if short > 0 or not self.spares:
            return Need(Step.SPARE, self._spare_size(max(short, self.base)))
        if space < min(MIB, self.capacity // 16) and not self._lent:
            return Need(Step.ADVANCE, spare=max(self.spares, key=self.usable))
        return self._tidy_step()

    def _tidy_step(self) -> Need:
        """What is worth doing while there is room enough."""
        if self.wants_kept:
            size_bytes = 0 if self.kept is None else self.kept.size_bytes
            return Need(Step.KEEP, min(CHUNK_BYTES, self.capacity - size_bytes), spare=self.kept)
        if self._spares_take() > self.most_spare_bytes and not self._lent:
            for spare in self.spares:
                if self._not_needed(spare):
                    return Need(Step.DROP, spare=spare)
        return Need(Step.NONE)

    def _step_for(self, opened: int, growable: int, wanted: int, lent: int) -> Need:
        missing = wanted - self._space(opened, lent)
        if missing <= 0:
            return Need(Step.NONE)
        if missing <= growable:
            return Need(Step.GROW, min(max(missing, CHUNK_BYTES), growable), missing)
        # The file would be too large: the put goes to the next one, with its own reserve.
        others = self._spare_bytes()
        for spare in self.spares:
            rest = others - self.usable(spare) * 15 // 16
            if self.usable(spare) - max(self.margin, self.reserve + lent - rest) >= wanted:
                return Need(Step.ADVANCE, spare=spare)
        least = wanted + max(self.margin, self.reserve + lent - others)
        return Need(Step.SPARE, self._spare_size(least), self._spare_size(least, False))

    def _spare_size(self, usable: int, generous: bool = True) -> int:
        size = usable * 16 // 15 + SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + self.catalog_bytes
        if generous:
            size = max(size, min(self.capacity, self._first_bytes))
        return -(-size // _PAGE) * _PAGE
