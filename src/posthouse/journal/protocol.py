"""What the engine asks of a journal."""

from __future__ import annotations

from typing import Protocol

from posthouse.errors import PosthouseError
from posthouse.journal.group import Group
from posthouse.records import Entry, Record


class Journal(Protocol):
    """Keeps records; loop side.

    The methods that append return the group their records went into, or None where they are
    durable already. The caller checks `room` (puts) and `settle_room` (all else) first. After a
    failure both are -1 and every method raises `StorageFailed`.

    Attributes:
        room: bytes that puts may still add; per message ``format.PUT_OVERHEAD_BYTES`` and its
            body, headers and ``traits.death``.
        settle_room: bytes that everything else may still add; ``format.SETTLE_BYTES`` for a
            settlement.
        instant: everything is durable at once and nothing outlives the process, so that the
            engine need not call it for one message.
        failure: what stopped the journal, or None.
        inline_bytes: a commit group up to this size may be written on the loop itself, where the
            disk is quick. Who has others to serve meanwhile sets it lower.
    """

    instant: bool
    room: int
    settle_room: int
    failure: PosthouseError | None
    inline_bytes: int

    def put(self, queue: int, producer: int, sequence: int, entry: Entry) -> Group | None:
        """One message joined a queue. Its id is higher than all before."""

    def put_many(
        self,
        queue: int,
        producer: int,
        sequence: int,
        entries: list[Entry],
        plain_bytes: int | None = None,
    ) -> Group | None:
        """Messages with consecutive ids joined a queue. The list is kept, not copied.

        ``plain_bytes``: what their bodies and headers come to, if they have no traits (None: it
        is looked up).
        """

    def settle(self, queue: int, message_id: int) -> Group | None:
        """One message left for good."""

    def settle_many(self, queue: int, ids: list[int]) -> Group | None:
        """Messages left for good. The list is kept, not copied."""

    def append(self, *records: Record) -> Group | None:
        """Other records, or a transaction: all of one call are in one group."""

    def last_group(self) -> Group | None:
        """The group that must be durable for all that was appended to be; None: it all is."""

    def hurry(self) -> None:
        """Somebody has begun to wait for the open group."""

    def delivered(self, queue: int, ids: list[int], attempts: list[int] | int) -> None:
        """Messages are being handed out, for these attempts: survives the process on return."""

    def delivered_one(self, queue: int, rank: int, attempt: int) -> None:
        """One message is being handed out: as `delivered`."""

    async def make_room(self, size_bytes: int) -> None:
        """Return when ``room`` is at least ``size_bytes``.

        Raises:
            StorageFull: the disk has no space for it. Nothing was changed.
            StorageFailed: the journal has stopped.
        """

    async def flush(self) -> None:
        """Return when all that was appended is durable.

        Raises:
            StorageFailed, UnknownOutcome: it is not, or may not be.
        """

    async def close(self) -> None:
        """Flush, mark the log as closed cleanly, and let go of it.

        Raises:
            StorageFailed: it could not be done in time, or the disk failed.
        """
