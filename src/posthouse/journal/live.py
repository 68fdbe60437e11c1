"""Which segments are still needed: live messages counted per segment.

The ids that a segment's puts gave out are one range, and the ranges grow with the segments. So
the segment of an id is found by bisection, and a settlement whose ids all fall into one segment is
counted in one step.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence

from posthouse.records import Copied, Put, Record, Settled


class LiveTable:
    """Live messages per segment.

    Attributes:
        oldest: the number of the oldest segment there is.
        newest: the number of the segment being written.
        total: live messages in all of them.
        last_id: the highest message id seen.
    """

    __slots__ = ("_counts", "_firsts", "_numbers", "last_id", "newest", "oldest", "total")

    def __init__(self, oldest: int) -> None:
        self.oldest = oldest
        self.newest = oldest
        self.total = 0
        self.last_id = 0
        self._numbers: list[int] = []
        self._firsts: list[int] = []
        self._counts: list[int] = []

    def apply(self, segment: int, records: Iterable[Record]) -> None:
        """These records are durable in ``segment``, the newest one."""
        self.newest = max(self.newest, segment)
        for record in records:
            if isinstance(record, Put):
                self.put(segment, record.entries[0][0], len(record.entries))
            elif isinstance(record, Copied):
                self.put(segment, record.entry[0], 1)
            elif isinstance(record, Settled):
                self.settle(record.ids)

    def put(self, segment: int, first_id: int, count: int) -> None:
        """``count`` messages from ``first_id`` on live in ``segment``, the newest one."""
        if not self._numbers or self._numbers[-1] != segment:
            self._numbers.append(segment)
            self._firsts.append(first_id)
            self._counts.append(0)
        self.newest = max(self.newest, segment)
        self._counts[-1] += count
        self.total += count
        self.last_id = max(self.last_id, first_id + count - 1)

    def settle(self, ids: Sequence[int]) -> None:
        """These messages live no more. Ids of segments that are gone are ignored."""
        low = bisect_right(self._firsts, min(ids)) - 1
        high = bisect_right(self._firsts, max(ids)) - 1
        if low == high:
            self._drop(low, len(ids))
            return
        for message_id in ids:
            self._drop(bisect_right(self._firsts, message_id) - 1, 1)

    def _drop(self, index: int, count: int) -> None:
        if index >= 0:
            count = min(count, self._counts[index])
            self._counts[index] -= count
            self.total -= count

    def needed_from(self) -> int:
        """The oldest segment with a live message, or else the newest of all."""
        for number, count in zip(self._numbers, self._counts, strict=True):
            if count:
                return number
        return self.newest

    def first_id_from(self, segment: int) -> int:
        """The first message id that a segment from this one on has; past all, if none has."""
        for number, first_id in zip(self._numbers, self._firsts, strict=True):
            if number >= segment:
                return first_id
        return self.last_id + 1

    def forget_oldest(self) -> None:
        """The oldest segment is gone."""
        if self._numbers and self._numbers[0] == self.oldest:
            self.total -= self._counts[0]
            del self._numbers[0], self._firsts[0], self._counts[0]
        self.oldest += 1
