"""Taking from the middle and acting on sets: nothing is lost, whatever the queue's order."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.core import acting, selecting
from posthouse.core.filters import Filter
from posthouse.core.orders import rank_of
from posthouse.core.places import Placed
from posthouse.core.queue import QueueState
from posthouse.core.replay import Replay
from posthouse.core.state import BrokerState
from posthouse.model import NANOSECONDS, QueuePolicy, Retry
from posthouse.records import Declared, Entry, Put, Record, Traits

START_NS = 1_700_000_000 * NANOSECONDS
HOUR_NS = 3600 * NANOSECONDS
RETRY = Retry(max_attempts=10_000)
POLICIES = [
    QueuePolicy(retry=RETRY),
    QueuePolicy(retry=RETRY, order="lifo"),
    QueuePolicy(retry=RETRY, order="priority"),
    QueuePolicy(retry=RETRY, fair=True),
    QueuePolicy(retry=RETRY, max_in_flight=2),
    QueuePolicy(retry=RETRY, max_in_flight_per_key=None),
    QueuePolicy(retry=RETRY, index=("headers.number",)),
    QueuePolicy(retry=RETRY, index=("headers.number",), order="priority", max_in_flight=2),
    QueuePolicy(retry=RETRY, index=("headers.number",), fair=True),
]


class Label:
    """A message whose only field says which it is."""

    key, priority, attempts = "", 0, 0

    def __init__(self, entry: Entry) -> None:
        self.number = entry[0]

    def headers(self) -> dict[str, str]:
        return {"number": str(self.number)}

    def body(self) -> None:
        return None


class World:
    """Two queues, the records of all that was done, and what each message should be doing."""

    def __init__(self, policy: QueuePolicy, *, keys: bool) -> None:
        self.state = BrokerState(look=Label)
        self.records: list[Record] = []
        self.keys = keys
        self.now_ns = START_NS
        self.queues: list[QueueState] = []
        for name in ("one", "two"):
            queue, records = self.state.declare(name, policy)
            self.queues.append(queue)
            self.records += records
        self.where: dict[int, str] = {}  # waiting or delayed, by id: in which queue
        self.held: dict[int, tuple[QueueState, int]] = {}  # by id: the queue and its token

    def put(self, queue: QueueState, key: int, priority: int, delay: bool) -> None:
        self.now_ns += 1
        traits = Traits(
            due_ns=self.now_ns + HOUR_NS if delay else 0,
            key=f"k{key}" if self.keys and key else "",
            priority=priority if queue.policy.order == "priority" else 0,
        )
        given = None if traits == Traits() else traits
        entry = queue.put_one(self.now_ns, 2, b"body", b"", given)
        assert entry is not None
        self.records.append(Put(queue.number, 1, 1, [entry]))
        self.publish(queue, entry)
        self.where[entry[0]] = queue.name

    def publish(self, queue: QueueState, entry: Entry) -> None:
        queue.publish([entry])

    def on_disk(self, queue: QueueState) -> list[Entry]:
        """What is not in memory, as who looks through a queue reads it."""
        return []

    def take(self, queue: QueueState, chosen: list[int]) -> None:
        late = {rank for _, rank, _ in queue.delayed}
        on_disk = [entry for entry in self.on_disk(queue) if rank_of(entry) not in late]
        entries = [*selecting.standing(queue)[0], *on_disk]
        wanted = [entries[n % len(entries)] for n in chosen] if entries else []
        unique = list({entry[0]: entry for entry in wanted}.values())
        taken = selecting.take(queue, unique, self.now_ns)
        assert {entry[0] for entry in taken} <= {entry[0] for entry in unique}
        assert all(entry[2] == b"body" for entry in taken)
        if queue.policy.max_in_flight is None and queue.policy.max_in_flight_per_key is None:
            assert len(taken) == len(unique)
        self.lease(queue, taken)

    def take_next(self, queue: QueueState) -> bool:
        taken = queue.take_one(self.now_ns, HOUR_NS * 1000, 1)
        while taken is None and queue.dry and queue.available(self.now_ns) and queue.read_next():
            taken = queue.take_one(self.now_ns, HOUR_NS * 1000, 1)
        if taken is None:
            return False
        assert taken[1][2] == b"body"
        del self.where[taken[1][0]]
        self.held[taken[1][0]] = (queue, taken[0])
        return True

    def lease(self, queue: QueueState, taken: list[Entry]) -> None:
        if taken:
            token, _ = queue.lease_many(taken, self.now_ns, HOUR_NS * 1000, 1)
            for entry in taken:
                del self.where[entry[0]]
                self.held[entry[0]] = (queue, token)

    def settle(self, which: int, verb: str) -> None:
        if not self.held:
            return
        number = list(self.held)[which % len(self.held)]
        queue, token = self.held.pop(number)
        if verb == "ack":
            assert queue.ack_one(token, number)
            return
        records: list[Record] | None
        if verb == "give_back":
            records = self.state.give_back(queue, token, number)
        else:
            due_ns = self.now_ns + HOUR_NS if verb == "nack_late" else 0
            records = self.state.nack(queue, token, number, self.now_ns, due_ns, None)
        assert records is not None
        self.records += records
        self.where[number] = queue.name

    def act(self, queue: QueueState, verb: str, share: int) -> None:
        entries = [*selecting.everything(queue)[0], *self.on_disk(queue)]
        chosen = [entry for entry in entries if entry[0] % share == 0]
        gone = [(9, 2, b"", b"", None)]  # one that is not there is left alone
        before = {rank_of(entry): queue.attempts.get(rank_of(entry), 0) for entry in chosen}
        again = verb in ("delay", "at_once")
        found = selecting.withdraw(queue, [*chosen, *gone], again=again)
        assert [entry for entry, _ in found] == chosen
        if verb == "delete":
            self.records += acting.delete(queue, found)
            for entry in chosen:
                del self.where[entry[0]]
        elif verb == "move":
            other = self.queues[1 - self.queues.index(queue)]
            self.records += acting.move(self.state, queue, other, found, self.now_ns)
            for entry in chosen:
                self.where[entry[0]] = other.name
        else:
            due_ns = self.now_ns + HOUR_NS if verb == "delay" else 0
            self.records += acting.delay(queue, found, due_ns)
            after = {rank: queue.attempts.get(rank, 0) for rank in before}
            assert after == before

    def check(self) -> None:
        for queue in self.queues:
            entries = [*selecting.everything(queue)[0], *self.on_disk(queue)]
            assert all(entry[2] == b"body" for entry in entries)
            numbers = sorted(entry[0] for entry in entries)
            assert numbers == sorted(n for n, name in self.where.items() if name == queue.name)
            assert len(numbers) == queue.waiting() + len(queue.delayed)
            held = sum(queue is each for each, _ in self.held.values())
            assert (queue.live, queue.in_flight()) == (len(numbers) + held, held)
            assert queue.size_bytes == 4 * queue.live
            if queue.policy.index:
                everything = Filter("headers.number >= ''")
                found = selecting.candidates(queue, everything)
                assert found is not None
                assert sorted(entry[0] for entry in found) == numbers
            listed = {entry[0] for entry in [*queue.entries(), *self.on_disk(queue)]}
            assert listed | {row[2][0] for row in queue.delayed} == set(numbers)
            if queue.rich is not None:
                assert queue.rich.out == held

    def end(self) -> None:
        """Time passes, everything is taken and acked: all of it comes."""
        while self.held:
            self.settle(0, "ack")
        self.now_ns += 1000 * HOUR_NS
        for queue in self.queues:
            queue.make_due(self.now_ns)
            while self.take_next(queue):
                self.settle(0, "ack")
            queue.make_due(self.now_ns)
            assert not self.take_next(queue)
        assert not self.where
        assert all(queue.live == 0 for queue in self.queues)


STEP = st.one_of(
    st.tuples(
        st.just("put"), st.integers(0, 1), st.integers(0, 2), st.integers(0, 2), st.booleans()
    ),
    st.tuples(st.just("take"), st.integers(0, 1), st.lists(st.integers(0, 9), max_size=3)),
    st.tuples(st.just("next"), st.integers(0, 1)),
    st.tuples(
        st.just("settle"),
        st.integers(0, 9),
        st.sampled_from(["ack", "nack", "nack_late", "give_back"]),
    ),
    st.tuples(
        st.just("act"),
        st.integers(0, 1),
        st.sampled_from(["delete", "move", "delay", "at_once"]),
        st.integers(1, 3),
    ),
    st.tuples(st.just("time"), st.integers(0, 2)),
)
STEPS = st.lists(STEP, max_size=40)


def run(world: World, steps: list[tuple[Any, ...]]) -> None:
    for step in steps:
        match step:
            case ("put", queue, key, priority, delay):
                world.put(world.queues[queue], key, priority, delay)
            case ("take", queue, chosen):
                world.take(world.queues[queue], chosen)
            case ("fill", queue, at_once) if isinstance(world, StubWorld):
                world.fill(world.queues[queue], at_once)
            case ("next", queue):
                world.take_next(world.queues[queue])
            case ("settle", which, verb):
                world.settle(which, verb)
            case ("act", queue, verb, share):
                world.act(world.queues[queue], verb, share)
            case ("policy", queue, policy):
                world.state.declare(world.queues[queue].name, policy)
            case ("time", hours):
                world.now_ns += hours * HOUR_NS
                for queue in world.queues:
                    queue.make_due(world.now_ns)
        world.check()


@pytest.mark.parametrize(
    "policy", POLICIES, ids=lambda p: f"{p.order}-{p.fair}-{p.max_in_flight}-{len(p.index)}"
)
@pytest.mark.parametrize("keys", [False, True], ids=["plain", "keyed"])
@settings(max_examples=60, deadline=None)
@given(steps=STEPS)
def test_nothing_is_lost(policy: QueuePolicy, keys: bool, steps: list[tuple[Any, ...]]) -> None:
    world = World(policy, keys=keys)
    run(world, steps)
    world.end()


class StubWorld(World):
    """What has a key is in memory without its body."""

    def __init__(self, policy: QueuePolicy) -> None:
        super().__init__(policy, keys=True)
        self.disk: dict[int, Entry] = {}

    def publish(self, queue: QueueState, entry: Entry) -> None:
        self.disk[entry[0]] = entry
        if queue.may_stub([entry]):
            queue.stub_out([entry], 1, (entry[0], 1, 0, 0), self.read)
        else:
            queue.publish([entry])

    def read(self, rows: list[Placed]) -> list[Entry]:
        return [self.disk[row.id] for row in rows]

    def on_disk(self, queue: QueueState) -> list[Entry]:
        rows = [] if queue.cold is None else [row for part in queue.cold.parts() for row in part]
        assert queue.cold is None or len(rows) == queue.cold.stubs.count
        return self.read(rows)

    def fill(self, queue: QueueState, at_once: int) -> None:
        rows = queue.next_stubs(at_once)[: 2 * at_once]
        assert queue.cold_in(rows, self.read(rows)) == len(rows)


def any_step(rng: Random) -> tuple[Any, ...]:
    """One that asks much of stubs; `STEPS` seldom comes to two that matter to each other."""
    at, queue = rng.random(), rng.randrange(2)
    if at < 0.4:
        delay = rng.random() < 0.1
        return "put", queue, rng.randrange(4), rng.randrange(3), delay
    if at < 0.5:
        return "take", queue, [rng.randrange(10) for _ in range(rng.randrange(4))]
    if at < 0.6:
        return "next", queue
    if at < 0.75:
        return "settle", rng.randrange(10), rng.choice(["ack", "nack", "nack_late", "give_back"])
    if at < 0.85:
        verb = rng.choice(["delete", "move", "delay", "at_once"])
        return "act", queue, verb, rng.randrange(1, 4)
    if at < 0.95:
        return "fill", queue, rng.randrange(1, 4)
    if at < 0.97:
        return "policy", queue, rng.choice(POLICIES)
    return "time", rng.randrange(3)


@pytest.mark.parametrize("seed", range(100))
def test_nothing_is_lost_whose_body_is_on_disk(seed: int) -> None:
    rng = Random(seed)
    policy = rng.choice(POLICIES)
    steps = [any_step(rng) for _ in range(100)]
    world = StubWorld(policy)
    run(world, steps)
    world.end()
    for queue in world.queues:
        stubs = None if queue.rich is None else queue.rich.stubs
        assert stubs is None or not (stubs.count or stubs.filled or stubs.size_bytes)


@settings(max_examples=100, deadline=None)
@given(steps=STEPS, policy=st.sampled_from(POLICIES))
def test_a_replay_has_the_same(policy: QueuePolicy, steps: list[tuple[Any, ...]]) -> None:
    world = World(policy, keys=False)
    run(world, [step for step in steps if step[0] in ("put", "act", "time")])
    again = BrokerState(look=Label)
    replay = Replay(again)
    for record in world.records:
        replay.apply(record)
    assert not [each for each in replay.finish(world.now_ns) if not isinstance(each, Declared)]
    for queue in world.queues:
        other = again.by_name[queue.name]
        mine, theirs = (
            sorted((entry[0], rank_of(entry)) for entry in selecting.everything(each)[0])
            for each in (queue, other)
        )
        assert mine == theirs
        assert queue.live == other.live
        late = sorted((rank, due) for due, rank, _ in queue.delayed)
        assert sorted((rank, due) for due, rank, _ in other.delayed) == late


@given(
    st.lists(st.integers(0, 10**6), unique=True, max_size=60),
    st.sampled_from([None, lambda e: e[0], lambda e: -e[0], lambda e: (e[0] % 3, e[0])]),
)
def test_in_steps_is_in_order(numbers: list[int], key: Any) -> None:
    entries: list[Entry] = [(n, 0, b"", b"", None) for n in numbers]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selecting, "SORT_STEP", 7)
        found = [each for each in selecting.in_steps(entries, key) if each is not None]
        assert found == (entries if key is None else sorted(entries, key=key))
        if key is not None and found:
            after = key(found[len(found) // 2])
            rest = [each for each in selecting.in_steps(entries, key, after) if each is not None]
            assert rest == [each for each in found if key(each) > after]
