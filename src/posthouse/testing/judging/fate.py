"""What a history allows to be true of one message at a point of it.

The judge moves this along, event by event. Where an outcome is not known, all that may be true
is kept: in which queues the message may be, which delivery would be its next one there, and
whether it may be gone.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

Where: TypeAlias = "dict[str, tuple[int, int]]"
"""Queue -> which delivery the next one there is, at least and at most."""

Put: TypeAlias = Literal["open", "done", "failed", "unknown"]

Order: TypeAlias = Literal["fifo", "lifo", "priority", "keys", "none"]
"""Of a queue; ``keys``: only messages of one key are in order; ``none``: not looked at."""

Gone: TypeAlias = Literal["no", "maybe", "yes", "for ever"]
"""``yes``: settled, but not yet known to be on disk."""


@dataclass(slots=True)
class Fate:
    """One message.

    Attributes:
        body, home, put_op: what it is, where it was put, by which operation.
        put: how the put ended so far ("open" while it has not).
        seen: it was delivered or found: it is stored, whatever became of the put.
        where, gone: see `Where` and `Gone`.
        causes: the operations that may have made it go.
        token, queue, attempts: of its newest delivery; 0 before the first.
        held: that delivery was not settled yet and its process lives.
        settling: settlements of that delivery that began and did not fail.
        version: grows with each delivery.
        soft: deliveries (queue, attempts) whose settlements may be undone by a crash.
        due_ns: not before this time; 0: at once; None: nobody knows.
        native: it never changed queues, so its id is its place.
        key: its ordering key; None where keys do not matter.
        priority: its priority, where its queue's order is by that.
        targets: queues that it may have been moved to as one of a set that a filter found.
        puts: how often it was put, under one dedup id.
        fleeting: it may be dropped, or go to the dead-letter queue, while it waits.
        expires_ns: it must not be delivered for the first time after this; 0: whenever.
        redriven_at: the event at which it may have been redriven, or moved by a filter, last.
        acking: transactions that ack it and whose outcome is not known.
    """

    body: str
    home: str
    put_op: int
    id: str = ""
    put: Put = "open"
    seen: bool = False
    where: Where = field(default_factory=dict)
    gone: Gone = "no"
    causes: set[int] = field(default_factory=set)
    token: int = 0
    queue: str = ""
    attempts: int = 0
    held: bool = False
    settling: int = 0
    version: int = 0
    soft: list[tuple[str, int]] = field(default_factory=list)
    due_ns: int | None = 0
    native: bool = True
    redriven_at: int = 0
    key: str | None = None
    priority: int = 0
    targets: set[str] = field(default_factory=set)
    puts: int = 1
    fleeting: bool = False
    expires_ns: int = 0
    acking: list[int] = field(default_factory=list)

    @property
    def stored(self) -> bool:
        """It is known to be stored: acknowledged to its producer, or seen."""
        return self.put == "done" or self.seen

    def may_be_in(self, where: Where) -> None:
        """It may be there as well."""
        for queue, (low, high) in where.items():
            mine = self.where.get(queue)
            if mine is not None:
                low, high = min(low, mine[0]), max(high, mine[1])
            self.where[queue] = (low, high)

    def may_be_gone(self, cause: int) -> None:
        """An operation may have made it go."""
        self.causes.add(cause)
        if self.gone == "no":
            self.gone = "maybe"

    def was_seen(self) -> None:
        """It is there: what may have made it go did not."""
        self.seen = True
        self.gone = "no"
        self.causes.clear()
        if self.fleeting:
            self.may_be_gone(0)


class Policies:
    """Limits and dead-letter queues by queue name. See `History.problems`."""

    def __init__(
        self,
        max_attempts: Mapping[str, int],
        dead: Mapping[str, str | None],
        drops: Collection[str],
        max_in_flight: Mapping[str, int],
        order: Mapping[str, Order],
    ) -> None:
        self._max_attempts = dict(max_attempts)
        self._dead = dict(dead)
        self._drops = frozenset(drops)
        self._max_in_flight = dict(max_in_flight)
        self._order = dict(order)
        for target in dead.values():
            if target is not None:
                # A dead-letter queue that nobody declared is its own.
                self._dead.setdefault(target, target)

    def most(self, queue: str) -> int:
        """How often a message of the queue is delivered at most."""
        return self._max_attempts.get(queue, 5)

    def max_in_flight(self, queue: str) -> int | None:
        """How many of the queue may be held at once; None: any number."""
        return self._max_in_flight.get(queue)

    def order(self, queue: str) -> Order:
        """In which order the queue delivers."""
        return self._order.get(queue, "fifo")

    def origins(self, fate: Fate, queue: str) -> set[str]:
        """Where a redrive of dead letters of ``queue`` may put the message."""
        return {fate.home} | {name for name in fate.targets if self.dead(name) == queue}

    def graves(self, fate: Fate) -> set[str | None]:
        """Dead-letter queues that it may be in when it waited too long."""
        return {self.dead(name) for name in {fate.home, *fate.targets}}

    def drops(self, queue: str) -> bool:
        """Whether the queue may drop what waits."""
        return queue in self._drops

    def dead(self, queue: str) -> str | None:
        """The queue's dead-letter queue; itself: what fails stays."""
        if queue in self._dead:
            return self._dead[queue]
        return queue if queue.endswith(".dead") else queue + ".dead"

    def buried(self, queue: str, attempts: int) -> Where:
        """Where a message is that goes to the dead-letter queue; nowhere: dropped."""
        target = self.dead(queue)
        if target is None:
            return {}
        if target == queue:
            return {queue: (attempts + 1, attempts + 1)}
        return {target: (1, 1)}

    def failed(self, queue: str, attempts: int) -> Where:
        """Where a message is when its delivery number ``attempts`` failed."""
        if attempts >= self.most(queue):
            return self.buried(queue, attempts)
        return {queue: (attempts + 1, attempts + 1)}
