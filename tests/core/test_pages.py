"""Pages of runs against plain sets of ids, and a queue that pages against a plain list."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from posthouse.core import acting, selecting
from posthouse.core.orders import rank_of
from posthouse.core.pages import Page, Pages, joined, pieces, ranges_of
from posthouse.core.state import BrokerState
from posthouse.model import QueuePolicy
from posthouse.records import Entry, Settled

SEEDS = range(60)


def _entry(number: int) -> Entry:
    return (number, 0, b"x" * (number % 7), b"", None)


def _ids(page: Page) -> set[int]:
    return {number for first, last in page.ranges() for number in range(first, last + 1)}


@pytest.mark.parametrize("seed", SEEDS)
def test_what_is_cut_is_gone_and_the_rest_has_its_place(seed: int) -> None:
    rng = random.Random(seed)
    page, ids, place, at = Page(1), set[int](), dict[int, tuple[int, int]](), 10
    for record in range(rng.randrange(1, 12)):
        at += rng.randrange(1, 4)
        count = rng.randrange(1, 9)
        page.add((at, count, 8 * record, record), count)
        for number in range(at, at + count):
            ids.add(number)
            place[number] = (8 * record, record)
        at += count
    for _ in range(4):
        gone = {number for number in range(5, at + 3) if rng.random() < 0.3}
        assert page.cut(ranges_of(gone), 0) == len(ids & gone)
        ids -= gone
        assert _ids(page) == ids
        assert page.count == len(ids)
        assert all(page.holds(number) == (number in ids) for number in range(5, at + 3))
        for first, count, frame, record in page.runs():
            assert {place[number] for number in range(first, first + count)} == {(frame, record)}
        part = {number for number in ids if rng.random() < 0.5}
        assert _ids(page.part(ranges_of(part))) == part
    if ids:
        assert (page.first, page.last) == (min(ids), max(ids))


def test_a_part_of_a_run_is_told_from_a_whole_one() -> None:
    runs = [(10, 5, 0, 0), (20, 5, 8, 0), (30, 5, 16, 0)]
    assert list(pieces(runs, [(12, 21), (40, 50)])) == [
        ((10, 2, 0, 0), False),
        ((22, 3, 8, 0), False),
        ((30, 5, 16, 0), True),
    ]
    assert joined([(5, 6), (1, 2), (3, 4), (9, 9)]) == [(1, 6), (9, 9)]


@dataclass
class _Paged:
    """A queue whose puts stay on a disk that is a dict, and the ids that should wait, in order."""

    rng: random.Random
    state: BrokerState = field(default_factory=BrokerState)
    disk: dict[int, Entry] = field(default_factory=dict)
    waits: list[int] = field(default_factory=list)
    delayed: dict[int, int] = field(default_factory=dict)
    out: dict[int, int] = field(default_factory=dict)  # id -> token
    reading: tuple[Page, list[Entry]] | None = None
    now: int = 1_000_000

    def __post_init__(self) -> None:
        policy = QueuePolicy(max_messages=60, overflow="drop_oldest")
        self.queue = self.state.declare("q", policy)[0]

    def read(self, page: Page) -> list[Entry]:
        page.sealed = True
        ids = [number for first, last in page.ranges() for number in range(first, last + 1)]
        return [self.disk[number] for number in ids]

    def put(self) -> None:
        queue, count = self.queue, self.rng.randrange(1, 6)
        self.now += self.rng.randrange(1, 20)
        bodies = [b"y" * self.rng.randrange(5) for _ in range(count)]
        entries = queue.put_many(self.now, 0, bodies, sum(map(len, bodies)), b"", None)
        if entries is None:
            dropped = self.state.drop_oldest(queue, count, sum(map(len, bodies)))
            for record in dropped:
                assert isinstance(record, Settled)
                assert list(record.ids) == self.waits[: len(record.ids)]
                del self.waits[: len(record.ids)]
            entries = queue.put_many(self.now, 0, bodies, sum(map(len, bodies)), b"", None)
            if entries is None:
                assert len(self.waits) < count
                return
        self.disk |= {entry[0]: entry for entry in entries}
        if queue.pages is not None or self.rng.random() < 0.7:
            size = sum(map(len, bodies))
            assert queue.may_page_out(entries[0])
            queue.page_out(1, (entries[0][0], count, 8, 0), size, self.read)
        else:
            queue.publish(entries)
        self.waits += [entry[0] for entry in entries]

    def begin_reading(self) -> None:
        if self.queue.pages is not None and self.reading is None:
            page = self.queue.pages.head
            self.reading = page, self.read(page)

    def end_reading(self) -> None:
        if self.reading is not None:
            self.queue.page_in(*self.reading)
            self.reading = None

    def take(self) -> None:
        queue = self.queue
        if self.rng.random() < 0.5:
            taken = queue.take_one(self.now, 10**9, 1)
            found = [] if taken is None else [taken[1]]
            token = 0 if taken is None else taken[0]
        else:
            many = queue.take_many(self.rng.randrange(1, 8), 1 << 30, self.now, 10**9, 1)
            found = [] if many is None else many[1].entries
            token = 0 if many is None else many[0]
        if not found:
            assert queue.dry or not self.waits
            return
        ids = [entry[0] for entry in found]
        assert ids == self.waits[: len(ids)]
        assert all(self.disk[entry[0]] == entry for entry in found)
        del self.waits[: len(ids)]
        self.out |= dict.fromkeys(ids, token)

    def settle(self) -> None:
        if not self.out:
            return
        number = self.rng.choice(sorted(self.out))
        token = self.out.pop(number)
        way = self.rng.randrange(3)
        if way == 0:
            assert self.queue.ack_one(token, number)
        elif way == 1:
            assert self.state.give_back(self.queue, token, number)
            self._wait(number)
        else:
            due = self.now + self.rng.randrange(1, 60)
            assert self.state.nack(self.queue, token, number, self.now, due, None)
            self.delayed[number] = due

    def _wait(self, *numbers: int) -> None:
        self.waits = sorted([*self.waits, *numbers])

    def time(self) -> None:
        self.now += self.rng.randrange(60)
        self.queue.make_due(self.now)
        due = [number for number, at in self.delayed.items() if at <= self.now]
        for number in due:
            del self.delayed[number]
        self._wait(*due)

    def act(self) -> None:
        chosen = [number for number in self.waits if self.rng.random() < 0.2]
        found = selecting.withdraw(self.queue, [self.disk[number] for number in chosen])
        assert [entry[0] for entry, _ in found] == chosen
        self.waits = [number for number in self.waits if number not in set(chosen)]
        if self.rng.random() < 0.5:
            acting.delete(self.queue, found)
        else:
            acting.delay(self.queue, found, self.now + 30)
            self.delayed |= dict.fromkeys(chosen, self.now + 30)

    def purge(self) -> None:
        count, records = self.state.purge(self.queue)
        assert count == len(self.waits) + len(self.delayed)
        ids = [number for record in records if isinstance(record, Settled) for number in record.ids]
        assert sorted(ids) == sorted([*self.waits, *self.delayed])
        self.waits.clear()
        self.delayed.clear()

    def check(self) -> None:
        queue = self.queue
        live = [*self.waits, *self.delayed, *self.out]
        assert queue.waiting() == len(self.waits)
        assert queue.live == len(live)
        assert queue.in_flight() == len(self.out)
        assert queue.size_bytes == sum(len(self.disk[number][2]) for number in live)
        if queue.pages is not None:
            pages = list(queue.pages)
            assert queue.pages.count == sum(page.count for page in pages) > 0
            assert queue.pages.size_bytes == sum(page.size_bytes for page in pages)
            for page in pages:
                assert page.size_bytes == sum(len(self.disk[n][2]) for n in _ids(page))
        assert self.state.stats(queue, self.now).waiting == len(self.waits)

    def drain(self) -> None:
        while self.waits:
            self.begin_reading()
            self.end_reading()
            self.take()
            self.check()


@pytest.mark.parametrize("seed", SEEDS)
def test_a_queue_that_pages_is_the_queue(seed: int) -> None:
    world = _Paged(random.Random(seed))
    acts = [world.put] * 5 + [world.take] * 4 + [world.settle] * 3 + [world.time]
    acts += [world.begin_reading, world.end_reading] * 2 + [world.act]
    for _ in range(250):
        world.rng.choice(acts if world.rng.random() > 0.01 else [world.purge])()
        world.check()
    world.end_reading()
    world.drain()


def test_a_queue_that_becomes_more_reads_all() -> None:
    world = _Paged(random.Random(7))
    while world.queue.pages is None or world.queue.pages.count < 20:
        world.put()
    world.queue.set_policy(QueuePolicy(order="lifo"), 1 << 30)
    taken = world.queue.take_one(world.now, 1, 1)
    assert taken is not None
    assert rank_of(taken[1]) == world.waits[-1]
    assert world.queue.waiting() == len(world.waits) - 1
    assert not world.queue.dry


def test_pages_are_looked_up_by_id() -> None:
    pages = Pages(lambda page: [_entry(first) for first, _ in page.ranges()])
    for first in range(10, 5_000, 10):
        pages.add(1 + first // 1000, (first, 1, 8, 0), first % 7)
    assert pages.ranks_of([5, 10, 11, 4_990, 5_000]) == [10, 4_990]
    left = pages.take_out([_entry(20), _entry(21), _entry(4_000)])
    assert [entry[0] for entry in left] == [20, 4_000]
    assert pages.count == 497
