"""What producers outside have put lately, so that a put that comes again is not stored again.

A client numbers its puts: (producer, sequence) names each, and the log's Put records keep that.
This table is built by replay and kept up by the server; it is asked only for puts that a client
says it sends again. It forgets what the client has seen the answers of; then a producer's oldest
puts, and then whole producers, the one that was silent longest first: a client resends nothing as
old as that. What it knows only from a segment that is about to leave the log is told there again
(`carry`): the put may have been taken and settled, and still not be answered.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, TypeAlias

from posthouse.core.carried import Carried
from posthouse.model import NANOSECONDS

FIRST_PRODUCER: Final = 1 << 40
"""Producers outside are numbered from here; below are the lives of the broker itself."""

MOST_EACH: Final = 10_000
MOST_IN_ALL: Final = 200_000
KEPT_NS: Final = 3600 * NANOSECONDS
"""Of older puts it is not told again that they were stored."""

MOST_CARRIED: Final = 10_000
"""At most so many rows are told again at a time: the newest of who put last. What has no answer yet
is among these; telling more would hold the loop up."""

Row: TypeAlias = "tuple[int, int, int]"
"""(first sequence, how many, first id)."""


class Producers:
    """The last puts of each producer."""

    __slots__ = (
        "_carried",
        "_count",
        "_most_carried",
        "_most_each",
        "_most_in_all",
        "_rows",
    )

    def __init__(
        self,
        most_each: int = MOST_EACH,
        most_in_all: int = MOST_IN_ALL,
        most_carried: int = MOST_CARRIED,
    ) -> None:
        self._rows: OrderedDict[int, deque[Row]] = OrderedDict()
        self._most_each = most_each
        self._most_in_all = most_in_all
        self._most_carried = most_carried
        self._count = 0
        self._carried = Carried()

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

    def seen(self, producer: int, below: int) -> None:
        """A client has the answers of all its puts below this sequence: none comes again."""
        rows = self._rows.get(producer)
        if rows is None:
            return
        while rows and rows[0][0] + rows[0][1] <= below:
            rows.popleft()
            self._count -= 1
        if not rows:
            del self._rows[producer]

    def carry(self, first_id: int, last_id: int, now_ns: int) -> list[tuple[int, list[Row]]]:
        """The puts that only records below ``first_id`` tell of, by producer.

        They are told again now, in records after ``last_id``; when those are about to leave the
        log as well they are carried once more.
        """
        low = max(now_ns - KEPT_NS, self._carried.low(first_id))
        left = self._most_carried
        carried: list[tuple[int, list[Row]]] = []
        for producer, rows in reversed(self._rows.items()):
            # After a restart what was carried is there twice, as long as its first segment is.
            told = {row for row in rows if low <= row[2] < first_id}
            if told:
                carried.append((producer, sorted(told)[-left:]))
                left -= min(left, len(told))
                if not left:
                    break
        if carried:
            self._carried.note(first_id, last_id)
        return carried

    def forget(self, producer: int) -> None:
        """Its session is over: it sends nothing again."""
        self._count -= len(self._rows.pop(producer, ()))

    def __len__(self) -> int:
        return self._count
