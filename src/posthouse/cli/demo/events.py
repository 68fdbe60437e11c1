"""What the parent tells a child (a job) and a child reports on its pipe (events, one a line).

A child reports each step after it was acknowledged, and the collector also before: so that the
parent knows what a kill may have cut off.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

import msgspec

from posthouse.cli.demo.analysis import Counts

SOURCES: Final = "demo.sources"
RESULTS: Final = "demo.results"
CURSOR: Final = "demo.cursor"
TOTALS: Final = "demo.totals"

INDEX_HEADER: Final = "demo-index"
UNREADABLE_HEADER: Final = "demo-unreadable"


Role: TypeAlias = Literal["producer", "consumer", "collector"]


class Job(msgspec.Struct, frozen=True):
    """A child's work: its part, where the queues are, and the files.

    Attributes:
        role: what it is.
        url: the broker.
        files: the paths; a file's number is its index here.
        end: the producer puts the files before this one and leaves; None: all of them.
    """

    role: Role
    url: str
    files: list[str]
    end: int | None = None


class Cursor(msgspec.Struct, frozen=True):
    """The producer's place, kept as a message: the next file to put."""

    next: int


class Result(msgspec.Struct, frozen=True):
    """What a consumer found in one file: the body of a result message."""

    source: str
    index: int
    counts: Counts


class Totals(msgspec.Struct, frozen=True):
    """The running total, kept as one message and replaced with every batch that is added.

    Attributes:
        version: batches added so far.
        counts: the sum.
        digest: see `analysis.digest`, over the ids of the source messages, as hex.
    """

    version: int = 0
    counts: Counts = Counts()
    digest: str = "0"


class Event(msgspec.Struct, frozen=True, tag=True):
    """Something that a child did."""


class Started(Event, frozen=True):
    """It opened the broker; the producer and the collector found their places there."""

    cursor: int | None = None
    version: int | None = None


class Put(Event, frozen=True):
    """Files ``start`` up to ``end`` are on the queue (acknowledged)."""

    start: int
    end: int


class Taken(Event, frozen=True):
    """A source message was delivered, for the ``attempt``-th time."""

    id: str
    index: int
    attempt: int


class Done(Event, frozen=True):
    """A source message was acked and its result put (acknowledged, one transaction)."""

    id: str


class Adding(Event, frozen=True):
    """The results of these source messages are about to become version ``version``."""

    version: int
    ids: list[str]


class Added(Event, frozen=True):
    """Version ``version`` of the totals is acknowledged."""

    version: int


class Finished(Event, frozen=True):
    """It has done its part; the child is closing the broker."""


AnyEvent = Started | Put | Taken | Done | Adding | Added | Finished

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


def encode_line(event: AnyEvent) -> bytes:
    """The event as one line."""
    return _encoder.encode(event) + b"\n"


def decode_line(line: bytes) -> AnyEvent:
    """The event of one line.

    Raises:
        msgspec.DecodeError: it is not one.
    """
    event: AnyEvent = _decoder.decode(line)
    return event
