"""Frozen values that every layer shares: policies, limits, capabilities, names.

Nothing here does I/O, reads a clock or draws a random number.
"""

from __future__ import annotations

import re
from typing import Final, Literal

import msgspec

from posthouse.errors import BadArgument, InvalidName

NANOSECONDS: Final = 1_000_000_000
FOREVER_NS: Final = 1 << 63

# The content kinds that travel as one number; anything else names itself in the headers:
# NAMED in "content-type", and what is COMPRESSED (added to any kind) in "content-encoding".
KIND_JSON: Final = 0
KIND_TEXT: Final = 1
KIND_BYTES: Final = 2
KIND_MSGPACK: Final = 3
KIND_COMPRESSED: Final = 4
KIND_NAMED: Final = 8
KIND_NAMES: Final[dict[int, str]] = {
    KIND_JSON: "application/json",
    KIND_TEXT: "text/plain; charset=utf-8",
    KIND_BYTES: "application/octet-stream",
    KIND_MSGPACK: "application/msgpack",
}

MAX_NAME_BYTES: Final = 200
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
MAX_HEADERS_BYTES: Final = 64 * 1024
MAX_BATCH_MESSAGES: Final = 100_000
MAX_BATCH_BYTES: Final = 64 * 1024 * 1024
MAX_DELAY_S: Final = 366 * 24 * 3600.0
MAX_ATTEMPTS: Final = 10_000
MAX_KEY_BYTES: Final = 250
MAX_DEDUP_BYTES: Final = 250
MAX_PRIORITY: Final = 255
MAX_INDEXES: Final = 8
MAX_INDEX_BYTES: Final = 250
MAX_DEDUP_IDS: Final = 1_000_000
MAX_DEDUP_WINDOW_S: Final = 24 * 3600.0
DEFAULT_MAX_BYTES_LOG: Final = 10 * 1024**3
DEFAULT_MAX_BYTES_MEMORY: Final = 1024**3

CAPABILITIES: Final[frozenset[str]] = frozenset(
    {
        "durable",
        "fenced",
        "transactions",
        "order.lifo",
        "order.priority",
        "keys",
        "fair",
        "delay",
        "ttl",
        "dedup",
        "topics",
        "browse",
        "select",
        "indexes",
        "rate",
        "nowait",
        "requests",
        "processes",
        "cluster",
    }
)

_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.\-]*", re.ASCII)


def check_queue_name(name: str) -> str:
    """Return ``name`` if it may name a queue.

    Allowed are ASCII letters, digits, ``_``, ``-`` and ``.``, at most 200 bytes, not starting
    with ``-`` or ``.``.

    Raises:
        InvalidName: it is anything else; the text shows it escaped.
    """
    if not isinstance(name, str):
        raise InvalidName(f"a queue name is a str, not {type(name).__name__}")
    if len(name) > MAX_NAME_BYTES:
        raise InvalidName(
            f"a queue name has at most {MAX_NAME_BYTES} bytes; this one has {len(name)} characters"
        )
    if _NAME.fullmatch(name) is None:
        raise InvalidName(
            f"{ascii(name)} cannot name a queue: use letters, digits, '_', '-' and '.', "
            "not starting with '-' or '.'"
        )
    return name


