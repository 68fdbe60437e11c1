"""What is done to many messages that wait, found by a filter. Each verb returns its records.

``found`` is what `selecting.withdraw` took out of the order: entries with their due times.
"""

from __future__ import annotations

from functools import partial
from typing import TypeAlias

import msgspec

from posthouse.core import letters
from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.core.state import PLAIN, RETURN_STEP, SETTLE_STEP, BrokerState
from posthouse.records import Entry, Moved, Record, Returned, Settled, Traits

Found: TypeAlias = "list[tuple[Entry, int]]"


def delete(queue: QueueState, found: Found) -> list[Record]:
    """Settle them for good."""
    entries = [entry for entry, _ in found]
    _leave(queue, entries)
    queue.purged += len(entries)
    ids = [entry[0] for entry in entries]
    steps = range(0, len(ids), SETTLE_STEP)
    return [Settled(queue.number, ids[at : at + SETTLE_STEP]) for at in steps]


def delay(queue: QueueState, found: Found, due_ns: int) -> list[Record]:
    """Let them wait until a time (0: at once); their attempts stay as they are."""
    records: list[Record] = []
    for start in range(0, len(found), RETURN_STEP):
        part = [entry for entry, _ in found[start : start + RETURN_STEP]]
        counts = [queue.attempts.get(rank_of(entry), 0) for entry in part]
        for entry, attempts in zip(part, counts, strict=True):
            queue.arrive(entry, attempts, due_ns)
        ids = [entry[0] for entry in part]
        records.append(Returned(queue.number, ids, counts, [due_ns] * len(part)))
    return records


def move(
    state: BrokerState, queue: QueueState, target: QueueState, found: Found, now_ns: int
) -> list[Record]:
    """To the end of another queue: the same ids, no attempts, a delay that goes on.

    Limits of the target's do not hold it up. A priority is kept where the target knows them.
    """
    _leave(queue, [entry for entry, _ in found])
    records: list[Record] = []
    for entry, due_ns in found:
        traits = entry[4] or PLAIN
        traits = msgspec.structs.replace(
            traits,
            rank=state.numbers.next_id(now_ns),
            due_ns=due_ns,
            dedup="",
            priority=traits.priority if target.policy.order == "priority" else 0,
        )
        records.append(_join(state, queue, target, entry, traits))
    return records


def origin_of(state: BrokerState, queue: QueueState, entry: Entry) -> QueueState | None:
    """The queue that a dead letter goes back to; None if it is none, or that is not known."""
    traits = entry[4]
    origin = state.by_name.get(letters.origin_of(traits.death)) if traits is not None else None
    return None if origin is queue else origin


def redrive(state: BrokerState, queue: QueueState, found: Found, now_ns: int) -> list[Record]:
    """Back to where they died, to begin anew; only what has an `origin_of`."""
    _leave(queue, [entry for entry, _ in found])
    records: list[Record] = []
    for entry, _ in found:
        origin = origin_of(state, queue, entry)
        assert origin is not None
        traits = msgspec.structs.replace(
            entry[4] or PLAIN,
            rank=state.numbers.next_id(now_ns),
            death=b"",
            due_ns=0,
            expires_ns=now_ns + origin.ttl_ns if origin.ttl_ns else 0,
        )
        records.append(_join(state, queue, origin, entry, traits))
    return records


def _leave(queue: QueueState, entries: list[Entry]) -> None:
    for entry in entries:
        queue.attempts.pop(rank_of(entry), None)
    queue.count_out(entries)


def _join(
    state: BrokerState, queue: QueueState, target: QueueState, entry: Entry, traits: Traits
) -> Moved:
    moved = (*entry[:4], traits)
    queue.moved_out += 1
    target.moved_in += 1
    target.count_in(moved)
    if state.moves is None:
        target.arrive(moved, 0, traits.due_ns)
    else:
        # Seen when its record is durable; see `BrokerState`.
        target.pending += 1
        state.moves.append((target, partial(target.arrive, moved, 0, traits.due_ns)))
    return Moved(queue.number, target.number, entry[0], traits)
