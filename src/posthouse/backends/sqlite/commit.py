"""Transactions and publishing: all steps in one transaction of the database, or none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from posthouse.backends.sqlite import put, settle
from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.leave import dead_letter_name
from posthouse.backends.sqlite.op import NOT_YET, Op
from posthouse.backends.sqlite.rows import QueueRow
from posthouse.errors import LeaseExpired, QueueFull, Unroutable
from posthouse.records import Publication, Traits


class QueueName(str):
    """A queue's name, as a step has it: another backend that is given one sees a foreign queue."""

    __slots__ = ()
    number = -1

    @property
    def name(self) -> str:
        """The name itself."""
        return str(self)


@dataclass(slots=True)
class PutStep:
    """A message to put."""

    broker: object
    queue: QueueName
    kind: int
    body: bytes
    headers: bytes
    traits: Traits | None


@dataclass(slots=True)
class SettleStep:
    """A delivery to settle."""

    broker: object
    queue: QueueName
    verb: Literal["ack", "nack", "reject"]
    token: int
    message_id: int
    delay_ns: int | None = None
    reason: str = ""
    error: str | None = None


@dataclass(slots=True)
class PublishStep:
    """A message for every queue that is bound for the key."""

    broker: object
    what: Publication

    @property
    def queue(self) -> QueueName:
        """None of its own."""
        return QueueName()


Step: TypeAlias = "PutStep | SettleStep | PublishStep"


def commit(books: Books, op: Op, steps: list[Step]) -> list[int] | object:
    """Do all steps: the ids of the puts; or `NOT_YET`, with ``op.queue`` the one without room.

    Raises:
        LeaseExpired, QueueFull, Unroutable, BadArgument: nothing was done.
    """
    expanded = _expand(books, steps)
    _check_leases(books, expanded)
    growth = _growth(books, expanded)
    for step in expanded:
        if isinstance(step, PutStep):
            put.complete(books, books.named(step.queue), step.traits)
    for queue, count, size in growth:
        if queue.fits(count, size) or put.droppable(books, queue, count, size) is not None:
            continue
        mine = [s for s in expanded if isinstance(s, PutStep) and s.queue == queue.name]
        whole = sum(len(s.body) + len(s.headers) for s in mine)
        if queue.policy.overflow == "reject" or not queue.could_fit(len(mine), whole):
            raise QueueFull(f"queue {queue.name!r} has no room for the transaction's messages")
        op.queue = queue.name
        return NOT_YET
    for queue, count, size in growth:
        put.make_way(books, queue, count, size)
    return [number for step in expanded if (number := _do(books, step)) is not None]


def publish(books: Books, op: Op, step: PublishStep) -> dict[str, int] | object:
    """Publish: ids by queue, or `NOT_YET`. Raises as `commit`."""
    steps = _expand(books, [step])
    if not steps:
        return {}
    ids = commit(books, op, steps)
    if not isinstance(ids, list):
        return ids
    return {each.queue: number for each, number in zip(steps, ids, strict=True)}


def lost_lease(books: Books, steps: list[Step]) -> LeaseExpired | None:
    """What a transaction in line must be told when a lease of its own ran out."""
    try:
        _check_leases(books, steps)
    except LeaseExpired as error:
        return error
    return None


def _expand(books: Books, steps: list[Step]) -> list[Step]:
    """Publishing as the puts that it comes to."""
    expanded: list[Step] = []
    for step in steps:
        if not isinstance(step, PublishStep):
            expanded.append(step)
            continue
        what = step.what
        numbers = books.router.route(what.topic, what.key)
        if not numbers and not what.unroutable:
            raise Unroutable(
                f"no queue is bound to topic {what.topic!r} for routing key {what.key!r}; "
                "bind one with Queue.bind, or pass unroutable=True"
            )
        for number in numbers:
            queue = books.row(number)
            traits = what.traits
            if traits is not None and traits.priority and queue.policy.order != "priority":
                traits = msgspec.structs.replace(traits, priority=0)
            name = QueueName(queue.name)
            expanded.append(PutStep(step.broker, name, what.kind, what.body, what.headers, traits))
    return expanded


def _check_leases(books: Books, steps: list[Step]) -> None:
    seen: set[tuple[int, int]] = set()
    for step in steps:
        if not isinstance(step, SettleStep):
            continue
        key = (step.token, step.message_id)
        if key in seen or not settle.holds(books, *key):
            raise LeaseExpired(
                f"message {step.message_id:016x} of queue {step.queue!r} is no longer held: its "
                "lease ran out, or it was settled already; nothing of the transaction was done",
                [step.message_id],
            )
        seen.add(key)


def _growth(books: Books, steps: list[Step]) -> list[tuple[QueueRow, int, int]]:
    """The queues that have more in them afterwards: how many messages, how many bytes."""
    change: dict[str, tuple[int, int]] = {}
    for step in steps:
        if isinstance(step, PublishStep):
            continue
        count, size = change.get(step.queue, (0, 0))
        queue = books.named(step.queue)
        if isinstance(step, PutStep):
            if step.traits and step.traits.dedup and put.known_id(books, queue, step.traits.dedup):
                continue
            change[step.queue] = (count + 1, size + len(step.body) + len(step.headers))
        elif _leaves(books, queue, step):
            held = books.leases[step.token][step.message_id][0]
            change[step.queue] = (count - 1, size - held)
    return [
        (books.named(name), count, size)
        for name, (count, size) in change.items()
        if count > 0 or size > 0
    ]


def _leaves(books: Books, queue: QueueRow, step: SettleStep) -> bool:
    if step.verb == "ack":
        return True
    if dead_letter_name(queue) == queue.name:
        return False
    (attempts,) = books.execute(
        "SELECT attempts FROM message WHERE id = ?", (step.message_id,)
    ).fetchone()
    return step.verb == "reject" or attempts + 1 >= queue.policy.retry.max_attempts


def _do(books: Books, step: Step) -> int | None:
    """Do one step, which was checked: the id of a put."""
    if isinstance(step, PutStep):
        queue = books.named(step.queue)
        traits = put.complete(books, queue, step.traits)
        known = put.known_id(books, queue, traits.dedup) if traits and traits.dedup else 0
        if known:
            queue.deduplicated += 1
            books.touch(queue, stir=False)
            return known
        return put.insert(books, queue, step.kind, [step.body], step.headers, traits)
    if isinstance(step, SettleStep):
        op = Op(lambda *_: None, queue=step.queue)
        if step.verb == "ack":
            settle.ack(books, op, step.token, [step.message_id])
        else:
            settle.end(
                books,
                op,
                step.verb,
                step.token,
                step.message_id,
                step.delay_ns,
                step.reason,
                step.error,
            )
    return None
