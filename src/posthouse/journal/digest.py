"""What replaying a segment comes to, in columns: what recovery works with, and a checkpoint keeps.

The effects of a segment's records do not depend on all of their order: a put comes before
everything about its message, and a settlement is final. So there are the puts' places, then the
other records in their order, then the settlements; and of the catalog only what stands in it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from posthouse.errors import LogDamaged
from posthouse.journal.brief import BriefRecord, decode_brief, lone_put
from posthouse.journal.columns import BadRecord, is_run
from posthouse.journal.format import FLAG_CATALOG, FRAME_ALIGN
from posthouse.journal.frames import Frame
from posthouse.records import Accepted, Record, Remembered, Settled, Stored, Traits

OUTSIDE: Final = 1 << 32
"""Producers from this number on are not lives of the broker: their puts may be asked for."""


Rows: TypeAlias = "tuple[array[int], array[int], array[int], array[int], array[int]]"
ToldRows: TypeAlias = (
    "tuple[array[int], array[int], array[int], array[int], array[int], array[int]]"
)
_PLAIN: Final = Traits()


@dataclass(slots=True)
class Told:
    """What must be known of messages while they wait, a row for each message.

    Attributes:
        sizes: bytes of body and headers.
        due_ns, ranks, expires_ns, priorities: see `Traits`; 0 for none.
        keyed: 1 where there is more to know than is here: an ordering key.
    """

    sizes: array[int] = field(default_factory=lambda: array("I"))
    due_ns: array[int] = field(default_factory=lambda: array("Q"))
    ranks: array[int] = field(default_factory=lambda: array("Q"))
    expires_ns: array[int] = field(default_factory=lambda: array("Q"))
    priorities: array[int] = field(default_factory=lambda: array("B"))
    keyed: array[int] = field(default_factory=lambda: array("B"))

    def arrays(self) -> ToldRows:
        """The columns, in this order."""
        return (
            self.sizes,
            self.due_ns,
            self.ranks,
            self.expires_ns,
            self.priorities,
            self.keyed,
        )

    def add(self, sizes: Sequence[int], traits: Sequence[Traits | None]) -> None:
        """Messages join."""
        self.sizes.extend(sizes)
        if len(traits) == 1:
            self._add_one(traits[0] or _PLAIN)
            return
        same = traits.count(traits[0]) == len(traits)
        rows = [each or _PLAIN for each in (traits[:1] if same else traits)]
        times = len(traits) if same else 1
        self.due_ns.extend(array("Q", [each.due_ns for each in rows]) * times)
        self.ranks.extend(array("Q", [each.rank for each in rows]) * times)
        self.expires_ns.extend(array("Q", [each.expires_ns for each in rows]) * times)
        self.priorities.extend(array("B", [each.priority for each in rows]) * times)
        self.keyed.extend(array("B", [bool(each.key) for each in rows]) * times)

    def _add_one(self, traits: Traits) -> None:
        """`add`, but for the size: quicker than the making of arrays."""
        self.due_ns.append(traits.due_ns)
        self.ranks.append(traits.rank)
        self.expires_ns.append(traits.expires_ns)
        self.priorities.append(traits.priority)
        self.keyed.append(bool(traits.key))


@dataclass(slots=True)
class Columns:
    """The puts of one queue, a row for each record.

    Attributes:
        firsts: the first id of each.
        counts: how many messages each has.
        frames: the frames' offsets in units of 8 bytes.
        records: the records' offsets in their payloads.
        sizes: bytes of bodies and headers.
        told: of those of whose messages something must be known, what.
    """

    firsts: array[int] = field(default_factory=lambda: array("Q"))
    counts: array[int] = field(default_factory=lambda: array("I"))
    frames: array[int] = field(default_factory=lambda: array("I"))
    records: array[int] = field(default_factory=lambda: array("I"))
    sizes: array[int] = field(default_factory=lambda: array("Q"))
    told: Told | None = None

    def arrays(self) -> Rows:
        """The columns but ``told``, in this order."""
        return self.firsts, self.counts, self.frames, self.records, self.sizes

    def add(self, first: int, count: int, offset: int, record: int, size_bytes: int) -> None:
        """A record joins."""
        self.firsts.append(first)
        self.counts.append(count)
        self.frames.append(offset // FRAME_ALIGN)
        self.records.append(record)
        self.sizes.append(size_bytes)


@dataclass(slots=True)
class Ranges:
    """Ids, as ranges from the first to the last."""

    firsts: array[int] = field(default_factory=lambda: array("Q"))
    lasts: array[int] = field(default_factory=lambda: array("Q"))

    def add(self, first: int, last: int) -> None:
        """A range joins; one that goes on where the last one ended makes that longer."""
        if self.lasts and self.lasts[-1] + 1 == first:
            self.lasts[-1] = last
        else:
            self.firsts.append(first)
            self.lasts.append(last)


@dataclass(slots=True)
class Digest:
    """See the module.

    Attributes:
        segment: its number.
        next_sequence: of the group after it.
        oldest: what its last frame says of the segments that are needed.
        frames, records: how many.
        columns: puts by queue; with True as the second part of the key those of whose messages
            something must be known while they wait.
        carried: the same of puts that were written again.
        ranks: ids and ranks of carried messages that have a rank of their own, in pairs.
        puts: messages put here for the first time, and the first and last of their ids.
        voided: (sequence of the group, place in it, first id, count) of carried puts: what the
            attempts ring says of these messages from before that is not so any more.
        producers: (producer, sequence, count, first id) of puts from outside, those that were told
            again among them.
        catalog: what the catalog says.
        others: sequence of the group, place in it, record.
        settled: by queue.
    """

    segment: int
    next_sequence: int
    oldest: int = 0
    frames: int = 0
    records: int = 0
    columns: dict[tuple[int, bool], Columns] = field(default_factory=dict)
    carried: dict[tuple[int, bool], Columns] = field(default_factory=dict)
    ranks: array[int] = field(default_factory=lambda: array("Q"))
    puts: int = 0
    first_id: int = 0
    last_id: int = 0
    voided: list[tuple[int, int, int, int]] = field(default_factory=list)
    producers: list[tuple[int, int, int, int]] = field(default_factory=list)
    catalog: list[Record] = field(default_factory=list)
    others: list[tuple[int, int, Record]] = field(default_factory=list)
    settled: dict[int, Ranges] = field(default_factory=dict)

    def shift(self, by_bytes: int) -> None:
        """Its frames were written so many bytes further on."""
        by = by_bytes // FRAME_ALIGN
        for columns in (*self.columns.values(), *self.carried.values()):
            columns.frames = array("I", [frame + by for frame in columns.frames])

    def take(self, path: str, data: bytes, frames: Iterable[Frame], start: int = 0) -> None:
        """Take in these frames of a segment's bytes, of which ``data`` are those from ``start`` on.

        Raises:
            LogDamaged: a record does not decode, or says what cannot be.
        """
        for frame in frames:
            header, payload_at, end = frame.header, frame.start, frame.end
            if header.count == 1 and not header.flags:
                lone = lone_put(data, payload_at, end)
                if lone is not None:
                    self.oldest = header.oldest
                    self.next_sequence = header.sequence + 1
                    self.frames += 1
                    self.records += 1
                    self._lone_put(*lone, start + frame.offset)
                    continue
            try:
                records = decode_brief(data, payload_at, end, header.count)
            except BadRecord as error:
                raise LogDamaged(path, start + frame.offset, str(error)) from error
            self.oldest = header.oldest
            if header.flags & FLAG_CATALOG:
                self.catalog += [each for each in records if not isinstance(each, Stored)]
                continue
            self.next_sequence = header.sequence + 1
            self.frames += 1
            self.records += len(records)
            try:
                for index, record in enumerate(records):
                    self._add(record, header.sequence, index, start + frame.offset)
            except OverflowError as error:
                raise LogDamaged(path, start + frame.offset, str(error)) from error

    def _add(self, record: BriefRecord, sequence: int, index: int, offset: int) -> None:
        if isinstance(record, Stored):
            self._put(record, sequence, index, offset)
        elif isinstance(record, Settled):
            settled = self.settled.setdefault(record.queue, Ranges())
            ids = record.ids
            if is_run(ids):
                settled.add(ids[0], ids[-1])
            else:
                for message_id in ids:
                    settled.add(message_id, message_id)
        elif isinstance(record, Accepted):
            rows = zip(record.sequences, record.counts, record.ids, strict=True)
            self.producers += [(record.producer, *row) for row in rows]
        else:
            self.others.append((sequence, index, record))

    def _put(self, record: Stored, sequence: int, index: int, offset: int) -> None:
        first, count = record.first_id, record.count
        special = False
        if record.traits is not None:
            special = any(traits is not None and traits.notable for traits in record.traits)
            named = [
                (traits.dedup, first + at)
                for at, traits in enumerate(record.traits)
                if traits is not None and traits.dedup
            ]
            if named:
                names, ids = [name for name, _ in named], [number for _, number in named]
                self.others.append((sequence, index, Remembered(record.queue, names, ids)))
        kinds = self.carried if record.carried else self.columns
        columns = kinds.setdefault((record.queue, special), Columns())
        columns.add(first, count, offset, record.offset, record.size_bytes)
        if special and record.traits is not None:
            if columns.told is None:
                columns.told = Told()
            columns.told.add(record.sizes, record.traits)
        if record.carried:
            self.voided.append((sequence, index, first, count))
            for at, traits in enumerate(record.traits or ()):
                if traits is not None and traits.rank:
                    self.ranks.extend((first + at, traits.rank))
        else:
            self._new(first, count, record.producer, record.sequence)

    def _lone_put(
        self, queue: int, producer: int, sequence: int, first: int, size_bytes: int, offset: int
    ) -> None:
        """`_put` of one plain message in a frame of its own."""
        columns = self.columns.get((queue, False))
        if columns is None:
            columns = self.columns[queue, False] = Columns()
        columns.add(first, 1, offset, 0, size_bytes)
        self._new(first, 1, producer, sequence)

    def _new(self, first: int, count: int, producer: int, sequence: int) -> None:
        """Messages were put here for the first time."""
        self.first_id = self.first_id or first
        self.last_id = max(self.last_id, first + count - 1)
        self.puts += count
        if producer >= OUTSIDE:
            self.producers.append((producer, sequence, count, first))
