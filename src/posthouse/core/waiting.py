"""What waits in a queue, and what the queue counts.

`QueueState` builds on this: it delivers and settles. Here are the order of what waits, the way in
and the way back, and the sums that bound a queue. Invariants 1 to 4 of `queue` are kept here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from heapq import heapify, heappop, heappush, merge
from itertools import repeat, starmap
from operator import itemgetter
from typing import Final

from posthouse.core.leases import BatchLease
from posthouse.core.orders import rank_of
from posthouse.core.outside import Outside
from posthouse.core.rich import RichOrder
from posthouse.model import FOREVER_NS
from posthouse.records import Entry

_BODY: Final = itemgetter(2)
_HEADERS: Final = itemgetter(3)


ENTRY_BYTES: Final = 176
"""What a message in memory takes beyond its body and headers: a tuple, two objects, an id."""
RICH_BYTES: Final = 336
"""The same with traits, where it has its place in a `RichOrder`."""

MOVED_BYTES: Final = 512
"""And of one that moved: traits of its own, with what a dead letter died of."""


def size_of(entry: Entry) -> int:
    """Bytes that count against ``max_bytes``: body and headers."""
    return len(entry[2]) + len(entry[3])


def sizes_of(entries: list[Entry]) -> int:
    """`size_of` of all of them."""
    # map over itemgetter: the sums run at C speed.
    return sum(map(len, map(_BODY, entries))) + sum(map(len, map(_HEADERS, entries)))


class Waiting(Outside):
    """Messages that wait, in their order, and the counts of all messages of a queue."""

    __slots__ = ()

    def fits(self, count: int, size_bytes: int) -> bool:
        """Whether a put of this size has room now."""
        return (
            self.live + count <= self.max_messages
            and self.size_bytes + size_bytes <= self.max_bytes
        )

    def could_fit(self, count: int, size_bytes: int) -> bool:
        """Whether it would have room in an empty queue."""
        return count <= self.max_messages and size_bytes <= self.max_bytes

    def waiting(self) -> int:
        """Messages that may be delivered now (but for limits), or wait behind their key."""
        rich = self.rich
        waiting = len(self.ready) + len(self.returned) if rich is None else rich.waiting()
        return waiting if self.pages is None and self.cold is None else waiting + self.outside

    def _known(self) -> list[Entry]:
        """`entries`, and of what is to be read the stub (see `stubs`)."""
        return self.entries() if self.rich is None else list(self.rich.known())

    def entries(self) -> list[Entry]:
        """All that waits in memory (not what is delayed), the next one first."""
        if self.rich is not None:
            return list(self.rich.entries())
        if not self.returned:
            return list(self.ready)
        returned = (entry for _, entry in sorted(self.returned))
        return list(merge(returned, self.ready, key=rank_of))

    def oldest_id(self) -> int:
        """The lowest id of what waits; 0 if nothing does."""
        ids = [entry[0] for entry in self._known()]
        if self.pages is not None:
            ids.append(self.pages.first)
        if self.cold is not None and self.cold.waiting:
            ids.append(self.cold.oldest_id)
        return min(ids, default=0)

    @property
    def held_bytes(self) -> int:
        """What is in memory takes about so much of it."""
        held, live = self.size_bytes, self.live
        for outside in (self.pages, self.cold):
            if outside is not None:
                held -= outside.size_bytes
                live -= outside.count
        if self.cold is not None:
            held -= self.cold.stubs.size_bytes
            live -= self.cold.stubs.count
        moved = MOVED_BYTES * min(live, self.moved_in)
        return held + moved + live * (ENTRY_BYTES if self.rich is None else RICH_BYTES)

    def publish(self, entries: list[Entry]) -> None:
        """Let accepted messages be seen (invariant 2: entries come in growing rank).

        Either all of them have traits or none has.
        """
        self.pending -= len(entries)
        if (
            entries[0][4] is None
            and self.rich is None
            and self.pages is None
            and not self.overtaken(entries[0])
        ):
            self.ready.extend(entries)
            return
        for entry in entries:
            traits = entry[4]
            self.arrive(entry, 0, 0 if traits is None else traits.due_ns)

    def arrive(self, entry: Entry, attempts: int, due_ns: int) -> None:
        """A message is new in the order: put, moved in, or found by recovery."""
        rank = rank_of(entry)
        if attempts > 0:
            self.attempts[rank] = attempts
        traits = entry[4]
        rich = self.rich
        if rich is None and traits is not None and (traits.key or traits.expires_ns):
            rich = self.enrich()
        if rich is not None:
            rich.arrive(entry, due_ns)
        elif due_ns:
            heappush(self.delayed, (due_ns, rank, entry))
        elif self.pages is not None or (self.ready and rank < rank_of(self.ready[-1])):
            heappush(self.returned, (rank, entry))
        else:
            self.ready.append(entry)

    def pop_many(self, most: int, most_bytes: int, now_ns: int) -> list[Entry]:
        """Take up to ``most`` entries out of the order, without a lease."""
        entries: list[Entry] = []
        rich = self.rich
        if rich is not None:
            if self.cold is not None or self.pages is not None or rich.horizon is not None:
                self.aim(now_ns)
            return self._pop_rich(rich, most, most_bytes, now_ns)
        while self.returned and len(entries) < most:
            entry = self._pop_returned()
            if entry is None:
                break
            entries.append(entry)
        ready = self.ready
        room = most - len(entries)
        if room >= len(ready):
            entries.extend(ready)
            ready.clear()
        else:
            entries.extend(starmap(ready.popleft, repeat((), room)))
        if self.size_bytes > most_bytes and len(entries) > 1:
            return self._keep_within(entries, most_bytes)
        return entries

    @staticmethod
    def _pop_rich(rich: RichOrder, most: int, most_bytes: int, now_ns: int) -> list[Entry]:
        entries: list[Entry] = []
        total = 0
        while len(entries) < most and (entry := rich.take(now_ns)) is not None:
            total += size_of(entry)
            if entries and total > most_bytes:
                rich.give_back(entry, 0)
                break
            entries.append(entry)
        return entries

    def _keep_within(self, entries: list[Entry], most_bytes: int) -> list[Entry]:
        if sizes_of(entries) <= most_bytes:
            return entries
        total = size_of(entries[0])
        kept = 1
        for entry in entries[1:]:
            total += size_of(entry)
            if total > most_bytes:
                break
            kept += 1
        for entry in entries[kept:]:
            heappush(self.returned, (rank_of(entry), entry))
        return entries[:kept]

    def _pop_returned(self) -> Entry | None:
        # Invariant 3. A reserved batch that came back may be behind what is ready: compare.
        rank, entry = self.returned[0]
        if self.ready:
            if rank_of(self.ready[0]) < rank:
                return self.ready.popleft()
        elif self.pages is not None and self.pages.first < rank:
            return None  # the next one has to be read
        heappop(self.returned)
        return entry

    def take_out(self, entries: list[Entry]) -> None:
        """Messages that wait leave for good."""
        for entry in entries:
            self.attempts.pop(rank_of(entry), None)
        self.count_out(entries)
        if self.rich is not None:
            self.rich.remove(entries)
            return
        self.leave_pages(entries)
        ids = {entry[0] for entry in entries}
        if len(self.ready) >= len(ids) and not self.returned:
            head = [self.ready.popleft() for _ in range(len(ids))]
            if {entry[0] for entry in head} == ids:
                return
            self.ready.extendleft(reversed(head))
        self.returned = [row for row in self.returned if row[1][0] not in ids]
        heapify(self.returned)
        self.ready = deque(entry for entry in self.ready if entry[0] not in ids)

    def clear(self) -> list[Entry]:
        """Take out everything that waits in memory or is delayed."""
        delayed = [entry for _, _, entry in self.delayed]
        entries = [*self._known(), *delayed]
        self.delayed.clear()
        if self.rich is not None:
            self.rich.clear()
        self.ready.clear()
        self.returned.clear()
        for entry in entries:
            self.attempts.pop(rank_of(entry), None)
        self.count_out(entries)
        return entries

    def drop_oldest(self, count: int, size_bytes: int) -> list[Entry]:
        """Take out what has waited longest until a put of this size fits, if that helps."""
        dropped = self.droppable(count, size_bytes)
        if dropped:
            self.take_out(dropped)
        return dropped

    def droppable(self, count: int, size_bytes: int) -> list[Entry]:
        """What `drop_oldest` would take out: nothing where all that waits is not enough."""
        short = self.live + count - self.max_messages
        short_bytes = self.size_bytes + size_bytes - self.max_bytes
        while short > 0 or short_bytes > 0:
            dropped = self._oldest(short, short_bytes)
            if dropped or not self.read_oldest():
                return dropped
        return []

    def _oldest(self, short: int, short_bytes: int) -> list[Entry]:
        first_outside = FOREVER_NS if self.pages is None else self.pages.first
        if self.cold is not None:
            first_outside = min(first_outside, self.cold.oldest_rank)
        dropped: list[Entry] = []
        for entry in self._oldest_first():
            if rank_of(entry) > first_outside:
                break
            dropped.append(entry)
            short -= 1
            short_bytes -= size_of(entry)
            if short <= 0 and short_bytes <= 0:
                return dropped
        return []

    def _oldest_first(self) -> Iterable[Entry]:
        if self.rich is not None:
            return self.rich.oldest_first()
        if not self.returned:
            return self.ready
        return merge((entry for _, entry in sorted(self.returned)), self.ready, key=rank_of)

    def gone(self, entries: list[Entry]) -> None:
        """Messages that were in flight are settled (invariant 1)."""
        self.count_out(entries)
        if self.rich is not None:
            for entry in entries:
                self.rich.left(entry)

    def count_out(self, entries: list[Entry]) -> None:
        """Count messages out; they are already out of every structure."""
        # map over itemgetter: the sums run at C speed.
        self.live -= len(entries)
        self.size_bytes -= sum(map(len, map(_BODY, entries)))
        if self.headed:
            self.size_bytes -= sum(map(len, map(_HEADERS, entries)))

    def count_in(self, entry: Entry) -> None:
        """Count a message in that came by another way than a put (invariant 1)."""
        self.live += 1
        self.size_bytes += size_of(entry)
        if entry[3]:
            self.headed = True

    def give_back(self, entry: Entry, attempts: int, due_ns: int, was_rich: bool = True) -> None:
        """A message that was in flight waits again: at once (``due_ns`` 0) or from a time on.

        ``was_rich``: this queue was rich already when the lease ended, if that was earlier.
        """
        rank = rank_of(entry)
        if attempts > 0:
            self.attempts[rank] = attempts
        if self.rich is not None:
            if was_rich:
                self.rich.give_back(entry, due_ns)
            else:
                self.rich.arrive(entry, due_ns)
        elif due_ns:
            heappush(self.delayed, (due_ns, rank, entry))
        else:
            heappush(self.returned, (rank, entry))

    def restore(self, entries: list[Entry]) -> None:
        """Put reserved messages back in their places."""
        for entry in entries:
            if self.rich is not None:
                self.rich.give_back(entry, 0)
            else:
                heappush(self.returned, (rank_of(entry), entry))

    def make_due(self, now_ns: int) -> int:
        """Let the delayed messages whose time has come be seen; how many."""
        count = 0
        while self.delayed and self.delayed[0][0] <= now_ns:
            _, rank, entry = heappop(self.delayed)
            if self.rich is not None:
                self.rich.show(entry)
            else:
                heappush(self.returned, (rank, entry))
            count += 1
        return count if self.cold is None else count + self.cold.make_due(now_ns)

    def enrich(self) -> RichOrder:
        """From now on this queue is more than first in, first out (see `rich`)."""
        if self.rich is not None:
            return self.rich
        if not self.keeps_pages:
            self.read_pages()
        self.rich = rich = RichOrder(self.policy, self.delayed, self._out(), self.look)
        for _, entry in self.returned:
            rich.arrive(entry, 0)
        for entry in self.ready:
            rich.arrive(entry, 0)
        self.returned.clear()
        self.ready.clear()
        return rich

    def _out(self) -> int:
        # Counted, not `in_flight`: what is on its way in is in none of its terms.
        held = (
            len(each.left or each.ids) if isinstance(each, BatchLease) else 1
            for each in self.leases.values()
        )
        return self.reserved + sum(held)

    def in_flight(self) -> int:
        """Messages held by leases."""
        return self.live - self.pending - self.reserved - self.waiting() - self.delayed_count
