"""What a `posthouse.testing.history.History` is made of: its events, as they are written down."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

Verb: TypeAlias = Literal["ack", "nack", "reject", "give_back", "extend"]
Outcome: TypeAlias = Literal["done", "failed", "unknown"]
Life: TypeAlias = Literal["crash", "kill", "close"]


class PutStarted(msgspec.Struct, tag="put", tag_field="event", omit_defaults=True):
    """A put, or a batch of them, began."""

    queue: str
    bodies: list[str]
    op: int = 0
    delay_s: float | None = None
    key: str | None = None
    ttl_s: float | None = None
    again: bool = False
    priority: int = 0
    at_ns: int | None = None


class SettleStarted(msgspec.Struct, tag="settle", tag_field="event", omit_defaults=True):
    """A settlement, or an extension, of one delivery began."""

    verb: Verb
    queue: str
    id: str
    token: int
    durable: bool = False
    delay_s: float | None = None
    op: int = 0
    at_ns: int | None = None


class TransactionStarted(msgspec.Struct, tag="transaction", tag_field="event", omit_defaults=True):
    """A commit of (verb, queue, id, token) and (queue, body) began."""

    settles: list[tuple[Verb, str, str, int]]
    puts: list[tuple[str, str]]
    op: int = 0
    again: bool = False
    at_ns: int | None = None


class PurgeStarted(msgspec.Struct, tag="purge", tag_field="event", omit_defaults=True):
    """A purge began."""

    queue: str
    op: int = 0
    at_ns: int | None = None


class RedriveStarted(msgspec.Struct, tag="redrive", tag_field="event", omit_defaults=True):
    """Dead letters are being put back where they died."""

    queue: str
    op: int = 0
    at_ns: int | None = None


class MoveStarted(msgspec.Struct, tag="move", tag_field="event", omit_defaults=True):
    """Some of what waits in a queue is being moved to another: what a filter found."""

    queue: str
    target: str
    op: int = 0
    at_ns: int | None = None


class DelayStarted(msgspec.Struct, tag="delay", tag_field="event", omit_defaults=True):
    """Some of what waits in a queue is being given another time: what a filter found."""

    queue: str
    op: int = 0
    at_ns: int | None = None


class BindStarted(msgspec.Struct, tag="bind", tag_field="event", omit_defaults=True):
    """A binding is being made, or (``bound`` False) ended."""

    topic: str
    queue: str
    pattern: str
    bound: bool
    op: int = 0
    at_ns: int | None = None


class Ended(msgspec.Struct, tag="end", tag_field="event", omit_defaults=True):
    """An operation ended; ``why`` if it was not done, ``ids`` of what it put."""

    op: int
    outcome: Outcome
    why: str = ""
    ids: list[str] = []
    at_ns: int | None = None


class Delivered(msgspec.Struct, tag="delivered", tag_field="event", omit_defaults=True):
    """A message was handed out."""

    queue: str
    id: str
    body: str
    token: int
    attempts: int
    lease_s: float | None = None
    since_ns: int | None = None
    at_ns: int | None = None


class Iterating(msgspec.Struct, tag="iterating", tag_field="event", omit_defaults=True):
    """An iterator over a queue was made (1) or closed (-1)."""

    queue: str
    change: Literal[1, -1]
    at_ns: int | None = None


class Taking(msgspec.Struct, tag="taking", tag_field="event", omit_defaults=True):
    """A call that takes from a queue began (1) or ended (-1)."""

    queue: str
    change: Literal[1, -1]
    at_ns: int | None = None


class Restarted(msgspec.Struct, tag="restarted", tag_field="event", omit_defaults=True):
    """A life of the broker ended."""

    kind: Life
    at_ns: int | None = None


class Remaining(msgspec.Struct, tag="remaining", tag_field="event", omit_defaults=True):
    """All that a queue held: (id, body, attempts)."""

    queue: str
    messages: list[tuple[str, str, int]]
    at_ns: int | None = None


class Bindings(msgspec.Struct, tag="bindings", tag_field="event", omit_defaults=True):
    """All the bindings that a topic had: (queue, pattern)."""

    topic: str
    found: list[tuple[str, str]]
    at_ns: int | None = None


Started: TypeAlias = (
    PutStarted
    | SettleStarted
    | TransactionStarted
    | PurgeStarted
    | RedriveStarted
    | MoveStarted
    | DelayStarted
    | BindStarted
)
Event: TypeAlias = (
    Started | Ended | Delivered | Iterating | Taking | Restarted | Remaining | Bindings
)


def operation_of(event: Event) -> int:
    """The number of the operation that an event is about; 0 for none."""
    if isinstance(event, (Delivered, Iterating, Taking, Restarted, Remaining, Bindings)):
        return 0
    return event.op
