"""Rows of the database as values: queues and messages."""

from __future__ import annotations

from operator import attrgetter
from typing import Any, Final

import msgspec

from posthouse.backends.sqlite.schema import COUNTS, TALLIES
from posthouse.bodies import decode_headers
from posthouse.core.limits import Pace
from posthouse.model import (
    DEFAULT_MAX_BYTES_LOG,
    FOREVER_NS,
    NANOSECONDS,
    QueuePolicy,
)
from posthouse.records import Entry, Traits

NUMBERS: Final = COUNTS + TALLIES
numbers_of: Final = attrgetter(*NUMBERS)
tallies_of: Final = attrgetter(*TALLIES)


class QueueRow:
    """A queue as this process last saw it; exact inside a transaction that asked `Books` for it.

    Attributes:
        fresh: the generation of `Books` that the numbers are of.
        dirty: they have to be written.
        stirred: something changed that somebody may wait for.
        arrived: the messages that became free to take since; None: too many to tell.
        retry_ns: when the rate lets a take go on that it refused.
        opened_with: the tallies when the broker was opened.
    """

    live: int
    size_bytes: int
    held: int
    delayed: int
    rate_next_ns: int
    dedups: int
    put: int
    acked: int
    returned: int
    expired_leases: int
    dead_lettered: int
    dropped: int
    purged: int
    expired: int
    deduplicated: int

    def __init__(self, number: int, name: str, policy: QueuePolicy) -> None:
        self.number = number
        self.name = name
        self.fresh = -1
        self.dirty = self.stirred = False
        self.arrived: list[int] | None = []
        self.retry_ns = FOREVER_NS
        self.opened_with: tuple[int, ...] = (0,) * len(TALLIES)
        self.load((0,) * len(NUMBERS))
        self.set_policy(policy)

    def load(self, numbers: tuple[int, ...]) -> None:
        """Take the numbers of the row."""
        for name, value in zip(NUMBERS, numbers, strict=True):
            setattr(self, name, value)

    def set_policy(self, policy: QueuePolicy) -> None:
        """Take a policy."""
        self.policy = policy
        self.timeout_ns = int(policy.visibility_timeout_s * NANOSECONDS)
        self.ttl_ns = 0 if policy.ttl_s is None else int(policy.ttl_s * NANOSECONDS)
        self.max_messages = FOREVER_NS if policy.max_messages is None else policy.max_messages
        self.max_bytes = DEFAULT_MAX_BYTES_LOG if policy.max_bytes is None else policy.max_bytes
        self.rate = None if policy.rate is None else Pace(policy.rate)
        self.key_rate = None if policy.rate_per_key is None else Pace(policy.rate_per_key)
        self.limited = (
            policy.max_messages is not None
            or policy.max_bytes is not None
            or policy.max_in_flight is not None
        )

    @property
    def waiting(self) -> int:
        """Messages that stand or are lined up."""
        return self.live - self.held - self.delayed

    def fits(self, count: int, size: int) -> bool:
        """Whether so much has room now."""
        return self.live + count <= self.max_messages and self.size_bytes + size <= self.max_bytes

    def could_fit(self, count: int, size: int) -> bool:
        """Whether so much would have room in the empty queue."""
        return count <= self.max_messages and size <= self.max_bytes

    def tallies(self) -> dict[str, int]:
        """What was done since the broker was opened."""
        now = tallies_of(self)
        return {
            name: value - before
            for name, value, before in zip(TALLIES, now, self.opened_with, strict=True)
        }


class MessageRow(msgspec.Struct, frozen=True):
    """A row of ``message``; see the schema."""

    id: int
    state: int
    rank: int
    attempts: int
    due_ns: int
    expires_ns: int
    priority: int
    size: int
    line: str | None
    key: str


MESSAGE: Final = "id, state, rank, attempts, due_ns, expires_ns, priority, size, line, key"
"""The columns of a `MessageRow`."""

DELIVERY: Final = (
    "m.id, c.kind, c.body, c.headers, c.death, m.rank, m.key, m.priority, m.expires_ns,"
    " m.attempts, m.size, m.line"
)
"""The columns of what is handed out: see `entry_of`."""


def entry_of(row: Any) -> Entry:
    """The message of a row of `DELIVERY`."""
    number, kind, body, headers, death, rank, key, priority, expires_ns = row[:9]
    if rank == number and not (death or key or priority or expires_ns):
        return number, kind, body, headers or b"", None
    traits = Traits(
        rank=0 if rank == number else rank,
        death=death or b"",
        key=key,
        priority=priority,
        expires_ns=expires_ns,
    )
    return number, kind, body, headers or b"", traits


def shown(headers: bytes | None, death: bytes | None) -> str | None:
    """The headers as filters see them: JSON, a dead letter's own laid over the message's."""
    if not headers and not death:
        return None
    merged = decode_headers(headers or b"") | decode_headers(death or b"")
    return msgspec.json.encode(merged).decode()


def write_policy(policy: QueuePolicy) -> str:
    """A policy as text."""
    return msgspec.json.encode(policy).decode()


def read_policy(text: str) -> QueuePolicy:
    """The policy of a text."""
    return msgspec.json.decode(text, type=QueuePolicy)
