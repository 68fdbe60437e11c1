"""Places: where messages stand on disk of which something must be known while they wait, packed.

A message with a priority, a time to live, a delay or a rank of its own is known by a row of 49
bytes in parallel arrays; its body, its headers and its traits are read from its place when it is
about to be delivered. `Page` does the same for what is first in, first out, by runs.

Rows are in the order of a sort key, in blocks: what joins at the end costs next to nothing, what
joins elsewhere moves a part of one block, and what leaves first is cut off in one piece.

Invariants:
    1. Rows are in growing (key, rank); blocks are not empty, and `_firsts` has their first ones'.
    2. A block's ``soonest`` is at most the lowest of its times to live.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import chain, compress, starmap
from operator import itemgetter
from typing import Final, NamedTuple, TypeAlias

from posthouse.core.pages import FRAME_UNIT, Run
from posthouse.model import FOREVER_NS
from posthouse.records import Entry

BLOCK_ROWS: Final = 512

_TYPECODES: Final = "QQQIIIIQB"
KEY, RANK, ID, SEGMENT, _FRAME, _RECORD, _SIZE, _EXPIRES, PRIORITY = range(9)

Columns: TypeAlias = "tuple[array[int], ...]"
"""One array for each field of a `Placed`, in their order."""


class Placed(NamedTuple):
    """A message on disk, and what must be known of it.

    ``key`` is what it is sorted by: the rank where it waits, the due time where it is delayed.
    ``frame`` is the frame's offset in units of `FRAME_UNIT`, ``record`` the record's in the
    payload; ``size_bytes`` of body and headers; ``expires_ns`` FOREVER_NS for never.
    """

    key: int
    rank: int
    id: int
    segment: int
    frame: int
    record: int
    size_bytes: int
    expires_ns: int
    priority: int

    def run(self) -> Run:
        """The place, as a reader takes it."""
        return self.id, 1, self.frame * FRAME_UNIT, self.record


def placed(entry: Entry, due_ns: int, segment: int, run: Run) -> Placed:
    """The row of a message that stands at ``run``'s place, delayed until a time (0: it is not)."""
    traits = entry[4]
    rank = expires_ns = priority = 0
    if traits is not None:
        rank, expires_ns, priority = traits.rank, traits.expires_ns, traits.priority
    rank = rank or entry[0]
    return Placed(
        due_ns or rank,
        rank,
        entry[0],
        segment,
        run[2] // FRAME_UNIT,
        run[3],
        len(entry[2]) + len(entry[3]),
        expires_ns or FOREVER_NS,
        priority,
    )


def by_place(row: Placed) -> tuple[int, int, int, int]:
    """What puts rows in the order in which they stand on disk."""
    return row.segment, row.frame, row.record, row.id


def columns_of(rows: Sequence[Placed]) -> Columns:
    """Rows as columns."""
    codes = enumerate(_TYPECODES)
    return tuple(array(code, map(itemgetter(at), rows)) for at, code in codes)


def rows_of(columns: Columns) -> Iterator[Placed]:
    """Columns as rows."""
    return starmap(Placed, zip(*columns, strict=True))


class _Block:
    """Up to twice `BLOCK_ROWS` rows."""

    __slots__ = ("columns", "soonest")

    def __init__(self, columns: Columns, soonest: int | None = None) -> None:
        self.columns = columns
        self.soonest = 0 if soonest is None else soonest
        if soonest is None:
            self.look_up_soonest()

    def __len__(self) -> int:
        return len(self.columns[KEY])

    def look_up_soonest(self) -> None:
        self.soonest = min(self.columns[_EXPIRES], default=FOREVER_NS)

    @property
    def first(self) -> tuple[int, int]:
        return self.columns[KEY][0], self.columns[RANK][0]

    def row(self, at: int) -> Placed:
        return Placed(*map(itemgetter(at), self.columns))

    def index(self, key: int, rank: int) -> int:
        """Where the row of this key and rank is, or belongs."""
        keys = self.columns[KEY]
        start = bisect_left(keys, key)
        if start == len(keys) or keys[start] != key:
            return start
        return bisect_left(self.columns[RANK], rank, start, bisect_right(keys, key, start))

    def rows(self) -> Iterator[Placed]:
        return rows_of(self.columns)

    def insert(self, at: int, row: Placed) -> None:
        for column, value in zip(self.columns, row, strict=True):
            column.insert(at, value)
        self.soonest = min(self.soonest, row.expires_ns)

    def part(self, start: int, end: int) -> _Block:
        return _Block(tuple(column[start:end] for column in self.columns))

    def take(self, leaves: Sequence[bool]) -> list[Placed]:
        """Those rows leave for which ``leaves`` is true."""
        taken = list(compress(self.rows(), leaves))
        stays = [not each for each in leaves]
        self.columns = tuple(
            array(column.typecode, compress(column, stays)) for column in self.columns
        )
        self.look_up_soonest()
        return taken


