"""What an opened broker holds, and whether it would deliver it in order."""

from __future__ import annotations

from typing import NamedTuple

from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.core.state import BrokerState
from posthouse.model import QueuePolicy
from posthouse.records import Entry
from tests.lab.disk.timeline import Kept, message_of

IN_LINE = -1
"""When a message that stands behind its key is due is not seen from outside."""


class Found(NamedTuple):
    """A message in an opened broker: where, what, due when, after how many attempts."""

    queue: str
    kept: Kept


def contents(state: BrokerState, problems: list[str]) -> dict[int, Found]:
    """All messages, by id; every queue's order is checked on the way."""
    found: dict[int, Found] = {}
    for number, queue in state.queues.items():
        problems += order_problems(queue)
        lined = set() if queue.rich is None else {e[0] for e in queue.rich.keys.entries()}
        rows = [(IN_LINE if e[0] in lined else 0, e) for e in queue.entries()]
        rows += [(due_ns, entry) for due_ns, _, entry in queue.delayed]
        if len(rows) != queue.live or queue.leases or queue.pending:
            problems.append(f"queue {queue.name} counts {queue.live} messages, and has {len(rows)}")
        for due_ns, entry in rows:
            if entry[0] in found:
                problems.append(f"message {entry[0]} is there twice")
            attempts = queue.attempts.get(rank_of(entry), 0)
            message = message_of(number, entry)._replace(due_ns=due_ns, attempts=attempts)
            found[entry[0]] = Found(queue.name, message)
    return found


def order_problems(queue: QueueState) -> list[str]:
    """Problems with the order in which a queue would deliver."""
    policy, rich = queue.policy, queue.rich
    standing = list(queue.ready) if rich is None else rich.next_standing(queue.live)
    problems = []
    if not policy.fair:
        places = [_place(policy, entry) for entry in standing]
        if places != sorted(places):
            problems.append(f"queue {queue.name} is out of order: {places}")
    if rich is None or policy.max_in_flight_per_key != 1:
        return problems
    first: dict[str, int] = {}
    for entry in [*queue.entries(), *(entry for _, _, entry in queue.delayed)]:
        key = _key(entry)
        first[key] = min(first.get(key, rank_of(entry)), rank_of(entry))
    ranks: dict[str, list[int]] = {}
    for entry in [*standing, *(entry for _, _, entry in queue.delayed)]:
        ranks.setdefault(_key(entry), []).append(rank_of(entry))
    problems += [
        f"of key {key!r} of queue {queue.name} {found} could be taken; only {first[key]} may"
        for key, found in ranks.items()
        if key and found != [first[key]]
    ]
    return problems


def _key(entry: Entry) -> str:
    return "" if entry[4] is None else entry[4].key


def _place(policy: QueuePolicy, entry: Entry) -> tuple[int, int]:
    if policy.order == "lifo":
        return 0, -rank_of(entry)
    priority = 0 if entry[4] is None or policy.order == "fifo" else entry[4].priority
    return -priority, rank_of(entry)
