"""Sealed groups on their way to disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from sys import getswitchinterval
from time import monotonic_ns
from typing import Final

from posthouse.journal.codec import encode_payload
from posthouse.journal.disk import Disk
from posthouse.journal.group import Group
from posthouse.journal.options import SealedFrame
from posthouse.journal.writer import Writer
from posthouse.model import NANOSECONDS

INLINE_BYTES: Final = 128 * 1024
_QUICK_NS: Final = 500_000
"""A group that small, on a disk that usually writes that fast, holds the loop up no longer than a
busy callback would."""

_TRY_AFTER: Final = 8
_TRY_AFTER_MOST: Final = 1024
"""A slow disk is tried on the loop again after so many groups, twice as many each time."""

_SMALL_BYTES: Final = 128 * 1024
"""Up to here a group is encoded on the loop: the writer then gives up the GIL only once."""


def _encode(group: Group) -> SealedFrame:
    offsets: list[int] = []
    group.offsets = offsets
    return SealedFrame(
        encode_payload(group.records, offsets),
        len(group.records),
        group.sequence,
        group.flags,
        group.oldest,
    )


class Pipeline:
    """Hands sealed groups to the writer, in order, and tells of each what became of it.

    Attributes:
        in_flight: sealed groups that are not durable yet, in order.
        inline_bytes: larger groups are never written on the loop.
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
        # A moving average of how long a write on the loop takes. Those in the writer tell nothing:
        # they may have waited for the GIL. So now and then one is tried on the loop again.
        self._usual_ns = 0
        self._untried = 0
        self._try_after = _TRY_AFTER
        self.in_flight: deque[Group] = deque()
        self.inline_bytes = INLINE_BYTES

    def add(self, group: Group, *, on_loop: bool = False) -> None:
        """Send a sealed group on its way.

        ``on_loop``: the caller is at the loop's top and would let it be written right here, if it
        is small and the disk quick. That spares two changes of thread, each of which can cost
        CPython's switch interval (5 ms) beside another thread that computes.
        """
        if group.size_bytes <= _SMALL_BYTES:
            group.frame = _encode(group)
        alone = not self.in_flight
        self.in_flight.append(group)
        if (
            on_loop
            and alone
            and group.roll is None
            and group.size_bytes <= self.inline_bytes
            and self._writer.idle
            and self._may_be_quick()
        ):
            try:
                used = self._write_on_loop(group)
            except BaseException as error:
                self._done(None, error)
                if not isinstance(error, Exception):
                    raise  # Ctrl-C in the midst of it: nobody knows what was written
            else:
                self._done(used, None)
            return
        self._writer.submit(partial(self._write, group), self._done)

    def _write(self, group: Group) -> int:
        frame = group.frame if group.frame is not None else _encode(group)
        used = self._disk.write(frame, group.roll)
        group.offset = self._disk.position - used
        return used

    def _may_be_quick(self) -> bool:
        if self._usual_ns <= _QUICK_NS:
            return True
        self._untried += 1
        return self._untried >= self._try_after

    def _write_on_loop(self, group: Group) -> int:
        began_ns = monotonic_ns()
        used = self._write(group)
        took_ns = monotonic_ns() - began_ns
        # Beside a thread that computes, a call that gave the GIL up comes back when the switch
        # interval is over: that says nothing about the disk.
        waited_ns = int(getswitchinterval() * NANOSECONDS)
        if waited_ns <= took_ns < waited_ns + _QUICK_NS:
            took_ns -= waited_ns
        if self._usual_ns > _QUICK_NS:
            self._usual_ns = took_ns
            self._untried = 0
            self._try_after = min(2 * self._try_after, _TRY_AFTER_MOST)
        else:
            self._usual_ns += (took_ns - self._usual_ns) // 8
        if self._usual_ns <= _QUICK_NS:
            self._try_after = _TRY_AFTER
        return used

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
