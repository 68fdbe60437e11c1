"""Messages with an ordering key, or a turn in a fair queue, whose bodies are on disk only.

Which key is free decides what is taken next, so the order and the lines of keys know every message;
but beyond the cache they hold *stubs*: entries without body and headers, which are read before
they are delivered. Where they stand on disk is here, in packed rows of 25 bytes.

A stub stays what it is in the order and in its line; what was read of it is laid beside it
(`filled`), and goes with it when it is taken.

Invariants:
    1. A stub that waits has a row, or is filled: not both.
    2. Rows are in growing id, which is the rank too: what has a rank of its own is no stub.
    3. A stub is delayed as its traits say, or not at all when that is over; what was put off
       otherwise is no stub.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import compress, repeat
from typing import Final, cast

from posthouse.core.orders import rank_of
from posthouse.core.pages import FRAME_UNIT, Run
from posthouse.core.places import Placed
from posthouse.model import FOREVER_NS
from posthouse.records import Entry

CHUNK_ROWS: Final = 1024
MOST_ROWS: Final = 2 * CHUNK_ROWS
"""Of a chunk into which more came than joined at its end."""
_TYPECODES: Final = "QIIIIB"
_ID, _SEGMENT, _FRAME, _RECORD, _SIZE, _PRIORITY = range(6)
_GONE: Final = 0
"""The segment of a row that left; no segment has this number."""


class Away(int):
    """Stands for the body and headers of a stub, and tells how many bytes they have.

    No bytes object, so that what should have read the body first fails.
    """

    __slots__ = ()

    def __len__(self) -> int:
        return int(self)


@lru_cache(maxsize=4096)
def _away(size_bytes: int) -> bytes:
    # Where an entry has its body; only `Stubs` looks at it.
    return cast(bytes, Away(size_bytes))


def is_stub(entry: Entry) -> bool:
    """Whether the entry's body has to be read."""
    return cast(object, entry[2].__class__) is Away


def may_be_stub(entry: Entry, *, fair: bool = False) -> bool:
    """Whether the order or a line knows the message, and it has its id's place there.

    ``fair``: its queue is, so no key is one too.
    """
    traits = entry[4]
    if traits is None or not (fair or traits.key):
        return fair and traits is None
    return not (traits.rank or traits.death)


def stub_of(entry: Entry) -> Entry:
    """The message without its body and headers."""
    return entry[0], entry[1], _away(len(entry[2]) + len(entry[3])), b"", entry[4]


class _Chunk:
    """Up to `MOST_ROWS` rows, and how many of them are left."""

    __slots__ = ("columns", "left")

    def __init__(self) -> None:
        self.columns: tuple[array[int], ...] = tuple(array(code) for code in _TYPECODES)
        self.left = 0

    def row(self, at: int) -> Placed:
        number, segment, frame, record, size_bytes, priority = (c[at] for c in self.columns)
        return Placed(
            number, number, number, segment, frame, record, size_bytes, FOREVER_NS, priority
        )

    def rows(self, start: int = 0) -> Iterator[Placed]:
        segments = self.columns[_SEGMENT]
        return (self.row(at) for at in range(start, len(segments)) if segments[at] != _GONE)

    def sweep(self) -> None:
        """Forget the rows that left."""
        stays = [bool(segment) for segment in self.columns[_SEGMENT]]
        self.columns = tuple(array(c.typecode, compress(c, stays)) for c in self.columns)


