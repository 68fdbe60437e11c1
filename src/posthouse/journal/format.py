"""The layout of the log on disk: constants and fixed headers, shared by writer and reader.

`docs/log-format.md` is the same in words, with an example in hex. All numbers are little-endian.

To change the format: add a new version here and keep reading the old one, or refuse it by name in
`directory.check_format`; put a log written by the last release of the old version among the golden
files in ``tests/journal``; describe both in the docs. Released bytes never change meaning.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import dataclass
from typing import Final

import msgspec

FORMAT_VERSION: Final = 1
FORMAT_NAME: Final = "FORMAT"
LOCK_NAME: Final = "LOCK"
RING_NAME: Final = "attempts.ring"
TEMPORARY: Final = ".tmp"
SEGMENT_NAME: Final = re.compile(r"([0-9]{8,18})\.seg", re.ASCII)
CHECKPOINT_NAME: Final = re.compile(r"([0-9]{8,18})\.ckp", re.ASCII)
SPARE_NAME: Final = re.compile(r"spare-([0-9]{1,18})", re.ASCII)
FORMAT_TEXT: Final = re.compile(rb"posthouse log\nformat ([0-9]{1,9})\n")

SEGMENT_MAGIC: Final = b"\x89PHSEG\r\n"
SEGMENT_HEADER: Final = struct.Struct("<8sHHIQQQQQQQ")
SEGMENT_HEADER_BYTES: Final = 72
MIN_SEGMENT_BYTES: Final = 64 * 1024

CHECKPOINT_MAGIC: Final = b"\x89PHCKP\r\n"
CHECKPOINT_VERSION: Final = 2

FRAME_MAGIC: Final = b"\xf5PHF"
FRAME_HEADER: Final = struct.Struct("<4sIIIIIQQQ")
FRAME_HEADER_BYTES: Final = 48
FRAME_ALIGN: Final = 8
# The checksum of the header covers what follows it, and the magic is compared.
_FRAME_REST: Final = struct.Struct("<IIIIQQQ")
_FRAME_REST_AT: Final = 8

FLAG_CATALOG: Final = 1
FLAG_MARKER: Final = 2
FLAG_CLOSED: Final = 4

RECORD_HEADER: Final = struct.Struct("<BBHI")
RECORD_HEADER_BYTES: Final = 8
PUT_FIXED_BYTES: Final = 32

SETTLE_RESERVE_BYTES: Final = 16
"""Kept free for each live message, so that a full disk can still be drained."""

TRAITS_BYTES: Final = 32
"""The most that due time and rank take, and what frames them; the rest is counted apart."""

TRAITS_EXTRA_BYTES: Final = 24
"""What key, priority, time to live and dedup id add to that, beyond their texts."""

PUT_OVERHEAD_BYTES: Final = (
    FRAME_HEADER_BYTES
    + FRAME_ALIGN
    + RECORD_HEADER_BYTES
    + PUT_FIXED_BYTES
    + 4  # the body's size
    + 1  # the kind
    + 4  # the headers' size
    + 4  # the traits' size
    + TRAITS_BYTES
    + SETTLE_RESERVE_BYTES
)
"""The most that one put message takes beyond its body, its headers and what
`codec.traits_bound` says.

It counts a frame and a record of its own and the room kept for its settlement; what was not
needed is given back when the group is on disk.
"""

SETTLE_BYTES: Final = FRAME_HEADER_BYTES + FRAME_ALIGN + RECORD_HEADER_BYTES + 8 + 8
"""The most that one settlement takes, in a frame of its own."""

_SEED: Final = 0x706F7374


def seed_of(salt: int) -> int:
    """The start value of every checksum in the segment with this salt."""
    return zlib.crc32(salt.to_bytes(8, "little"), _SEED)


def segment_name(number: int) -> str:
    """The file name of a segment."""
    return f"{number:08d}.seg"


def checkpoint_name(number: int) -> str:
    """The file name of a segment's checkpoint."""
    return f"{number:08d}.ckp"


def spare_name(number: int) -> str:
    """The file name of a spare, which is not part of the log."""
    return f"spare-{number}"


