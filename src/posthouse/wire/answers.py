"""What a server says. Each message is a msgpack array: its tag, then its fields in this order."""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from posthouse.records import Traits

WireEntry: TypeAlias = tuple[int, int, bytes, bytes, Traits | None]
"""A stored message: (id, kind, body, headers, traits), as `posthouse.records.Entry`."""


class Welcome(msgspec.Struct, array_like=True, tag=128, gc=False):
    """The answer to Hello.

    Attributes:
        version: the one that both speak from now on.
        session: the session's secret id.
        resumed: it is the one that was asked for, with its leases and its answers.
        producer: what the session's puts are known by, with their sequence.
        now_ns: the server's clock.
        heartbeat_s: who is silent for twice as long is taken for dead, on either side.
        frame_bytes: the longest frame that the server takes.
        flight_bytes: puts that are not answered yet may have so many bytes.
        requests: so many requests may be unanswered, or answered and not Seen.
        capabilities: of the backend that the server holds.
    """

    version: int
    session: bytes
    resumed: bool
    producer: int
    now_ns: int
    heartbeat_s: float
    frame_bytes: int
    flight_bytes: int
    requests: int
    capabilities: list[str]


class Refused(msgspec.Struct, array_like=True, tag=129, gc=False):
    """Why the connection is about to be closed; ``final``: another one would fare no better.

    ``code`` is "AuthenticationFailed" where the login was refused, and it may be worth another try
    after ``retry_after_s``, if that is not 0.
    """

    text: str
    final: bool = False
    code: str = ""
    retry_after_s: float = 0.0


class Pong(msgspec.Struct, array_like=True, tag=130, gc=False):
    """The answer to Ping."""

    number: int = 0


class Farewell(msgspec.Struct, array_like=True, tag=131, gc=False):
    """The answer to Goodbye; the server closes the connection."""


class Leaving(msgspec.Struct, array_like=True, tag=132, gc=False):
    """The server shuts down: what is under way is finished; connect again later."""


class Done(msgspec.Struct, array_like=True, tag=140, gc=False):
    """``count`` parts of a request, from ``part`` on, are done."""

    of: int
    part: int = 0
    count: int = 1


class Placed(msgspec.Struct, array_like=True, tag=141, gc=False):
    """``count`` parts of a put, from ``part`` on, are stored, with ids from ``first`` on."""

    of: int
    first: int
    part: int = 0
    count: int = 1


class Delivered(msgspec.Struct, array_like=True, tag=142, gc=False):
    """Messages under one token, leased for so long; ``attempts`` None: the first of each."""

    of: int
    token: int
    entries: list[WireEntry]
    attempts: list[int] | None
    lease_ns: int


class Pushed(msgspec.Struct, array_like=True, tag=143, gc=False):
    """Messages for a subscription, each under its own token."""

    of: int
    tokens: list[int]
    entries: list[WireEntry]
    attempts: list[int]
    lease_ns: int


class Recall(msgspec.Struct, array_like=True, tag=144, gc=False):
    """Somebody needs what lies unseen in a subscription: answer with Returned, half of it.

    ``every``: all of it.
    """

    of: int
    every: bool = False


class Answer(msgspec.Struct, array_like=True, tag=145, gc=False):
    """What a request asked for."""

    of: int
    value: Any = None


class Failed(msgspec.Struct, array_like=True, tag=146, gc=False):
    """A part of a request was refused, or failed: see `failures`."""

    of: int
    part: int
    code: str
    text: str
    numbers: list[int] = []


Reply: TypeAlias = Done | Placed | Delivered | Answer | Failed
FromServer: TypeAlias = (
    Welcome
    | Refused
    | Pong
    | Farewell
    | Leaving
    | Done
    | Placed
    | Delivered
    | Pushed
    | Recall
    | Answer
    | Failed
)

__all__ = [
    "Answer",
    "Delivered",
    "Done",
    "Failed",
    "Farewell",
    "FromServer",
    "Leaving",
    "Placed",
    "Pong",
    "Pushed",
    "Recall",
    "Refused",
    "Reply",
    "Welcome",
    "WireEntry",
]
