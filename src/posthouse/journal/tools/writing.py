"""Writing a new log from records, group by group, with the broker's own writing side."""

from __future__ import annotations

from posthouse.journal.catalog import Catalog
from posthouse.journal.codec import encode_payload
from posthouse.journal.disk import Disk
from posthouse.journal.files import Files
from posthouse.journal.format import (
    FLAG_CLOSED,
    FRAME_HEADER_BYTES,
    MIN_SEGMENT_BYTES,
    SegmentHeader,
)
from posthouse.journal.options import LogOptions, Roll, SealedFrame
from posthouse.records import Bound, Closed, Copied, Declared, Opened, Put, Record


class LogWriter:
    """Writes groups into segments of a directory, which must be empty.

    Everything is on disk only after `close`.
    """

    def __init__(self, files: Files, directory: str, options: LogOptions) -> None:
        self._options = options
        self._disk = Disk(files, directory, options)
        self._catalog = Catalog()
        self._opened = Opened(1, 0)
        self._last_id = 0
        self._sequence = 1
        self._begun = False

    def seen(self, last_id: int) -> None:
        """Message ids up to this one were given out, whether or not they are written here."""
        self._last_id = max(self._last_id, last_id)

    def add(self, records: list[Record]) -> None:
        """Write one group.

        Raises:
            OSError: it cannot be written.
        """
        self._write(records, 0)

    def close(self, now_ns: int) -> None:
        """Write the group of a clean close; all is on disk on return.

        Raises:
            OSError: it is not.
        """
        self._write([Closed(now_ns)], FLAG_CLOSED)
        self._disk.close()

    def abandon(self) -> None:
        """Close the files as they are."""
        self._disk.close()

    def _write(self, records: list[Record], flags: int) -> None:
        payload = encode_payload(records)
        sealed = SealedFrame(payload, len(records), self._sequence, flags, 1)
        if not self._begun:
            self._begin()
        roll = None
        size = FRAME_HEADER_BYTES + len(payload)
        if self._disk.position + size > self._options.segment_bytes and self._sequence > 1:
            catalog: list[Record] = [self._opened, *self._catalog.records()]
            roll = Roll(self._disk.make_spare(MIN_SEGMENT_BYTES), catalog, self._last_id)
        self._disk.write(sealed, roll)
        self._sequence += 1
        for record in records:
            self._note(record)

    def _begin(self) -> None:
        header = SegmentHeader(
            number=1,
            salt=self._options.salt(),
            first_sequence=1,
            previous_end=0,
            previous_salt=0,
            last_id=self._last_id,
            published=0,
            reused=False,
        )
        self._disk.begin(self._disk.make_spare(MIN_SEGMENT_BYTES), header, [], 1, [])
        self._begun = True

    def _note(self, record: Record) -> None:
        match record:
            case Put():
                self._last_id = max(self._last_id, record.entries[-1][0])
            case Copied():
                self._last_id = max(self._last_id, record.entry[0])
            case Declared() | Bound():
                self._catalog.note(record)
            case Opened():
                self._opened = record
            case _:
                pass
