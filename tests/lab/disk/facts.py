"""What the program knew at a moment of its run: the least and the most that a crash may leave.

Read from the run's history, whose events carry how far the disk was when they happened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from posthouse.testing.history import History
from posthouse.testing.simdisk import SimDisk
from posthouse.testing.trace import (
    BindStarted,
    DelayStarted,
    Delivered,
    Ended,
    Event,
    MoveStarted,
    PurgeStarted,
    PutStarted,
    RedriveStarted,
    SettleStarted,
    Started,
    TransactionStarted,
)

NEVER = 1 << 60


class StampedHistory(History):
    """A history that knows, for each event, how many disk operations came before it."""

    def __init__(
        self, disk: SimDisk, now_ns: Callable[[], int], earlier: Sequence[Event] = ()
    ) -> None:
        super().__init__(now_ns, events=earlier)
        self._disk = disk
        self.stamps = [-1] * len(earlier)

    def add(self, event: Event) -> None:
        super().add(event)
        self.stamps.append(self._disk.count)

    def until(self, stamp: int) -> History:
        """The history as it was at a moment of the disk."""
        return History(events=[event for event, at in zip(self.events, self.stamps) if at <= stamp])


@dataclass
class Held:
    """The newest delivery of a message. ``given_back``: it may not count.

    ``moved``: it may have begun anew since, in this queue or another.
    """

    queue: str
    attempts: int
    given_back: bool = False
    moved: bool = False


@dataclass
class Facts:
    """What is known up to some event.

    Attributes:
        drops: queues that drop what failed so often.
        loses: queues that drop what waits: to make room, or when it is too old.
        attempted: bodies whose put began, to the queue it was for.
        stored: bodies whose put was acknowledged, or that somebody saw.
        leaving: body -> operations under way, or done, that take it away.
        gone: bodies whose removal is durable.
        held: body -> its newest delivery.
        most: (body, queue) -> its highest attempt there.
        wholes: operation -> (bodies put, bodies acked) of a batch or transaction.
        arriving: (body, queue) -> attempt that is being written while the program waits for it.
        bindings: (topic, queue, pattern) -> whether it may be there, whether it may not.
        closing: the broker is being closed: what is held is given back.
    """

    drops: dict[str, int] = field(default_factory=dict)
    loses: frozenset[str] = frozenset()
    attempted: dict[str, str] = field(default_factory=dict)
    stored: set[str] = field(default_factory=set)
    leaving: dict[str, set[int]] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    held: dict[str, Held] = field(default_factory=dict)
    most: dict[tuple[str, str], int] = field(default_factory=dict)
    wholes: dict[int, tuple[list[str], list[str]]] = field(default_factory=dict)
    arriving: dict[tuple[str, str], int] = field(default_factory=dict)
    bindings: dict[tuple[str, str, str], set[bool]] = field(default_factory=dict)
    closing: bool = False
    _soft: list[tuple[int, str]] = field(default_factory=list)
    _open: dict[int, tuple[int, Started]] = field(default_factory=dict)
    _bodies: dict[str, str] = field(default_factory=dict)
    _position: int = 0

    def see(self, event: Event) -> None:
        """The next event."""
        self._position += 1
        match event:
            case PutStarted():
                self._open[event.op] = (self._position, event)
                self._putting([(event.queue, body) for body in event.bodies], event.again)
                if event.ttl_s is not None and event.queue in self.drops:
                    for body in event.bodies:
                        self.leaving.setdefault(body, set()).add(0)
                self.wholes[event.op] = (event.bodies, [])
            case SettleStarted():
                self._open[event.op] = (self._position, event)
                self._settling(event.op, event.verb, event.id)
            case TransactionStarted():
                self._open[event.op] = (self._position, event)
                self._putting(event.puts, event.again)
                acked = []
                for verb, _, message_id, _ in event.settles:
                    self._settling(event.op, verb, message_id)
                    if verb == "ack":
                        acked.append(self._bodies[message_id])
                puts = [] if event.again else [body for _, body in event.puts]
                self.wholes[event.op] = (puts, acked)
            case PurgeStarted():
                self._open[event.op] = (self._position, event)
                for body, queue in self.attempted.items():
                    # In its dead-letter queue, or where it was moved to: see the queues' names.
                    if event.queue.partition(".")[0] == queue.partition(".")[0]:
                        self.leaving.setdefault(body, set()).add(event.op)
            case RedriveStarted() | MoveStarted():
                self._open[event.op] = (self._position, event)
                self._moving(event.queue)
            case DelayStarted():
                self._open[event.op] = (self._position, event)
            case BindStarted():
                self._open[event.op] = (self._position, event)
                name = (event.topic, event.queue, event.pattern)
                self.bindings.setdefault(name, {False}).add(event.bound)
            case Ended():
                self._ended(event)
            case Delivered():
                self._delivered(event)
            case _:
                pass

    def _putting(self, puts: Sequence[tuple[str, str]], again: bool) -> None:
        for queue, body in puts:
            # Of what was put first in a life before this one, the end may not be known here.
            old = again and body not in self.attempted
            self.attempted[body] = queue
            if old or queue in self.loses:
                self.leaving.setdefault(body, set()).add(0)

    def _moving(self, queue: str) -> None:
        for held in self.held.values():
            if held.queue == queue or held.queue + ".dead" == queue:
                held.moved = True

    def _settling(self, op: int, verb: str, message_id: str) -> None:
        body = self._bodies[message_id]
        held = self.held[body]
        if verb == "ack" or (verb == "reject" and held.queue in self.drops):
            self.leaving.setdefault(body, set()).add(op)
        elif verb == "give_back":
            held.given_back = True

    def _delivered(self, event: Delivered) -> None:
        body = event.body
        self._bodies[event.id] = body
        self.stored.add(body)
        self.held[body] = Held(event.queue, event.attempts)
        key = (body, event.queue)
        self.most[key] = max(self.most.get(key, 0), event.attempts)
        if event.attempts >= self.drops.get(event.queue, NEVER):
            # When this lease ends without an ack the message is dropped.
            self.leaving.setdefault(body, set()).add(0)

    def _ended(self, end: Ended) -> None:
        position, started = self._open.pop(end.op)
        if end.outcome == "failed":
            for ops in self.leaving.values():
                ops.discard(end.op)
            self.wholes.pop(end.op, None)
            return
        if end.outcome == "unknown":
            return
        match started:
            case PutStarted():
                self.stored.update(started.bodies)
                self._firm(position)
            case SettleStarted() if started.verb == "ack":
                self._soft.append((position, self._bodies[started.id]))
                if started.durable:
                    self._firm(position + 1)
            case TransactionStarted():
                self.stored.update(body for _, body in started.puts)
                self.gone.update(self.wholes[end.op][1])
                self._firm(position)
            case BindStarted():
                # One at a time: see the program.
                self.bindings[started.topic, started.queue, started.pattern] = {started.bound}
            case _:
                pass

    def _firm(self, position: int) -> None:
        """What was accepted before an operation that is durable is durable too."""
        self.gone.update(body for at, body in self._soft if at < position)
        self._soft = [(at, body) for at, body in self._soft if at >= position]

    def may_leave(self, body: str) -> bool:
        """Whether something may have taken the message away."""
        if self.leaving.get(body):
            return True
        return any(
            self.arriving.get((body, queue), 0) >= limit for queue, limit in self.drops.items()
        )

    def most_attempts(self, body: str, queue: str) -> int:
        """Its highest attempt there, the one that is being written included."""
        key = (body, queue)
        return max(self.most.get(key, 0), self.arriving.get(key, 0))


class Reader:
    """Facts of a stamped history, moment by moment."""

    def __init__(self, history: StampedHistory, facts: Facts, closing: int = NEVER) -> None:
        self.facts = facts
        self._history = history
        self._at = 0
        self._closing = closing

    def advance(self, stamp: int) -> Facts:
        """The facts when so many disk operations were complete."""
        events, stamps = self._history.events, self._history.stamps
        while self._at < len(events) and stamps[self._at] <= stamp:
            self.facts.see(events[self._at])
            self._at += 1
        self.facts.closing = stamp >= self._closing
        self.facts.arriving.clear()
        for at in range(self._at, len(events)):
            if stamps[at] > stamp + 1:
                break
            event = events[at]
            if isinstance(event, Delivered):
                self.facts.arriving[event.body, event.queue] = event.attempts
        return self.facts
