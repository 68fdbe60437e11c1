"""Every sound frame of a segment's bytes, also those behind damage."""

from __future__ import annotations

from dataclasses import dataclass

from posthouse.journal.format import (
    FLAG_CATALOG,
    FRAME_ALIGN,
    FRAME_MAGIC,
    SEGMENT_HEADER_BYTES,
    unpack_frame_header,
)
from posthouse.journal.frames import Frame, read_frame


@dataclass(slots=True, frozen=True)
class Hole:
    """Bytes between sound frames that are none.

    Attributes:
        start, end: offsets; equal where frames are missing between two that adjoin.
        first, last: the groups that are missing there; ``last < first``: none.
        frame: the frame at ``start``, if its header at least is sound.
    """

    start: int
    end: int
    first: int
    last: int
    frame: Frame | None


@dataclass(slots=True, frozen=True)
class Salvage:
    """What can be read of a segment.

    Attributes:
        frames: all sound frames, in order; groups grow.
        holes: what lies between them.
        stop: where the last of them ends.
        expected: the group that should stand there.
    """

    frames: list[Frame]
    holes: list[Hole]
    stop: int
    expected: int


def salvage(data: bytes, limit: int, seed: int, least: int, most: int | None) -> Salvage:
    """Read all frames before ``limit`` of groups from ``least`` on and below ``most``.

    Frames are told by checksums that are seeded for this segment, and must have growing groups:
    neither a body that looks like frames nor an earlier life of the file can pass for one. One that
    stands elsewhere than it was written is taken all the same: bytes before it may be gone.
    """
    frames: list[Frame] = []
    holes: list[Hole] = []
    offset, expected = SEGMENT_HEADER_BYTES, least
    while offset < limit:
        frame = _fitting(data, offset, limit, seed, expected, most)
        broken = None
        if frame is None:
            header = unpack_frame_header(data, offset, seed)
            broken = None if header is None else Frame(offset, header)
            frame = _next(data, offset, broken, limit, seed, expected, most)
            if frame is None:
                break
        catalog = bool(frame.header.flags & FLAG_CATALOG)
        if frame.offset > offset or frame.header.sequence > expected:
            last = frame.header.sequence - 1
            holes.append(Hole(offset, frame.offset, expected, last, broken))
        frames.append(frame)
        offset = frame.end
        expected = frame.header.sequence + (0 if catalog else 1)
    return Salvage(frames, holes, offset, expected)


def _fitting(
    data: bytes, offset: int, limit: int, seed: int, expected: int, most: int | None
) -> Frame | None:
    """The sound frame at ``offset``, if it can be one of this place."""
    frame = read_frame(data, offset, limit, seed)
    if frame is None:
        return None
    header = frame.header
    if header.sequence < expected or (most is not None and header.sequence > most):
        return None
    catalog = bool(header.flags & FLAG_CATALOG)
    if catalog and offset != SEGMENT_HEADER_BYTES:
        return None
    if most is not None and header.sequence == most and not catalog:
        return None
    return frame


def _next(
    data: bytes,
    offset: int,
    broken: Frame | None,
    limit: int,
    seed: int,
    expected: int,
    most: int | None,
) -> Frame | None:
    """The next sound frame behind ``offset``.

    If the header there is sound it says where the next one stands, past a body whatever is in it.
    """
    if broken is not None and broken.end < limit:
        found = _fitting(data, broken.end, limit, seed, expected, most)
        if found is not None:
            return found
    at = data.find(FRAME_MAGIC, offset + 1, limit)
    while at >= 0:
        if at % FRAME_ALIGN == 0:
            found = _fitting(data, at, limit, seed, expected, most)
            if found is not None:
                return found
        at = data.find(FRAME_MAGIC, at + 1, limit)
    return None
