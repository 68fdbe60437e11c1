"""Reading a log back: everything is read and judged before anything is written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NoReturn

from posthouse.errors import LogDamaged, LogUnreadable
from posthouse.journal.absorb import Absorber, Sink
from posthouse.journal.catalog import Catalog
from posthouse.journal.checkpoint import read_checkpoint
from posthouse.journal.codec import decode_payload, encode_payload
from posthouse.journal.columns import BadRecord
from posthouse.journal.digest import Digest
from posthouse.journal.directory import Listing, path_in
from posthouse.journal.files import Files
from posthouse.journal.format import (
    FLAG_CATALOG,
    FORMAT_VERSION,
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    seed_of,
    segment_name,
)
from posthouse.journal.frames import Frame, Scan, scan_frames
from posthouse.journal.live import LiveTable
from posthouse.journal.options import SealedFrame
from posthouse.journal.ring import RingReplay
from posthouse.journal.verdicts import Findings, Verdict, judge
from posthouse.records import (
    Bound,
    Copied,
    Declared,
    Moved,
    Opened,
    Put,
    Record,
    Returned,
    Settled,
)


@dataclass(slots=True)
class RecoveryReport:
    """What opening a log found.

    Attributes:
        fresh: the log was made now.
        clean: it had been closed cleanly (or is fresh).
        segments: read.
        frames: commit groups read.
        records: read.
        truncated_bytes: what looked like a part of a last, unfinished group and was left out.
        truncated_at: path and offset where the log was cut, if it was not closed cleanly.
        attempts: deliveries known from the attempts ring only.
    """

    fresh: bool = False
    clean: bool = True
    segments: int = 0
    frames: int = 0
    records: int = 0
    truncated_bytes: int = 0
    truncated_at: tuple[str, int] | None = None
    attempts: int = 0


@dataclass(slots=True)
class Segment:
    """A segment as it was read: its file, its header, its bytes' scan."""

    path: str
    header: SegmentHeader
    size_bytes: int
    scan: Scan
    data: bytes


@dataclass(slots=True)
class Recovered:
    """All that reading the log found out.

    Attributes:
        last: the last segment.
        append: whether to go on in it, from ``cut_at`` on; else it ends there.
        cut_at: offset in the last segment, below which all is known to be on disk.
        tail: the frames of the last segment from there on, to be written again.
        next_sequence: of the next group.
        epoch: of the last opening.
        oldest: the oldest segment that is needed, by the last frame that says so.
        catalog: what every new segment begins with.
        live: live messages per segment; the tail's belong to the segment after the last.
    """

    last: Segment
    append: bool
    cut_at: int
    tail: list[SealedFrame] = field(default_factory=list)
    next_sequence: int = 1
    epoch: int = 0
    oldest: int = 0
    catalog: Catalog = field(default_factory=Catalog)
    live: LiveTable = field(default_factory=lambda: LiveTable(1))


def read_segment(
    files: Files, directory: str, number: int, end: int | None, expected: int | None
) -> Segment:
    """Read one segment up to ``end`` (None: it is the last one, read all of it).

    Raises:
        LogDamaged: its header is not sound, or not the one that belongs here.
        LogUnreadable: it is of a newer format.
    """
    path = path_in(directory, segment_name(number))
    fd = files.open(path)
    try:
        size = files.size(fd)
        data = files.pread(fd, size if end is None else min(end, size), 0)
    finally:
        files.close(fd)
    header = SegmentHeader.unpack(data)
    if header is None:
        raise LogDamaged(path, 0, "the segment's header is damaged")
    if header.version != FORMAT_VERSION:
        raise LogUnreadable(f"{path}: format {header.version} is not known to this posthouse")
    if header.number != number:
        raise LogDamaged(path, 0, f"this is segment {header.number} under another name")
    if expected is not None and header.first_sequence != expected:
        raise LogDamaged(
            path, 0, f"begins with group {header.first_sequence}; group {expected} is missing"
        )
    limit = len(data) if end is None else end
    scan = scan_frames(
        data,
        SEGMENT_HEADER_BYTES,
        min(limit, len(data)),
        seed_of(header.salt),
        header.first_sequence,
        reused=header.reused,
    )
    return Segment(path, header, size, scan, data)


def read_header(files: Files, directory: str, number: int) -> SegmentHeader:
    """Read a segment's header only.

    Raises:
        LogDamaged: it is not sound.
    """
    path = path_in(directory, segment_name(number))
    fd = files.open(path)
    try:
        header = SegmentHeader.unpack(files.pread(fd, SEGMENT_HEADER_BYTES, 0))
    finally:
        files.close(fd)
    if header is None:
        raise LogDamaged(path, 0, "the segment's header is damaged")
    return header