def format_text(version: int = FORMAT_VERSION) -> bytes:
    """What the FORMAT file holds."""
    return b"posthouse log\nformat %d\n" % version


@dataclass(slots=True, frozen=True)
class SegmentHeader:
    """The first 72 bytes of a segment.

    Attributes:
        number: the segment's own number, from 1.
        salt: random; seeds every checksum, so that stale bytes never look valid.
        first_sequence: the sequence of its first group.
        previous_end: where the segment before it ends, bytes; beyond it all is void. 0: none.
        previous_salt: the salt of the segment before it. 0: none.
        last_id: the highest message id of all segments before it.
        published: the segment got its name when all below this offset was on disk.
        reused: the file was a segment before: stale bytes, not zeros, lie beyond the end.
    """

    number: int
    salt: int
    first_sequence: int
    previous_end: int
    previous_salt: int
    last_id: int
    published: int
    reused: bool
    version: int = FORMAT_VERSION

    def pack(self) -> bytes:
        """The header as bytes."""
        fields = (
            self.number,
            self.salt,
            self.first_sequence,
            self.previous_end,
            self.previous_salt,
            self.last_id,
            self.published,
        )
        flags = int(self.reused)
        blank = SEGMENT_HEADER.pack(SEGMENT_MAGIC, self.version, flags, 0, *fields)
        checksum = zlib.crc32(blank, _SEED)
        return SEGMENT_HEADER.pack(SEGMENT_MAGIC, self.version, flags, checksum, *fields)

    @classmethod
    def unpack(cls, data: bytes) -> SegmentHeader | None:
        """The header that ``data`` begins with; None if it is not one, or a damaged one."""
        if len(data) < SEGMENT_HEADER_BYTES or data[:8] != SEGMENT_MAGIC:
            return None
        _, version, flags, checksum, *fields = SEGMENT_HEADER.unpack_from(data)
        blank = data[:12] + b"\0\0\0\0" + data[16:SEGMENT_HEADER_BYTES]
        if zlib.crc32(blank, _SEED) != checksum:
            return None
        number, salt, first, end, previous_salt, last_id, published = fields
        return cls(
            number, salt, first, end, previous_salt, last_id, published, bool(flags & 1), version
        )


class FrameHeader(msgspec.Struct, frozen=True, gc=False):
    """The first 48 bytes of a frame. (An opening makes one for each: it has to be quick.)

    Attributes:
        payload_crc: checksum of the payload.
        length: of the payload, bytes, a multiple of 8.
        count: records in the payload.
        flags: ``FLAG_*``.
        oldest: the segments below this number are no longer needed, all others are.
        sequence: of the group, consecutive over the whole log (a catalog has that of the group
            after it).
        durable_upto: offset in this segment below which all was known to be synced.
    """

    payload_crc: int
    length: int
    count: int
    flags: int
    oldest: int
    sequence: int
    durable_upto: int


def pack_frame_header(
    seed: int,
    payload: bytes,
    *,
    count: int,
    flags: int,
    oldest: int,
    sequence: int,
    durable_upto: int,
) -> bytes:
    """The header of a frame with this payload (already padded to a multiple of 8 bytes)."""
    rest = _FRAME_REST.pack(
        zlib.crc32(payload, seed), len(payload), count, flags, oldest, sequence, durable_upto
    )
    return FRAME_MAGIC + zlib.crc32(rest, seed).to_bytes(4, "little") + rest


def unpack_frame_header(data: bytes, offset: int, seed: int) -> FrameHeader | None:
    """The frame header at ``offset``; None if there is no sound one."""
    end = offset + FRAME_HEADER_BYTES
    if end > len(data) or data[offset : offset + 4] != FRAME_MAGIC:
        return None
    rest = data[offset + _FRAME_REST_AT : end]
    if zlib.crc32(rest, seed) != int.from_bytes(data[offset + 4 : offset + 8], "little"):
        return None
    return FrameHeader(*_FRAME_REST.unpack(rest))


def padding(length: int) -> bytes:
    """The zeros that bring a payload of ``length`` bytes to a multiple of 8."""
    return bytes(-length % FRAME_ALIGN)
