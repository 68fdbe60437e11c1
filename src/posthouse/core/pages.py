"""Where waiting messages stand on disk, so that they need not be in memory.

Ids grow with the log, and the messages of one `Put` record have consecutive ids. A *run* is a part
of such a record: its first id, how many, and the record's place: the offset of its frame in the
segment and its own in the frame. It takes at most 20 bytes however many messages it has, and 8
where each has one message and a frame of its own.

Invariants:
    1. A page's runs are in growing ids, and a queue's pages too.
    2. A page tells exactly what waits there: what leaves is cut out of its runs.
    3. ``count`` and ``size_bytes`` are those of what it tells.
    4. Only the last page grows, and only until it is read (`Page.sealed`).
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from posthouse.core.packed import Column, each, lengthened, sliced
from posthouse.records import Entry

PAGE_MESSAGES: Final = 1_000
PAGE_BYTES: Final = 1024 * 1024
FRAME_UNIT: Final = 8
"""Frames stand at multiples of this; so an offset of up to 32 GiB fits into 32 bits."""

Run: TypeAlias = "tuple[int, int, int, int]"
"""(first id, how many, offset of the frame, offset of the record in the frame's payload)."""

Range: TypeAlias = "tuple[int, int]"
"""Ids from the first to the second, both included."""


def ranges_of(ids: Iterable[int]) -> list[Range]:
    """Ids as ranges, in order."""
    ordered = sorted(ids)
    if not ordered:
        return []
    if ordered[-1] - ordered[0] == len(ordered) - 1:
        return [(ordered[0], ordered[-1])]
    breaks = [at for at, (a, b) in enumerate(pairwise(ordered), 1) if b != a + 1]
    starts, ends = [0, *breaks], [*breaks, len(ordered)]
    return [(ordered[start], ordered[end - 1]) for start, end in zip(starts, ends, strict=True)]


def joined(ranges: list[Range]) -> list[Range]:
    """The same ids as ranges that are in order, apart from each other and as few as can be."""
    ranges.sort()
    apart: list[Range] = []
    for first, last in ranges:
        if apart and first <= apart[-1][1] + 1:
            if last > apart[-1][1]:
                apart[-1] = (apart[-1][0], last)
        else:
            apart.append((first, last))
    return apart


def outside(ranges: Sequence[Range]) -> list[Range]:
    """All other ids, as ranges; these are in order and apart."""
    others: list[Range] = []
    start = 0
    for first, last in ranges:
        others.append((start, first - 1))
        start = last + 1
    others.append((start, (1 << 64) - 1))
    return [ids for ids in others if ids[0] <= ids[1]]


class Page:
    """What waits of one queue in one segment, or a part of that. See the module's invariants.

    Attributes:
        segment: its number.
        base, firsts: the first id of each run is its number in ``firsts``, of 32 bits as long as
            that is enough, and the base.
        counts: how many messages each has.
        frames: the frames' offsets in units of `FRAME_UNIT`.
        records: the records' offsets.
        count: messages.
        size_bytes: of their bodies and headers.
        sealed: it grows no more.
        loaded: its messages, when they are in memory and the page is not the queue's any more.
    """

    __slots__ = (
        "base",
        "count",
        "counts",
        "firsts",
        "frames",
        "loaded",
        "records",
        "sealed",
        "segment",
        "size_bytes",
    )

    def __init__(self, segment: int) -> None:
        self.segment = segment
        self.base = 0
        self.firsts = array("I")
        self.frames = array("I")
        self.counts: Column = 1
        self.records: Column = 0
        self.count = 0
        self.size_bytes = 0
        self.sealed = False
        self.loaded: list[Entry] | None = None

    def add(self, run: Run, size_bytes: int) -> None:
        """A run joins behind the others."""
        first, count, frame, record = run
        firsts, counts, records = self.firsts, self.counts, self.records
        if not firsts:
            self.base, self.counts, self.records = first, count, record
        else:
            if not isinstance(counts, int):
                counts.append(count)
            elif counts != count:
                self.counts = lengthened(counts, len(firsts))
                self.counts.append(count)
            if not isinstance(records, int):
                records.append(record)
            elif records != record:
                self.records = lengthened(records, len(firsts))
                self.records.append(record)
        self.frames.append(frame // FRAME_UNIT)
        try:
            firsts.append(first - self.base)
        except OverflowError:
            self.firsts = array("Q", map(self.base.__add__, firsts))
            self.firsts.append(first)
            self.base = 0
        self.count += count
        self.size_bytes += size_bytes

    def pack(self) -> None:
        """It grows no more: it takes no more room than it needs."""
        self.sealed = True
        rows = len(self.firsts)
        self.firsts, self.frames = self.firsts[:], self.frames[:]
        self.counts, self.records = sliced(self.counts, 0, rows), sliced(self.records, 0, rows)

    def runs(self) -> Iterator[Run]:
        """All runs that it has now, in order."""
        return zip(
            map(self.base.__add__, self.firsts),
            each(self.counts),
            map(FRAME_UNIT.__mul__, self.frames),
            each(self.records),
            strict=False,
        )

    @property
    def first(self) -> int:
        """The lowest id."""
        return self.base + self.firsts[0]

    @property
    def last(self) -> int:
        """The highest id."""
        return self.base + self.firsts[-1] + self._count_at(-1) - 1

    def _count_at(self, at: int) -> int:
        counts = self.counts
        return counts if isinstance(counts, int) else counts[at]

    def holds(self, message_id: int) -> bool:
        """Whether the message waits here."""
        number = message_id - self.base
        at = bisect_right(self.firsts, number) - 1
        return at >= 0 and number < self.firsts[at] + self._count_at(at)

    def ranges(self) -> Iterator[Range]:
        """The ids, as ranges."""
        for first, count, _, _ in self.runs():
            yield first, first + count - 1

    def cut(self, ranges: Sequence[Range], size_bytes: int) -> int:
        """Messages leave: how many. Ranges are in order and apart; their messages' size is given.

        The arrays are made anew: whoever reads them elsewhere keeps what he has.
        """
        kept = Page(self.segment)
        for run, _ in pieces(self.runs(), ranges):
            kept.add(run, 0)
        gone = self.count - kept.count
        self._become(kept)
        self.size_bytes -= size_bytes
        return gone

    def relocate(self, page: Page) -> None:
        """What waits here stands somewhere else now, where ``page`` says, which may have more."""
        self._become(page.part(list(self.ranges())))

    def _become(self, page: Page) -> None:
        self.segment, self.count = page.segment, page.count
        self.base, self.firsts, self.frames = page.base, page.firsts, page.frames
        self.counts, self.records = page.counts, page.records

    def part(self, ranges: Sequence[Range]) -> Page:
        """Another page of only these messages, as far as they are here. Its size is not known."""
        page = Page(self.segment)
        for run, _ in pieces(self.runs(), outside(ranges)):
            page.add(run, 0)
        return page


def pieces(runs: Iterable[Run], ranges: Sequence[Range]) -> Iterator[tuple[Run, bool]]:
    """What is left of runs when ranges are cut out; each with whether it is a whole run."""
    at, most = 0, len(ranges)
    for first, count, frame, record in runs:
        end = first + count
        while at < most and ranges[at][1] < first:
            at += 1
        start = first
        while at < most and ranges[at][0] < end:
            low, high = ranges[at]
            if low > start:
                yield (start, low - start, frame, record), False
            start = max(start, high + 1)
            if high >= end:
                break  # it may reach into the next run
            at += 1
        if start < end:
            yield (start, end - start, frame, record), start == first


class Pages:
    """A queue's pages, the next one first. ``read(page)`` reads one, and blocks.

    Attributes:
        count: messages in all of them.
        size_bytes: of their bodies and headers.
    """

    __slots__ = ("_pages", "count", "read", "size_bytes")

    def __init__(self, read: Callable[[Page], list[Entry]]) -> None:
        self.read = read
        self._pages: deque[Page] = deque()
        self.count = 0
        self.size_bytes = 0

    def __bool__(self) -> bool:
        return bool(self._pages)

    def __iter__(self) -> Iterator[Page]:
        return iter(self._pages)

    def __reversed__(self) -> Iterator[Page]:
        return reversed(self._pages)

    @property
    def head(self) -> Page:
        """The next one."""
        return self._pages[0]

    @property
    def first(self) -> int:
        """The lowest id."""
        return self._pages[0].first

    def add(self, segment: int, run: Run, size_bytes: int) -> None:
        """A run joins behind all others."""
        page = self._pages[-1] if self._pages else None
        if (
            page is None
            or page.sealed
            or page.segment != segment
            or page.count + run[1] > PAGE_MESSAGES
            or page.size_bytes + size_bytes > PAGE_BYTES
        ):
            if page is not None and not page.sealed:
                page.pack()
            page = Page(segment)
            self._pages.append(page)
        page.add(run, size_bytes)
        self.count += run[1]
        self.size_bytes += size_bytes

    def ranks_of(self, ranks: Iterable[int]) -> list[int]:
        """Those of the ranks whose messages wait here: here they are the ids."""
        pages = list(self._pages)
        firsts = [page.first for page in pages]
        return [
            rank
            for rank in ranks
            if (at := bisect_right(firsts, rank) - 1) >= 0 and pages[at].holds(rank)
        ]

    def extract(self, ids: Iterable[int]) -> list[Entry]:
        """Read those of these messages that wait here, and take them out. Blocks."""
        pages = list(self._pages)
        firsts = [page.first for page in pages]
        wanted: dict[int, list[int]] = {}
        for message_id in ids:
            at = bisect_right(firsts, message_id) - 1
            if at >= 0 and pages[at].holds(message_id):
                wanted.setdefault(at, []).append(message_id)
        found: list[Entry] = []
        for at, part in wanted.items():
            found += self.read(pages[at].part(ranges_of(part)))
        return self.take_out(found)

    def void(self) -> None:
        """All of it is settled: whoever still looks at a page finds nothing in it."""
        for page in self._pages:
            page.cut([(0, (1 << 64) - 1)], page.size_bytes)

    def append(self, page: Page) -> None:
        """A whole page joins behind all others."""
        self._pages.append(page)
        self.count += page.count
        self.size_bytes += page.size_bytes

    def pop(self) -> Page:
        """The next page leaves."""
        page = self._pages.popleft()
        self.count -= page.count
        self.size_bytes -= page.size_bytes
        return page

    def take_out(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those of these messages that wait here leave: which they are."""
        pages = list(self._pages)
        firsts = [page.first for page in pages]
        leaving: dict[int, list[Entry]] = {}
        for entry in entries:
            at = bisect_right(firsts, entry[0]) - 1
            if at >= 0 and pages[at].holds(entry[0]):
                leaving.setdefault(at, []).append(entry)
        found: list[Entry] = []
        for at, part in leaving.items():
            size_bytes = sum(len(entry[2]) + len(entry[3]) for entry in part)
            self.count -= pages[at].cut(ranges_of([entry[0] for entry in part]), size_bytes)
            self.size_bytes -= size_bytes
            found += part
        if any(not pages[at].count for at in leaving):
            self._pages = deque(page for page in pages if page.count)
        return found
