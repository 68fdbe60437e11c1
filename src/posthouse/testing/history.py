"""A run written down: every operation with its outcome, every delivery, every restart.

The laboratory's tools write one while they run, and ask it at the end whether a promise was
broken. Bodies are unique strings and identify the messages.

An operation is *done*, *failed* (then it had no effect) or *unknown*; one that never ended is
unknown too. `History.to_text` is the run as JSON lines, one event a line, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import msgspec

from posthouse.errors import BadArgument
from posthouse.testing.judging.judge import Judge
from posthouse.testing.judging.policies import Order, Policies
from posthouse.testing.trace import (
    Bindings,
    BindStarted,
    DelayStarted,
    Delivered,
    Ended,
    Event,
    Iterating,
    MoveStarted,
    Outcome,
    PurgeStarted,
    PutStarted,
    RedriveStarted,
    Remaining,
    Restarted,
    SettleStarted,
    Started,
    Taking,
    TransactionStarted,
    Verb,
    operation_of,
)

__all__ = ["History", "Operation"]

Settle: TypeAlias = "tuple[Verb, str, str, int]"


class Operation:
    """A call under way. End it once; never ended, it was cut off and its outcome is unknown.

    Attributes:
        outcome: how it ended; "unknown" also while it has not.
    """

    __slots__ = ("_history", "ended", "number", "outcome")

    def __init__(self, history: History, number: int) -> None:
        self._history = history
        self.number = number
        self.ended = False
        self.outcome: Outcome = "unknown"

    def done(self, ids: Sequence[str] | None = None) -> None:
        """The call returned; ``ids`` are those of its puts, in order, where they are known."""
        self._end("done", "", [] if ids is None else list(ids))

    def failed(self, why: object) -> None:
        """The call raised, and so had no effect; an exception's type is kept."""
        self._end("failed", type(why).__name__ if isinstance(why, BaseException) else str(why), [])

    def unknown(self, why: object) -> None:
        """Nobody knows whether the call took effect."""
        self._end("unknown", repr(why) if isinstance(why, BaseException) else str(why), [])

    def _end(self, outcome: Outcome, why: str, ids: list[str]) -> None:
        if self.ended:
            raise BadArgument(f"operation {self.number} of the history has ended already")
        self.ended = True
        self.outcome = outcome
        self._history.add(Ended(op=self.number, outcome=outcome, why=why, ids=ids))


