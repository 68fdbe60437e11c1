"""Repair: all that can be read of a damaged log, as a new log, and a list of what was lost.

The damaged log is not touched. Its groups are written again, in order, into segments of their own:
so the new log has no gaps, and opens. What was in lost groups cannot be known whole: messages put
there are gone, and messages settled there come back, to be delivered again (at least once).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from posthouse.journal.codec import decode_payload
from posthouse.journal.columns import BadRecord
from posthouse.journal.directory import path_in
from posthouse.journal.files import Files
from posthouse.journal.format import FLAG_CATALOG, segment_name
from posthouse.journal.frames import Frame
from posthouse.journal.options import LogOptions
from posthouse.journal.ring import RingReplay, read_ring
from posthouse.journal.tools.check import format_faults, open_survey
from posthouse.journal.tools.comparing import Comparing
from posthouse.journal.tools.faults import Fault, Kind
from posthouse.journal.tools.losses import Ledger
from posthouse.journal.tools.merging import Mender
from posthouse.journal.tools.repaired import RepairReport, report_lines
from posthouse.journal.tools.survey import Progress, Survey, Surveyed, fault_of
from posthouse.journal.tools.target import begin_target, finish_target, held_still, write_whole
from posthouse.journal.tools.writing import LogWriter
from posthouse.records import Declared, Moved, Opened, Record, Returned, Settled

REPORT_NAME: Final = "repair-report.txt"
EPOCH_LEAP: Final = 1024
"""Openings that may have been in what was lost: no fencing token is given out twice."""

_LOSING: Final = frozenset(
    {
        Kind.SEGMENT_MISSING,
        Kind.FRAME,
        Kind.SHORT,
        Kind.SEQUENCE,
        Kind.RECORD,
    }
)


def repair_log(
    files: Files,
    source: str,
    target: str,
    now_ns: int,
    *,
    options: LogOptions | None = None,
    reading: Files | None = None,
    progress: Progress | None = None,
) -> RepairReport:
    """Salvage the log in ``source`` into the new or empty directory ``target``.

    ``reading`` are the files to read with (default: ``files``); ``options`` say how large the new
    segments are. The list of what was lost is also written into the target, as text.

    Raises:
        AlreadyOpen: a broker has the source open.
        BadArgument: the target is not empty, or not apart from the source.
        LogUnreadable: the source is no log, or of a newer format.
        OSError: a file cannot be read or written. The target is then not a log.
    """
    reading = reading or files
    survey = open_survey(reading, source, progress)
    with held_still(reading, source):
        report = RepairReport(source, target)
        report.faults += format_faults(reading, source, survey.listing)
        begin_target(files, target, source)
        # Nothing is durable, nor need be, before the end: the directory is no log until then.
        writer = LogWriter(files, target, replace(options or LogOptions(), sync="os"))
        try:
            _Repair(reading, survey, writer, report).run(now_ns)
            writer.close(now_ns)
        finally:
            writer.abandon()
        text = "\n".join(report_lines(report)) + "\n"
        write_whole(files, path_in(target, REPORT_NAME), text.encode(errors="backslashreplace"))
        finish_target(files, target)
    return report


class _Repair:
    """One pass over the source, writing as it reads."""

    def __init__(
        self, files: Files, survey: Survey, writer: LogWriter, report: RepairReport
    ) -> None:
        self._files = files
        self._survey = survey
        self._writer = writer
        self._report = report
        self._ledger = Ledger()
        self._mender = Mender(self._search)
        self._ring = RingReplay(read_ring(files, report.source))
        self._untold = True  # what the next catalog says is news
        self._oldest = 0
        self._comparing = Comparing(files, report.source)

    def run(self, now_ns: int) -> None:
        """Read everything and write what can be read."""
        report, ledger = self._report, self._ledger
        for found in self._survey:
            self._segment(found)
            self._comparing.segment(found)
        self._note_missing_oldest()
        compared = self._comparing.finish()
        report.checkpoints = [*map(str, compared.faults), *compared.notes]
        if not report.closed:
            # Deliveries that only the ring knows, as an opening after a crash takes them.
            deliveries: list[Record] = [*self._ring.deliveries(self._mender.epoch)]
            self._write(deliveries)
        if ledger.losses or not report.closed:
            self._write([Opened(self._mender.epoch + EPOCH_LEAP, now_ns)])
        ledger.finish()
        report.losses = ledger.losses
        report.messages, report.living = ledger.messages, ledger.living
        report.lost_ids = ledger.lost_ids
        report.invented = self._mender.invented

    def _segment(self, found: Surveyed) -> None:
        faults = list(found.faults)
        self._report.closed = found.closed
        self._report.torn_bytes = found.torn_bytes
        frames: list[Frame] = []
        broken: dict[int, Frame | None] = {}
        if found.salvage is not None:
            self._report.segments += 1
            frames = found.salvage.frames
            broken = {hole.start: hole.frame for hole in found.salvage.holes}
            if not faults:
                # Of a last segment that opens, cut at the first hole: here all is kept.
                faults = [fault_of(found, hole) for hole in found.salvage.holes]
        faults.sort(key=lambda fault: fault.offset)
        for frame in frames:
            while faults and faults[0].offset <= frame.offset:
                self._fault(found, faults.pop(0), broken)
            self._frame(found, frame)
        for fault in faults:
            self._fault(found, fault, broken)
        if found.header is not None:
            self._ledger.seen(found.header.last_id)
            self._writer.seen(found.header.last_id)

    def _fault(self, found: Surveyed, fault: Fault, broken: dict[int, Frame | None]) -> None:
        self._report.faults.append(fault)
        if fault.kind in _LOSING or fault.groups:
            self._ledger.lost(fault, found.data, broken.get(fault.offset))
            self._untold = True

    def _frame(self, found: Surveyed, frame: Frame) -> None:
        header = frame.header
        self._oldest = max(self._oldest, header.oldest)
        try:
            records = decode_payload(found.data, frame.start, frame.end, header.count)
        except BadRecord as error:
            place = (found.name, frame.offset, frame.end)
            sequence = header.sequence
            self._fault(found, Fault(Kind.RECORD, *place, str(error), sequence, sequence), {})
            return
        if header.flags & FLAG_CATALOG:
            if self._untold:
                self._write(self._mender.catalog(records))
            self._untold = False
            return
        self._report.groups += 1
        self._report.last_group = header.sequence
        self._report.records += len(records)
        for index, record in enumerate(records):
            self._ledger.note(record)
            self._note_delivered(record, header.sequence, index)
        self._write(self._mender.group(records))

    def _note_delivered(self, record: Record, sequence: int, index: int) -> None:
        match record:
            case Settled() | Returned():
                self._ring.forget(record.ids, sequence, index)
            case Moved():
                self._ring.forget([record.id], sequence, index)
                self._ring.moved(record.id, record.traits.rank)
            case _:
                pass

    def _write(self, records: list[Record]) -> None:
        if records:
            self._writer.add(records)

    def _note_missing_oldest(self) -> None:
        first = self._survey.listing.segments[:1]
        if not first or not 0 < self._oldest < first[0]:
            return
        for number in reversed(range(self._oldest, first[0])):
            what = "the segment is missing, and the last group that can be read needs it"
            fault = Fault(Kind.SEGMENT_MISSING, segment_name(number), 0, None, what)
            self._report.faults.insert(0, fault)
            self._ledger.lost_before(fault)

    def _search(self) -> dict[int, Declared]:
        """The declarations in all of the log; of each queue the first."""
        found: dict[int, Declared] = {}
        for segment in Survey(self._files, self._report.source):
            for frame in segment.salvage.frames if segment.salvage is not None else ():
                try:
                    count = frame.header.count
                    records = decode_payload(segment.data, frame.start, frame.end, count)
                except BadRecord:
                    continue
                for record in records:
                    if isinstance(record, Declared):
                        found.setdefault(record.queue, record)
        return found
