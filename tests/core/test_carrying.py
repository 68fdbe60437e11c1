"""What compaction goes through: everything in memory, a part at a time, and nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest

from posthouse.core.carrying import Row, parts_in_memory
from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.core.state import BrokerState
from posthouse.model import QueuePolicy
from posthouse.records import Entry, Traits

LATER_NS = 1 << 60
POLICIES = {
    "plain": QueuePolicy(),
    "priority": QueuePolicy(order="priority"),
    "lifo": QueuePolicy(order="lifo"),
    "fair": QueuePolicy(fair=True),
}


def _filled(policy: QueuePolicy, rng: Random, count: int) -> tuple[QueueState, list[Entry]]:
    """A queue with something of everything, and what an iterator has set aside."""
    queue = BrokerState().add(1, "q", policy)
    for number in range(count):
        traits = rng.choice(
            [
                None,
                None,
                Traits(key=f"k{rng.randrange(4)}") if policy.order != "lifo" else None,
                Traits(priority=rng.randrange(3)) if policy.order == "priority" else None,
                Traits(due_ns=LATER_NS),
                Traits(expires_ns=LATER_NS) if number % 9 == 0 else None,
            ]
        )
        if policy == POLICIES["plain"] and traits is not None and not traits.due_ns:
            traits = None
        entry = queue.put_one(number + 1, 0, b"x", b"", traits)
        assert entry is not None
        queue.publish([entry])
    for _ in range(count // 10):
        taken = queue.take_one(count, LATER_NS, 1)
        if taken is not None and rng.random() < 0.5:
            token, entry, attempts = taken
            released = queue.release(token, entry[0])
            assert released is not None
            queue.give_back(released[0], attempts, rng.choice([0, LATER_NS]))
    return queue, queue.pop_many(3, 1 << 30, count)


def _ids(parts: Iterator[list[Row]]) -> list[int]:
    return [row[0][0] for part in parts for row in part]


@pytest.mark.parametrize("name", list(POLICIES))
@pytest.mark.parametrize("most", [1, 3, 50, 10_000])
def test_all_of_it_and_nothing_twice(name: str, most: int) -> None:
    queue, reserved = _filled(POLICIES[name], Random(most), 300)
    found = _ids(parts_in_memory(queue, lambda: [reserved], most))
    assert len(found) == len(set(found)) == queue.live == 300


@pytest.mark.parametrize("name", list(POLICIES))
def test_a_part_is_no_larger_than_asked_for(name: str) -> None:
    queue, reserved = _filled(POLICIES[name], Random(1), 300)
    parts = list(parts_in_memory(queue, lambda: [reserved], 20))
    assert max(map(len, parts)) <= 20
    assert len(parts) >= 300 // 20


@pytest.mark.parametrize("name", list(POLICIES))
@pytest.mark.parametrize("seed", range(5))
def test_between_two_parts_anything_may_change(name: str, seed: int) -> None:
    """A part never has what is gone by then, and says what is so now."""
    rng = Random(seed)
    queue, reserved = _filled(POLICIES[name], rng, 300)
    gone: set[int] = set()
    for part in parts_in_memory(queue, lambda: [reserved], 10):
        for entry, attempts, due_ns, out in part:
            assert entry[0] not in gone
            if not out:
                assert queue.attempts.get(rank_of(entry), 0) == attempts
                waits_in_line = queue.rich is not None and queue.rich.due_of(entry) == due_ns
                delayed = [due for due, rank, _ in queue.delayed if rank == rank_of(entry)]
                assert due_ns in (0, *delayed) or waits_in_line
        for _ in range(3):
            taken = queue.take_one(1000, LATER_NS, 1)
            if taken is None:
                break
            token, entry, attempts = taken
            released = queue.release(token, entry[0])
            assert released is not None
            if rng.random() < 0.6:
                queue.gone([entry])
                gone.add(entry[0])
            else:
                queue.give_back(entry, attempts, rng.choice([0, LATER_NS]))
        new = queue.put_one(10_000, 0, b"y", b"", None)
        assert new is not None
        queue.publish([new])
    assert gone
