"""What the judge of a history knows at a point of it: the board that its parts share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from posthouse.model import NANOSECONDS
from posthouse.testing.judging.fate import NEVER, Fate, Span
from posthouse.testing.judging.policies import Policies
from posthouse.testing.judging.wholeness import Whole
from posthouse.testing.trace import (
    DelayStarted,
    MoveStarted,
    PurgeStarted,
    RedriveStarted,
    Started,
)

SETS: Final = (PurgeStarted, RedriveStarted, MoveStarted, DelayStarted)
"""Calls that act on many messages of a queue."""


@dataclass(slots=True)
class Under:
    """An operation under way: what started, when, and what it may have changed.

    Attributes:
        position, life: when it started.
        versions: of the messages that it is about (id -> the delivery's number); -1 where its
            token was not the newest.
        waiting: what a purge, or a redrive of all, must take.
    """

    event: Started
    position: int
    life: int
    versions: dict[str, int] = field(default_factory=dict)
    waiting: list[Fate] = field(default_factory=list)


@dataclass(slots=True)
class Soft:
    """A settlement that was accepted, and of which nobody knows yet that it is on disk.

    Attributes:
        target: the queue that the message went to by it; "": none, or it is not certain.
    """

    position: int
    op: int
    fate: Fate
    version: int
    queue: str
    attempts: int
    target: str = ""


class Board:
    """Everything so far.

    Attributes:
        problems: the broken promises.
        fates, by_id: the messages by body and by id.
        under: operations under way, by number.
        whole: what must happen together, by operation.
        ends_ns: when leases run out, by token.
        waiting: by queue and id, what certainly waits in its place in the order.
        iterators, takers: how many there are, by queue.
        cut_off: in how many lives takers were cut off, by queue.
        settled: settlements not known to be on disk.
        found: bodies that the last look found, by queue.
        position, life: of this event; born: the event at which this life began.
        now_ns, last_ns, before_ns: the time of this event, and the two before it that were not
            the same.
    """

    def __init__(self, policies: Policies) -> None:
        self.policies = policies
        self.problems: list[str] = []
        self.fates: dict[str, Fate] = {}
        self.by_id: dict[str, Fate] = {}
        self.under: dict[int, Under] = {}
        self.whole: dict[int, Whole] = {}
        self.ends_ns: dict[int, int] = {}
        self.waiting: dict[str, dict[str, Fate]] = {}
        self.iterators: dict[str, int] = {}
        self.takers: dict[str, int] = {}
        self.cut_off: dict[str, int] = {}
        self.settled: list[Soft] = []
        self.found: dict[str, set[str]] = {}
        self.newest_id = ""
        self.now_ns = self.last_ns = self.before_ns = 0
        self.position = 0
        self.life = 0
        self.born = 0

    def say(self, text: str) -> None:
        """A promise was broken at this event."""
        self.problems.append(f"event {self.position}: {text}")

    def tick(self, at_ns: int | None) -> None:
        """The next event, at this time."""
        self.position += 1
        if at_ns is not None and at_ns != self.now_ns:
            self.before_ns, self.last_ns, self.now_ns = self.last_ns, self.now_ns, at_ns

    def start(self, event: Started) -> Under:
        """An operation is under way."""
        started = self.under[event.op] = Under(event, self.position, self.life)
        return started

    def new(self, queue: str, body: str, op: int, due_ns: int | None) -> Fate:
        """A message is on its way into a queue."""
        if body in self.fates:
            self.say(f"the history is wrong: body {body!r} was put before")
        fate = Fate(body, queue, op, due_ns=due_ns)
        fate.where = {queue: (1, 1)}
        fate.arrived = {queue: (self.position, NEVER)}
        # Ids grow: what is put now has a place behind all that was acknowledged before.
        fate.id = ">" + self.newest_id
        self.fates[body] = fate
        if self.policies.drops(queue):
            fate.fleeting = True
            fate.may_be_gone(0)
        self.arrives(queue, fate)
        return fate

    def put_again(self, body: str) -> bool:
        """A body is put once more under its dedup id; False if it was not put before."""
        fate = self.fates.get(body)
        if fate is None:
            return False
        fate.puts += 1
        if fate.put == "failed":
            fate.put = "open"
        return True

    def named(self, fate: Fate, message_id: str) -> None:
        """The message has this id."""
        if fate.id == message_id:
            return
        if not fate.id.startswith(">"):
            self.say(f"{fate.body!r} has two ids: {fate.id} and {message_id}")
        elif message_id <= fate.id[1:]:
            self.say(f"{fate.body!r} has id {message_id}, but one put before it has {fate.id[1:]}")
        other = self.by_id.get(message_id)
        if other is not None and other is not fate:
            self.say(f"{fate.body!r} and {other.body!r} have the same id {message_id}")
        fate.id = message_id
        self.by_id[message_id] = fate
        self.newest_id = max(self.newest_id, message_id)

    def waits(self, queue: str, fate: Fate) -> None:
        """The message waits here for certain, if nothing is going on that might take it away."""
        if not fate.id.startswith(">") and not fate.fleeting and not any(self._acting_on(queue)):
            self.waiting.setdefault(queue, {})[fate.id] = fate

    def _acting_on(self, queue: str) -> Iterator[Under]:
        """Calls under way that may go on to find what arrives in the queue."""
        for started in self.under.values():
            event = started.event
            if isinstance(event, SETS) and event.queue == queue and started.life == self.life:
                yield started

    def arrives(self, queue: str, fate: Fate) -> None:
        """The message may wait here from now on: what acts on many just now may find it."""
        for started in self._acting_on(queue):
            fate.acted_at = self.position
            match started.event:
                case DelayStarted():
                    fate.due_ns = None
                case MoveStarted() as event:
                    fate.targets.add(event.target)
                    fate.may_be_in({event.target: (1, 1)}, self.position)
                case RedriveStarted() if queue != fate.home:
                    for origin in self.policies.origins(fate, queue):
                        fate.may_be_in({origin: (1, 1)}, self.position)
                case PurgeStarted() as event:
                    fate.may_be_gone(event.op)

    def waits_not(self, fate: Fate) -> None:
        """It does not, or nobody can be certain."""
        for waiting in self.waiting.values():
            waiting.pop(fate.id, None)

    def moved(self, fate: Fate, queue: str, arrived: Span) -> None:
        """The message went to another queue, for certain, between these two events."""
        self.waits_not(fate)
        fate.native = False
        fate.where = {queue: (1, 1)}
        fate.arrived = {queue: arrived}
        fate.changed = self.position
        self.arrives(queue, fate)

    def sighted(self, queue: str, body: str, message_id: str) -> Fate | None:
        """A message was seen in a queue; None if there is no such message."""
        fate = self.fates.get(body)
        if fate is None:
            self.say(f"unexpected: {body!r} is in queue {queue!r}, but was never put")
            return None
        self.named(fate, message_id)
        if fate.put == "failed":
            self.say(f"{body!r} is in queue {queue!r}, but its put failed")
        if fate.gone in ("yes", "for ever"):
            self.say(f"{body!r} came back to queue {queue!r} after it was settled")
        if fate.fleeting and queue not in fate.where and queue in self.policies.graves(fate):
            # Those that took from there and were cut off may have had it, and nobody saw.
            fate.where = {queue: (1, 1 + self.cut_off.get(queue, 0))}
            fate.native = False
            fate.fleeting = False
            fate.due_ns = 0
        if queue not in fate.where and not (fate.held and queue == fate.queue):
            places = ", ".join(sorted(fate.where)) or "none"
            self.say(f"{body!r} is in queue {queue!r}; it can only be in: {places}")
        since, until = fate.arrival(queue)
        fate.arrived = {queue: (since, min(until, self.position))}
        fate.changed = self.position
        for op in fate.acking:
            self.whole[op].came_back.append(body)
        fate.was_seen()
        return fate


def after(at_ns: int | None, delay_s: float | None) -> int | None:
    """When a delay is over: 0 for none, None if nobody can tell."""
    if not delay_s:
        return 0
    return None if at_ns is None else at_ns + int(delay_s * NANOSECONDS)
