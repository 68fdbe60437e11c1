"""A journal that refuses: what an engine has after it closed, or in a forked child.

Its ``room`` is -1, so that the check every put makes anyway is the only one needed.
"""

from __future__ import annotations

from typing import NoReturn

from posthouse.errors import PosthouseError
from posthouse.records import Entry, Record


class ClosedJournal:
    """Every call raises the error it was made with."""

    instant = False

    def __init__(self, failure: PosthouseError) -> None:
        self.room = -1
        self.settle_room = -1
        self.failure: PosthouseError | None = failure
        self.inline_bytes = 0

    def _refuse(self) -> NoReturn:
        assert self.failure is not None
        raise type(self.failure)(*self.failure.args)

    def put(self, queue: int, producer: int, sequence: int, entry: Entry) -> NoReturn:
        """Refused."""
        self._refuse()

    def put_many(
        self,
        queue: int,
        producer: int,
        sequence: int,
        entries: list[Entry],
        plain_bytes: int | None = None,
    ) -> NoReturn:
        """Refused."""
        self._refuse()

    def settle(self, queue: int, message_id: int) -> NoReturn:
        """Refused."""
        self._refuse()

    def settle_many(self, queue: int, ids: list[int]) -> NoReturn:
        """Refused."""
        self._refuse()

    def append(self, *records: Record) -> NoReturn:
        """Refused."""
        self._refuse()

    def last_group(self) -> NoReturn:
        """Refused."""
        self._refuse()

    def hurry(self) -> None:
        """Nothing is open."""

    def delivered(self, queue: int, ids: list[int], attempts: list[int] | int) -> NoReturn:
        """Refused."""
        self._refuse()

    def delivered_one(self, queue: int, rank: int, attempt: int) -> NoReturn:
        """Refused."""
        self._refuse()

    async def make_room(self, size_bytes: int) -> NoReturn:
        """Refused."""
        self._refuse()

    async def flush(self) -> NoReturn:
        """Refused."""
        self._refuse()

    async def close(self) -> None:
        """Nothing is left to close."""
