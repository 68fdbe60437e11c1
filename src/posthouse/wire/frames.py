"""Frames: a length of four bytes, big-endian, and so many bytes."""

from __future__ import annotations

from collections.abc import Iterator
from struct import Struct
from typing import Final

from posthouse.errors import ProtocolError
from posthouse.wire.format import HELLO_BYTES, LENGTH_BYTES

KEPT_BYTES: Final = 256 * 1024
"""A reader keeps a buffer of its own up to this size; what is larger goes with its frame."""

SCRATCH_BYTES: Final = 256 * 1024
"""A good size for the scratch that many readers share."""

_LENGTH: Final = Struct(">I")
_OWN_SCRATCH_BYTES: Final = 4096
_LEAST_BYTES: Final = 512


class FrameReader:
    """Cuts a stream into frames.

    Bytes are read to where `space` says, straight from the socket, and `filled` gives the frames
    that are whole with them.

    Args:
        limit_bytes: the longest frame that is let in.
        scratch: where bytes are read to while no frame is begun. It may be shared with other
            readers of the same thread: nothing stays there when `filled` has ended.

    Invariants:
        1. What is not whole yet lies at the beginning of ``_own``, ``_have`` bytes of it.
        2. No buffer changes its size: who reads into it may still hold it. It is replaced.
        3. A buffer is at most twice what came, or ``_LEAST_BYTES``: what a length says is not
           believed before the bytes are there.
    """

    __slots__ = ("_have", "_own", "_scratch", "limit_bytes")

    def __init__(self, limit_bytes: int = HELLO_BYTES, scratch: bytearray | None = None) -> None:
        self.limit_bytes = limit_bytes
        self._scratch = bytearray(_OWN_SCRATCH_BYTES) if scratch is None else scratch
        self._own = bytearray()
        self._have = 0

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return self._have

    def space(self) -> memoryview:
        """Where the next bytes are to be put, from its beginning; never empty."""
        have = self._have
        return memoryview(self._own)[have:] if have else memoryview(self._scratch)

    def sole(self, count: int) -> memoryview | None:
        """The frame that ``count`` bytes in `space` are, if they are one and no more.

        It is the usual case, and cheaper than `filled`, which is to be called where this is None.
        Good until the next bytes are put there.
        """
        if self._have or count <= LENGTH_BYTES:
            return None
        size = count - LENGTH_BYTES
        if _LENGTH.unpack_from(self._scratch)[0] != size or size > self.limit_bytes:
            return None
        return memoryview(self._scratch)[LENGTH_BYTES:count]

    def filled(self, count: int) -> Iterator[memoryview]:
        """The frames that are whole with ``count`` bytes in `space`, without their length.

        A view is good until the next one is asked for. Consume the iterator to its end, unless
        it raises.

        Raises:
            ProtocolError: a length over the limit, seen from its four bytes alone; or of nothing.
        """
        have = self._have
        at, end = 0, have + count
        view = memoryview(self._own if have else self._scratch)
        try:
            while end - at >= LENGTH_BYTES:
                size = int.from_bytes(view[at : at + LENGTH_BYTES])
                if not 0 < size <= self.limit_bytes:
                    raise ProtocolError(
                        f"a frame says that it has {size:,} bytes; from 1 to "
                        f"{self.limit_bytes:,} are allowed here"
                    )
                begin = at + LENGTH_BYTES
                if begin + size > end:
                    break
                at = begin + size
                with view[begin:at] as frame:
                    yield frame
        finally:
            self._keep(view, at, end)
            view.release()

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[memoryview]:
        """`filled` for bytes that lie elsewhere. Raises: as `filled`."""
        rest = memoryview(data)
        while rest:
            with self.space() as space:
                count = min(len(space), len(rest))
                space[:count] = rest[:count]
            yield from self.filled(count)
            rest = rest[count:]

    def _keep(self, view: memoryview, at: int, end: int) -> None:
        """Keep what is not whole, ``view[at:end]``, where more can be put behind it."""
        left = end - at
        own = self._own
        size = len(own)
        capacity = size
        if not self._have:
            capacity = max(size, 2 * left)
        elif end == size:
            capacity = 2 * size  # as much came as there was room for
        self._have = left
        if not left:
            if size > KEPT_BYTES:
                self._own = bytearray()
            return
        whole = LENGTH_BYTES + int.from_bytes(view[at : at + LENGTH_BYTES]) if left >= 4 else 0
        capacity = max(min(capacity, max(KEPT_BYTES, whole)), left + 1, _LEAST_BYTES)
        if capacity != size:
            self._own = own = bytearray(capacity)
        with memoryview(own) as target:
            target[:left] = view[at:end]
