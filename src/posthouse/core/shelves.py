"""One queue's messages while the state is rebuilt: where they stand, and what is known of them."""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from typing import Final, TypeAlias

from posthouse.core.packed import each, halved, narrowed, running, shortened, sliced
from posthouse.core.pages import (
    FRAME_UNIT,
    PAGE_BYTES,
    PAGE_MESSAGES,
    Page,
    Pages,
    Range,
    Run,
    joined,
    outside,
    pieces,
    ranges_of,
)
from posthouse.core.places import RANK, Columns, Placed, columns_of, placed
from posthouse.core.stubs import Stubs
from posthouse.core.told import NOWHERE, STUB, Judge, Places, Rows, Told, ToldRows
from posthouse.records import Entry, Traits

Read: TypeAlias = "Callable[[Page], list[Entry]]"
"""Reads the messages of a page; blocks."""

UNKNOWN: Final = (1 << 64) - 1
_JOIN_AT: Final = 50_000

_Piece: TypeAlias = "tuple[int, Run, int]"
"""(segment, run, bytes of its messages; -1: not known, it is a part of a record)."""


class Runs:
    """Puts of one queue in one segment, a row for each record: see `Rebuild.columns`."""

    __slots__ = (
        "carried",
        "counts",
        "firsts",
        "frames",
        "records",
        "segment",
        "sizes",
        "special",
        "told",
    )

    def __init__(self, segment: int, rows: Rows, told: ToldRows | None, *, carried: bool) -> None:
        firsts, counts, frames, records, sizes = rows
        self.segment = segment
        self.firsts = firsts
        self.counts = shortened(counts)
        self.frames = frames
        self.records = shortened(records)
        self.sizes = shortened(halved(sizes))
        self.special = told is not None
        self.told = None if told is None else Told(told)
        self.carried = carried
        if carried:
            self._keep_last()

    def _rows(self) -> Iterator[tuple[Run, int]]:
        """Each run, and the bytes of its messages."""
        frames = map(FRAME_UNIT.__mul__, self.frames)
        runs = zip(self.firsts, each(self.counts), frames, each(self.records), strict=False)
        return zip(runs, each(self.sizes), strict=False)

    def _keep_last(self) -> None:
        """Of what was carried more than once, the last counts."""
        rows = sorted(zip(self.firsts, each(self.counts), strict=False))
        if all(first + count <= after for (first, count), (after, _) in pairwise(rows)):
            return
        seen: list[Range] = []
        kept: list[tuple[Run, int]] = []
        for run, size_bytes in reversed(list(self._rows())):
            for piece, _ in pieces([run], seen):
                kept.append((piece, size_bytes if piece == run else UNKNOWN))
            seen = joined([*seen, (run[0], run[0] + run[1] - 1)])
        kept.reverse()
        self.told = None  # its rows are those of all of them
        self.firsts = array("Q", [run[0] for run, _ in kept])
        self.counts = array("I", [run[1] for run, _ in kept])
        self.frames = array("I", [run[2] // FRAME_UNIT for run, _ in kept])
        self.records = array("I", [run[3] for run, _ in kept])
        self.sizes = array("Q", [size for _, size in kept])

    @property
    def last(self) -> int:
        """The highest id."""
        counts = self.counts
        if self.carried:
            return max(a + b - 1 for a, b in zip(self.firsts, each(counts), strict=False))
        return self.firsts[-1] + (counts if isinstance(counts, int) else counts[-1]) - 1

    def settle(self, gone: Sequence[Range], judge: Judge) -> tuple[list[Columns], list[_Piece]]:
        """The rows of what is special here, without these ranges, and what of it has to be read."""
        if self.told is None or judge.odd is None or self.told.all_keyed:
            return [], list(self.pieces(gone))
        places = Places(self.segment, self.firsts, self.counts, self.frames, self.records)
        rows, wanted = self.told.settle(places, gone, judge)
        return rows, list(self.pieces(outside(ranges_of(wanted)))) if wanted else []

    def pieces(self, ranges: Sequence[Range]) -> Iterator[_Piece]:
        """What is left without these ranges, in growing ids."""
        rows = sorted(self._rows())
        sizes = {run[0]: size_bytes for run, size_bytes in rows}
        for run, whole in pieces((run for run, _ in rows), ranges):
            size_bytes = sizes.get(run[0], UNKNOWN) if whole else UNKNOWN
            yield self.segment, run, -1 if size_bytes == UNKNOWN else size_bytes

    def pages(self) -> Iterator[Page]:
        """All of it as pages, at the cost of their number. Its ids must be growing."""
        rows = len(self.firsts)
        counts, sizes = running(self.counts, rows), running(self.sizes, rows)
        start = count = size_bytes = 0
        while start < rows:
            end = min(
                bisect_right(counts, count + PAGE_MESSAGES, start),
                bisect_right(sizes, size_bytes + PAGE_BYTES, start),
            )
            end = max(end, start + 1)
            page = Page(self.segment)
            page.base, page.firsts = narrowed(self.firsts[start:end])
            page.counts = shortened(sliced(self.counts, start, end))
            page.frames = self.frames[start:end]
            page.records = shortened(sliced(self.records, start, end))
            page.count = counts[end - 1] - count
            page.size_bytes = sizes[end - 1] - size_bytes
            yield page
            start, count, size_bytes = end, counts[end - 1], sizes[end - 1]


class Shelf:
    """One queue's part.

    Attributes:
        runs: its puts, segment by segment.
        cuts: ids that left for good, or moved away.
        attempts, held: by rank, as in a queue; ``held`` was in flight at the end.
        due_ns: by id.
        entries: what was read because something must be known of it.
        arriving: what moved in.
        pages: what waits and was not read.
        placed: rows of that of which something must be known, and which stays on disk; in parts,
            in no order.
        attempted: ranks of ``placed`` with attempts.
        stubs: the places of those ``entries`` that are stubs.
    """

    __slots__ = (
        "_join_at",
        "_traits",
        "arriving",
        "attempted",
        "attempts",
        "cuts",
        "due_ns",
        "entries",
        "held",
        "pages",
        "placed",
        "runs",
        "stubs",
    )

    def __init__(self) -> None:
        self.runs: list[Runs] = []
        self.cuts: list[Range] = []
        self.attempts: dict[int, int] = {}
        self.due_ns: dict[int, int] = {}
        self.held: set[int] = set()
        self.entries: list[Entry] = []
        self.arriving: list[Entry] = []
        self.pages: Pages | None = None
        self.placed: list[Columns] = []
        self.attempted: list[int] = []
        self.stubs = Stubs()
        self._join_at = _JOIN_AT
        self._traits: dict[Traits, Traits] = {}

    def forget(self, message_id: int, rank: int) -> None:
        """A message left, or moved: nothing is known of it here."""
        self.due_ns.pop(message_id, None)
        self.attempts.pop(rank, None)
        self.held.discard(rank)

    def settle(self, first: int, last: int) -> None:
        """Messages left for good, whose ranks are their ids."""
        for message_id in [*within(self.attempts, first, last), *within(self.due_ns, first, last)]:
            self.forget(message_id, message_id)
        cuts = self.cuts
        if cuts and cuts[-1][1] + 1 == first:
            cuts[-1] = (cuts[-1][0], last)
            return
        cuts.append((first, last))
        if len(cuts) > self._join_at:
            self.cuts = joined(cuts)
            self._join_at = max(_JOIN_AT, 2 * len(self.cuts))

    def build(
        self,
        carried: dict[int, tuple[list[Range], list[Range]]],
        ranked: list[Range],
        read: Read,
        judge: Judge,
    ) -> None:
        """Make the pages, and the rows of what is special, or read it.

        ``carried``: for a segment, the ids that were carried on since they were put there, and
        since they were carried there. ``ranked``: what was carried with a rank.
        """
        cuts = joined(self.cuts)
        starts = [first for first, _ in cuts]
        known: list[_Piece] = []
        mixed: list[_Piece] = []
        simple: list[Runs] = []
        last_carried = max((r.last for r in self.runs if r.carried and not r.special), default=0)
        self.runs.reverse()
        while self.runs:  # each leaves memory as its rows come
            runs = self.runs.pop()
            gone = _meeting(runs, cuts, starts)
            later = carried[runs.segment][runs.carried]
            if runs.carried and not runs.special:
                later = [*later, *ranked]
            if later:
                gone = joined([*gone, *later])
            if runs.special:
                rows, more = runs.settle(gone, judge)
                known += more
                self.placed += rows
            elif gone or runs.carried or runs.firsts[0] <= last_carried:
                mixed += runs.pieces(gone)
            else:
                simple.append(runs)
        for page, _ in paged(known):
            self._place(page, read(page), judge.stays)
        # What was carried is older than all that is not mixed with it; each of the rest has its
        # place by its segment.
        mixed.sort(key=lambda piece: piece[1][0])
        built = list(paged(mixed))
        for page, parts in built:
            if parts.count:
                page.size_bytes += sum(len(each[2]) + len(each[3]) for each in read(parts))
        pages = [page for page, _ in built]
        while simple:  # each leaves memory as its pages come
            pages += simple.pop().pages()
        pages.sort(key=lambda page: page.first)
        if pages:
            self.pages = Pages(read)
            for page in pages:
                self.pages.append(page)

    def _place(
        self, page: Page, entries: list[Entry], stays: Callable[[Entry], int | None]
    ) -> None:
        """Note the places of those messages of a page that stay on disk, and keep the others."""
        at = 0
        rows: list[Placed] = []
        for run in page.runs():
            stubbed: list[Entry] = []
            for entry in entries[at : at + run[1]]:
                due_ns = stays(entry)
                if due_ns is None:
                    self.entries.append(entry)
                elif due_ns == STUB:
                    stubbed.append(self._shared(entry))
                elif due_ns != NOWHERE:
                    rows.append(placed(entry, due_ns, page.segment, run))
            at += run[1]
            self.entries += self.stubs.add(stubbed, page.segment, run)
        if rows:
            self.placed.append(columns_of(rows))

    def _shared(self, entry: Entry) -> Entry:
        """The same, with the traits of an earlier message where they are equal."""
        traits = entry[4]
        if traits is None or traits.dedup:
            return entry
        return (*entry[:4], self._traits.setdefault(traits, traits))

    def put_off(self, ids: Collection[int], stays: Callable[[Entry], int | None]) -> None:
        """The same for messages that are in pages: they leave those."""
        pages = self.pages
        if pages is None:
            return
        for page in list(pages):
            wanted = [number for number in ids if page.first <= number <= page.last]
            part = page.part(ranges_of(number for number in wanted if page.holds(number)))
            if part.count:
                entries = pages.read(part)
                pages.take_out(entries)
                self._place(part, entries, stays)
        if not pages:
            self.pages = None

    def note_attempted(self) -> None:
        """Set ``attempted``; what is ``placed`` is about to leave."""
        if self.attempts:
            had = self.attempts.__contains__
            self.attempted = [rank for part in self.placed for rank in filter(had, part[RANK])]

    def extract(self, ids: Collection[int]) -> list[Entry]:
        """Read those of these messages that are here, and take them out."""
        if not ids:
            return []
        wanted = set(ids)
        found = [entry for entry in self.entries if entry[0] in wanted]
        if found:
            self.entries = [entry for entry in self.entries if entry[0] not in wanted]
        if self.pages is not None:
            found += self.pages.extract(wanted)
            if not self.pages:
                self.pages = None
        return found

    def enriches(self) -> bool:
        """Whether it has what makes a queue more than first in, first out."""
        return any(
            traits is not None and bool(traits.key or traits.expires_ns)
            for *_, traits in (*self.entries, *self.arriving)
        )

    def read_all(self, stays: Callable[[Entry], int | None]) -> None:
        """Read all pages, for what must be known of each message (see `build`)."""
        pages, self.pages = self.pages, None
        if pages is not None:
            for page in pages:
                self._place(page, pages.read(page), stays)


def paged(found: Iterable[_Piece]) -> Iterator[tuple[Page, Page]]:
    """Pages of these, in order; with each, what of it has a size that is not known."""
    for segment, group in groupby(found, key=lambda piece: piece[0]):
        page, parts = Page(segment), Page(segment)
        for _, run, size_bytes in group:
            full = page.count + run[1] > PAGE_MESSAGES or page.size_bytes > PAGE_BYTES
            if page.count and full:
                yield page, parts
                page, parts = Page(segment), Page(segment)
            page.add(run, max(size_bytes, 0))
            if size_bytes < 0:
                parts.add(run, 0)
        yield page, parts


def _meeting(runs: Runs, cuts: list[Range], starts: list[int]) -> list[Range]:
    """Those of the cuts that meet the runs' ids."""
    if runs.carried:
        return cuts
    first, last = runs.firsts[0], runs.last
    begin = max(bisect_left(starts, first) - 1, 0)
    end = bisect_right(starts, last)
    return [each for each in cuts[begin:end] if each[1] >= first]


def within(numbers: Collection[int], first: int, last: int) -> list[int]:
    """Those of the numbers from the first to the last."""
    if not numbers:
        return []
    if last - first < len(numbers):
        return [number for number in range(first, last + 1) if number in numbers]
    return [number for number in numbers if first <= number <= last]
