"""Sealed groups on their way to disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from posthouse.journal.codec import encode_payload
from posthouse.journal.disk import Disk
from posthouse.journal.group import Group
from posthouse.journal.options import SealedFrame
from posthouse.journal.writer import Writer

_SMALL_BYTES: Final = 64 * 1024
"""Up to here a group is encoded on the loop: the writer then gives up the GIL only once."""


def _encode(group: Group) -> SealedFrame:
    return SealedFrame(
        encode_payload(group.records),
        len(group.records),
        group.sequence,
        group.flags,
        group.oldest,
    )


class Pipeline:
    """Hands sealed groups to the writer, in order, and tells of each what became of it.

    Attributes:
        in_flight: sealed groups that are not durable yet, in order.
    """

    def __init__(
        self,
        disk: Disk,
        writer: Writer,
        durable: Callable[[Group, int], None],
        failed: Callable[[BaseException], None],
    ) -> None:
        self._disk = disk
        self._writer = writer
        self._durable = durable
        self._failed = failed
        self.in_flight: deque[Group] = deque()

    def add(self, group: Group) -> None:
        """Send a sealed group on its way."""
        if group.size_bytes <= _SMALL_BYTES:
            group.frame = _encode(group)
        self.in_flight.append(group)
        self._writer.submit(partial(self._write, group), self._done)

    def _write(self, group: Group) -> int:
        frame = group.frame if group.frame is not None else _encode(group)
        return self._disk.write(frame, group.roll)

    def _done(self, used: int | None, error: BaseException | None) -> None:
        if not self.in_flight:
            return  # all were given up after a failure
        if error is not None or used is None:
            self._failed(error or OSError("the writer returned nothing"))
            return
        self._durable(self.in_flight.popleft(), used)

    def give_up(self) -> list[Group]:
        """Forget what is under way, and return it."""
        groups = list(self.in_flight)
        self.in_flight.clear()
        return groups
