"""What of a queue is on disk only, where it is more than first in, first out.

`RichOrder` holds what is in memory and knows nothing of this; what is here is outside of its
order, and comes into it when it has been read. Until then what is in memory may be taken only as
far as it comes before all that is here (`horizon`).

Here is what has no ordering key. It waits, by levels of priority, each in growing rank; or it is
delayed, in the order of due times. What has a key is in the order as a stub: `stubs`, of which here
is said where they stand, for those who read or write again what is on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import chain
from typing import Final, TypeAlias

from posthouse.core.orders import MOST_PRIORITY, PRIORITY_SHIFT, rank_of
from posthouse.core.pages import PAGE_BYTES, PAGE_MESSAGES, Pages, Run
from posthouse.core.places import RANK, SEGMENT, Columns, Placed, Places, placed
from posthouse.core.sorting import in_groups
from posthouse.core.stubs import Stubs
from posthouse.model import FOREVER_NS, QueuePolicy
from posthouse.records import Entry

ReadPlaced: TypeAlias = "Callable[[list[Placed]], list[Entry]]"
"""Reads messages at their places, in the order given; blocks."""

DUE_STEP: Final = 5_000
"""So many become due at once at the most, about: the loop must have its turn."""


_DELAYED: Final = -1


class Cold:
    """See the module. ``read(rows)`` reads messages, and blocks.

    Attributes:
        delayed: what is delayed, by due time.
        soonest_ns: no time to live is over before this.
        stubs: not among what is counted here.
        unwritten: what has left memory in favour of a copy that is not durable yet, by rank; until
            then it is here, and its row says segment 0.
    """

    __slots__ = (
        "_backwards",
        "_levelled",
        "_levels",
        "delayed",
        "read",
        "soonest_ns",
        "stubs",
        "unwritten",
    )

    def __init__(self, policy: QueuePolicy, read: ReadPlaced) -> None:
        self.read = read
        self._levels: dict[int, Places] = {}
        self.delayed = Places()
        self.stubs = Stubs()
        self.unwritten: dict[int, Entry] = {}
        self.soonest_ns = FOREVER_NS
        self._levelled = policy.order == "priority"
        self._backwards = policy.order == "lifo"

    def arrange(self, policy: QueuePolicy) -> None:
        """Take a policy's order."""
        self._backwards = policy.order == "lifo"
        if self._levelled == (policy.order == "priority"):
            return
        self._levelled = not self._levelled
        levels, self._levels = self._levels, {}
        for row in chain.from_iterable(levels.values()):
            self._wait(row)

    @property
    def expiring(self) -> bool:
        """Whether some, or some stubs, are being read because their time to live is over."""
        return self.stubs.expiring

    @expiring.setter
    def expiring(self, expiring: bool) -> None:
        self.stubs.expiring = expiring

    @property
    def count(self) -> int:
        """How many there are."""
        return self.waiting + len(self.delayed)

    @property
    def waiting(self) -> int:
        """How many may be delivered now."""
        return sum(map(len, self._levels.values()))

    @property
    def size_bytes(self) -> int:
        """Bytes of all bodies and headers."""
        return self.delayed.size_bytes + sum(each.size_bytes for each in self._levels.values())

    def _level(self, priority: int) -> int:
        return MOST_PRIORITY - priority if self._levelled else 0

    # coming in

    def shelve(self, entries: Iterable[tuple[Entry, int]], segment: int, run: Run) -> None:
        """Messages with their due times that stand, one after the other, at a place on disk."""
        for entry, due_ns in entries:
            row = placed(entry, due_ns, segment, run)
            self.soonest_ns = min(self.soonest_ns, row.expires_ns)
            if due_ns:
                self.delayed.add(row)
            else:
                self._wait(row)

    def _wait(self, row: Placed) -> None:
        level = self._level(row.priority)
        places = self._levels.get(level)
        if places is None:
            places = self._levels[level] = Places()
        places.add(row)

    def leave_memory(self, entries: Iterable[tuple[Entry, int]]) -> None:
        """Messages with their due times are to be here; see `unwritten` and `written`."""
        for entry, due_ns in entries:
            self.unwritten[rank_of(entry)] = entry
            self.shelve([(entry, due_ns)], 0, (entry[0], 1, 0, 0))

    def written(self, entry: Entry, due_ns: int, segment: int, run: Run) -> None:
        """The copy of a message that left memory is durable, there."""
        if self.unwritten.pop(rank_of(entry), None) is not None:
            self.relocate(placed(entry, due_ns, 0, run), segment, run)

    def at_hand(self, rows: Iterable[Placed]) -> tuple[list[Placed], list[Entry]]:
        """Rows to be read, and the messages of the others, which are in memory yet."""
        far: list[Placed] = []
        near: list[Entry] = []
        for row in rows:
            entry = None if row.segment else self.unwritten.get(row.rank)
            if entry is None:
                far.append(row)
            else:
                near.append(entry)
        return far, near

    def take_in(self, parts: list[Columns]) -> None:
        """Rows join, as recovery found them, where there were none. The list is emptied."""

        def group(priority: int, delayed: bool) -> int:
            return _DELAYED if delayed else self._level(priority)

        for level, found in in_groups(parts, group):
            places = self.delayed
            if level != _DELAYED:
                places = self._levels.setdefault(level, Places())
            for part in found:
                places.extend(part)
        self.look_up_soonest()

    def make_due(self, now_ns: int, most: int = DUE_STEP) -> int:
        """Let what is due wait, about ``most`` at the most: how many."""
        if not self.delayed or self.delayed.first_key > now_ns:
            return 0
        rows = self.delayed.pop_to(now_ns, most)
        for row in rows:
            self._wait(Placed(row.rank, *row[1:]))
        return len(rows)

    # what comes next

    def _lowest(self) -> int | None:
        return min((level for level, places in self._levels.items() if places), default=None)

    def horizon(self, pages: Pages | None) -> int | None:
        """The order key (see `orders`) of what comes first here, and in ``pages``; None: nothing.

        ``pages`` has messages of the lowest priority, and none where the order is last in, first
        out.
        """
        first: int | None = None
        level = self._lowest()
        if level is not None:
            places = self._levels[level]
            first = -places.last_key if self._backwards else places.first_key
            first += level << PRIORITY_SHIFT
        if pages is None:
            return first
        paged = pages.first + (self._level(0) << PRIORITY_SHIFT)
        return paged if first is None else min(first, paged)

    @staticmethod
    def paged(policy: QueuePolicy, pages: Pages) -> int:
        """The `horizon` where there are pages only."""
        level = MOST_PRIORITY if policy.order == "priority" else 0
        return pages.first + (level << PRIORITY_SHIFT)

    def next(
        self, pages: Pages | None, most: int = PAGE_MESSAGES, most_bytes: int = PAGE_BYTES
    ) -> list[Placed]:
        """The next messages in order that wait here before any of ``pages``."""
        level = self._lowest()
        if level is None or (pages is not None and level > self._level(0)):
            return []
        rows = self._levels[level].first(most, most_bytes, last=self._backwards)
        if pages is not None and level == self._level(0):
            rows = [row for row in rows if row.rank < pages.first]
        return rows

    def in_order(self, most: int) -> list[Placed]:
        """The first ``most`` in order."""
        found: list[Placed] = []
        for level in sorted(self._levels):
            if len(found) < most and self._levels[level]:
                more = self._levels[level].first(
                    most - len(found), FOREVER_NS, last=self._backwards
                )
                found += more
        return found

    @property
    def oldest_rank(self) -> int:
        """The lowest rank of what waits; FOREVER_NS: nothing does."""
        return min((each.first_key for each in self._levels.values() if each), default=FOREVER_NS)

    def oldest(self) -> list[Placed]:
        """What waited longest, and more of its level."""
        level = min(
            (level for level, places in self._levels.items() if places),
            key=lambda level: self._levels[level].first_key,
            default=None,
        )
        return [] if level is None else self._levels[level].first(PAGE_MESSAGES, PAGE_BYTES)

    @property
    def oldest_id(self) -> int:
        """The lowest id of what waits; 0: nothing does."""
        return min((each.oldest_id for each in self._levels.values() if each), default=0)

    def next_event_ns(self) -> int:
        """When something here is due, or its time to live over, as far as that is known."""
        event_ns = self.delayed.first_key if self.delayed else FOREVER_NS
        return event_ns if self.expiring else min(event_ns, self.soonest_ns)

    def expiring_by(self, by_ns: int, most: int) -> list[Placed]:
        """Up to ``most`` whose time to live is over by then."""
        found: list[Placed] = []
        for places in (self.delayed, *self._levels.values()):
            if len(found) < most:
                found += places.expiring(by_ns, most - len(found))
        if not found:
            self.look_up_soonest()
        return found

    def look_up_soonest(self) -> None:
        """Set ``soonest_ns`` by what is here now."""
        self.soonest_ns = min(
            self.delayed.soonest_ns,
            *(each.soonest_ns for each in self._levels.values()),
            FOREVER_NS,
        )

    # all of it

    def parts(self, *, delayed: bool = True) -> Iterable[list[Placed]]:
        """What waits (and is ``delayed``), a part at a time; it may change between.

        The stubs that have to be read are among it.
        """
        for level in list(self._levels):
            yield from self._levels[level].blocks()
        yield from self.stubs.parts()
        if delayed:
            yield from self.delayed.blocks()

    def in_segment(self, segment: int, most: int) -> list[Placed]:
        """Up to ``most`` of those that stand in a segment."""
        found: list[Placed] = []
        for places in (*self._levels.values(), self.delayed):
            if len(found) < most:
                found += places.pick(SEGMENT, (segment,), most - len(found))
        if self.stubs.count and len(found) < most:
            found += self.stubs.in_segment(segment, most - len(found))
        return found

    def now(self, row: Placed) -> Placed | None:
        """The row as it is now; None if it is not here any more."""
        return self._placed(row) or self.stubs.get(row.rank)

    def due_of(self, row: Placed, entry: Entry) -> int:
        """Until when the message of a row, as it is now, is delayed; 0, or past: it is not."""
        if row.key != row.rank:
            return row.key
        # A stub's row does not tell; but none is delayed otherwise than it was put.
        traits = entry[4]
        return 0 if traits is None or self.stubs.get(row.rank) is None else traits.due_ns

    def _placed(self, row: Placed) -> Placed | None:
        if row.key != row.rank:
            found = self.delayed.get(row.key, row.rank)
            if found is not None:
                return found
        places = self._levels.get(self._level(row.priority))
        return None if places is None else places.get(row.rank, row.rank)

    def relocate(self, row: Placed, segment: int, run: Run) -> None:
        """If the message is still here, it stands somewhere else now."""
        if row.key != row.rank and self.delayed.relocate(row.key, row.rank, segment, run):
            return
        places = self._levels.get(self._level(row.priority))
        if places is None or not places.relocate(row.rank, row.rank, segment, run):
            self.stubs.relocate(row.rank, segment, run)

    # going out

    def leave(self, rows: Iterable[Placed]) -> list[Placed]:
        """Those of the rows that are still here leave: as they are now."""
        return self._leave([now for row in rows if (now := self._placed(row)) is not None])

    def _leave(self, rows: list[Placed]) -> list[Placed]:
        gone = self.delayed.remove(row[:2] for row in rows if row.key != row.rank)
        by_level: dict[int, list[tuple[int, int]]] = {}
        for row in rows:
            if row.key == row.rank:
                by_level.setdefault(self._level(row.priority), []).append(row[:2])
        for level, pairs in by_level.items():
            gone += self._levels[level].remove(pairs)
        return gone

    def withdraw(self, entries: Iterable[Entry], *, delayed: bool = True) -> dict[int, int]:
        """Those of these messages that wait here (or are ``delayed``) leave: rank -> due time."""
        gone: dict[int, int] = {}
        by_level: dict[int, list[tuple[int, int]]] = {}
        for entry in entries:
            rank = rank_of(entry)
            level = self._level(0 if entry[4] is None else entry[4].priority)
            by_level.setdefault(level, []).append((rank, rank))
        missing: set[int] = set()
        for level, pairs in by_level.items():
            places = self._levels.get(level)
            here = (
                {} if places is None else dict.fromkeys((r.rank for r in places.remove(pairs)), 0)
            )
            gone |= here
            missing |= {rank for rank, _ in pairs if rank not in here}
        if delayed and missing and self.delayed:
            rows = self.delayed.remove(row[:2] for row in self.delayed.pick(RANK, missing))
            gone |= {row.rank: row.key for row in rows}
        return gone

    def clear(self) -> tuple[list[int], list[int]]:
        """All of it leaves: the ids, and the ranks."""
        ranks = [row.rank for part in self.parts() for row in part]
        ids = self.delayed.clear()
        for places in self._levels.values():
            ids += places.clear()
        self.soonest_ns = FOREVER_NS
        return ids, ranks
