"""Leases: who holds what until when. One per delivery, whatever its size.

A delivery of one message is a plain tuple, because it is made for every single `get`; a delivery
of many is one `BatchLease` for all of them, so that a batch costs one entry and one deadline.
"""

from __future__ import annotations

from typing import TypeAlias

from posthouse.records import Entry

OneLease: TypeAlias = "tuple[int, int, Entry, int]"
"""(deadline_ns, holder, entry, attempts)."""


class BatchLease:
    """A delivery of several messages under one token and one deadline.

    ``ids`` is the exact list handed out: a settlement of the whole batch is recognised by
    comparing lists at C speed. ``left`` appears with the first partial settlement.
    """

    __slots__ = ("attempts", "deadline_ns", "entries", "holder", "ids", "left")

    def __init__(
        self,
        deadline_ns: int,
        holder: int,
        ids: list[int],
        entries: list[Entry],
        attempts: list[int] | None,
    ) -> None:
        self.deadline_ns = deadline_ns
        self.holder = holder
        self.ids = ids
        self.entries = entries
        self.attempts = attempts  # None: 1 each
        self.left: dict[int, tuple[Entry, int]] | None = None

    def pairs(self) -> dict[int, tuple[Entry, int]]:
        """What is still held: id -> (entry, attempts)."""
        if self.left is None:
            attempts = self.attempts or [1] * len(self.ids)
            self.left = {
                entry[0]: (entry, count)
                for entry, count in zip(self.entries, attempts, strict=True)
            }
        return self.left


Lease: TypeAlias = "OneLease | BatchLease"
