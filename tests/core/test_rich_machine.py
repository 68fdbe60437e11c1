"""Keys, orders, fairness, limits, times to live and redrive, against a plain model and replay."""

from __future__ import annotations

from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.core.replay import Replay
from posthouse.core.state import BrokerState
from posthouse.model import NANOSECONDS, QueuePolicy, Retry
from posthouse.records import (
    Delivered,
    Entry,
    Moved,
    Opened,
    Put,
    Record,
    Returned,
    Settled,
    Traits,
)
from tests.core.rich_model import Item, PlainQueue

TENTH_NS = NANOSECONDS // 10
FOREVER_NS = 1 << 62
AGES = [0, 0, 0, 3 * TENTH_NS, 2 * NANOSECONDS]
DELAYS = [0, 0, 0, TENTH_NS, NANOSECONDS]
picks = st.integers(0, 1000)


def policies(*, orders: bool = True) -> st.SearchStrategy[QueuePolicy]:
    """Any policy: the limits low enough to be met."""
    order = st.sampled_from([("fifo", False), ("fifo", True), ("lifo", False), ("priority", False)])
    return st.builds(
        lambda order, **more: QueuePolicy(order=order[0], fair=order[1], **more),
        order if orders else st.just(("fifo", False)),
        retry=st.just(Retry(max_attempts=3)),
        dead_letter=st.sampled_from(["dead", "dead", None]),
        max_messages=st.sampled_from([None, None, None, 4]),
        max_bytes=st.sampled_from([None, None, None, 12]),
        overflow=st.just("drop_oldest"),
        max_in_flight=st.sampled_from([None, None, None, 1, 2]),
        max_in_flight_per_key=st.sampled_from([1, 1, 2, None]),
        rate=st.sampled_from([None, None, None, None, "2/s", "1/2s"]),
        rate_per_key=st.sampled_from([None, None, None, "1/s", "3/s"]),
        expired=st.sampled_from(["dead_letter", "drop"]),
        ttl_s=st.sampled_from([None, 0.3]),
    )