class History:
    """One run, event by event.

    ``now_ns``, where given, dates every event: then delays and leases are checked too. It must be
    the engine's own clock.

    Attributes:
        events: what happened, in order.
    """

    def __init__(
        self, now_ns: Callable[[], int] | None = None, *, events: Sequence[Event] = ()
    ) -> None:
        self.events = list(events)
        self._now_ns = now_ns
        self._operations = max(map(operation_of, events), default=0)

    def add(self, event: Event) -> None:
        """Write down one event, dated."""
        if self._now_ns is not None:
            event.at_ns = self._now_ns()
        self.events.append(event)

    def _start(self, event: Started) -> Any:
        self._operations += 1
        event.op = self._operations
        self.add(event)
        return Operation(self, event.op)

    def put_started(
        self,
        queue: str,
        bodies: Sequence[str],
        delay_s: float | None = None,
        *,
        key: str | None = None,
        ttl_s: float | None = None,
        again: bool = False,
        priority: int = 0,
    ) -> Operation:
        """Messages are put, all together, to be seen after ``delay_s`` seconds.

        ``key`` is their ordering key, where the queue delivers one message of a key at a time;
        ``priority`` theirs, where its order is by that;
        ``ttl_s`` how long they may wait, in seconds, before they are dropped or dead-lettered;
        ``again`` allows for bodies that were put before, under the same dedup id: they must be
        stored once.
        """
        operation: Operation = self._start(
            PutStarted(
                queue,
                list(bodies),
                delay_s=delay_s,
                key=key,
                ttl_s=ttl_s,
                again=again,
                priority=priority,
            )
        )
        return operation

    def delivered(
        self,
        queue: str,
        message_id: str,
        body: str,
        token: int,
        attempts: int,
        lease_s: float | None = None,
        since_ns: int | None = None,
    ) -> None:
        """A message was handed out; ``lease_s`` is the lease's length, where it is known.

        ``since_ns``: the engine's clock showed at least this when it did that, if it may have
        been read before (it is read once a turn); rates are judged by it.

        Call it in the same step in which the message came, without an await between.
        """
        self.add(Delivered(queue, message_id, body, token, attempts, lease_s, since_ns))

    def settle_started(
        self,
        verb: Verb,
        queue: str,
        message_id: str,
        token: int,
        durable: bool = False,
        delay_s: float | None = None,
    ) -> Operation:
        """A delivery is settled, or extended.

        ``delay_s`` is a nack's delay (None: the queue's backoff) or an extension's new length.
        """
        operation: Operation = self._start(
            SettleStarted(verb, queue, message_id, token, durable, delay_s)
        )
        return operation

    def transaction_started(
        self,
        settles: Sequence[Settle],
        puts: Sequence[tuple[str, str]],
        *,
        again: bool = False,
    ) -> Operation:
        """Settlements (verb, queue, id, token) and puts (queue, body), all or none, commit.

        ``again`` as in `put_started`: for what is published a second time.
        """
        operation: Operation = self._start(
            TransactionStarted(list(settles), list(puts), again=again)
        )
        return operation

    def purged_started(self, queue: str) -> Operation:
        """A queue is purged. Where a filter says what is deleted, end it as unknown."""
        operation: Operation = self._start(PurgeStarted(queue))
        return operation

    def redrive_started(self, queue: str) -> Operation:
        """Dead letters of a queue are put back where they died.

        It is done when all have been that waited there; of some, or of those that a filter finds,
        nobody knows which they were: end it as unknown.
        """
        operation: Operation = self._start(RedriveStarted(queue))
        return operation

    def move_started(self, queue: str, target: str) -> Operation:
        """What a filter finds in a queue is moved to another."""
        operation: Operation = self._start(MoveStarted(queue, target))
        return operation

    def delay_started(self, queue: str) -> Operation:
        """What a filter finds in a queue is given another time."""
        operation: Operation = self._start(DelayStarted(queue))
        return operation

    def bind_started(self, topic: str, queue: str, pattern: str, bound: bool = True) -> Operation:
        """A queue is bound to a topic, or (``bound`` False) is to be no more.

        A publish is written down as a transaction that puts a body of its own, by the history's
        name for it, to each queue that it should go to.
        """
        operation: Operation = self._start(BindStarted(topic, queue, pattern, bound))
        return operation

    def bindings(self, topic: str, found: Sequence[tuple[str, str]]) -> None:
        """A look at a topic found these bindings, and no others: (queue, pattern)."""
        self.add(Bindings(topic, list(found)))

    def iterating(self, queue: str, change: Literal[1, -1]) -> None:
        """An iterator was made (1), or closed (-1), that may set messages of the queue aside."""
        self.add(Iterating(queue, change))

    def taking(self, queue: str, change: Literal[1, -1]) -> None:
        """A call that takes from the queue begins (1), or has ended and been told (-1).

        Needed only where such a call may be cut off, by a kill or a failing disk: a delivery may
        then have been counted that nobody saw.
        """
        self.add(Taking(queue, change))

    def restarted(self, kind: Literal["crash", "kill", "close"]) -> None:
        """This life of the broker is over, and so is every delivery in it.

        ``"crash"``: the machine lost what was not synced; ``"kill"``: only the process ended;
        ``"close"``: `Broker.close` returned. An operation still under way was cut off.
        """
        self.add(Restarted(kind))

    def remaining(self, queue: str, messages: Sequence[tuple[str, str, int]]) -> None:
        """What a final look found in a queue, in whatever state: (id, body, attempts)."""
        self.add(Remaining(queue, list(messages)))

    def problems(
        self,
        *,
        max_attempts: Mapping[str, int] | None = None,
        dead: Mapping[str, str | None] | None = None,
        drops: Collection[str] = (),
        max_in_flight: Mapping[str, int] | None = None,
        max_in_flight_per_key: Mapping[str, int | None] | None = None,
        rate: Mapping[str, str] | None = None,
        rate_per_key: Mapping[str, str] | None = None,
        order: Mapping[str, Order] | None = None,
        leases_last: bool = False,
    ) -> list[str]:
        """Every broken promise, as a sentence; none if all were kept.

        ``max_attempts`` and ``dead`` are the queues' policies: by name, the limit (5 where not
        given) and the dead-letter queue (``<queue>.dead`` where not given; None: dropped);
        ``drops`` names those that may drop what waits, to make room or because it is too old;
        ``max_in_flight`` says how many of a queue may be held at once, where that is limited, and
        ``max_in_flight_per_key`` how many of a key, where that is not 1 (None: any number);
        ``rate`` and ``rate_per_key`` how many are delivered in which time (``"5/s"``);
        ``order`` in which order it delivers, where that is not ``"fifo"``: ``"lifo"``,
        ``"priority"``, ``"fair"`` (within each key, and keys take turns), ``"keys"`` (only within
        each key) or ``"none"`` (not looked at);
        ``leases_last``: every lease is longer than the life in which it was given, so what is
        held needs no time to be known.

        Raises:
            BadArgument: a rate is none.
        """
        policies = Policies(
            max_attempts=max_attempts or {},
            dead=dead or {},
            drops=drops,
            max_in_flight=max_in_flight or {},
            max_in_flight_per_key=max_in_flight_per_key or {},
            rate=rate or {},
            rate_per_key=rate_per_key or {},
            order=order or {},
            leases_last=leases_last,
        )
        judge = Judge(policies)
        for event in self.events:
            judge.see(event)
        return judge.verdict()

    def to_text(self) -> str:
        """The run as JSON lines."""
        return "".join(msgspec.json.encode(event).decode() + "\n" for event in self.events)

    @classmethod
    def from_text(cls, text: str) -> History:
        """The run that `to_text` wrote.

        Raises:
            BadArgument: a line is not an event.
        """
        decoder = msgspec.json.Decoder(Event)
        events: list[Event] = []
        for number, line in enumerate(text.splitlines(), 1):
            try:
                events.append(decoder.decode(line))
            except msgspec.DecodeError as error:
                raise BadArgument(f"line {number} is no event of a history: {error}") from error
        return cls(events=events)
