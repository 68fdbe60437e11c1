"""What producers outside have put lately, so that a put that comes again is not stored again.

A client numbers its puts: (producer, sequence) names each, and the log's Put records keep that.
This table is built by replay and kept up by the server; it is asked only for puts that a client
says it sends again. It forgets a producer's oldest puts first, and then whole producers, the one
that was silent longest first; a client resends nothing as old as that.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final

FIRST_PRODUCER: Final = 1 << 40
"""Producers outside are numbered from here; below are the lives of the broker itself."""

MOST_EACH: Final = 10_000
MOST_IN_ALL: Final = 200_000


class Producers:
    """The last puts of each producer: rows of (first sequence, how many, first id)."""

    __slots__ = ("_count", "_most_each", "_most_in_all", "_rows")

    def __init__(self, most_each: int = MOST_EACH, most_in_all: int = MOST_IN_ALL) -> None:
        self._rows: OrderedDict[int, deque[tuple[int, int, int]]] = OrderedDict()
        self._most_each = most_each
        self._most_in_all = most_in_all
        self._count = 0

    def note(self, producer: int, sequence: int, count: int, first_id: int) -> None:
        """``count`` puts with consecutive sequences were stored under consecutive ids."""
        if producer < FIRST_PRODUCER:
            return
        rows = self._rows.get(producer)
        if rows is None:
            rows = self._rows[producer] = deque()
        else:
            self._rows.move_to_end(producer)
        rows.append((sequence, count, first_id))
        self._count += 1
        if len(rows) > self._most_each:
            rows.popleft()
            self._count -= 1
        while self._count > self._most_in_all:
            _, gone = self._rows.popitem(last=False)
            self._count -= len(gone)

    def find(self, producer: int, sequence: int) -> int | None:
        """The id under which a put was stored; None if it was not, or is forgotten."""
        for first, count, first_id in reversed(self._rows.get(producer, ())):
            if first <= sequence < first + count:
                return first_id + sequence - first
        return None

    def __len__(self) -> int:
        return self._count
