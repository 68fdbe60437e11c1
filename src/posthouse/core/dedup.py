"""Dedup ids: a second put of one within the window is the first one, again."""

from __future__ import annotations

from collections import OrderedDict
from operator import itemgetter

from posthouse.core.carried import Carried
from posthouse.model import MAX_DEDUP_IDS


class DedupWindow:
    """The dedup ids of a queue, oldest first: at most a million, each for so long.

    Attributes:
        hits: puts that were answered with an earlier one's id.
        evicted: ids that left before their time because there were too many.
    """

    __slots__ = ("_carried", "_ids", "_most", "evicted", "hits", "window_ns")

    def __init__(self, window_ns: int, most: int = MAX_DEDUP_IDS) -> None:
        self.window_ns = window_ns
        self._most = most
        # Not a dict: taking its oldest again and again walks over what was taken before.
        self._ids: OrderedDict[str, int] = OrderedDict()
        self._carried = Carried()
        self.hits = 0
        self.evicted = 0

    def find(self, dedup: str, now_ns: int) -> int:
        """The id of the message that was put with this dedup id; 0 if there is none."""
        self.forget(now_ns)
        found = self._ids.get(dedup, 0)
        if found:
            self.hits += 1
        return found

    def remember(self, dedup: str, message_id: int) -> None:
        """A message was put with a dedup id. Its id is the time from which the window counts."""
        self._ids.pop(dedup, None)  # to the end: the order is by age
        self._ids[dedup] = message_id
        if len(self._ids) > self._most:
            self._ids.popitem(last=False)
            self.evicted += 1

    def forget(self, now_ns: int) -> None:
        """Drop what is older than the window."""
        oldest = now_ns - self.window_ns
        while self._ids:
            dedup = next(iter(self._ids))
            if self._ids[dedup] > oldest:
                break
            del self._ids[dedup]

    def carry(self, first_id: int, last_id: int, now_ns: int) -> list[tuple[str, int]]:
        """The dedup ids that only records below ``first_id`` tell of: (dedup id, message id).

        They are written again now, in a record after ``last_id``; when that one is about to leave
        the log as well they are carried once more.
        """
        self.forget(now_ns)
        low = self._carried.low(first_id)
        carried: list[tuple[str, int]] = []
        for dedup, number in self._ids.items():
            if number >= first_id:
                break
            if number >= low:
                carried.append((dedup, number))
        if carried:
            self._carried.note(first_id, last_id)
        return carried

    def knows(self, dedup: str, now_ns: int) -> bool:
        """Whether a put with this dedup id would be answered with an earlier one's."""
        return self._ids.get(dedup, 0) > now_ns - self.window_ns

    def replayed(self, now_ns: int) -> None:
        """Recovery has told all it knows: by age again, and only what is young enough.

        A record that carried dedup ids on comes after puts that are younger than they.
        """
        pairs = sorted(self._ids.items(), key=itemgetter(1))
        self._ids = OrderedDict(pairs)
        self.evicted = 0
        self.forget(now_ns)

    def __len__(self) -> int:
        return len(self._ids)
