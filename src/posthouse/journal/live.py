"""Which segments are still needed: live messages counted per segment.

The ids that a segment's puts gave out are one range, and the ranges grow with the segments. So
the segment of an id is found by bisection, and a settlement whose ids all fall into one segment is
counted in one step.

What was carried on from an old segment lives in a newer one: of those there is a row for each run
of ids. Where rows overlap the newest segment's counts, for it was carried there last.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence

from posthouse.records import Copied, Put, Record, Settled


class _Carried:
    """The runs that were carried into one segment, in growing ids, and how many of them live."""

    __slots__ = ("count", "firsts", "lasts", "puts")

    def __init__(self) -> None:
        self.puts = 0
        self.firsts = array("Q")
        self.lasts = array("Q")
        self.count = 0

    def add(self, first_id: int, count: int) -> None:
        self.count += count
        self.puts += count
        # What was carried here before, and again now, has its row: rows never overlap.
        _, missing = self.meeting([(first_id, first_id + count - 1)])
        for first, last in missing:
            at = bisect_right(self.firsts, first)
            if at and self.lasts[at - 1] + 1 == first:
                self.lasts[at - 1] = last
            else:
                self.firsts.insert(at, first)
                self.lasts.insert(at, last)

    def holds(self, message_id: int) -> bool:
        at = bisect_right(self.firsts, message_id) - 1
        return at >= 0 and message_id <= self.lasts[at]

    def meeting(self, ranges: list[tuple[int, int]]) -> tuple[int, list[tuple[int, int]]]:
        """How many of these ids are here, and the others."""
        found = 0
        others: list[tuple[int, int]] = []
        for first, last in ranges:
            at = max(bisect_right(self.firsts, first) - 1, 0)
            while at < len(self.firsts) and self.firsts[at] <= last:
                low, high = max(first, self.firsts[at]), min(last, self.lasts[at])
                if low <= high:
                    found += high - low + 1
                    if first < low:
                        others.append((first, low - 1))
                    first = high + 1
                at += 1
            if first <= last:
                others.append((first, last))
        return found, others


class LiveTable:
    """Live messages per segment.

    Attributes:
        oldest: the number of the oldest segment there is.
        newest: the number of the segment being written.
        total: live messages in all of them.
        last_id: the highest message id seen.
    """

    __slots__ = (
        "_carried",
        "_carried_last",
        "_counts",
        "_firsts",
        "_numbers",
        "_puts",
        "last_id",
        "newest",
        "oldest",
        "total",
    )

    def __init__(self, oldest: int) -> None:
        self.oldest = oldest
        self.newest = oldest
        self.total = 0
        self.last_id = 0
        self._numbers: list[int] = []
        self._firsts: list[int] = []
        self._counts: list[int] = []
        self._puts: list[int] = []
        self._carried: dict[int, _Carried] = {}  # by segment, the newest last
        self._carried_last = 0

    def apply(self, segment: int, records: Iterable[Record]) -> None:
        """These records are durable in ``segment``, the newest one."""
        self.newest = max(self.newest, segment)
        for record in records:
            if isinstance(record, Put):
                if record.carried:
                    self.carry(segment, record.entries[0][0], len(record.entries))
                    continue
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
            self._puts.append(0)
        self._puts[-1] += count
        self.newest = max(self.newest, segment)
        self._counts[-1] += count
        self.total += count
        self.last_id = max(self.last_id, first_id + count - 1)

    def settle(self, ids: Sequence[int]) -> None:
        """These messages live no more. Ids of segments that are gone are ignored."""
        if self._carried and min(ids) <= self._carried_last:
            for message_id in ids:
                self.settle_range(message_id, message_id)
            return
        low = bisect_right(self._firsts, min(ids)) - 1
        high = bisect_right(self._firsts, max(ids)) - 1
        if low == high:
            self._drop(low, len(ids))
            return
        for message_id in ids:
            self._drop(bisect_right(self._firsts, message_id) - 1, 1)

    def settle_range(self, first: int, last: int) -> None:
        """The same for all ids from the first to the last."""
        if first > self._carried_last:
            self._settle_native(first, last)
            return
        left = [(first, last)]
        for carried in reversed(self._carried.values()):
            found, left = carried.meeting(left)
            # No more than live: a settlement may be read again behind its segment's end.
            found = min(found, carried.count)
            carried.count -= found
            self.total -= found
        for first, last in left:
            self._settle_native(first, last)

    def _settle_native(self, first: int, last: int) -> None:
        while first <= last:
            at = bisect_right(self._firsts, first)
            end = self._firsts[at] - 1 if at < len(self._firsts) else last
            end = min(end, last)
            self._drop(at - 1, end - first + 1)
            first = end + 1

    def carry(self, segment: int, first_id: int, count: int) -> None:
        """Live messages were written again in ``segment``, the newest one."""
        self.settle_range(first_id, first_id + count - 1)
        self.newest = max(self.newest, segment)
        self._carried.setdefault(segment, _Carried()).add(first_id, count)
        self._carried_last = max(self._carried_last, first_id + count - 1)
        self.total += count
        self.last_id = max(self.last_id, first_id + count - 1)

    def live_in(self, segment: int) -> int:
        """How many live messages a segment has."""
        carried = self._carried.get(segment)
        count = 0 if carried is None else carried.count
        if segment in self._numbers:
            count += self._counts[self._numbers.index(segment)]
        return count

    def put_in(self, segment: int) -> int:
        """How many messages were put there, or carried there."""
        carried = self._carried.get(segment)
        count = 0 if carried is None else carried.puts
        if segment in self._numbers:
            count += self._puts[self._numbers.index(segment)]
        return count

    def lives_in(self, segment: int) -> Callable[[int], bool]:
        """Tells of a live message's id whether the message is in this segment."""
        newer = [each for number, each in self._carried.items() if number > segment]
        carried = self._carried.get(segment)
        first, end = self._range_of(segment)

        def lives(message_id: int) -> bool:
            if any(each.holds(message_id) for each in newer):
                return False
            if carried is not None and carried.holds(message_id):
                return True
            return first <= message_id < end

        return lives

    def _range_of(self, segment: int) -> tuple[int, int]:
        """The ids that were given out there: the first, and the one after the last."""
        if segment not in self._numbers:
            return 0, 0
        at = self._numbers.index(segment)
        following = self._firsts[at + 1 : at + 2]
        return self._firsts[at], following[0] if following else self.last_id + 1

    def _drop(self, index: int, count: int) -> None:
        if index >= 0:
            count = min(count, self._counts[index])
            self._counts[index] -= count
            self.total -= count

    def needed_from(self) -> int:
        """The oldest segment with a live message, or else the newest of all."""
        needed = self.newest
        for number, count in zip(self._numbers, self._counts, strict=True):
            if count:
                needed = number
                break
        carried = [number for number, each in self._carried.items() if each.count]
        return min(needed, *carried) if carried else needed

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
            del self._numbers[0], self._firsts[0], self._counts[0], self._puts[0]
        gone = self._carried.pop(self.oldest, None)
        if gone is not None:
            self.total -= gone.count
            ends = [each.lasts[-1] for each in self._carried.values()]
            self._carried_last = max(ends, default=0)
        self.oldest += 1
