"""Rows of messages on disk by what the log tells of them: no message is read.

Recovery gets the puts of a segment as columns, a row for each record; and of those of whose
messages something must be known while they wait, that too, a row for each message. Of both
together `Placed` rows are made, at C speed as far as that goes: a backlog of millions is made so
at every opening.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple, TypeAlias

from posthouse.core.packed import Column, each, lengthened, shortened
from posthouse.core.pages import Range
from posthouse.core.places import ID, RANK, Columns, Placed, columns_of
from posthouse.core.sorting import climbs, without
from posthouse.model import FOREVER_NS
from posthouse.records import Entry, Traits

Rows: TypeAlias = "tuple[array[int], array[int], array[int], array[int], array[int]]"
"""A row for each record: first id, how many messages, offset of the frame in units of
`FRAME_UNIT`, offset of the record in the payload, bytes of bodies and headers."""

ToldRows: TypeAlias = (
    "tuple[array[int], array[int], array[int], array[int], array[int], array[int]]"
)
"""A row for each message: bytes of body and headers, due time, rank, expiry, priority (0 for none
of these), and 1 where it has an ordering key."""

NOWHERE: Final = -1
STUB: Final = -2


class Judge(NamedTuple):
    """Tells what becomes of messages.

    Attributes:
        stays: of one, until when it is delayed (0: it is not), None where it has to be in memory,
            `STUB` where it has to be but for its body, or `NOWHERE` if there is a newer copy.
        odd: of messages with these ids (in growing order) and ranks those that ``stays`` must be
            asked of, and perhaps others; all else is a row by its traits alone. None: all of them.
        now_ns: what is due by then waits like any other.
    """

    stays: Callable[[Entry], int | None]
    odd: Callable[[array[int], array[int]], Iterable[int]] | None
    now_ns: int


class Places(NamedTuple):
    """Where the messages of a table stand, a row for each record: see `Rows`."""

    segment: int
    firsts: array[int]
    counts: Column
    frames: array[int]
    records: Column


class Told:
    """What is told of the messages of one table; columns that are the same throughout are short."""

    __slots__ = ("_due_ns", "_expires_ns", "_keyed", "_priorities", "_ranks", "_sizes")

    def __init__(self, columns: ToldRows) -> None:
        short = tuple(map(shortened, columns))
        self._sizes, self._due_ns, self._ranks = short[:3]
        self._expires_ns, self._priorities, self._keyed = short[3:]

    @property
    def all_keyed(self) -> bool:
        """Whether nothing of it can be a row."""
        return self._keyed == 1

    def settle(
        self, places: Places, gone: Sequence[Range], judge: Judge
    ) -> tuple[list[Columns], list[int]]:
        """The rows of the messages at these places without those ``gone`` (ranges, in order and
        apart), and the ids of those that have to be read.
        """
        columns, keyed = self._columns(places, judge.now_ns)
        ids = columns[ID]
        out = bytearray(len(ids))  # 1: no row by its traits alone
        for first, last in gone:
            start, end = bisect_left(ids, first), bisect_right(ids, last)
            if start < end:
                out[start:end] = b"\1" * (end - start)
        wanted = [ids[at] for at, key in enumerate(keyed) if key and not out[at]]
        for at in [bisect_left(ids, number) for number in wanted]:
            out[at] = 1
        rows: list[Placed] = []
        for number in judge.odd(ids, columns[RANK]) if judge.odd is not None else ():
            at = bisect_left(ids, number)
            if at == len(ids) or ids[at] != number or out[at]:
                continue
            out[at] = 1
            row = Placed(*(column[at] for column in columns))
            due_ns = judge.stays(_entry_of(row))
            if due_ns is None:
                wanted.append(number)
            elif due_ns != NOWHERE:
                rows.append(Placed(due_ns or row.rank, *row[1:]))
        parts = [without(columns, out), columns_of(rows)]
        return [each for each in parts if each[ID]], wanted

    def _columns(self, places: Places, now_ns: int) -> tuple[Columns, Sequence[int]]:
        """The rows of all of it, in growing id, and whether they have a key: () if none has.

        Columns that are the same are one array (see `in_groups`), which must not be changed.
        """
        ids, frames, records = _spread(places)
        rows = len(ids)
        ranks = ids
        if self._ranks:
            ranks = array("Q", [a or b for a, b in zip(each(self._ranks), ids, strict=False)])
        keys = ranks
        if self._due_ns:
            due = lengthened(self._due_ns, rows, "Q")
            keys = due if min(due) > now_ns else _keys_of(due, ranks, now_ns)
        expires_ns = lengthened(self._expires_ns or FOREVER_NS, rows, "Q")
        if 0 in expires_ns:
            expires_ns = array("Q", [at or FOREVER_NS for at in expires_ns])
        columns: Columns = (
            keys,
            ranks,
            ids,
            array("I", [places.segment]) * rows,
            frames,
            records,
            lengthened(self._sizes, rows, "I"),
            expires_ns,
            lengthened(self._priorities, rows, "B"),
        )
        keyed = () if self._keyed == 0 else lengthened(self._keyed, rows, "B")
        if climbs(places.firsts):  # records do not overlap
            return columns, keyed
        order = sorted(range(rows), key=ids.__getitem__)
        columns = tuple(array(c.typecode, map(c.__getitem__, order)) for c in columns)
        return columns, [keyed[at] for at in order] if keyed else ()


def _spread(places: Places) -> tuple[array[int], array[int], array[int]]:
    """Ids, frames and records, a row for each message."""
    if places.counts == 1:
        rows = len(places.firsts)
        return places.firsts, places.frames, lengthened(places.records, rows)
    ids, frames, records = array("Q"), array("I"), array("I")
    rest = each(places.counts), places.frames, each(places.records)
    for first, count, frame, record in zip(places.firsts, *rest, strict=False):
        ids.extend(range(first, first + count))
        frames.extend(array("I", [frame]) * count)
        records.extend(array("I", [record]) * count)
    return ids, frames, records


def _keys_of(due: array[int], ranks: array[int], now_ns: int) -> array[int]:
    return array("Q", [at if at > now_ns else rank for at, rank in zip(due, ranks, strict=True)])


def _entry_of(row: Placed) -> Entry:
    """What is known of a message that is not read."""
    due_ns = row.key if row.key != row.rank else 0
    rank = row.rank if row.rank != row.id else 0
    expires_ns = 0 if row.expires_ns == FOREVER_NS else row.expires_ns
    traits = Traits(due_ns, rank, priority=row.priority, expires_ns=expires_ns)
    return row.id, 0, b"", b"", traits
