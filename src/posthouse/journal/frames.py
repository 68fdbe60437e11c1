"""Frames in a segment's bytes: built, read in a row, and looked for behind damage."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import msgspec

from posthouse.journal.format import (
    FLAG_CATALOG,
    FLAG_CLOSED,
    FRAME_ALIGN,
    FRAME_HEADER_BYTES,
    FRAME_MAGIC,
    FrameHeader,
    pack_frame_header,
    unpack_frame_header,
)
from posthouse.journal.options import SealedFrame


class Frame(msgspec.Struct, frozen=True, gc=False):
    """A sound frame in a segment: its place and its header."""

    offset: int
    header: FrameHeader

    @property
    def start(self) -> int:
        """Where its payload begins."""
        return self.offset + FRAME_HEADER_BYTES

    @property
    def end(self) -> int:
        """Where it ends, and the next one begins."""
        return self.offset + FRAME_HEADER_BYTES + self.header.length


@dataclass(slots=True, frozen=True)
class Scan:
    """What a segment's bytes hold from its first frame on.

    Attributes:
        frames: the sound frames, each beginning where the last ended; the catalog first.
        stop: where the first thing stands that is not the next sound frame.
        torn_bytes: how much of a frame of this segment seems to stand at ``stop``; 0: nothing
            that could be told from stale or empty bytes.
        gap: at ``stop`` stands a sound frame that does not belong there: of another sequence, or
            moved.
        proof: the highest ``durable_upto`` of sound frames behind ``stop``; 0: there are none.
    """

    frames: list[Frame]
    stop: int
    torn_bytes: int
    gap: bool
    proof: int

    @property
    def durable_upto(self) -> int:
        """Below this offset all of ``frames`` is known to have been synced."""
        return max((frame.header.durable_upto for frame in self.frames), default=0)

    @property
    def closed(self) -> bool:
        """Whether the last sound frame is that of a clean close."""
        return bool(self.frames) and bool(self.frames[-1].header.flags & FLAG_CLOSED)


def build_frame(sealed: SealedFrame, seed: int, durable_upto: int) -> bytes:
    """The frame's header; the payload goes behind it."""
    return pack_frame_header(
        seed,
        sealed.payload,
        count=sealed.count,
        flags=sealed.flags,
        oldest=sealed.oldest,
        sequence=sealed.sequence,
        durable_upto=durable_upto,
    )


def read_frame(data: bytes, offset: int, limit: int, seed: int) -> Frame | None:
    """The sound frame at ``offset`` that ends at or before ``limit``; None if there is none."""
    header = unpack_frame_header(data, offset, seed)
    if header is None:
        return None
    start = offset + FRAME_HEADER_BYTES
    end = start + header.length
    if header.length % FRAME_ALIGN or end > limit:
        return None
    if zlib.crc32(memoryview(data)[start:end], seed) != header.payload_crc:
        return None
    return Frame(offset, header)


def scan_frames(
    data: bytes, start: int, limit: int, seed: int, sequence: int, *, reused: bool
) -> Scan:
    """Read the frames of a segment whose first group has this sequence.

    ``reused``: beyond its end lie stale bytes, not zeros.
    """
    frames: list[Frame] = []
    offset, expected, gap = start, sequence, False
    while (frame := read_frame(data, offset, limit, seed)) is not None:
        header = frame.header
        catalog = bool(header.flags & FLAG_CATALOG)
        in_order = header.sequence == expected and catalog == (not frames)
        if not in_order or header.durable_upto > offset:
            gap = True
            break
        frames.append(frame)
        offset = frame.end
        if not catalog:
            expected += 1
    torn, proof = 0, 0
    if offset < limit:
        torn = _torn_bytes(data, offset, limit, seed, expected, reused)
        proof = _proof_behind(data, offset, limit, seed, expected)
    return Scan(frames, offset, torn, gap, proof)


def _torn_bytes(
    data: bytes, offset: int, limit: int, seed: int, expected: int, reused: bool
) -> int:
    """How much of the frame ``expected`` seems to stand at ``offset``, which holds no sound one.

    A frame with its header whole tells its length. Of one with a damaged header the sequence may
    still be there: stale bytes of a file used before hold lower ones. In a file never used before
    anything but zeros is the frame.
    """
    header = unpack_frame_header(data, offset, seed)
    if header is not None:
        return min(FRAME_HEADER_BYTES + header.length, limit - offset)
    sequence = int.from_bytes(data[offset + 32 : offset + 40], "little")
    if sequence == expected:
        return min(FRAME_HEADER_BYTES, limit - offset)
    return 0 if reused else len(data[offset:limit].rstrip(b"\0"))


def _proof_behind(data: bytes, offset: int, limit: int, seed: int, expected: int) -> int:
    """The highest ``durable_upto`` of the sound frames behind ``offset``.

    The checksum of a frame's header is seeded with the salt, so that a body which looks like
    frames costs 48 bytes of checksum each, and cannot pass for one.
    """
    proof = 0
    at = data.find(FRAME_MAGIC, offset + 1, limit)
    while at >= 0:
        frame = read_frame(data, at, limit, seed) if at % FRAME_ALIGN == 0 else None
        if frame is not None and frame.header.sequence >= expected:
            proof = max(proof, frame.header.durable_upto)
            at = frame.end - 1
        at = data.find(FRAME_MAGIC, at + 1, limit)
    return proof