class Places:
    """Rows in the order of their keys. See the module's invariants.

    Attributes:
        size_bytes: of the messages' bodies and headers.
    """

    __slots__ = ("_blocks", "_count", "_firsts", "size_bytes")

    def __init__(self) -> None:
        self._blocks: list[_Block] = []
        self._firsts: list[tuple[int, int]] = []
        self._count = 0
        self.size_bytes = 0

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Placed]:
        return chain.from_iterable(block.rows() for block in self._blocks)

    def blocks(self) -> Iterator[list[Placed]]:
        """All rows, a part at a time; rows may come and go between."""
        after = (-1, -1)
        while True:
            at = max(bisect_right(self._firsts, after) - 1, 0)
            found: list[Placed] = []
            while at < len(self._blocks) and not found:
                found = [row for row in self._blocks[at].rows() if row[:2] > after]
                at += 1
            if not found:
                return
            after = found[-1][:2]
            yield found

    # coming in

    def add(self, row: Placed) -> None:
        """A row joins, at its place in the order."""
        self._count += 1
        self.size_bytes += row.size_bytes
        if not self._blocks:
            self._blocks.append(_Block(columns_of([row])))
            self._firsts.append(row[:2])
            return
        at = max(bisect_right(self._firsts, row[:2]) - 1, 0)
        block = self._blocks[at]
        index = block.index(row.key, row.rank)
        block.insert(index, row)
        if len(block) > 2 * BLOCK_ROWS:
            # What only grows at its end leaves full blocks behind.
            middle = index if index == len(block) - 1 else len(block) // 2
            halves = [block.part(0, middle), block.part(middle, len(block))]
            self._blocks[at : at + 1] = halves
            self._firsts[at : at + 1] = [each.first for each in halves]
        elif not index:
            self._firsts[at] = row[:2]

    def extend(self, columns: Columns) -> None:
        """Rows join behind all others, in their order, at the cost of copying them."""
        count = len(columns[KEY])
        # Of all together: the block's own is found when it is asked for.
        expires_ns = columns[_EXPIRES]
        soonest = min(expires_ns, default=FOREVER_NS)
        for start in range(0, count, 2 * BLOCK_ROWS):
            end = start + 2 * BLOCK_ROWS
            block = _Block(tuple(column[start:end] for column in columns), soonest)
            self._blocks.append(block)
            self._firsts.append(block.first)
        self._count += count
        self.size_bytes += sum(columns[_SIZE])

    # looking

    @property
    def first_key(self) -> int:
        """The lowest key. There must be one."""
        return self._firsts[0][0]

    @property
    def last_key(self) -> int:
        """The highest key. There must be one."""
        return self._blocks[-1].columns[KEY][-1]

    @property
    def soonest_ns(self) -> int:
        """Before this time no row's time to live is over; FOREVER_NS: never."""
        return min((block.soonest for block in self._blocks), default=FOREVER_NS)

    @property
    def oldest_id(self) -> int:
        """The lowest id; 0 if there is no row."""
        return min((min(block.columns[ID]) for block in self._blocks), default=0)

    def first(self, most: int, most_bytes: int, *, last: bool = False) -> list[Placed]:
        """The first rows (or the ``last``, the last one first): one at least, if there is any."""
        found: list[Placed] = []
        left = most_bytes
        for block in reversed(self._blocks) if last else self._blocks:
            rows = list(block.rows())
            for row in reversed(rows) if last else rows:
                left -= row.size_bytes
                if found and (left < 0 or len(found) >= most):
                    return found
                found.append(row)
        return found

    def _at(self, key: int, rank: int) -> tuple[int, int] | None:
        """The block and the index of a row."""
        at = bisect_right(self._firsts, (key, rank)) - 1
        if at < 0:
            return None
        block = self._blocks[at]
        index = block.index(key, rank)
        here = index < len(block) and block.columns[RANK][index] == rank
        return (at, index) if here and block.columns[KEY][index] == key else None

    def get(self, key: int, rank: int) -> Placed | None:
        """The row of this key and rank as it is now, or None."""
        found = self._at(key, rank)
        return None if found is None else self._blocks[found[0]].row(found[1])

    # going out

    def remove(self, pairs: Iterable[tuple[int, int]]) -> list[Placed]:
        """Those rows leave whose (key, rank) these are: the rows, as they were."""
        leaving: dict[int, list[int]] = {}
        for key, rank in pairs:
            found = self._at(key, rank)
            if found is not None:
                leaving.setdefault(found[0], []).append(found[1])
        return self._leave(leaving)

    def _leave(self, leaving: dict[int, list[int]]) -> list[Placed]:
        gone: list[Placed] = []
        for at in sorted(leaving, reverse=True):
            block = self._blocks[at]
            leaves = bytearray(len(block))
            for index in leaving[at]:
                leaves[index] = 1
            gone += self._cut(at, [bool(each) for each in leaves])
        return gone

    def _cut(self, at: int, leaves: Sequence[bool]) -> list[Placed]:
        block = self._blocks[at]
        taken = block.take(leaves)
        self._count -= len(taken)
        self.size_bytes -= sum(row.size_bytes for row in taken)
        if len(block):
            self._firsts[at] = block.first
        else:
            del self._blocks[at], self._firsts[at]
        return taken

    def pop_to(self, key: int, most: int) -> list[Placed]:
        """Up to about ``most`` rows leave whose keys are no higher, the first ones."""
        gone: list[Placed] = []
        while self._blocks and self.first_key <= key and len(gone) < most:
            keys = self._blocks[0].columns[KEY]
            end = bisect_right(keys, key)
            gone += self._cut(0, [True] * end + [False] * (len(keys) - end))
        return gone

    def pick(self, column: int, values: Collection[int], most: int = FOREVER_NS) -> list[Placed]:
        """Up to ``most`` rows with one of the values in that column; looks through all."""
        wanted = frozenset(values)
        found: list[Placed] = []
        for block in self._blocks:
            if not wanted.isdisjoint(block.columns[column]):
                found += [row for row in block.rows() if row[column] in wanted]
                if len(found) >= most:
                    return found[:most]
        return found

    def expiring(self, by_ns: int, most: int) -> list[Placed]:
        """Up to ``most`` rows whose time to live is over by then."""
        found: list[Placed] = []
        for block in self._blocks:
            if block.soonest <= by_ns:
                block.look_up_soonest()
            if block.soonest <= by_ns:
                found += [row for row in block.rows() if row.expires_ns <= by_ns]
                if len(found) >= most:
                    return found[:most]
        return found

    def relocate(self, key: int, rank: int, segment: int, run: Run) -> bool:
        """A message stands somewhere else now; False if it is not here any more."""
        found = self._at(key, rank)
        if found is None:
            return False
        block = self._blocks[found[0]]
        for column, value in (
            (SEGMENT, segment),
            (_FRAME, run[2] // FRAME_UNIT),
            (_RECORD, run[3]),
        ):
            block.columns[column][found[1]] = value
        return True

    def clear(self) -> list[int]:
        """All rows leave: their ids."""
        ids = [number for block in self._blocks for number in block.columns[ID]]
        self._blocks.clear()
        self._firsts.clear()
        self._count = self.size_bytes = 0
        return ids
