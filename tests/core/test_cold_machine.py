"""`RichMachine` with what it can on a disk that is a dict: the same must come of it."""

from __future__ import annotations

from collections.abc import Iterable
from random import Random

import pytest

from posthouse.core.cold import Cold
from posthouse.core.orders import rank_of
from posthouse.core.pages import Page
from posthouse.core.places import Placed
from posthouse.core.queue import QueueState
from posthouse.model import QueuePolicy, Retry
from posthouse.records import Entry
from tests.core.rich_model import Item, PlainQueue
from tests.core.test_rich_machine import AGES, DELAYS, TENTH_NS, RichMachine

Place = tuple[int, int, int]


class ColdMachine(RichMachine):
    """Puts stay on disk where they may; a take that finds nothing reads, as `get_nowait` does."""

    def __init__(self) -> None:
        super().__init__()
        self.disk: dict[Place, dict[int, Entry]] = {}  # by segment, frame, record; by id
        self.frame = 0
        self.reading: tuple[QueueState, list[Placed], list[Entry]] | None = None

    def write(self, entries: Iterable[Entry]) -> Place:
        self.frame += 8
        place = 1 + self.frame // 80, self.frame, self.frame % 3
        self.disk[place] = {entry[0]: entry for entry in entries}
        return place

    def read_placed(self, rows: list[Placed]) -> list[Entry]:
        return [self.disk[row.segment, 8 * row.frame, row.record][row.id] for row in rows]

    def read_page(self, page: Page) -> list[Entry]:
        return [
            self.disk[page.segment, frame, record][number]
            for first, count, frame, record in page.runs()
            for number in range(first, first + count)
        ]

    def publish(self, queue: QueueState, entries: list[Entry]) -> None:
        segment, frame, record = self.write(entries)
        run = entries[0][0], len(entries), frame, record
        if self.frame % 32 == 0:
            queue.publish(entries)
        elif queue.may_page_out(entries[0]):
            queue.page_out(segment, run, sum(len(each[2]) for each in entries), self.read_page)
        elif queue.may_shelve(entries[0]):
            queue.shelve(entries, segment, run, self.read_placed)
        elif queue.may_stub(entries):
            queue.stub_out(entries, segment, run, self.read_placed)
        else:
            queue.publish(entries)

    def read_in(self, queue: QueueState) -> None:
        # As `take_one_from_disk`: only what nothing but the disk holds up.
        while queue.dry and (queue.rich is None or queue.available(self.now_ns)):
            if not queue.read_next():
                break

    def take_one(self, name: str) -> None:
        queue = self.core.by_name[name]
        queue.make_due(self.now_ns)
        self.plain[name].make_due(self.now_ns)
        taken = None
        while True:
            taken = queue.take_one(self.now_ns, 1 << 62, 1)
            if taken is not None or not queue.dry:
                break
            if queue.rich is not None and not queue.available(self.now_ns):
                break
            if not queue.read_next():
                break
        expected = self.plain[name].take(self.now_ns)
        if taken is None:
            assert expected is None
            return
        token, entry, attempts = taken
        place = self.at.get(entry[0])
        assert place is None or self.disk[place][entry[0]][2] == entry[2]
        self.check_taken(queue, expected, token, entry, attempts)

    def check_taken(
        self, queue: QueueState, expected: Item | None, token: int, entry: Entry, attempts: int
    ) -> None:
        super().check_taken(queue, expected, token, entry, attempts)
        assert expected is not None
        assert entry[2] == b"x" * expected.size

    @property
    def at(self) -> dict[int, Place]:
        return {number: place for place, part in self.disk.items() for number in part}

    def take_many(self, most: int) -> None:
        queue = self.queue
        queue.make_due(self.now_ns)
        self.model.make_due(self.now_ns)
        self.read_in(queue)
        while queue.rich is not None and queue.outside and queue.rich.stands < most:
            queue.read_next()
        taken = queue.take_many(most, 1 << 40, self.now_ns, 1 << 62, 1)
        while taken is None and queue.dry and queue.available(self.now_ns) and queue.read_next():
            taken = queue.take_many(most, 1 << 40, self.now_ns, 1 << 62, 1)
        if taken is None:
            assert self.model.take(self.now_ns) is None
            return
        token, lease = taken
        attempts = lease.attempts or [1] * len(lease.entries)
        for entry, count in zip(lease.entries, attempts, strict=True):
            self.check_taken(queue, self.model.take(self.now_ns), token, entry, count)
        if len(lease.entries) < most:
            # It may have looked once more, and let what is due by then join a fair queue's ring.
            queue.make_due(self.now_ns)
            self.model.make_due(self.now_ns)

    def set_aside_and_put_back(self, most: int) -> None:
        queue = self.queue
        cold = queue.cold
        if not queue.outside and (cold is None or not (cold.count or cold.stubs.count)):
            super().set_aside_and_put_back(most)

    def redrive(self, most: int) -> None:
        self.dead.read_all()
        super().redrive(most)

    def expire_waiting(self, most: int, later: bool) -> None:
        if later:
            self.now_ns += 4 * 10**8
        cold = self.queue.cold
        if cold is not None:
            rows = cold.expiring_by(self.now_ns, 1_000)
            assert bool(rows) == (cold.soonest_ns <= self.now_ns)
            self.queue.cold_in(rows, self.read_placed(rows))
            cold.look_up_soonest()
            assert self.queue.rich is not None
            rows = self.queue.rich.expiring_by(self.now_ns, 1_000)
            assert self.queue.cold_in(rows, self.read_placed(rows)) == len(rows)
            assert not self.queue.rich.expiring_by(self.now_ns, 1_000)
        super().expire_waiting(most, False)

    # what only a disk has

    def begin_reading(self) -> None:
        found = self.queue.next_outside()
        if not found:
            found = self.queue.next_stubs(1 + self.frame % 3)
        if not isinstance(found, Page) and found:
            self.reading = self.queue, found, self.read_placed(found)

    def end_reading(self) -> None:
        assert self.reading is not None
        queue, rows, entries = self.reading
        if queue is self.queue:
            queue.cold_in(rows, entries)
        self.reading = None

    def compact(self, pick: int) -> None:
        """All that stands in a segment stands somewhere else then, and the segment is gone."""
        segment = 1 + pick % (1 + self.frame // 80)
        self.frame += 80  # what is written now goes into another one
        for queue in self.core.queues.values():
            cold = queue.cold
            rows = [] if cold is None else cold.in_segment(segment, 1_000)
            for row, entry in zip(rows, self.read_placed(rows), strict=True):
                place = self.write([entry])
                assert cold is not None
                cold.relocate(row, place[0], (row.id, 1, *place[1:]))
            for page in queue.pages or ():
                if page.segment == segment:
                    self.carry(page)
        for place in [place for place in self.disk if place[0] == segment]:
            del self.disk[place]

    def carry(self, page: Page) -> None:
        """A page that was carried: one frame, a record for each run."""
        entries = self.read_page(page)
        runs = list(page.runs())
        self.frame += 8
        segment = 1 + self.frame // 80
        there = Page(segment)
        for record, (first, count, _, _) in enumerate(runs):
            part, entries = entries[:count], entries[count:]
            self.disk[segment, self.frame, record] = {entry[0]: entry for entry in part}
            there.add((first, count, self.frame, record), 0)
        page.relocate(there)

    def everything_agrees(self) -> None:
        for name, plain in self.plain.items():
            self.agrees(self.core.by_name[name], plain)

    def agrees(self, queue: QueueState, plain: PlainQueue) -> None:
        wanted = {
            where: sorted(item.rank for item in plain.items if item.where == where)
            for where in ("waiting", "delayed", "out")
        }
        waiting = list(map(rank_of, queue.entries()))
        stubs = None if queue.rich is None else queue.rich.stubs
        delayed = [rank for _, rank, entry in queue.delayed if stubs is None or stubs.whole(entry)]
        # A stub that is held up by its key's rate is delayed; its place does not tell.
        paced = [rank for _, rank, _ in queue.delayed if rank not in delayed]
        delayed += paced
        for page in queue.pages or ():
            waiting += map(rank_of, self.read_page(page))
        for row in self.placed(queue.cold):
            assert self.read_placed([row])[0][0] == row.id
            if row.rank not in paced:
                (waiting if row.key == row.rank else delayed).append(row.rank)
        # What is due waits as soon as somebody looks.
        assert sorted([*waiting, *delayed]) == sorted([*wanted["waiting"], *wanted["delayed"]])
        assert queue.in_flight() == len(wanted["out"])
        assert queue.live == len(plain.items)
        assert queue.size_bytes == sum(item.size for item in plain.items)
        assert queue.waiting() == len(waiting)
        assert queue.delayed_count == len(delayed)
        assert self.core.stats(queue, self.now_ns).waiting == len(waiting)

    @staticmethod
    def placed(cold: Cold | None) -> list[Placed]:
        if cold is None:
            return []
        rows = [row for part in cold.parts() for row in part]
        assert len(rows) == cold.count + cold.stubs.count
        assert sum(row.size_bytes for row in rows) == cold.size_bytes + cold.stubs.size_bytes
        return rows


def policy_of(rng: Random) -> QueuePolicy:
    """Any policy; most of them keep messages on disk."""
    order = rng.choice(["fifo", "fifo", "lifo", "priority", "priority", "fair", "fair"])
    return QueuePolicy(
        order="fifo" if order == "fair" else order,  # type: ignore[arg-type]
        fair=order == "fair",
        retry=Retry(max_attempts=3),
        dead_letter=rng.choice(["dead", "dead", None]),
        max_messages=rng.choice([None, None, None, 9]),
        max_bytes=rng.choice([None, None, None, 24]),
        overflow="drop_oldest",
        max_in_flight=rng.choice([None, None, None, 2]),
        max_in_flight_per_key=rng.choice([1, 1, 2, None]),
        rate=rng.choice([None, None, None, None, None, "2/s"]),
        rate_per_key=rng.choice([None, None, None, None, None, "3/s"]),
        expired=rng.choice(["dead_letter", "drop"]),
        ttl_s=rng.choice([None, None, 0.3]),
    )


def step(machine: ColdMachine, rng: Random, keys: str) -> None:
    """One of the rules; ``keys`` has a dot for none."""
    sizes = [rng.randrange(5) for _ in range(rng.randrange(1, 4))]
    at = rng.random()
    if at < 0.35:
        key = rng.choice(keys).strip(".")
        priority = rng.choice([0, 0, 7, 255])
        machine.put(sizes, key, priority, rng.choice(AGES), rng.choice(DELAYS), rng.random() < 0.3)
    elif at < 0.55:
        machine.take_one(rng.choice(["q", "q", "q", "dead"]))
    elif at < 0.6:
        machine.take_many(rng.randrange(2, 5))
    elif at < 0.75:
        if machine.held():
            verb = rng.choice(["ack", "ack", "nack", "nack", "give_back", "reject"])
            machine.settle(rng.randrange(1_000), verb, rng.choice(DELAYS))
    elif at < 0.82:
        if machine.reading is None:
            machine.begin_reading()
        else:
            machine.end_reading()
    elif at < 0.88:
        machine.compact(rng.randrange(1_000))
    elif at < 0.93:
        machine.time_passes(rng.choice([1, TENTH_NS, 3 * TENTH_NS]))
    elif at < 0.96:
        machine.expire_waiting(rng.choice([1, 100]), rng.random() < 0.5)
    elif at < 0.98:
        machine.redrive(rng.randrange(4))
    elif at < 0.995:
        machine.set_aside_and_put_back(rng.randrange(1, 4))
    elif at < 0.998:
        machine.change_policy(policy_of(rng))
    else:
        machine.purge()


@pytest.mark.parametrize("keys", [".....ab", ".aaabbcdefg"])
@pytest.mark.parametrize("seed", range(150))
def test_what_is_on_disk_only_is_as_if_it_were_not(seed: int, keys: str) -> None:
    rng = Random(seed)
    machine = ColdMachine()
    machine.declare_both(policy_of(rng), QueuePolicy())
    for _ in range(200):
        step(machine, rng, keys)
        machine.everything_agrees()
    if machine.reading is not None:
        machine.end_reading()
    machine.queue.read_all()
    machine.everything_agrees()
    assert not machine.queue.outside
    cold = machine.queue.cold
    assert cold is None or not cold.stubs.count
