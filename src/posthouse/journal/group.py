"""The commit group: what becomes durable together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from posthouse.journal.options import Roll, SealedFrame
from posthouse.records import Record


class Waiter(Protocol):
    """Who waits for a group: a future, or whoever is told in the very step (`Told`)."""

    def done(self) -> bool: ...
    def set_result(self, result: None, /) -> None: ...
    def set_exception(self, exception: BaseException, /) -> None: ...


class Told:
    """A waiter that does something itself: a future's callbacks run a turn of the loop later.

    ``tell`` is given what failed, or None. It must not raise, nor change the journal.
    """

    __slots__ = ("_tell",)

    def __init__(self, tell: Callable[[BaseException | None], None]) -> None:
        self._tell = tell

    def done(self) -> bool:
        """Never: it wants to be told."""
        return False

    def set_result(self, result: None, /) -> None:
        """The group is on disk."""
        self._tell(None)

    def set_exception(self, exception: BaseException, /) -> None:
        """It is not, or nobody knows."""
        self._tell(exception)


class Group:
    """Records that go to disk in one frame, and what waits for that.

    Attributes:
        records: in the order in which they happened.
        operations: how many messages and records went in.
        size_bytes: at most so much it takes on disk.
        effects: what to do when it is durable; the engine's, opaque here.
        waiters: to be woken when it is durable; one each, so that cancelling one cancels
            nobody else.
        sequence, segment, oldest, flags, roll, frame: its place in the log, given when it is
            sealed.
        offset, offsets: where its frame stands in the segment, and each record in the frame;
            known when it is durable.
    """

    __slots__ = (
        "effects",
        "flags",
        "frame",
        "offset",
        "offsets",
        "oldest",
        "operations",
        "records",
        "roll",
        "segment",
        "sequence",
        "size_bytes",
        "waiters",
    )

    def __init__(self, size_bytes: int = 0) -> None:
        self.records: list[Record] = []
        self.operations = 0
        self.size_bytes = size_bytes
        self.effects: list[Any] = []
        self.waiters: list[Waiter] = []
        self.sequence = 0
        self.segment = 0
        self.offset = 0
        self.offsets: list[int] = []
        self.oldest = 0
        self.flags = 0
        self.roll: Roll | None = None
        self.frame: SealedFrame | None = None
