"""What a segment comes to, taken in: by the log itself, and by whoever rebuilds the state."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from posthouse.journal.catalog import Catalog
from posthouse.journal.digest import Digest, Rows, ToldRows
from posthouse.journal.live import LiveTable
from posthouse.journal.ring import RingReplay
from posthouse.records import Bound, Declared, Moved, Opened, Record, Returned


class Sink(Protocol):
    """Who rebuilds the state; called segment by segment, in this order."""

    def columns(
        self,
        queue: int,
        segment: int,
        rows: Rows,
        told: ToldRows | None,
        *,
        carried: bool,
    ) -> None:
        """Puts, as in `posthouse.journal.digest.Columns` and `Told`, which are his now.

        ``told``: None where nothing must be known of the messages while they wait.
        """

    def ranks(self, pairs: Sequence[int]) -> None:
        """Ids and ranks of carried messages that have a rank of their own, in turn."""

    def producers(self, rows: Iterable[tuple[int, int, int, int]]) -> None:
        """Puts from outside: (producer, sequence, count, first id)."""

    def apply(self, record: Record) -> None:
        """Any other record, in order."""

    def settled(self, queue: int, ranges: Iterable[tuple[int, int]]) -> None:
        """Messages left for good."""


class Absorber:
    """Takes digests in, one after the other.

    Attributes:
        epoch: of the last opening seen.
    """

    def __init__(self, sink: Sink, live: LiveTable, ring: RingReplay, catalog: Catalog) -> None:
        self._sink = sink
        self._live = live
        self._ring = ring
        self._catalog = catalog
        self.epoch = 0

    def note(self, digest: Digest, number: int) -> None:
        """Keep what the log itself must know; ``number`` is the segment that it lives in."""
        live, ring = self._live, self._ring
        for record in digest.catalog:
            self._note(record)
        if digest.puts:
            live.put(number, digest.first_id, digest.puts)
            live.last_id = max(live.last_id, digest.last_id)
        for columns in digest.carried.values():
            for first, count in zip(columns.firsts, columns.counts, strict=True):
                live.carry(number, first, count)
        for at in range(0, len(digest.ranks), 2):
            ring.moved(digest.ranks[at], digest.ranks[at + 1])
        for sequence, index, first, count in digest.voided:
            ring.forget(range(first, first + count), sequence, index)
        for sequence, index, record in digest.others:
            self._note(record)
            if isinstance(record, Returned):
                ring.forget(record.ids, sequence, index)
            elif isinstance(record, Moved):
                ring.forget([record.id], sequence, index)
                ring.moved(record.id, record.traits.rank)
        for settled in digest.settled.values():
            for first, last in zip(settled.firsts, settled.lasts, strict=True):
                live.settle_range(first, last)
                ring.settled(first, last)

    def _note(self, record: Record) -> None:
        if isinstance(record, (Declared, Bound)):
            self._catalog.note(record)
        elif isinstance(record, Opened):
            self.epoch = record.epoch

    def tell(self, digest: Digest, number: int, *, oldest: bool) -> None:
        """Give it to the sink; the catalog of the ``oldest`` segment only: others repeat."""
        sink = self._sink
        if oldest:
            for record in digest.catalog:
                sink.apply(record)
        for carried, kinds in ((False, digest.columns), (True, digest.carried)):
            for (queue, _), columns in kinds.items():
                rows, told = columns.arrays(), columns.told
                sink.columns(
                    queue, number, rows, None if told is None else told.arrays(), carried=carried
                )
        sink.ranks(digest.ranks)
        sink.producers(digest.producers)
        for _, _, record in digest.others:
            sink.apply(record)
        for queue, settled in digest.settled.items():
            sink.settled(queue, zip(settled.firsts, settled.lasts, strict=True))