def check_text(what: str, value: str, most_bytes: int) -> str:
    """Return ``value`` if it is a str of 1 to ``most_bytes`` bytes of UTF-8.

    Raises:
        BadArgument: it is not.
    """
    if not isinstance(value, str):
        raise BadArgument(f"{what} is a str, not {type(value).__name__}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise BadArgument(f"{what} {ascii(value)} is not Unicode") from error
    if not 1 <= size <= most_bytes:
        raise BadArgument(f"{what} has from 1 to {most_bytes} bytes of UTF-8, not {size}")
    return value


def check_seconds(what: str, value: float, *, most: float = MAX_DELAY_S, least: float = 0.0) -> int:
    """Return ``value`` seconds as nanoseconds.

    Raises:
        BadArgument: not a number, NaN, infinite, or outside ``least`` to ``most`` seconds.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadArgument(f"{what} is a number of seconds, not {type(value).__name__}")
    if not least <= value <= most:  # NaN is not, either
        shown = repr(value) if -(2**64) < value < 2**64 else "far too many"
        raise BadArgument(f"{what} is {shown} seconds; it must be from {least:g} to {most:g}")
    return int(value * NANOSECONDS)


_RATE: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?)/([0-9]{0,6})(s|min|h)", re.ASCII)
_UNITS_S: Final = {"s": 1.0, "min": 60.0, "h": 3600.0}


def parse_rate(text: str) -> tuple[float, float]:
    """A rate like ``"100/s"``, ``"5/min"`` or ``"1000/10min"`` as (count, in so many seconds).

    Raises:
        BadArgument: it is written otherwise, or is zero.
    """
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    if match is not None:
        count, per_s = float(match[1]), float(match[2] or 1) * _UNITS_S[match[3]]
        if count > 0 and per_s > 0:
            return count, per_s
    raise BadArgument(f"a rate is written like '100/s', '5/min' or '1000/10min', not {text!r}")


class Retry(msgspec.Struct, frozen=True, kw_only=False):
    """When a message that failed is tried again, and how often.

    Attributes:
        max_attempts: deliveries before the message goes to the dead-letter queue (1 to 10,000).
        backoff: ``"exponential"`` (``first_s * 2 ** (attempt - 1)``), ``"fixed"`` (``first_s``),
            or the delays themselves in seconds (the last one repeats).
        first_s: the first delay, seconds.
        most_s: no delay is longer, seconds.
        jitter: draw the delay evenly from 0 to the computed one ("full jitter", see the AWS
            Architecture Blog, "Exponential Backoff and Jitter", 2015).
    """

    max_attempts: int = 5
    backoff: Literal["exponential", "fixed"] | tuple[float, ...] = "exponential"
    first_s: float = 1.0
    most_s: float = 300.0
    jitter: bool = True

    def __post_init__(self) -> None:
        if isinstance(self.max_attempts, bool) or not isinstance(self.max_attempts, int):
            raise BadArgument("max_attempts is a whole number")
        if not 1 <= self.max_attempts <= MAX_ATTEMPTS:
            raise BadArgument(
                f"max_attempts is {self.max_attempts}; it must be from 1 to {MAX_ATTEMPTS}"
            )
        check_seconds("first_s", self.first_s)
        check_seconds("most_s", self.most_s)
        if isinstance(self.backoff, str):
            if self.backoff not in ("exponential", "fixed"):
                raise BadArgument(
                    f"backoff is {self.backoff!r}; it must be 'exponential', 'fixed' "
                    "or a tuple of seconds"
                )
        else:
            if not isinstance(self.backoff, tuple) or not self.backoff:
                raise BadArgument(
                    f"backoff is {self.backoff!r}; it must be 'exponential', 'fixed' "
                    "or a tuple of seconds, at least one"
                )
            for delay in self.backoff:
                check_seconds("a backoff delay", delay)
        if not isinstance(self.jitter, bool):
            raise BadArgument(f"jitter is True or False, not {self.jitter!r}")

    def delay_ns(self, attempt: int, chance: float) -> int:
        """How long to wait after failed attempt number ``attempt`` (from 1), nanoseconds.

        ``chance`` is a random number in [0, 1) drawn by the caller; it is not used without jitter.
        """
        if isinstance(self.backoff, tuple):
            delay = self.backoff[min(attempt, len(self.backoff)) - 1]
        elif self.backoff == "fixed":
            delay = self.first_s
        else:
            delay = self.first_s * 2.0 ** min(attempt - 1, 60)
        delay = min(delay, self.most_s)
        if self.jitter:
            delay *= chance
        return int(delay * NANOSECONDS)


# A default that changes later must not change a queue that is there: see `journal.policies`, which
# has to know of a field that is added here.
class QueuePolicy(msgspec.Struct, frozen=True):
    """A queue's settings, stored with the queue.

    Attributes:
        visibility_timeout_s: how long a lease lasts, seconds (default 30).
        retry: see `Retry`.
        dead_letter: the queue that takes what failed too often: a name, ``None`` to drop (and
            count) it, or ``""`` (the default) for ``<queue>.dead``.
        max_messages: waiting, delayed and in flight together; ``None`` for no limit.
        max_bytes: the same in bytes of bodies and headers; ``None`` for the backend's default
            (10 GiB on disk, 1 GiB in memory).
        overflow: what a put to a full queue does: ``"wait"`` for room, ``"reject"`` it, or
            ``"drop_oldest"`` of what waits (never of what is in flight), counted.
        order: ``"fifo"``, ``"lifo"`` or ``"priority"`` (higher first, fifo within one).
        fair: take in turn over keys, so that a busy one does not starve the others.
        max_in_flight_per_key: messages of one key delivered at a time; 1 (the default) keeps
            each key in order, ``None`` is no limit.
        max_in_flight: messages of the queue delivered at a time, over all consumers.
        rate: deliveries over all consumers, like ``"100/s"``; up to a second's worth at once.
        rate_per_key: the same for each key.
        ttl_s: seconds that a message may wait, unless its put says otherwise; ``None``: for ever.
        expired: what is done with a message that waited longer: ``"dead_letter"`` or ``"drop"``.
        dedup_window_s: seconds for which a dedup id is remembered (at most 1,000,000 of them).
        index: up to 8 fields of bodies and headers, written as in a filter, by which messages are
            found without looking through all: ``("headers.customer", "body.order_id")``.
    """

    visibility_timeout_s: float = 30.0
    retry: Retry = Retry()
    dead_letter: str | None = ""
    max_messages: int | None = None
    max_bytes: int | None = None
    overflow: Literal["wait", "reject", "drop_oldest"] = "wait"
    order: Literal["fifo", "lifo", "priority"] = "fifo"
    fair: bool = False
    max_in_flight_per_key: int | None = 1
    max_in_flight: int | None = None
    rate: str | None = None
    rate_per_key: str | None = None
    ttl_s: float | None = None
    expired: Literal["dead_letter", "drop"] = "dead_letter"
    dedup_window_s: float = 300.0
    index: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_seconds("visibility_timeout", self.visibility_timeout_s, least=0.001)
        if not isinstance(self.retry, Retry):
            raise BadArgument(f"retry is a Retry, not {self.retry!r}")
        if self.dead_letter is not None and self.dead_letter != "":
            check_queue_name(self.dead_letter)
        for what, value in (
            ("max_messages", self.max_messages),
            ("max_bytes", self.max_bytes),
            ("max_in_flight", self.max_in_flight),
            ("max_in_flight_per_key", self.max_in_flight_per_key),
        ):
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int):
                raise BadArgument(f"{what} is a whole number, not {type(value).__name__}")
            if not 1 <= value < 1 << 62:
                raise BadArgument(f"{what} is {value}; it must be at least 1")
        _one_of("overflow", self.overflow, ("wait", "reject", "drop_oldest"))
        _one_of("order", self.order, ("fifo", "lifo", "priority"))
        _one_of("expired", self.expired, ("dead_letter", "drop"))
        if self.fair and self.order != "fifo":
            raise BadArgument(f"a fair queue has order 'fifo', not {self.order!r}")
        for rate in (self.rate, self.rate_per_key):
            if rate is not None:
                parse_rate(rate)
        if self.ttl_s is not None:
            check_seconds("ttl", self.ttl_s, least=0.001)
        check_seconds("dedup_window", self.dedup_window_s, most=MAX_DEDUP_WINDOW_S)
        if not isinstance(self.index, tuple) or len(self.index) > MAX_INDEXES:
            raise BadArgument(f"index is a tuple of up to {MAX_INDEXES} fields")
        for field in self.index:
            check_text("an index's field", field, MAX_INDEX_BYTES)

    def is_plain(self) -> bool:
        """Whether first in, first out without limits is all there is to it."""
        return (
            self.order == "fifo"
            and not self.fair
            and self.max_in_flight is None
            and self.rate is None
        )


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        names = ", ".join(repr(name) for name in allowed)
        raise BadArgument(f"{what} is {value!r}; it must be one of {names}")


class QueueStats(msgspec.Struct, frozen=True):
    """What a queue holds now, and what it did since the broker was opened."""

    name: str
    waiting: int
    delayed: int
    in_flight: int
    size_bytes: int
    oldest_age_s: float
    put: int
    acked: int
    returned: int
    expired_leases: int
    dead_lettered: int
    dropped: int
    purged: int
    expired: int = 0
    deduplicated: int = 0
