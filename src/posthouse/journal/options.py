"""The log's settings, and the small values its parts hand to one another."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from posthouse.errors import BadArgument
from posthouse.journal.format import MIN_SEGMENT_BYTES
from posthouse.records import Record

MIB = 1024 * 1024


def _salt() -> int:
    return secrets.randbits(64)


@dataclass(slots=True, frozen=True)
class LogOptions:
    """How the log is kept.

    Attributes:
        segment_bytes: a segment's size, at least 64 KiB (default 64 MiB). A group that is larger
            gets a segment as large as it needs.
        first_bytes: so much of a new segment is prewritten at first (default 2 MiB and 64 KiB, at
            most ``segment_bytes``); it grows ahead of need.
        ring_slots: deliveries that one of the attempts ring's two banks holds (default 4,096).
        group_bytes: a commit group is sealed at this size (default 8 MiB).
        group_operations: or at this many operations (default 10,000).
        marker_idle_s: after so long without a commit a marker is written (default 0.1 s).
        pending_bytes: at most about this much waits to be written (default 64 MiB).
        spares: unneeded segments kept to be used again (default 2), as long as the log is within
            its bound (``compact_share``). Where there is something to compact one more file is
            kept, whatever this says: a full disk is compacted with it.
        sync: ``"commit"``: durable means on disk. ``"interval"``: written at once, synced every
            ``interval_s``. ``"os"``: written, synced only when a segment is full and at close.
            With the last two a group counts as durable once it is written: it survives the
            process, not the machine.
        interval_s: seconds between syncs with ``sync="interval"`` (default 0.05 s).
        cache_bytes: so much of the messages that wait is kept in memory, over all queues, and a
            small share of each queue; the rest is read back when its turn comes (default 64 MiB).
        compact_share: the oldest segment is compacted when less of what was put there lives
            (default 0.25) and that does not become less by itself; and whenever the segments take
            more than twice the live bytes (bodies and headers, and 32 bytes for each message) and
            a segment. So they and the spares stay under twice the live bytes and three segments,
            but where messages of about half a segment and more do not pack, where what is
            reserved for settlements (16 bytes for each message) is more than a segment, and by
            what is put faster than ``compact_bytes_s``.
        compact_bytes_s: so much is written again in a second by compaction, at most (default
            32 MiB); 0: it is off.
        salt: draws a segment's salt, 64 random bits.

    Raises:
        BadArgument: a value outside its range.
    """

    segment_bytes: int = 64 * MIB
    first_bytes: int = 2 * MIB + 64 * 1024
    ring_slots: int = 4096
    group_bytes: int = 8 * MIB
    group_operations: int = 10_000
    marker_idle_s: float = 0.1
    pending_bytes: int = 64 * MIB
    spares: int = 2
    sync: Literal["commit", "interval", "os"] = "commit"
    interval_s: float = 0.05
    cache_bytes: int = 64 * MIB
    compact_share: float = 0.25
    compact_bytes_s: int = 32 * MIB
    salt: Callable[[], int] = _salt

    def __post_init__(self) -> None:
        for name, least, most in (
            ("segment_bytes", MIN_SEGMENT_BYTES, 1 << 30),
            ("first_bytes", MIN_SEGMENT_BYTES, 1 << 30),
            ("ring_slots", 16, 1 << 20),
            ("group_bytes", 4096, 1 << 30),
            ("group_operations", 1, 1_000_000),
            ("pending_bytes", 4096, 1 << 32),
            ("spares", 0, 1000),
            ("cache_bytes", 0, 1 << 40),
            ("compact_share", 0, 1),
            ("compact_bytes_s", 0, 1 << 40),
        ):
            value = getattr(self, name)
            if not least <= value <= most:
                raise BadArgument(f"{name} is {value!r}; it must be from {least:,} to {most:,}")
        if self.sync not in ("commit", "interval", "os"):
            raise BadArgument(f"sync is {self.sync!r}; it must be 'commit', 'interval' or 'os'")
        for name in ("marker_idle_s", "interval_s"):
            if not 0.001 <= getattr(self, name) <= 3600:
                raise BadArgument(f"{name} must be from 0.001 to 3600 seconds")


@dataclass(slots=True, frozen=True)
class Spare:
    """A prewritten file that is not part of the log yet.

    Attributes:
        name: its file name.
        size_bytes: how much of it is prewritten.
    """

    name: str
    size_bytes: int


@dataclass(slots=True, frozen=True)
class Roll:
    """Begin a new segment before a group is written.

    Attributes:
        spare: the file to make it of.
        catalog: what the new segment begins with.
        last_id: the highest message id so far.
    """

    spare: Spare
    catalog: list[Record]
    last_id: int


@dataclass(slots=True, frozen=True)
class SealedFrame:
    """A frame ready to be written, but for what only the place in the file tells."""

    payload: bytes
    count: int
    sequence: int
    flags: int
    oldest: int
