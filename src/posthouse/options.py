"""What a put may say about its message, and how that is kept."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TypedDict

from posthouse import bodies
from posthouse.errors import BadArgument
from posthouse.model import (
    KIND_MSGPACK,
    MAX_DEDUP_BYTES,
    MAX_DELAY_S,
    MAX_KEY_BYTES,
    MAX_PRIORITY,
    NANOSECONDS,
    check_seconds,
    check_text,
)
from posthouse.records import Traits


class PutOptions(TypedDict, total=False):
    """The options of `Queue.put`, `put_many`, `put_nowait` and `Transaction.put`.

    Attributes:
        headers: str to str, at most 64 KiB.
        delay: seconds before it may be delivered.
        at: the same as a time; a datetime with a time zone. One that is past: at once.
        key: its ordering key, at most 250 bytes: messages of one key are delivered one at a time
            and in order (see ``max_in_flight_per_key``), other keys in parallel.
        priority: 0 (default) to 255, higher first; needs a queue of order "priority".
        ttl: seconds that it may wait, before it is dropped or dead-lettered (see ``expired``).
        dedup: a dedup id, at most 250 bytes: within the queue's window a second put with it
            stores nothing and returns the first one's id.
    """

    headers: Mapping[str, str] | None
    delay: float | None
    at: datetime | None
    key: str | None
    priority: int
    ttl: float | None
    dedup: str | None


class PublishOptions(TypedDict, total=False):
    """The options of `Topic.publish`: as in `PutOptions`.

    A queue whose order is not by priority takes no notice of one.
    """

    headers: Mapping[str, str] | None
    delay: float | None
    at: datetime | None
    priority: int
    ttl: float | None
    dedup: str | None


_KNOWN = frozenset(PutOptions.__annotations__)


def encode(
    encoder: bodies.BodyEncoder, body: object, options: PutOptions | PublishOptions
) -> tuple[int, bytes]:
    """The body's kind and bytes; what its headers must tell of them is added to ``options``.

    Raises:
        BodyError, MessageTooLarge: as `posthouse.bodies.BodyEncoder`.
        BadArgument: the put's own headers say something else about the body.
    """
    kind, data = encoder.encode(body)
    if kind > KIND_MSGPACK:
        options["headers"] = encoder.label(kind, options.get("headers"))
    return kind, data


def pack(options: PutOptions, now_ns: int) -> tuple[bytes, Traits | None]:
    """The options as headers and traits.

    Raises:
        BadArgument: an option that is not known, or a value that is not allowed.
        MessageTooLarge: the headers are over their limit.
    """
    unknown = options.keys() - _KNOWN
    if unknown:
        raise BadArgument(f"a put has no option {min(unknown)!r}; it has: {sorted(_KNOWN)}")
    headers = bodies.encode_headers(options.get("headers"))
    if len(options) == 1 and "headers" in options:
        return headers, None
    traits = Traits(
        due_ns=_due_ns(options.get("delay"), options.get("at"), now_ns),
        key=_text("key", options.get("key"), MAX_KEY_BYTES),
        priority=_priority(options.get("priority", 0)),
        expires_ns=_expires_ns(options.get("ttl"), now_ns),
        dedup=_text("dedup", options.get("dedup"), MAX_DEDUP_BYTES),
    )
    return headers, None if traits == _PLAIN else traits


_PLAIN = Traits()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S = 24 * 3600


def _text(what: str, value: str | None, most_bytes: int) -> str:
    return "" if value is None else check_text(what, value, most_bytes)


def _due_ns(delay: float | None, at: datetime | None, now_ns: int) -> int:
    if at is not None:
        if delay is not None:
            raise BadArgument("give 'delay' or 'at', not both")
        if not isinstance(at, datetime):
            raise BadArgument(f"'at' is a datetime, not {type(at).__name__}")
        if at.tzinfo is None or at.utcoffset() is None:
            raise BadArgument(
                "'at' is a datetime with a time zone; a naive one could mean any of them"
            )
        # In whole numbers: a float of today's date is off by up to 200 nanoseconds.
        since = at - _EPOCH
        at_ns = (since.days * _DAY_S + since.seconds) * NANOSECONDS + since.microseconds * 1000
        if at_ns - now_ns > MAX_DELAY_S * NANOSECONDS:
            raise BadArgument(f"'at' is more than {MAX_DELAY_S:g} seconds ahead")
        return at_ns if at_ns > now_ns else 0
    if not delay:
        return 0 if delay is None else check_seconds("delay", delay)
    return now_ns + check_seconds("delay", delay)


def _priority(value: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_PRIORITY:
        raise BadArgument(f"priority is {value!r}; it must be from 0 to {MAX_PRIORITY}")
    return value


def _expires_ns(ttl: float | None, now_ns: int) -> int:
    return 0 if ttl is None else now_ns + check_seconds("ttl", ttl, least=0.001)
