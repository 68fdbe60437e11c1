"""Frames: a length of four bytes, big-endian, and so many bytes."""

from __future__ import annotations

from collections.abc import Iterator

from posthouse.errors import ProtocolError
from posthouse.wire.format import HELLO_BYTES, LENGTH_BYTES

KEPT_BYTES = 256 * 1024


class FrameReader:
    """Cuts a stream into frames.

    Attributes:
        limit_bytes: the longest frame that is let in.
    """

    __slots__ = ("_buffer", "limit_bytes")

    def __init__(self, limit_bytes: int = HELLO_BYTES) -> None:
        self.limit_bytes = limit_bytes
        self._buffer = bytearray()

    @property
    def pending_bytes(self) -> int:
        """Bytes of a frame that is not whole yet."""
        return len(self._buffer)

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[memoryview]:
        """The frames that are whole with ``data``, without their length.

        A view is good until the next one is asked for. Consume the iterator to its end, unless
        it raises.

        Raises:
            ProtocolError: a length over the limit, seen from its four bytes alone; or of nothing.
        """
        buffer = self._buffer
        if buffer:
            buffer += data
            view = memoryview(buffer)
        else:
            view = memoryview(data)
        at, end = 0, len(view)
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
            if buffer:
                view.release()
                del buffer[:at]
                if not buffer and at > KEPT_BYTES:
                    self._buffer = bytearray()  # let the memory of a large frame go
            else:
                buffer += view[at:]
                view.release()
