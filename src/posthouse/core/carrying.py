"""What is written again of messages whose segment is to leave: as they are now.

A `Put` that is marked as carried says all of a message but its attempts and due time; a `Returned`
behind it does, where there is something to say, or a `Delivered` for one that is in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TypeAlias

from posthouse.core.leases import BatchLease
from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.records import Delivered, Entry, Put, Record, Returned

Row: TypeAlias = "tuple[Entry, int, int, bool]"
"""(message, attempts, due time or 0, whether it is in flight)."""


def in_memory(queue: QueueState, reservations: Iterable[list[Entry]]) -> Iterator[Row]:
    """All messages of a queue that are in memory, in no order; nothing may change meanwhile.

    ``reservations`` is what iterators have set aside. What is seen only when its record is durable
    is not among them.
    """
    attempts = queue.attempts
    for lease in queue.leases.values():
        if isinstance(lease, BatchLease):
            for entry, count in lease.pairs().values():
                yield entry, count, 0, True
        else:
            yield lease[2], lease[3], 0, True
    for due_ns, rank, entry in queue.delayed:
        yield entry, attempts.get(rank, 0), due_ns, False
    for reserved in reservations:
        for entry in reserved:
            yield entry, attempts.get(rank_of(entry), 0), 0, False
    rich = queue.rich
    if rich is not None:
        for entry in rich.unordered():
            yield entry, attempts.get(rank_of(entry), 0), rich.due_of(entry), False
        return
    for rank, entry in queue.returned:
        yield entry, attempts.get(rank, 0), 0, False
    for entry in queue.ready:
        yield entry, attempts.get(rank_of(entry), 0) if attempts else 0, 0, False


def next_in_memory(
    queue: QueueState,
    reservations: Iterable[list[Entry]],
    lives: Callable[[int], bool],
    most: int,
) -> list[Row]:
    """The first of these for whose ids ``lives`` is true."""
    found = (row for row in in_memory(queue, reservations) if lives(row[0][0]))
    return list(islice(found, most))


def carried(queue: int, rows: list[Row]) -> list[Record]:
    """The records that say all of these messages, as they are."""
    rows.sort(key=lambda row: row[0][0])
    records: list[Record] = []
    entries: list[Entry] = []
    for entry, _, _, _ in rows:
        if entries and (entry[0] != entries[-1][0] + 1 or _notable(entry) != _notable(entries[0])):
            records.append(Put(queue, 0, 0, entries, True))
            entries = []
        entries.append(entry)
    if entries:
        records.append(Put(queue, 0, 0, entries, True))
    back = [row for row in rows if not row[3] and (row[1] or row[2])]
    if back:
        ids = [entry[0] for entry, _, _, _ in back]
        records.append(Returned(queue, ids, [row[1] for row in back], [row[2] for row in back]))
    out = [row for row in rows if row[3]]
    if out:
        ranks = [rank_of(entry) for entry, _, _, _ in out]
        records.append(Delivered(queue, ranks, [row[1] for row in out]))
    return records


def _notable(entry: Entry) -> bool:
    return entry[4] is not None and entry[4].notable