class Recovery:
    """One pass over a log, segment by segment.

    Without a ``sink`` every record is given to ``apply``. With one it gets what the segments come
    to, from their checkpoints where these are sound.

    Attributes:
        unchecked: sealed segments that had no sound checkpoint.
    """

    def __init__(
        self,
        files: Files,
        directory: str,
        listing: Listing,
        ring: RingReplay,
        apply: Callable[[Record], None],
        report: RecoveryReport,
        progress: Callable[[int, int], None] | None,
        sink: Sink | None = None,
    ) -> None:
        self._files = files
        self._directory = directory
        self._numbers = listing.segments
        self._ring = ring
        self._apply = apply
        self._report = report
        self._progress = progress
        self._live = LiveTable(listing.segments[0])
        self._catalog = Catalog()
        self._epoch = 0
        self._sequence = 1
        self._oldest = 0
        self._absorber = None if sink is None else Absorber(sink, self._live, ring, self._catalog)
        self.unchecked: list[int] = []

    def run(self) -> Recovered:
        """Read the log and apply its records in order.

        Raises:
            LogDamaged: it is not what was written.
            LogUnreadable: it is of a newer format.
        """
        expected: int | None = None
        salt = 0
        for index, number in enumerate(self._numbers):
            last = index == len(self._numbers) - 1
            following = None if last else read_header(self._files, self._directory, number + 1)
            end = None if following is None else following.previous_end
            if following is not None and self._absorber is not None:
                header = self._sealed(number, expected, salt, following, self._absorber)
                salt, expected = header.salt, self._sequence
                self._tell(index + 1)
                continue
            segment = read_segment(self._files, self._directory, number, end, expected)
            if salt and segment.header.previous_salt != salt:
                raise LogDamaged(segment.path, 0, "it does not follow the segment before it")
            salt = segment.header.salt
            self._live.newest = number
            self._live.last_id = max(self._live.last_id, segment.header.last_id)
            self._sequence = segment.header.first_sequence
            if following is None:
                return self._finish(segment)
            self._check(segment, end)
            self._replay(segment, segment.scan.frames, number)
            expected = self._sequence
            self._tell(index + 1)
        raise AssertionError("a log has a last segment")

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, len(self._numbers))

    def _sealed(
        self,
        number: int,
        expected: int | None,
        salt: int,
        following: SegmentHeader,
        absorber: Absorber,
    ) -> SegmentHeader:
        """Take in a segment that another one follows, by its checkpoint if it has a sound one."""
        header = read_header(self._files, self._directory, number)
        end = following.previous_end
        digest = None
        path = path_in(self._directory, segment_name(number))
        fits = expected is None or header.first_sequence == expected
        if (
            fits
            and header.version == FORMAT_VERSION
            and header.number == number
            and self._size(path) >= end  # what the checkpoint tells of must be there to be read
        ):
            digest = read_checkpoint(self._files, self._directory, header, end)
        if digest is None:
            segment = read_segment(self._files, self._directory, number, end, expected)
            self._check(segment, end)
            digest = Digest(number, header.first_sequence)
            digest.take(path, segment.data, segment.scan.frames)
            self.unchecked.append(number)
        if salt and header.previous_salt != salt:
            raise LogDamaged(path, 0, "it does not follow the segment before it")
        self._live.newest = number
        self._live.last_id = max(self._live.last_id, header.last_id)
        self._absorb(absorber, digest, number)
        self._report.segments += 1
        return header

    def _size(self, path: str) -> int:
        fd = self._files.open(path)
        try:
            return self._files.size(fd)
        finally:
            self._files.close(fd)

    def _absorb(
        self, absorber: Absorber, digest: Digest, number: int, *, noted: bool = False
    ) -> None:
        if not noted:
            absorber.note(digest, number)
        absorber.tell(digest, number, oldest=number == self._numbers[0])
        self._epoch = absorber.epoch
        self._sequence = digest.next_sequence
        self._oldest = digest.oldest
        self._report.frames += digest.frames
        self._report.records += digest.records

    def _absorb_last(
        self,
        absorber: Absorber,
        segment: Segment,
        kept: list[Frame],
        tail: list[Frame],
        *,
        append: bool,
    ) -> None:
        """Take in the last segment; its tail stands in a new one then, unless ``append``."""
        number = segment.header.number
        first = Digest(number, segment.header.first_sequence)
        first.take(segment.path, segment.data, [*kept, *tail] if append else kept)
        self._absorb(absorber, first, number)
        self._report.segments += 1 if segment.scan.frames else 0
        if append or not tail:
            return
        moved = Digest(number + 1, first.next_sequence, first.oldest)
        moved.take(segment.path, segment.data, tail)
        absorber.note(moved, number + 1)
        # Now it is known what stands before them there.
        catalog = [Opened(absorber.epoch, 0), *self._catalog.records()]
        start = SEGMENT_HEADER_BYTES + FRAME_HEADER_BYTES + len(encode_payload(catalog))
        moved.shift(start - tail[0].offset)
        self._absorb(absorber, moved, number + 1, noted=True)

    def _check(self, segment: Segment, end: int | None) -> Verdict:
        scan = segment.scan
        verdict, why = judge(
            Findings(
                sealed=end is not None,
                whole=scan.stop == end,
                catalog=bool(scan.frames),
                gap=scan.gap,
                proven=scan.stop < max(scan.proof, segment.header.published),
                followed=scan.proof > 0,
                closed=scan.closed,
                torn=scan.torn_bytes > 0,
            )
        )
        if verdict is Verdict.REFUSE:
            raise LogDamaged(segment.path, scan.stop, why)
        return verdict

    def _finish(self, segment: Segment) -> Recovered:
        """Judge and replay the last segment."""
        scan, number = segment.scan, segment.header.number
        append = self._check(segment, None) is Verdict.APPEND
        # Frames above the cut may be in the page cache only, that of a clean close included: they
        # are written again.
        cut_at = max(scan.durable_upto, segment.header.published)
        kept = [frame for frame in scan.frames if frame.offset < cut_at]
        tail = scan.frames[len(kept) :]
        if self._absorber is not None:
            self._absorb_last(self._absorber, segment, kept, tail, append=append)
        else:
            self._replay(segment, kept, number)
            self._replay(segment, tail, number if append else number + 1)
        if not append:
            self._report.clean = False
            self._report.truncated_at = (segment.path, scan.stop)
            self._report.truncated_bytes = scan.torn_bytes
        if self._oldest < self._numbers[0]:
            self._refuse_missing(segment, append)
        self._tell(len(self._numbers))
        return Recovered(
            last=segment,
            append=append,
            cut_at=cut_at,
            tail=[_sealed(segment.data, frame) for frame in tail],
            next_sequence=self._sequence,
            epoch=self._epoch,
            oldest=self._oldest,
            catalog=self._catalog,
            live=self._live,
        )

    def _refuse_missing(self, segment: Segment, closed: bool) -> NoReturn:
        """Segments are gone that, by the last sound frame, are needed."""
        name = segment_name(self._oldest)
        if not closed and segment.scan.torn_bytes:
            # Not a crash: a segment goes only when the frame that lets it go is on disk.
            why = f"a frame is damaged that was on disk before {name} could go, or that one is lost"
            raise LogDamaged(segment.path, segment.scan.stop, why)
        raise LogDamaged(path_in(self._directory, name), 0, "the segment is missing")

    def _replay(self, segment: Segment, frames: list[Frame], number: int) -> None:
        report = self._report
        report.segments += 1 if frames and frames[0].header.flags & FLAG_CATALOG else 0
        for frame in frames:
            header = frame.header
            try:
                records = decode_payload(segment.data, frame.start, frame.end, header.count)
            except BadRecord as error:
                raise LogDamaged(segment.path, frame.offset, str(error)) from error
            self._oldest = header.oldest
            # A catalog repeats what the segments before it said.
            repeats = header.flags & FLAG_CATALOG and number != self._numbers[0]
            if not header.flags & FLAG_CATALOG:
                self._sequence = header.sequence + 1
                report.frames += 1
                report.records += len(records)
            for index, record in enumerate(records):
                self._note(record, header.sequence, index, number)
                if not repeats:
                    self._apply(record)

    def _note(self, record: Record, sequence: int, index: int, number: int) -> None:
        """Keep what the log itself must know of a record."""
        match record:
            case Put():
                first_id, count = record.entries[0][0], len(record.entries)
                if record.carried:
                    self._live.carry(number, first_id, count)
                    for entry in record.entries:
                        if entry[4] is not None and entry[4].rank:
                            self._ring.moved(entry[0], entry[4].rank)
                    self._ring.forget(range(first_id, first_id + count), sequence, index)
                else:
                    self._live.put(number, first_id, count)
            case Copied():
                self._live.put(number, record.entry[0], 1)
            case Settled():
                self._live.settle(record.ids)
                self._ring.forget(record.ids, sequence, index)
            case Returned():
                self._ring.forget(record.ids, sequence, index)
            case Moved():
                self._ring.forget([record.id], sequence, index)
                self._ring.moved(record.id, record.traits.rank)
            case Declared() | Bound():
                self._catalog.note(record)
            case Opened():
                self._epoch = record.epoch
            case _:
                pass


def _sealed(data: bytes, frame: Frame) -> SealedFrame:
    header = frame.header
    return SealedFrame(
        payload=data[frame.start : frame.end],
        count=header.count,
        sequence=header.sequence,
        flags=header.flags,
        oldest=header.oldest,
    )
