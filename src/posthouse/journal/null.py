"""The journal of the memory backend: it keeps nothing, so everything is durable at once."""

from __future__ import annotations

from posthouse.errors import PosthouseError
from posthouse.journal.group import Group
from posthouse.records import Entry, Record

_ENDLESS = 1 << 62


class NullJournal:
    """See `protocol.Journal`."""

    __slots__ = ("failure", "inline_bytes", "instant", "room", "settle_room")

    def __init__(self) -> None:
        self.instant = True
        self.room = _ENDLESS
        self.settle_room = _ENDLESS
        self.failure: PosthouseError | None = None
        self.inline_bytes = 0

    def put(self, queue: int, producer: int, sequence: int, entry: Entry) -> Group | None:
        """Nothing to do."""
        return None

    def put_many(
        self,
        queue: int,
        producer: int,
        sequence: int,
        entries: list[Entry],
        plain_bytes: int | None = None,
    ) -> Group | None:
        """Nothing to do."""
        return None

    def settle(self, queue: int, message_id: int) -> Group | None:
        """Nothing to do."""
        return None

    def settle_many(self, queue: int, ids: list[int]) -> Group | None:
        """Nothing to do."""
        return None

    def append(self, *records: Record) -> Group | None:
        """Nothing to do."""
        return None

    def last_group(self) -> Group | None:
        """Nothing is ever under way."""
        return None

    def hurry(self) -> None:
        """Nothing to do."""

    def delivered(self, queue: int, ids: list[int], attempts: list[int] | int) -> None:
        """Nothing to do."""

    def delivered_one(self, queue: int, rank: int, attempt: int) -> None:
        """Nothing to do."""

    async def make_room(self, size_bytes: int) -> None:
        """There always is."""

    async def flush(self) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""
