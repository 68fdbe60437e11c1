"""What must outlive the segments that tell of it, and was told again: how far that has come."""

from __future__ import annotations


class Carried:
    """Of a set of message ids, which of them need be told again when segments leave the log."""

    __slots__ = ("_at", "_below")

    def __init__(self) -> None:
        # Ids below the first stand in a record behind the second, or later.
        self._below = 0
        self._at = 0

    def low(self, first_id: int) -> int:
        """Ids from here on, and below ``first_id``, are told only by what is about to leave."""
        return 0 if self._at < first_id else self._below

    def note(self, first_id: int, last_id: int) -> None:
        """They are told again now, in records after ``last_id``."""
        if self._at < first_id:
            self._at = last_id
        self._below = first_id
