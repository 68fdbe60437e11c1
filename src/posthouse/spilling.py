"""What came back, was put off or moved, and is more than the cache may hold, leaves memory.

Where such a message stands on disk is not known any more: it is written again, as compaction does
with what lives in an old segment, and is known by the place of that copy from then on.

Invariants:
    1. A message leaves memory for `Cold` in the step that appends its copy, so there is no moment
       in which a verb does not find it; until the copy is durable `Cold` has it whole.
    2. One copy of a queue's at a time is on its way: the last copy is where a message lives.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from posthouse.core.carrying import Row, carried
from posthouse.core.cold import Cold
from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.core.waiting import size_of
from posthouse.journal.codec import size_bound
from posthouse.journal.group import Group
from posthouse.paging import Pager
from posthouse.records import Entry, Put

STEP_MESSAGES: Final = 1_000
STEP_BYTES: Final = 256 * 1024
FEW: Final = 1_000
"""A queue whose cache is not tiny keeps so many of them in memory whatever the others hold."""
_TINY_BYTES: Final = 1024 * 1024


class Spiller:
    """Writes again, batch by batch, what has to leave memory.

    Attributes:
        touched: queues to look at, by number.
    """

    def __init__(self, pager: Pager) -> None:
        self._pager = pager
        self._journal = pager.journal
        options = self._journal.options
        self._few = FEW if options.cache_bytes >= _TINY_BYTES else 0
        self._step_bytes = min(STEP_BYTES, options.segment_bytes // 16)
        self.touched: dict[int, QueueState] = {}
        self._writing: set[int] = set()

    def note(self, queue: QueueState) -> None:
        """Messages came into this queue's memory otherwise than by a put."""
        self.touched[queue.number] = queue

    def look(self) -> None:
        """A group is durable: see whether anything has to leave."""
        if self.touched:
            for queue in [*self.touched.values()]:
                # What is read for a taker would leave before he sees it, and be read again.
                if queue.number not in self._writing and not self._pager.busy(queue.number):
                    del self.touched[queue.number]
                    self._relieve(queue)

    def _relieve(self, queue: QueueState) -> None:
        if not queue.keeps_cold or not self._pager.crowded(queue) or self._stays(queue):
            return
        if self._journal.failure is not None or self._journal.room < 4 * self._step_bytes:
            return  # it stays in memory
        cold = queue.cold_for(partial(self._pager.read_placed, queue.number))
        leaving = self._shed(queue)
        if not leaving:
            return
        attempts = queue.attempts
        rows: list[Row] = [
            (entry, attempts.get(rank_of(entry), 0), due_ns, False) for entry, due_ns in leaving
        ]
        records = carried(queue.number, rows)
        if sum(map(size_bound, records)) > self._journal.room:
            for entry, due_ns in leaving:
                queue.arrive(entry, 0, due_ns)
            return
        group = self._journal.append(*records)
        assert group is not None  # only a journal that keeps nothing returns none
        cold.leave_memory(leaving)
        self._writing.add(queue.number)
        start = len(group.records) - len(records)
        group.effects.append(partial(self._written, queue, cold, group, start, len(records), rows))

    def _stays(self, queue: QueueState) -> bool:
        """Whether it is not worth the while: a plain queue would be one no more."""
        if queue.rich is not None:
            return False
        moved = len(queue.ready) if queue.ready and queue.ready[-1][4] is not None else 0
        return len(queue.delayed) + moved <= self._few

    def _shed(self, queue: QueueState) -> list[tuple[Entry, int]]:
        rich = queue.rich
        leaving: list[tuple[Entry, int]] = []
        size_bytes = 0
        while rich is not None and len(leaving) < STEP_MESSAGES and size_bytes < self._step_bytes:
            found = rich.shed(self._few)
            if found is None:
                break
            leaving.append(found)
            size_bytes += size_of(found[0])
        return leaving

    def _written(
        self, queue: QueueState, cold: Cold, group: Group, start: int, count: int, rows: list[Row]
    ) -> None:
        due = {row[0][0]: row[2] for row in rows}
        for index in range(start, start + count):
            record = group.records[index]
            if isinstance(record, Put):
                run = record.entries[0][0], len(record.entries), group.offset, group.offsets[index]
                for entry in record.entries:
                    cold.written(entry, due[entry[0]], group.segment, run)
        self._writing.discard(queue.number)
        self.note(queue)
