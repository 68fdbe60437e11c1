"""What the journal keeps: one record for each thing that happened to a queue.

The core's verbs decide and return these; recovery applies the same ones in the same order. The
journal writes and reads them without knowing what they mean to a queue.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import msgspec

from posthouse.model import QueuePolicy


class Traits(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """What only some messages have; a plain message has ``None`` instead.

    Attributes:
        due_ns: not delivered before this time (a delay); 0 for none.
        rank: its place in its queue's order; 0 means its id. A message that moved to another
            queue has a new rank there and keeps its id.
        death: for a dead letter, headers laid over its own (msgpack map): where it came from,
            why, when, after how many attempts.
        key: its ordering key; "" for none.
        priority: 0 to 255, higher first, in a queue of that order.
        expires_ns: not delivered from this time on; 0 for never.
        dedup: its dedup id; "" for none.
    """

    due_ns: int = 0
    rank: int = 0
    death: bytes = b""
    key: str = ""
    priority: int = 0
    expires_ns: int = 0
    dedup: str = ""

    @property
    def notable(self) -> bool:
        """Whether something of it must be known while the message waits."""
        return bool(
            self.due_ns or self.rank or self.death or self.key or self.priority or self.expires_ns
        )


Entry: TypeAlias = "tuple[int, int, bytes, bytes, Traits | None]"
"""A stored message: (id, kind, body, headers, traits).

``id`` is a positive 63-bit number, unique and growing within a broker (nanoseconds since the
epoch, made unique); ``kind`` one of ``model.KIND_*``, 0 to 255; ``headers`` a msgpack map or b"".
A plain tuple: it is made once for each message on the hottest path there is.
"""


class Publication(NamedTuple):
    """A message for every queue that is bound to ``topic`` for the routing key.

    ``unroutable``: it is fine if that is none. The rest: as of an entry.
    """

    topic: str
    key: str
    kind: int
    body: bytes
    headers: bytes
    traits: Traits | None
    unroutable: bool = False


@dataclass(slots=True)
class Opened:
    """A broker opened the log. ``epoch`` grows by one each time and leads every fencing token."""

    epoch: int
    at_ns: int


@dataclass(slots=True)
class Closed:
    """The log was closed cleanly: every byte before this one is on disk."""

    at_ns: int


@dataclass(slots=True)
class Declared:
    """A queue exists under a number, with a policy. A later one replaces the policy."""

    queue: int
    name: str
    policy: QueuePolicy


@dataclass(slots=True)
class Put:
    """Messages joined a queue. Their ids are consecutive.

    ``producer`` and ``sequence`` (of the first entry) name the put for an idempotent resend.
    ``carried``: they had joined before, and are written again because the segment with them is to
    leave; as they are now, but for attempts and due times, which a `Returned` behind them tells.
    """

    queue: int
    producer: int
    sequence: int
    entries: list[Entry]
    carried: bool = False


@dataclass(slots=True)
class Stored:
    """A `Put` or a `Copied` as recovery reads it: what it says of its messages, without them.

    Attributes:
        count: how many messages, with consecutive ids from ``first_id`` on.
        size_bytes: of their bodies and headers.
        traits: theirs, or None where none has any.
        sizes: bytes of the body and headers of each, where one has traits; else empty.
        offset: of the record in its frame's payload.
    """

    queue: int
    producer: int
    sequence: int
    first_id: int
    count: int
    size_bytes: int
    traits: list[Traits | None] | None
    offset: int
    carried: bool = False
    sizes: Sequence[int] = ()


@dataclass(slots=True)
class Settled:
    """Messages left for good: acked, purged or dropped."""

    queue: int
    ids: Sequence[int]


@dataclass(slots=True)
class Returned:
    """Messages went back to waiting: nack, or a lease that ran out.

    For each id its attempts so far and the time before which it is not delivered (0: at once).
    """

    queue: int
    ids: list[int]
    attempts: list[int]
    due_ns: list[int]


@dataclass(slots=True)
class Moved:
    """A message went to another queue, keeping its id; ``traits`` are its new ones."""

    queue: int
    target: int
    id: int
    traits: Traits


@dataclass(slots=True)
class Delivered:
    """Messages were handed out, each for the given time; kept in the attempts ring."""

    queue: int
    ids: list[int] = field(default_factory=list)
    attempts: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Copied:
    """A message joined a queue with the body, kind and headers of another of the same group.

    So a message published to many queues is stored once. ``of`` is the id of the one that has
    them, in a `Put` before this record; ``entry`` is whole here, and without them on disk.
    """

    queue: int
    producer: int
    sequence: int
    entry: Entry
    of: int


@dataclass(slots=True)
class Bound:
    """A queue was bound to a topic by a pattern, or (``bound`` False) is no more."""

    topic: str
    queue: int
    pattern: str
    bound: bool


@dataclass(slots=True)
class Remembered:
    """Dedup ids whose messages' records are about to leave the log, and those messages' ids."""

    queue: int
    dedups: list[str]
    ids: list[int]


@dataclass(slots=True)
class Accepted:
    """Puts of a producer outside whose records are about to leave the log.

    A row is for puts with consecutive sequences that were stored under consecutive ids: the first
    sequence, how many, the first id.
    """

    producer: int
    sequences: list[int]
    counts: list[int]
    ids: list[int]


LOG_RECORDS: Final = (Opened, Closed, Accepted)
"""Those that are of no queue."""

Record: TypeAlias = (
    "Opened | Closed | Declared | Put | Settled | Returned | Moved | Delivered"
    " | Copied | Bound | Remembered | Accepted"
)
