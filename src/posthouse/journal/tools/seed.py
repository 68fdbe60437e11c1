"""The start value of a segment's checksums, found in its frames when its header is lost.

A CRC can be run backwards: the checksum of a frame's header and the bytes it covers give the
value it started from, which is the same for the whole segment. That the payload's own checksum
then holds as well shows that it is right (by chance: one time in four thousand million).
"""

from __future__ import annotations

import zlib
from typing import Final

from posthouse.journal.format import FRAME_ALIGN, FRAME_HEADER_BYTES, FRAME_MAGIC
from posthouse.journal.frames import Frame, read_frame

_ALL: Final = 0xFFFFFFFF
_TABLE: Final = tuple(zlib.crc32(bytes([byte]), _ALL) ^ _ALL for byte in range(256))
_BY_TOP: Final = {value >> 24: index for index, value in enumerate(_TABLE)}


def start_of(data: bytes, checksum: int) -> int:
    """The start value with which the CRC-32 of ``data`` is ``checksum``."""
    register = checksum ^ _ALL
    for byte in reversed(data):
        index = _BY_TOP[register >> 24]
        register = ((register ^ _TABLE[index]) << 8) | (index ^ byte)
    return register ^ _ALL


def find_seed(data: bytes, least: int, most: int | None) -> int | None:
    """The start value of the first sound frame in ``data``; None if there is none.

    Only a frame of a group from ``least`` to ``most`` (None: any) counts: behind the end of a file
    used before lie frames of its earlier life, whose groups are older.
    """
    at = data.find(FRAME_MAGIC)
    while at >= 0:
        frame = _frame_at(data, at) if at % FRAME_ALIGN == 0 else None
        if frame is not None:
            seed, found = frame
            if least <= found.header.sequence and (most is None or found.header.sequence <= most):
                return seed
        at = data.find(FRAME_MAGIC, at + 1)
    return None


def _frame_at(data: bytes, at: int) -> tuple[int, Frame] | None:
    end = at + FRAME_HEADER_BYTES
    if end > len(data):
        return None
    seed = start_of(data[at + 8 : end], int.from_bytes(data[at + 4 : at + 8], "little"))
    frame = read_frame(data, at, len(data), seed)
    return None if frame is None else (seed, frame)