class Stubs:
    """Where a queue's stubs stand, and what was read of them. See the module's invariants.

    Attributes:
        count: how many have a row.
        expiring: some are being read because their time to live is over.
        size_bytes: of their bodies and headers.
        filled: what was read, by rank.
        look_at: with so few filled the next are to be read; less than 0: when one is missing.
        voided: ranks that were taken from within the order, which has their stub yet.
    """

    __slots__ = (
        "_chunks",
        "_firsts",
        "count",
        "expiring",
        "filled",
        "look_at",
        "size_bytes",
        "voided",
    )

    def __init__(self) -> None:
        self._chunks: list[_Chunk] = []
        self._firsts: list[int] = []
        self.filled: dict[int, Entry] = {}
        self.voided: set[int] = set()
        self.count = 0
        self.size_bytes = 0
        self.look_at = -1
        self.expiring = False

    # coming in

    def _open(self, first: int) -> tuple[_Chunk, int, int, int]:
        """Where rows may join from an id on: chunk, index, how many, and below which id."""
        at = max(bisect_right(self._firsts, first) - 1, 0)
        if not self._chunks:
            return self._new(0, first), 0, CHUNK_ROWS, FOREVER_NS
        chunk = self._chunks[at]
        ids = chunk.columns[_ID]
        index = bisect_left(ids, first)
        if index < len(ids):
            if len(ids) >= MOST_ROWS:
                self._split(at)
                return self._open(first)
            self._firsts[at] = min(self._firsts[at], first)
            return chunk, index, MOST_ROWS - len(ids), ids[index]
        below = self._firsts[at + 1] if at + 1 < len(self._firsts) else FOREVER_NS
        if len(ids) >= CHUNK_ROWS:
            return self._new(at + 1, first), 0, CHUNK_ROWS, below
        return chunk, index, CHUNK_ROWS - len(ids), below

    def _new(self, at: int, first: int) -> _Chunk:
        chunk = _Chunk()
        self._chunks.insert(at, chunk)
        self._firsts.insert(at, first)
        return chunk

    def _split(self, at: int) -> None:
        old = self._chunks[at].columns
        half = len(old[_ID]) // 2
        del self._chunks[at], self._firsts[at]
        for columns in (tuple(c[half:] for c in old), tuple(c[:half] for c in old)):
            left = len(columns[_ID]) - columns[_SEGMENT].count(_GONE)
            if left:
                chunk = self._new(at, columns[_ID][0])
                chunk.columns, chunk.left = columns, left

    def add(self, entries: list[Entry], segment: int, run: Run) -> list[Entry]:
        """The stubs of messages, in growing ids, that stand at ``run``'s place."""
        at = 0
        while at < len(entries):
            chunk, index, most, below = self._open(entries[at][0])
            part = entries[at : at + most]
            if part[-1][0] >= below:
                part = part[: bisect_left(part, below, key=rank_of)]
            count = len(part)
            rows: tuple[Iterable[int], ...] = (
                (entry[0] for entry in part),
                repeat(segment, count),
                repeat(run[2] // FRAME_UNIT, count),
                repeat(run[3], count),
                (len(entry[2]) + len(entry[3]) for entry in part),
                (0 if entry[4] is None else entry[4].priority for entry in part),
            )
            for column, values in zip(chunk.columns, rows, strict=True):
                column[index:index] = array(column.typecode, values)
            chunk.left += count
            at += count
        self.count += len(entries)
        self.size_bytes += sum(len(entry[2]) + len(entry[3]) for entry in entries)
        return list(map(stub_of, entries))

    # looking

    def lacks(self, entry: Entry) -> bool:
        """Whether it is a stub that has to be read."""
        return is_stub(entry) and rank_of(entry) not in self.filled

    def whole(self, entry: Entry) -> Entry | None:
        """The message; None if it has to be read."""
        return self.filled.get(rank_of(entry)) if is_stub(entry) else entry

    def _at(self, rank: int) -> tuple[int, int] | None:
        """The chunk and the index of a row."""
        at = bisect_right(self._firsts, rank) - 1
        if at < 0:
            return None
        columns = self._chunks[at].columns
        index = bisect_left(columns[_ID], rank)
        here = index < len(columns[_ID]) and columns[_ID][index] == rank
        return (at, index) if here and columns[_SEGMENT][index] != _GONE else None

    def get(self, rank: int) -> Placed | None:
        """The row of this rank as it is now; None if it is filled, or left."""
        found = self._at(rank)
        return None if found is None else self._chunks[found[0]].row(found[1])

    def parts(self) -> Iterator[list[Placed]]:
        """All rows, a part at a time, in order; they may come and go between."""
        after = -1
        while True:
            at = max(bisect_right(self._firsts, after) - 1, 0)
            found: list[Placed] = []
            while at < len(self._chunks) and not found:
                chunk = self._chunks[at]
                found = list(chunk.rows(bisect_right(chunk.columns[_ID], after)))
                at += 1
            if not found:
                return
            after = found[-1].rank
            yield found

    def in_segment(self, segment: int, most: int) -> list[Placed]:
        """Up to ``most`` rows that stand in a segment."""
        found: list[Placed] = []
        for chunk in self._chunks:
            if segment in chunk.columns[_SEGMENT]:
                found += (row for row in chunk.rows() if row.segment == segment)
                if len(found) >= most:
                    return found[:most]
        return found

    def relocate(self, rank: int, segment: int, run: Run) -> None:
        """A message stands somewhere else now, if it is still here."""
        found = self._at(rank)
        if found is not None:
            columns = self._chunks[found[0]].columns
            columns[_SEGMENT][found[1]] = segment
            columns[_FRAME][found[1]] = run[2] // FRAME_UNIT
            columns[_RECORD][found[1]] = run[3]

    # going out

    def fill(self, entries: Iterable[Entry]) -> int:
        """Messages were read: how many of them were missing."""
        count = 0
        for entry in entries:
            if self._forget(rank := rank_of(entry)):
                self.filled[rank] = entry
                count += 1
        self.look_at = len(self.filled) * 3 // 4 - 1
        return count

    def take(self, entry: Entry) -> Entry:
        """The message of an entry that is taken, or is to be held whole; it was read before."""
        return self.filled.pop(rank_of(entry)) if is_stub(entry) else entry

    def drop(self, rank: int) -> bool:
        """A message leaves; whether it was a stub."""
        return self.filled.pop(rank, None) is not None or self._forget(rank)

    def _forget(self, rank: int) -> bool:
        found = self._at(rank)
        if found is None:
            return False
        chunk = self._chunks[found[0]]
        self.count -= 1
        self.size_bytes -= chunk.columns[_SIZE][found[1]]
        chunk.columns[_SEGMENT][found[1]] = _GONE
        chunk.left -= 1
        if not chunk.left:
            del self._chunks[found[0]], self._firsts[found[0]]
        elif 2 * chunk.left < len(chunk.columns[_ID]):
            chunk.sweep()
        return True

    def clear(self) -> None:
        """All of them leave."""
        self._chunks.clear()
        self._firsts.clear()
        self.filled.clear()
        self.voided.clear()
        self.count = self.size_bytes = 0
        self.look_at = -1
