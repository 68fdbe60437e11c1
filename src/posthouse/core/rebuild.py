"""Recovery without bodies: the state built from what segments come to, by runs of messages.

Means the same as `Replay`, which holds every message and is plain; tests hold the two together.
What waits first in, first out becomes pages; only the messages of which something must be known
while they wait (delayed, moved, with a key, a priority or a time to live) are read, and of these
only the ones that moved are kept, and those with a key, most without their bodies.

The order of calls is that of the segments, and for each: `columns`, `ranks`, `apply`, `settled`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from itertools import groupby
from typing import Final, TypeAlias

from posthouse.core.cold import ReadPlaced
from posthouse.core.orders import rank_of
from posthouse.core.pages import Page, Range, joined, ranges_of
from posthouse.core.places import Placed, by_place
from posthouse.core.queue import QueueState
from posthouse.core.replay import bury_exhausted
from posthouse.core.shelves import Runs, Shelf, within
from posthouse.core.state import BrokerState
from posthouse.core.stubs import may_be_stub
from posthouse.core.told import NOWHERE, STUB, Judge, Rows, ToldRows
from posthouse.errors import BrokerBug
from posthouse.records import (
    Bound,
    Closed,
    Declared,
    Delivered,
    Entry,
    Moved,
    Opened,
    Record,
    Remembered,
    Returned,
    Settled,
    Traits,
)

FEW_DELAYED: Final = 100
"""So many messages that were put off by a retry come into memory; of more the places are noted."""

Read: TypeAlias = "Callable[[int, Page], list[Entry]]"
"""Reads the messages of a queue's page; blocks."""