class RichMachine(RuleBasedStateMachine):
    """Every rule does a thing twice: to the core and to the model."""

    def __init__(self) -> None:
        super().__init__()
        self.core = BrokerState()
        self.plain: dict[str, PlainQueue] = {}
        self.now_ns = 1_000 * NANOSECONDS
        self.records: list[Record] = []

    @initialize(policy=policies(), grave=policies(orders=False))
    def declare_both(self, policy: QueuePolicy, grave: QueuePolicy) -> None:
        self.declare("q", policy)
        self.declare("dead", QueuePolicy(dead_letter="dead", rate_per_key=grave.rate_per_key))

    def declare(self, name: str, policy: QueuePolicy) -> None:
        self.records += self.core.declare(name, policy)[1]
        if name in self.plain:
            self.plain[name].set_policy(policy)
        else:
            self.plain[name] = PlainQueue(policy)

    @property
    def queue(self) -> QueueState:
        return self.core.by_name["q"]

    @property
    def dead(self) -> QueueState:
        return self.core.by_name["dead"]

    @property
    def model(self) -> PlainQueue:
        return self.plain["q"]

    @rule(policy=policies())
    def change_policy(self, policy: QueuePolicy) -> None:
        self.declare("q", policy)

    @rule(step=st.sampled_from([1, TENTH_NS, 4 * TENTH_NS, 3 * NANOSECONDS]))
    def time_passes(self, step: int) -> None:
        self.now_ns += step

    # put

    @rule(
        sizes=st.lists(st.integers(0, 4), min_size=1, max_size=3),
        key=st.sampled_from(["", "a", "a", "b"]),
        priority=st.sampled_from([0, 7, 255]),
        age=st.sampled_from(AGES),
        delay=st.sampled_from(DELAYS),
        give_up=st.booleans(),
    )
    def put(
        self, sizes: list[int], key: str, priority: int, age: int, delay: int, give_up: bool
    ) -> None:
        queue, model = self.queue, self.model
        count, size = len(sizes), sum(sizes)
        if not model.fits(count, size) and not give_up:
            self.drop_oldest(count, size)
        traits: Traits | None = Traits(
            due_ns=self.now_ns + delay if delay else 0,
            key=key,
            priority=priority if queue.policy.order == "priority" else 0,
            expires_ns=self.now_ns + age if age else 0,
        )
        if traits == Traits():
            traits = None
        fits = model.fits(count, size)
        bodies = [b"x" * each for each in sizes]
        entries = queue.put_many(self.now_ns, 2, bodies, size, b"", traits)
        assert (entries is not None) == fits
        if entries is None:
            return
        self.records.append(Put(queue.number, 1, 1, entries))
        self.publish(queue, entries)
        for entry in entries:
            model.arrive(self.item_of(entry))

    def publish(self, queue: QueueState, entries: list[Entry]) -> None:
        queue.publish(entries)

    @staticmethod
    def item_of(entry: Entry) -> Item:
        traits = entry[4] or Traits()
        return Item(
            entry[0],
            rank_of(entry),
            len(entry[2]),
            traits.key,
            traits.priority,
            traits.expires_ns,
            traits.due_ns,
        )

    def drop_oldest(self, count: int, size: int) -> None:
        expected = self.model.oldest_in_the_way(count, size)
        records = self.core.drop_oldest(self.queue, count, size)
        assert [i for r in records if isinstance(r, Settled) for i in r.ids] == [
            item.id for item in expected
        ]
        self.records += records
        self.model.gone(expected)

    # take

    @rule(name=st.sampled_from(["q", "q", "q", "dead"]))
    def take_one(self, name: str) -> None:
        queue = self.core.by_name[name]
        taken = queue.take_one(self.now_ns, FOREVER_NS, 1)
        expected = self.plain[name].take(self.now_ns)
        if taken is None:
            assert expected is None
            return
        token, entry, attempts = taken
        self.check_taken(queue, expected, token, entry, attempts)

    @rule(most=st.integers(2, 4))
    def take_many(self, most: int) -> None:
        taken = self.queue.take_many(most, 1 << 40, self.now_ns, FOREVER_NS, 1)
        if taken is None:
            assert self.model.take(self.now_ns) is None
            return
        token, lease = taken
        attempts = lease.attempts or [1] * len(lease.entries)
        for entry, count in zip(lease.entries, attempts, strict=True):
            self.check_taken(self.queue, self.model.take(self.now_ns), token, entry, count)
        if len(lease.entries) < most:
            assert self.model.take(self.now_ns) is None

    def check_taken(
        self, queue: QueueState, expected: Item | None, token: int, entry: Entry, attempts: int
    ) -> None:
        assert expected is not None
        assert (entry[0], rank_of(entry), attempts) == (
            expected.id,
            expected.rank,
            expected.attempts,
        )
        expected.token = token
        self.records.append(Delivered(queue.number, [expected.rank], [attempts]))

    @rule(most=st.integers(1, 3))
    def set_aside_and_put_back(self, most: int) -> None:
        """An iterator's reservation that comes back untouched leaves all as it was."""
        queue = self.queue
        if queue.rich is not None:
            most = min(most, queue.rich.prefetch)
        entries = queue.pop_many(most, 1 << 40, self.now_ns)
        items = [self.model.take(self.now_ns) for _ in entries]
        if len(entries) < most:
            assert self.model.take(self.now_ns) is None
        queue.restore(entries)
        for item, entry in zip(items, entries, strict=True):
            assert item is not None
            assert item.id == entry[0]
            item.attempts -= 1
            self.model.back(item, 0)

    # settle

    def held(self) -> list[tuple[str, Item]]:
        return [
            (name, item)
            for name, plain in self.plain.items()
            for item in plain.by_rank()
            if item.where == "out"
        ]

    @precondition(lambda self: self.held())
    @rule(
        pick=picks,
        verb=st.sampled_from(["ack", "ack", "nack", "nack", "give_back", "reject"]),
        delay=st.sampled_from(DELAYS),
    )
    def settle(self, pick: int, verb: str, delay: int) -> None:
        held = self.held()
        name, item = held[pick % len(held)]
        queue, plain = self.core.by_name[name], self.plain[name]
        if verb == "ack":
            assert queue.ack_one(item.token, item.id)
            self.records.append(Settled(queue.number, [item.id]))
            plain.gone([item])
        elif verb == "give_back":
            records = self.core.give_back(queue, item.token, item.id)
            assert records is not None
            self.records += records
            item.attempts -= 1
            plain.back(item, 0)
        elif verb == "reject" and name == "q":
            records = self.core.reject(queue, item.token, item.id, self.now_ns, "why", None)
            assert records is not None
            self.bury(item, records)
        else:
            due_ns = self.now_ns + delay if delay else 0
            records = self.core.nack(queue, item.token, item.id, self.now_ns, due_ns, None)
            assert records is not None
            if name == "q" and item.attempts >= 3:
                self.bury(item, records)
            else:
                assert isinstance(records[0], Returned)
                self.records += records
                plain.back(item, due_ns)

    @rule(name=st.sampled_from(["q", "q", "dead"]), most=st.integers(1, 4))
    def work_off(self, name: str, most: int) -> None:
        """Take and ack, one by one."""
        for _ in range(most):
            self.take_one(name)
            for number, (_, item) in enumerate(self.held()):
                if item in self.plain[name].items and item.where == "out":
                    self.settle(number, "ack", 0)
                    break
            self.everything_agrees()

    def bury(self, item: Item, records: list[Record]) -> None:
        """The last record tells where it went."""
        self.records += records
        record = records[-1]
        self.model.gone([item])
        if self.queue.policy.dead_letter is None or isinstance(record, Settled):
            assert record == Settled(self.queue.number, [item.id])
            return
        assert isinstance(record, Moved)
        assert record.traits.expires_ns == record.traits.due_ns == 0
        assert record.traits.key == item.key
        self.plain["dead"].arrive(
            Item(item.id, record.traits.rank, item.size, item.key, item.priority)
        )

    @rule(most=st.integers(0, 3))
    def redrive(self, most: int) -> None:
        dead = self.plain["dead"]
        # What stands comes first, then the lines.
        found = [item for item in dead.by_rank() if item.where == "waiting"]
        found.sort(key=lambda item: (not item.stands, item.rank))
        expected = found[:most]
        count, records = self.core.redrive(self.dead, most, self.now_ns)
        assert count == len(expected)
        assert [r.id for r in records if isinstance(r, Moved)] == [item.id for item in expected]
        dead.gone(expected)
        age_ns = self.queue.ttl_ns
        for item, record in zip(expected, records, strict=True):
            assert isinstance(record, Moved)
            expires_ns = self.now_ns + age_ns if age_ns else 0
            assert record.traits.expires_ns == expires_ns
            self.model.arrive(
                Item(item.id, record.traits.rank, item.size, item.key, item.priority, expires_ns)
            )
        self.records += records

    # time

    @rule(most=st.sampled_from([1, 100]), later=st.booleans())
    def expire_waiting(self, most: int, later: bool) -> None:
        if later:
            self.now_ns += 4 * TENTH_NS
        expected = self.model.expired(self.now_ns, most)
        records = self.core.expire_waiting(self.queue, self.now_ns, most)
        assert [r.id if isinstance(r, Moved) else r.ids[0] for r in records] == [  # type: ignore[union-attr]
            item.id for item in expected
        ]
        drops = self.queue.policy.expired == "drop" or self.queue.policy.dead_letter is None
        # All of them leave before the next of their keys step out.
        assert all(isinstance(record, Settled) == drops for record in records)
        self.model.gone(expected)
        for item, record in zip(expected, records, strict=True):
            self.records.append(record)
            if isinstance(record, Moved):
                self.plain["dead"].arrive(
                    Item(item.id, record.traits.rank, item.size, item.key, item.priority)
                )

    @rule(name=st.sampled_from(["q", "dead"]))
    def make_due(self, name: str) -> None:
        made = self.core.by_name[name].make_due(self.now_ns)
        assert made == self.plain[name].make_due(self.now_ns)

    # all of them

    @rule()
    def purge(self) -> None:
        items = [item for item in self.model.items if item.where != "out"]
        count, records = self.core.purge(self.queue)
        assert count == len(items)
        self.records += records
        self.model.gone(items)

    @rule()
    def restart(self) -> None:
        """Replay of the records gives what the model says is left."""
        if any(item.attempts >= 3 for _, item in self.held()):
            return  # it would be dead-lettered: test_machine's business
        fresh = BrokerState()
        replay = Replay(fresh)
        for record in self.records:
            replay.apply(record)
        # Nobody dies here; what was in flight is only said to have been judged.
        assert all(isinstance(record, Opened) for record in replay.finish(self.now_ns))
        fresh.numbers.last_token = self.core.numbers.last_token
        self.core = fresh
        for plain in self.plain.values():
            plain.restart(self.now_ns)

    # what must hold after every step

    @invariant()
    def everything_agrees(self) -> None:
        for name, plain in self.plain.items():
            queue = self.core.by_name[name]
            wanted = {
                where: sorted(item.rank for item in plain.items if item.where == where)
                for where in ("waiting", "delayed", "out")
            }
            assert sorted(map(rank_of, queue.entries())) == wanted["waiting"]
            assert sorted(rank for _, rank, _ in queue.delayed) == wanted["delayed"]
            assert queue.waiting() == len(wanted["waiting"])
            assert queue.in_flight() == len(wanted["out"])
            assert queue.live == len(plain.items)
            assert queue.size_bytes == sum(item.size for item in plain.items)
            if queue.rich is not None:
                assert queue.rich.out == len(wanted["out"])
            assert queue.attempts == {
                item.rank: item.attempts
                for item in plain.items
                if item.attempts and item.where != "out"
            }


# Without Phase.explain: it traces every line, and a failure would not be told within the timeout.
RichMachine.TestCase.settings = settings(
    max_examples=300,
    stateful_step_count=50,
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
TestRichMachine = RichMachine.TestCase
