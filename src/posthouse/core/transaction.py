"""A transaction: settlements and puts that happen together or not at all.

`problem` looks at everything and changes nothing; `commit` then cannot fail.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from posthouse.core.queue import QueueState
from posthouse.core.state import BrokerState, Late
from posthouse.errors import BrokerBug, LeaseExpired, QueueFull
from posthouse.records import Copied, Entry, Put, Record, Settled, Traits


@dataclass(slots=True)
class PutStep:
    """A message to put. ``shared``: with the body of the put before it, which is stored once."""

    queue: QueueState
    kind: int
    body: bytes
    headers: bytes
    traits: Traits | None
    shared: bool = False


@dataclass(slots=True)
class SettleStep:
    """A delivery to settle. ``due_ns``, ``reason`` and ``error`` where the verb has them."""

    queue: QueueState
    verb: Literal["ack", "nack", "reject"]
    token: int
    message_id: int
    due_ns: int = 0
    reason: str = ""
    error: str | None = None


Step: TypeAlias = "PutStep | SettleStep"


def problem(steps: list[Step], now_ns: int = 0) -> QueueFull | LeaseExpired | None:
    """Why these steps cannot be committed now; None if they can.

    `QueueFull` may pass by waiting; `LeaseExpired` may not.
    """
    settled: set[tuple[int, int, int]] = set()
    for step in steps:
        if isinstance(step, PutStep):
            continue
        queue = step.queue
        key = (queue.number, step.token, step.message_id)
        if key in settled or not queue.holds(step.token, step.message_id):
            return LeaseExpired(
                f"message {step.message_id:016x} of queue {queue.name!r} is no longer held: its "
                "lease ran out, or it was settled already; nothing of the transaction was done",
                [step.message_id],
            )
        settled.add(key)
    full = short_of_room(steps, now_ns)
    if full is not None:
        return QueueFull(f"queue {full.name!r} has no room for the transaction")
    return None


def short_of_room(steps: list[Step], now_ns: int = 0) -> QueueState | None:
    """A queue that has no room for the puts, and cannot make it; None if there is none.

    Room that the transaction's own settlements free counts for its puts.
    """
    for queue, count, size in _growth(steps, now_ns):
        if queue.fits(count, size):
            continue
        if queue.policy.overflow != "drop_oldest" or not queue.droppable(count, size):
            return queue
    return None


def _growth(steps: list[Step], now_ns: int) -> list[tuple[QueueState, int, int]]:
    """The queues that have more in them afterwards: how many messages, how many bytes."""
    change: dict[int, tuple[QueueState, int, int]] = {}
    for step in steps:
        queue = step.queue
        _, count, size = change.get(queue.number, (queue, 0, 0))
        if isinstance(step, PutStep):
            if step.traits and step.traits.dedup and queue.dedup.knows(step.traits.dedup, now_ns):
                continue  # it was put before: nothing is added
            change[queue.number] = (queue, count + 1, size + len(step.body) + len(step.headers))
        elif queue.holds(step.token, step.message_id) and _leaves(step):
            size -= queue.held_size(step.token, step.message_id)
            change[queue.number] = (queue, count - 1, size)
    return [row for row in change.values() if row[1] > 0 or row[2] > 0]


def _leaves(step: SettleStep) -> bool:
    """Whether the message will be out of its queue: acked, or dead and moved or dropped."""
    if step.verb == "ack":
        return True
    policy = step.queue.policy
    if policy.dead_letter == step.queue.name:
        return False
    attempts = step.queue.attempts_of(step.token, step.message_id)
    return step.verb == "reject" or attempts >= policy.retry.max_attempts


def commit(
    state: BrokerState,
    steps: list[Step],
    now_ns: int,
    producer: int,
    sequence: int,
) -> tuple[list[Record], Late, list[int]]:
    """Do all steps: (records, what may be seen once they are durable, ids of the puts)."""
    records: list[Record] = []
    for queue, count, size in _growth(steps, now_ns):
        if queue.policy.overflow == "drop_oldest":
            records += state.drop_oldest(queue, count, size)
    late: Late = []
    ids: list[int] = []
    original = 0
    for step in steps:
        queue = step.queue
        if isinstance(step, PutStep):
            if not step.shared:
                original = 0
            dedup = "" if step.traits is None else step.traits.dedup
            known = queue.dedup.find(dedup, now_ns) if dedup else 0
            if known:
                ids.append(known)
                continue
            entry: Entry = (
                state.numbers.next_id(now_ns),
                step.kind,
                step.body,
                step.headers,
                step.traits,
            )
            queue.count_in(entry)
            queue.pending += 1
            ids.append(entry[0])
            if dedup:
                queue.dedup.remember(dedup, entry[0])
            # One record each: a Put's ids are consecutive, and so are its messages' sequences.
            if original:
                records.append(Copied(queue.number, producer, sequence, entry, original))
            else:
                records.append(Put(queue.number, producer, sequence, [entry]))
                original = entry[0]
            sequence += 1
            continue
        done = _settle(state, step, now_ns, late)
        if done is None:
            raise BrokerBug(f"a checked lease vanished: message {step.message_id:x}")
        records += done
    return records, late, ids


def _settle(state: BrokerState, step: SettleStep, now_ns: int, late: Late) -> list[Record] | None:
    queue = step.queue
    if step.verb == "ack":
        if not queue.ack_one(step.token, step.message_id):
            return None
        return [Settled(queue.number, [step.message_id])]
    if step.verb == "nack":
        return state.nack(queue, step.token, step.message_id, now_ns, step.due_ns, step.error, late)
    return state.reject(queue, step.token, step.message_id, now_ns, step.reason, step.error, late)
