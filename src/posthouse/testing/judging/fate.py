"""What a history allows to be true of one message at a point of it.

The judge moves this along, event by event. Where an outcome is not known, all that may be true
is kept: in which queues the message may be, which delivery would be its next one there, and
whether it may be gone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

Where: TypeAlias = "dict[str, tuple[int, int]]"
"""Queue -> which delivery the next one there is, at least and at most."""

Put: TypeAlias = Literal["open", "done", "failed", "unknown"]

NEVER: Final = 1 << 62

Span: TypeAlias = "tuple[int, int]"
"""Events of a history between which something happened: not before, and not after."""

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
        arrived: by queue, when it came there, if it is there; where nothing is said, nobody knows.
        key: its ordering key.
        priority: its priority, where its queue's order is by that.
        vague: its key and its priority are not certain: it was put again with others.
        targets: queues that it may have been moved to as one of a set that a filter found.
        puts: how often it was put, under one dedup id.
        fleeting: it may be dropped, or go to the dead-letter queue, while it waits.
        expires_ns: it must not be delivered for the first time after this; 0: whenever.
        acted_at: the event at which it may have been one of a set that a call acts on, last.
        acking: transactions that ack it and whose outcome is not known.
        changed: the event that changed it last.
        life: of its newest delivery.
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
    arrived: dict[str, Span] = field(default_factory=dict)
    acted_at: int = 0
    key: str | None = None
    priority: int = 0
    vague: bool = False
    targets: set[str] = field(default_factory=set)
    puts: int = 1
    fleeting: bool = False
    expires_ns: int = 0
    acking: list[int] = field(default_factory=list)
    changed: int = 0
    life: int = -1

    @property
    def stored(self) -> bool:
        """It is known to be stored: acknowledged to its producer, or seen."""
        return self.put == "done" or self.seen

    def arrival(self, queue: str) -> Span:
        """When it came to the queue, if it is there."""
        return self.arrived.get(queue, (0, NEVER))

    def may_be_in(self, where: Where, since: int | None = None) -> None:
        """It may be there as well: from of old, or as one that arrives after event ``since``."""
        for queue, (low, high) in where.items():
            if since is None:
                self.arrived.setdefault(queue, (0, NEVER))
            else:
                self.arrived[queue] = (self.arrived.get(queue, (since, 0))[0], NEVER)
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
