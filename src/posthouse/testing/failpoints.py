"""Fail points: a process that ends at a named call to the disk, as if it had been killed there.

A fail point is written ``<when>_<what>:<number>[@<phase>]``: ``after_write:17``,
``before_sync:3``, ``in_commit:2``, ``before_roll:1``, ``after_reclaim:1``,
``before_write:4@open``.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from posthouse.errors import BadArgument
from posthouse.journal.files import Files
from posthouse.testing.files import Operation, PassingFiles

_SEGMENT: Final = ".seg"
_CALLS: Final[dict[str, frozenset[str]]] = {
    "write": frozenset({"pwrite", "pwritev_sync"}),
    "commit": frozenset({"pwritev_sync"}),
    "sync": frozenset({"pwritev_sync", "fdatasync", "fsync"}),
    "dirsync": frozenset({"fsync_dir"}),
    "create": frozenset({"create", "mkdir"}),
    "rename": frozenset({"rename"}),
    "unlink": frozenset({"unlink"}),
    "truncate": frozenset({"truncate"}),
    "read": frozenset({"open", "pread", "size", "listdir"}),
    "roll": frozenset({"rename"}),
    "reclaim": frozenset({"rename", "unlink"}),
    "ring": frozenset({"pwrite"}),
}
KINDS: Final = tuple(_CALLS)
"""What a fail point may name: a kind of call, or (``roll``, ``reclaim``, ``ring``) a purpose."""

PHASES: Final = ("open", "run", "close")
_FORM: Final = re.compile(r"(before|in|after)_([a-z]+):([0-9]{1,9})(?:@([a-z]+))?")


@dataclass(frozen=True, slots=True)
class FailPoint:
    """Where to end.

    Attributes:
        when: ``before`` the call, ``after`` it, or ``in`` it: with half of a write's bytes
            written (before the call, where it writes none).
        what: one of `KINDS`.
        number: which such call, from 1.
        phase: count only calls in this phase (one of `PHASES`); empty: in all.
    """

    when: str
    what: str
    number: int
    phase: str = ""

    @classmethod
    def parse(cls, text: str) -> FailPoint:
        """Read the written form.

        Raises:
            BadArgument: it is not one.
        """
        match = _FORM.fullmatch(text)
        if match is None or match[2] not in _CALLS or (match[4] or "open") not in PHASES:
            raise BadArgument(
                f"{text!r} is no fail point; as in 'after_write:17' or 'before_sync:3@open', "
                f"with one of {', '.join(KINDS)}"
            )
        return cls(match[1], match[2], int(match[3]), match[4] or "")

    def __str__(self) -> str:
        return f"{self.when}_{self.what}:{self.number}" + (f"@{self.phase}" if self.phase else "")

    def counts(self, operation: Operation) -> bool:
        """Whether this is a call of the kind it counts."""
        if operation.name not in _CALLS[self.what]:
            return False
        if self.what == "roll":
            return operation.target.endswith(_SEGMENT)
        if self.what == "reclaim":
            return operation.path.endswith(_SEGMENT)
        if self.what == "ring":
            return operation.path.endswith(".ring")
        return True


def kill_self() -> None:
    """End this process as ``kill -9`` does."""
    os.kill(os.getpid(), signal.SIGKILL)


class KillingFiles(PassingFiles):
    """Passes calls on until the fail point is reached, and ends there.

    Attributes:
        phase: what the program says it is doing (see `FailPoint.phase`).
    """

    def __init__(
        self,
        point: FailPoint,
        *,
        inner: Files | None = None,
        end: Callable[[], None] = kill_self,
    ) -> None:
        super().__init__(inner)
        self._point = point
        self._end = end
        # The call that is to be the last. The loop and the writer both come through here.
        self._last: Operation | None = None
        # Both count, and neither may miss its turn: `next` is one step.
        self._numbers = itertools.count(1)
        self.phase = PHASES[0]

    def passing(self, operation: Operation) -> None:
        """End before the call, or in it, if it is its turn."""
        point = self._point
        if (point.phase and point.phase != self.phase) or not point.counts(operation):
            return
        if next(self._numbers) != point.number:
            return
        if point.when == "after":
            self._last = operation
            return
        if point.when == "in" and operation.data:
            self._write_half(operation)
        self._end()

    def passed(self, operation: Operation) -> None:
        """End after the call, if it is its turn."""
        if operation is self._last:
            self._end()

    def _write_half(self, operation: Operation) -> None:
        half = operation.data[: len(operation.data) // 2]
        for fd, path in list(self.paths.items()):
            if path == operation.path:
                self.inner.pwrite(fd, half, operation.offset)
                return