class Rebuild:
    """Builds a fresh `BrokerState`; see the module."""

    def __init__(self, state: BrokerState) -> None:
        self._state = state
        self._shelves: dict[int, Shelf] = {}
        # What moved: id -> (the queue it was put in, the queue it is in, its traits there).
        self._moved: dict[int, tuple[int, int, Traits]] = {}
        self._ranks: dict[int, int] = {}  # of carried messages that have one of their own
        self._ranked: set[int] = set()  # all that ever was in there
        self._carried: list[tuple[int, Range]] = []
        self.epoch = 0

    # what segments come to

    def columns(
        self,
        queue: int,
        segment: int,
        rows: Rows,
        told: ToldRows | None,
        *,
        carried: bool,
    ) -> None:
        """Puts in a segment, and what must be known of their messages while they wait, if it must.

        ``carried``: they had been put before.
        """
        shelf = self._shelf(queue)
        firsts, counts = rows[:2]
        runs = Runs(segment, rows, told, carried=carried)
        shelf.runs.append(runs)
        numbers = self._state.numbers
        numbers.last_id = max(numbers.last_id, runs.last)
        if carried:
            for first, count in zip(firsts, counts, strict=True):
                self._carried.append((segment, (first, first + count - 1)))
                if self._moved:
                    for message_id in range(first, first + count):
                        self._moved.pop(message_id, None)

    def ranks(self, pairs: Sequence[int]) -> None:
        """Ids and ranks of carried messages, in turn."""
        for message_id, rank in zip(pairs[0::2], pairs[1::2], strict=True):
            self._ranks[message_id] = rank
            self._ranked.add(message_id)
            self._state.numbers.last_id = max(self._state.numbers.last_id, rank)

    def producers(self, rows: Iterable[tuple[int, int, int, int]]) -> None:
        """Puts from outside: (producer, sequence, count, first id)."""
        for row in rows:
            self._state.producers.note(*row)

    def apply(self, record: Record) -> None:
        """Any other record.

        Raises:
            BrokerBug: one that does not come this way.
        """
        numbers = self._state.numbers
        match record:
            case Returned():
                self._returned(record)
            case Moved():
                self._move(record)
            case Delivered():
                self._delivered(record)
            case Declared():
                self._declared(record)
            case Bound():
                router = self._state.router
                change = router.bind if record.bound else router.unbind
                change(record.topic, record.queue, record.pattern)
            case Remembered():
                dedup = self._state.queues[record.queue].dedup
                for name, message_id in zip(record.dedups, record.ids, strict=True):
                    dedup.remember(name, message_id)
            case Opened():
                if record.epoch == self.epoch:
                    # Said again by `finish`: what earlier lives held has been judged.
                    for shelf in self._shelves.values():
                        shelf.held.clear()
                self.epoch = record.epoch
                numbers.last_id = max(numbers.last_id, record.at_ns)
            case Closed():
                numbers.last_id = max(numbers.last_id, record.at_ns)
            case Settled():
                self.settled(record.queue, ranges_of(record.ids))
            case _:
                raise BrokerBug(f"a {type(record).__name__} is not rebuilt from a record")

    def _shelf(self, number: int) -> Shelf:
        shelf = self._shelves.get(number)
        if shelf is None:
            shelf = self._shelves[number] = Shelf()
        return shelf

    def _declared(self, record: Declared) -> None:
        queue = self._state.queues.get(record.queue)
        if queue is None:
            self._state.add(record.queue, record.name, record.policy)
            self._shelf(record.queue)
        else:
            queue.set_policy(record.policy, self._state.default_max_bytes)

    def _rank(self, message_id: int) -> int:
        row = self._moved.get(message_id)
        return self._ranks.get(message_id, message_id) if row is None else row[2].rank

    def _returned(self, record: Returned) -> None:
        shelf = self._shelf(record.queue)
        for message_id, attempts, due_ns in zip(
            record.ids, record.attempts, record.due_ns, strict=True
        ):
            rank = self._rank(message_id)
            shelf.attempts[rank] = attempts
            shelf.held.discard(rank)
            shelf.due_ns[message_id] = due_ns

    def _delivered(self, record: Delivered) -> None:
        if record.queue not in self._state.queues:
            return  # the ring is not synced with the log: it may know a queue that the log lost
        shelf = self._shelf(record.queue)
        for rank, attempts in zip(record.ids, record.attempts, strict=True):
            if attempts > shelf.attempts.get(rank, 0):
                shelf.attempts[rank] = attempts
                shelf.held.add(rank)

    def _move(self, record: Moved) -> None:
        message_id, rank = record.id, record.traits.rank
        if rank <= self._ranks.get(message_id, 0):
            return  # it was carried after that, as it was then
        row = self._moved.get(message_id)
        self._shelf(record.queue).forget(message_id, self._rank(message_id))
        home = record.queue if row is None else row[0]
        self._moved[message_id] = (home, record.target, record.traits)
        self._shelf(record.target)
        self._state.numbers.last_id = max(self._state.numbers.last_id, rank)

    def settled(self, queue: int, ranges: Iterable[Range]) -> None:
        """Messages left for good."""
        shelf = self._shelf(queue)
        for first, last in ranges:
            for message_id in within(self._moved, first, last):
                home, _, traits = self._moved.pop(message_id)
                self._shelf(home).cuts.append((message_id, message_id))
                shelf.forget(message_id, traits.rank)
            for message_id in within(self._ranks, first, last):
                shelf.forget(message_id, self._ranks.pop(message_id))
            shelf.settle(first, last)

    # the end

    def materialise(self, read: Read, now_ns: int) -> None:
        """Make pages of what waits, and read what must be known of the rest. Blocks.

        ``now_ns``: what is due by then waits like any other.
        """
        ranked = ranges_of(self._ranked)
        carried = self._carried_after()
        for number, shelf in self._shelves.items():
            queue = self._queue(number)
            stays = partial(self._stays, queue, shelf, now_ns)
            odd = self._odd(shelf) if queue.keeps_cold else None
            shelf.build(carried, ranked, partial(read, number), Judge(stays, odd, now_ns))
            away = [message_id for message_id, row in self._moved.items() if row[0] == number]
            for entry in shelf.extract(away):
                _, target, traits = self._moved[entry[0]]
                self._shelf(target).arriving.append((*entry[:4], traits))
            delayed = [
                message_id
                for message_id, due_ns in shelf.due_ns.items()
                if due_ns > now_ns and message_id not in self._moved
            ]
            known = [rank for rank in shelf.held if self._spent(queue, shelf, rank)]
            if len(delayed) > FEW_DELAYED and queue.keeps_cold:
                shelf.put_off(delayed, stays)
            else:
                known += delayed
            found = shelf.extract(known)
            shelf.entries += found
        for number, shelf in self._shelves.items():
            queue = self._queue(number)
            stays = partial(self._stays, queue, shelf, now_ns)
            if not queue.keeps_pages and (queue.rich is not None or shelf.enriches()):
                shelf.read_all(stays)
            if shelf.placed:
                shelf.note_attempted()
                queue.cold_for(_reader(partial(read, number))).take_in(shelf.placed)
            if shelf.stubs.count:
                queue.stubs_for(_reader(partial(read, number)), shelf.stubs)

    @staticmethod
    def _spent(queue: QueueState, shelf: Shelf, rank: int) -> bool:
        """Whether what was in flight is about to be buried."""
        attempts = shelf.attempts.get(rank, 0)
        return rank in shelf.held and attempts >= queue.policy.retry.max_attempts

    def _stays(self, queue: QueueState, shelf: Shelf, now_ns: int, entry: Entry) -> int | None:
        """See `Judge`."""
        traits = entry[4]
        rank = rank_of(entry)
        if entry[0] in self._ranked and rank != self._ranks.get(entry[0]):
            return NOWHERE  # it was carried again, after it had moved
        if not queue.keeps_stubs or entry[0] in self._moved or self._spent(queue, shelf, rank):
            return None
        due_ns = _due_of(shelf, entry, now_ns)
        if queue.policy.fair or (traits is not None and traits.key):
            # Delayed otherwise than it was put: only memory can tell, see `Cold.due_of`.
            as_put = due_ns == (0 if traits is None or traits.due_ns <= now_ns else traits.due_ns)
            return STUB if as_put and may_be_stub(entry, fair=queue.policy.fair) else None
        return due_ns

    def _odd(self, shelf: Shelf) -> Callable[[array[int], array[int]], set[int]]:
        """See `Judge`."""
        known = sorted({*self._moved, *shelf.due_ns, *shelf.held})
        ranked, ranks_now, held = self._ranked, self._ranks, shelf.held

        def odd(ids: array[int], ranks: array[int]) -> set[int]:
            if not ids:
                return set()
            found = set(known[bisect_left(known, ids[0]) : bisect_right(known, ids[-1])])
            if ranked:
                both = zip(ids, ranks, strict=True)
                found |= {at for at, rank in both if at in ranked and ranks_now.get(at) != rank}
            if held and ranks != ids:
                found |= {at for at, rank in zip(ids, ranks, strict=True) if rank in held}
            return found

        return odd

    def _carried_after(self) -> dict[int, tuple[list[Range], list[Range]]]:
        """For each segment: see `Shelf.build`."""
        by_segment: dict[int, list[Range]] = {}
        for segment, each in self._carried:
            by_segment.setdefault(segment, []).append(each)
        found: dict[int, tuple[list[Range], list[Range]]] = {}
        later: list[Range] = []
        segments = {runs.segment for shelf in self._shelves.values() for runs in shelf.runs}
        for segment in sorted(segments | by_segment.keys(), reverse=True):
            here = by_segment.get(segment)
            put = joined([*later, *here]) if here else later
            found[segment] = put, later
            later = put
        return found

    def _queue(self, number: int) -> QueueState:
        queue = self._state.queues.get(number)
        if queue is None:
            raise BrokerBug(f"the log names queue number {number} and does not declare it")
        return queue

    def finish(self, now_ns: int, epoch: int | None = None) -> list[Record]:
        """Build the orders, and bury what killed its holder too often: see `Replay.finish`."""
        for number, shelf in self._shelves.items():
            self._fill(self._queue(number), shelf, now_ns)
        records: list[Record] = []
        # In the order of their numbers: a dead-letter queue may get its own here.
        for number, shelf in sorted(self._shelves.items()):
            records += bury_exhausted(self._state, self._queue(number), shelf.held, now_ns)
        if any(shelf.held for shelf in self._shelves.values()):
            records.append(Opened(self.epoch if epoch is None else epoch, now_ns))
        self._shelves.clear()
        self._moved.clear()
        self._ranks.clear()
        self._ranked.clear()
        self._carried.clear()
        return records

    def _fill(self, queue: QueueState, shelf: Shelf, now_ns: int) -> None:
        pages = shelf.pages
        if pages:
            queue.pages = pages
            queue.live += pages.count
            queue.size_bytes += pages.size_bytes
        entries = sorted([*shelf.entries, *shelf.arriving], key=rank_of)
        for entry in entries:
            queue.count_in(entry)
        if queue.cold is not None:
            queue.live += queue.cold.count
            queue.size_bytes += queue.cold.size_bytes
        if pages or queue.cold is not None:
            queue.headed = True  # nobody has seen whether what is on disk has headers
        queue.opened_with = queue.live
        for entry in entries:
            attempts = shelf.attempts.pop(rank_of(entry), 0)
            queue.arrive(entry, attempts, _due_of(shelf, entry, now_ns))
        known = {rank: count for rank, count in shelf.attempts.items() if count}
        ranks = [rank for rank in shelf.attempted if rank in known]
        if pages:
            ranks += pages.ranks_of(known)
        for rank in ranks:
            queue.attempts[rank] = known[rank]
        queue.dedup.replayed(now_ns)


def _due_of(shelf: Shelf, entry: Entry, now_ns: int) -> int:
    """Until when a message is delayed; 0: it is not."""
    due_ns = shelf.due_ns.get(entry[0])
    if due_ns is None:
        due_ns = 0 if entry[4] is None else entry[4].due_ns
    # What was in flight had been due, whatever the clock says now.
    return 0 if due_ns <= now_ns or rank_of(entry) in shelf.held else due_ns


def _reader(read: Callable[[Page], list[Entry]]) -> ReadPlaced:
    """Reads messages by their places."""

    def read_placed(rows: list[Placed]) -> list[Entry]:
        entries: list[Entry] = []
        rows = sorted(rows, key=by_place)
        for segment, group in groupby(rows, key=lambda row: row.segment):
            page = Page(segment)
            for row in group:
                page.add(row.run(), row.size_bytes)
            entries += read(page)
        return entries

    return read_placed
