"""Checking a log: every frame of every segment, the files around them, and what they add up to."""

from __future__ import annotations

from dataclasses import dataclass, field

from posthouse.errors import LogUnreadable
from posthouse.journal.codec import decode_payload
from posthouse.journal.columns import BadRecord
from posthouse.journal.directory import Listing, check_format, path_in
from posthouse.journal.files import Files
from posthouse.journal.format import FLAG_CATALOG, FORMAT_NAME, segment_name
from posthouse.journal.tools.comparing import Comparing
from posthouse.journal.tools.faults import Fault, Kind
from posthouse.journal.tools.queues import queues_of
from posthouse.journal.tools.survey import Progress, Survey, Surveyed
from posthouse.records import Declared


@dataclass(slots=True)
class CheckReport:
    """What a check found.

    Attributes:
        directory: which log.
        segments, groups, records, size_bytes: read, and sound.
        checkpoints: how many say what their segments say.
        closed: it was closed cleanly; else a broker has it open, or crashed.
        end: file and offset where its last sound group ends; None if there is none.
        torn_bytes: behind that, of what looks like a group that is being written, or that a crash
            interrupted: no damage, the next opening leaves it out.
        faults: what is wrong, in the order of the log.
        notes: what is unusual and no damage.
    """

    directory: str
    segments: int = 0
    groups: int = 0
    records: int = 0
    size_bytes: int = 0
    checkpoints: int = 0
    closed: bool = False
    end: tuple[str, int] | None = None
    torn_bytes: int = 0
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def sound(self) -> bool:
        """Nothing is wrong: a broker opens it, and all that was written is there."""
        return not self.faults


def check_log(files: Files, directory: str, progress: Progress | None = None) -> CheckReport:
    """Check the log in ``directory``, reading only; a broker may have it open meanwhile.

    Raises:
        LogUnreadable: there is no log, or one of a newer format.
        OSError: it cannot be read.
    """
    survey = open_survey(files, directory, progress)
    report = CheckReport(directory)
    report.faults += format_faults(files, directory, survey.listing)
    _note_files(survey.listing, report)
    if not survey.listing.segments:
        what = "all segments are missing"
        report.faults.append(Fault(Kind.SEGMENT_MISSING, segment_name(1), 0, None, what))
    check, comparing = _Check(report), Comparing(files, directory)
    for found in survey:
        check.segment(found)
        comparing.segment(found)
    oldest = survey.listing.segments[:1]
    if oldest and check.oldest < oldest[0] and not report.faults:
        name = segment_name(check.oldest)
        what = "the segment is missing, and the log's last group says that it is needed"
        report.faults.insert(0, Fault(Kind.SEGMENT_MISSING, name, 0, None, what))
    compared = comparing.finish()
    report.checkpoints = compared.sound
    report.faults += compared.faults
    report.notes += compared.notes
    return report


def open_survey(files: Files, directory: str, progress: Progress | None) -> Survey:
    """A survey of what should be a log.

    Raises:
        LogUnreadable: there is nothing like a log.
    """
    try:
        survey = Survey(files, directory, progress)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LogUnreadable(f"{directory}: there is no such directory") from error
    listing = survey.listing
    if not listing.formatted and not listing.segments:
        what = f"it holds {listing.foreign[0]!a}" if listing.foreign else "it is empty"
        raise LogUnreadable(f"{directory}: not a posthouse log: {what}")
    return survey


def format_faults(files: Files, directory: str, listing: Listing) -> list[Fault]:
    """What is wrong with the FORMAT file."""
    if not listing.formatted:
        return [Fault(Kind.FORMAT_MISSING, FORMAT_NAME, 0, None, "the file is missing")]
    try:
        check_format(files, directory)
    except LogUnreadable as error:
        what = str(error).removeprefix(f"{path_in(directory, FORMAT_NAME)}: ")
        return [Fault(Kind.FORMAT_FOREIGN, FORMAT_NAME, 0, None, what)]
    return []


def _note_files(listing: Listing, report: CheckReport) -> None:
    if listing.leftovers:
        names = ", ".join(listing.leftovers)
        report.notes.append(f"begun and not finished, removed at the next opening: {names}")
    if listing.foreign:
        shown = ", ".join(ascii(name) for name in listing.foreign[:5])
        report.notes.append(f"not the log's, and not looked at: {shown}")


class _Check:
    """What is known so far, segment by segment."""

    def __init__(self, report: CheckReport) -> None:
        self._report = report
        self._declared: set[int] = set()
        self.oldest = 0

    def segment(self, found: Surveyed) -> None:
        report = self._report
        report.faults += found.faults
        if found.salvage is None:
            return
        report.segments += 1
        for frame in found.salvage.frames if found.faults else found.unbroken:
            header = frame.header
            report.size_bytes += frame.end - frame.offset
            if not header.flags & FLAG_CATALOG:
                report.groups += 1
                report.records += header.count
            self.oldest = max(self.oldest, header.oldest)
            try:
                records = decode_payload(found.data, frame.start, frame.end, header.count)
            except BadRecord as error:
                self._add(Kind.RECORD, found, frame.offset, frame.end, str(error))
                continue
            for record in records:
                if isinstance(record, Declared):
                    self._declared.add(record.queue)
                unknown = [each for each in queues_of(record) if each not in self._declared]
                if unknown and not report.faults:
                    what = f"queue number {unknown[0]} is named before it is declared"
                    self._add(Kind.UNDECLARED, found, frame.offset, frame.end, what)
            report.end = (found.name, frame.end)
        report.closed = found.closed
        report.torn_bytes = found.torn_bytes

    def _add(self, kind: Kind, found: Surveyed, start: int, end: int, what: str) -> None:
        self._report.faults.append(Fault(kind, found.name, start, end, what))
