"""Reading a log out: every record of every group, in order, and the places that cannot be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from posthouse.errors import BadArgument
from posthouse.journal.codec import decode_payload
from posthouse.journal.columns import BadRecord
from posthouse.journal.directory import path_in
from posthouse.journal.files import Files
from posthouse.journal.format import SegmentHeader, segment_name
from posthouse.journal.frames import Frame
from posthouse.journal.tools.check import open_survey
from posthouse.journal.tools.faults import Fault, Kind
from posthouse.journal.tools.survey import Surveyed
from posthouse.records import Declared, Record


@dataclass(slots=True, frozen=True)
class DumpedSegment:
    """A segment begins: what its header says (None: it is damaged)."""

    name: str
    header: SegmentHeader | None


@dataclass(slots=True, frozen=True)
class DumpedFrame:
    """A group, a catalog or a marker, with its records."""

    name: str
    frame: Frame
    records: list[Record]


Dumped = DumpedSegment | DumpedFrame | Fault


class Dump:
    """What a log holds; iterate over it. Only one segment is in memory at a time.

    ``segment``: only this one.

    Attributes:
        names: of the queues that were declared so far, by number.
    """

    def __init__(self, files: Files, directory: str, segment: int | None = None) -> None:
        """
        Raises:
            LogUnreadable: there is no log.
            BadArgument: it has no such segment.
        """
        self.names: dict[int, str] = {}
        self._survey = open_survey(files, directory, None)
        numbers = self._survey.listing.segments
        if segment is not None and segment not in numbers:
            there = f"{numbers[0]} to {numbers[-1]}" if numbers else "none"
            path = path_in(directory, segment_name(segment))
            raise BadArgument(f"there is no {path}; there are segments {there}")
        if segment is not None:
            self._survey.narrow(segment)

    def __iter__(self) -> Iterator[Dumped]:
        for found in self._survey:
            yield from self._segment(found)

    def _segment(self, found: Surveyed) -> Iterator[Dumped]:
        yield DumpedSegment(found.name, found.header)
        faults = sorted(found.faults, key=lambda fault: fault.offset)
        for frame in found.salvage.frames if found.salvage is not None else ():
            while faults and faults[0].offset <= frame.offset:
                yield faults.pop(0)
            yield self._frame(found, frame)
        yield from faults

    def _frame(self, found: Surveyed, frame: Frame) -> Dumped:
        header = frame.header
        try:
            records = decode_payload(found.data, frame.start, frame.end, header.count)
        except BadRecord as error:
            return Fault(Kind.RECORD, found.name, frame.offset, frame.end, str(error))
        for record in records:
            if isinstance(record, Declared):
                self.names[record.queue] = record.name
        return DumpedFrame(found.name, frame, records)
