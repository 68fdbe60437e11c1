"""The commit group: what becomes durable together."""

from __future__ import annotations

import asyncio
from typing import Any

from posthouse.journal.options import Roll, SealedFrame
from posthouse.records import Record


class Group:
    """Records that go to disk in one frame, and what waits for that.

    Attributes:
        records: in the order in which they happened.
        operations: how many messages and records went in.
        size_bytes: at most so much it takes on disk.
        effects: what to do when it is durable; the engine's, opaque here.
        waiters: to be woken when it is durable; one future each, so that cancelling one
            cancels nobody else.
        sequence, segment, oldest, flags, roll, frame: its place in the log, given when it is
            sealed.
        offset, offsets: where its frame stands in the segment, and each record in the frame;
            known when it is durable.
    """

    __slots__ = (
        "effects",
        "flags",
        "frame",
        "offset",
        "offsets",
        "oldest",
        "operations",
        "records",
        "roll",
        "segment",
        "sequence",
        "size_bytes",
        "waiters",
    )

    def __init__(self, size_bytes: int = 0) -> None:
        self.records: list[Record] = []
        self.operations = 0
        self.size_bytes = size_bytes
        self.effects: list[Any] = []
        self.waiters: list[asyncio.Future[None]] = []
        self.sequence = 0
        self.segment = 0
        self.offset = 0
        self.offsets: list[int] = []
        self.oldest = 0
        self.flags = 0
        self.roll: Roll | None = None
        self.frame: SealedFrame | None = None
