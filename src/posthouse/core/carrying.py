"""What is written again of messages whose segment is to leave: as they are now.

A `Put` that is marked as carried says all of a message but its attempts and due time; a `Returned`
behind it does, where there is something to say, or a `Delivered` for one that is in flight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeAlias

from posthouse.core.leases import BatchLease
from posthouse.core.orders import part_of, rank_of
from posthouse.core.queue import QueueState
from posthouse.core.rich import RichOrder
from posthouse.records import Delivered, Entry, Put, Record, Returned

Row: TypeAlias = "tuple[Entry, int, int, bool]"
"""(message, attempts, due time or 0, whether it is in flight)."""


def parts_in_memory(
    queue: QueueState, reservations: Callable[[], Iterable[list[Entry]]], most: int
) -> Iterator[list[Row]]:
    """All messages of a queue that are in memory, in no order, about ``most`` looked at at a time.

    A part is as it is in the step in which it is asked for. Between two parts anything may change:
    then some messages may be missing, or be there again. ``reservations()`` is what iterators have
    set aside. What is seen only when its record is durable is not among them.
    """
    yield from _leased(queue, most)
    yield from _delayed(queue, most)
    attempts = queue.attempts
    for reserved in list(reservations()):
        yield [(entry, attempts.get(rank_of(entry), 0), 0, False) for entry in reserved]
    if queue.rich is None:
        yield from _plain(queue, most)
    # It may be what it was not before.
    if queue.rich is not None:
        yield from _rich(queue, queue.rich, most)


def _leased(queue: QueueState, most: int) -> Iterator[list[Row]]:
    part: list[Row] = []
    for token in list(queue.leases):
        lease = queue.leases.get(token)
        if isinstance(lease, BatchLease):
            part += [(entry, count, 0, True) for entry, count in lease.pairs().values()]
        elif lease is not None:
            part.append((lease[2], lease[3], 0, True))
        if len(part) >= most:
            yield part
            part = []
    yield part


def _delayed(queue: QueueState, most: int) -> Iterator[list[Row]]:
    at = 0
    while rows := queue.delayed[at : at + most]:
        attempts = queue.attempts
        stubs = None if queue.rich is None else queue.rich.stubs
        if stubs is not None:
            seen = [(due_ns, rank, stubs.whole(entry)) for due_ns, rank, entry in rows]
            rows = [(due_ns, rank, entry) for due_ns, rank, entry in seen if entry is not None]
        yield [(entry, attempts.get(rank, 0), due_ns, False) for due_ns, rank, entry in rows]
        at += most


def _plain(queue: QueueState, most: int) -> Iterator[list[Row]]:
    attempts = queue.attempts
    at = 0
    while rows := queue.returned[at : at + most]:
        yield [(entry, attempts.get(rank, 0), 0, False) for rank, entry in rows]
        at += most
    at = 0
    while entries := part_of(queue.ready, at, most):
        yield [(entry, attempts.get(rank_of(entry), 0), 0, False) for entry in entries]
        at += most


def _rich(queue: QueueState, rich: RichOrder, most: int) -> Iterator[list[Row]]:
    attempts = queue.attempts
    at = 0
    while not at or at < rich.stands:
        yield [
            (entry, attempts.get(rank_of(entry), 0), rich.due_of(entry), False)
            for entry in rich.part(at, most)
        ]
        at += most
    for entries in rich.keys.parts(most):
        yield [
            (entry, attempts.get(rank_of(entry), 0), rich.due_of(entry), False)
            for entry in rich.there(entries)
        ]


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
    back = [row for row in rows if not row[3] and (row[1] or row[2] or _had(row[0]))]
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


def _had(entry: Entry) -> bool:
    # What its traits say of a delay must not count again; and what is told of it before in the
    # same segment was perhaps of another life, before it moved: see `Rebuild`.
    return entry[4] is not None and (entry[4].due_ns > 0 or entry[4].rank > 0)
