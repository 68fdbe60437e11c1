"""A log's directory, segment by segment: what can be read and what is wrong with it.

Nothing is written and no lock is needed: a log may be read while a broker writes it. Bytes that
were read just before they were written can look like damage then, so a segment with faults is read
again until two readings agree; and a segment may go, when nothing in it is needed any more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from posthouse.errors import LogUnreadable
from posthouse.journal.directory import Listing, list_directory, path_in
from posthouse.journal.files import Files
from posthouse.journal.format import (
    FORMAT_VERSION,
    SEGMENT_HEADER_BYTES,
    SegmentHeader,
    seed_of,
    segment_name,
)
from posthouse.journal.frames import Frame, scan_frames
from posthouse.journal.tools.faults import Fault, Kind
from posthouse.journal.tools.salvage import Hole, Salvage, salvage
from posthouse.journal.tools.seed import find_seed
from posthouse.journal.verdicts import Findings, Verdict, judge

_READINGS: Final = 5
Progress = Callable[[int, int], None]
"""Told (segments done, segments)."""

Skip = Callable[[SegmentHeader, int], bool]
"""Asked whether the segment of this header, which ends there, need not be read."""


@dataclass(slots=True)
class Surveyed:
    """One segment as it is found.

    Attributes:
        number, name: which.
        data: its bytes up to its end; empty if it is missing.
        header: None if it is damaged or missing.
        salvage: its sound frames; None if there is no way to read any.
        end: where it ends, by the header of the next one; None for the last, or where that is lost.
        last: no segment follows.
        closed: it is the last one, and the log was closed cleanly behind its last frame.
        torn_bytes: in the last one, of what looks like the group that a crash interrupted.
        skipped: it was not read, as asked; a segment follows it.
        faults: what is wrong with it.
    """

    number: int
    name: str
    data: bytes = b""
    header: SegmentHeader | None = None
    salvage: Salvage | None = None
    end: int | None = None
    last: bool = False
    closed: bool = False
    torn_bytes: int = 0
    skipped: bool = False
    faults: list[Fault] = field(default_factory=list)

    @property
    def unbroken(self) -> list[Frame]:
        """The frames up to the first hole: of the last segment, what an opening would take."""
        if self.salvage is None:
            return []
        holes = self.salvage.holes
        return [f for f in self.salvage.frames if not holes or f.end <= holes[0].start]


class Survey:
    """One pass over a log's segments, oldest first; iterate over it.

    ``skip``: which segments not to read.

    Attributes:
        listing: what the directory held at the beginning.
    """

    def __init__(
        self,
        files: Files,
        directory: str,
        progress: Progress | None = None,
        skip: Skip | None = None,
    ) -> None:
        self.listing: Listing = list_directory(files, directory)
        self._files = files
        self._directory = directory
        self._progress = progress
        self._skip = skip
        self._only: int | None = None
        self._expected: int | None = None
        self._salt = 0

    def narrow(self, number: int) -> None:
        """Only this segment is of interest."""
        self._only = number

    def __iter__(self) -> Iterator[Surveyed]:
        numbers = self.listing.segments
        if not numbers:
            return
        every = range(numbers[0], numbers[-1] + 1)
        if self._only is not None:
            every = range(self._only, self._only + 1)
        for index, number in enumerate(every):
            found = self._look(number)
            if found is not None:
                yield found
                self._go_on(found)
            if self._progress is not None:
                self._progress(index + 1, len(every))

    def _go_on(self, found: Surveyed) -> None:
        """Remember what the next segment must follow."""
        if found.header is not None:
            self._salt = found.header.salt
        elif found.faults:
            self._salt = 0
        if found.salvage is not None:
            self._expected = found.salvage.expected
        if found.faults or found.skipped:
            following = self._header(found.number + 1)
            if following is not None:
                self._expected = following.first_sequence

    def _look(self, number: int) -> Surveyed | None:
        """Read a segment until two readings agree; None if it left the log meanwhile."""
        before = self._read(number)
        for _ in range(_READINGS):
            if not before.faults:
                break
            oldest = list_directory(self._files, self._directory).segments[:1]
            if oldest and number < oldest[0]:
                self._expected, self._salt = None, 0
                return None
            again = self._read(number)
            if again.faults == before.faults:
                break
            before = again
        return before

    def _read(self, number: int) -> Surveyed:
        name = segment_name(number)
        found = Surveyed(number, name, last=number == self.listing.segments[-1])
        following = None if found.last else self._header(number + 1)
        end = None if following is None else following.previous_end
        if end is not None and self._skips(found, end):
            return found
        data = self._load(name, end)
        most = self._first_behind(number)
        if data is None:
            found.faults.append(self._missing(name, most))
            return found
        found.data, found.end = data, end
        seed = self._read_header(found)
        if seed is None and following is not None and following.previous_salt:
            seed = seed_of(following.previous_salt)
        if seed is None:
            seed = find_seed(data, self._expected or 1, most)
        if seed is None:
            first, last = self._lost(self._expected, most)
            what = "neither its header nor any frame can be read"
            found.faults.append(
                Fault(Kind.FRAME, name, SEGMENT_HEADER_BYTES, len(data), what, first, last)
            )
            return found
        limit = len(data) if end is None else min(end, len(data))
        least = self._expected or 1 if found.header is None else found.header.first_sequence
        found.salvage = salvage(data, limit, seed, least, most)
        self._judge(found, seed, most)
        return found

    # what surrounds a segment

    def _skips(self, found: Surveyed, end: int) -> bool:
        header = None if self._skip is None else self._header(found.number)
        if self._skip is None or header is None or not self._skip(header, end):
            return False
        found.header, found.end, found.skipped = header, end, True
        return True

    def _load(self, name: str, end: int | None) -> bytes | None:
        try:
            fd = self._files.open(path_in(self._directory, name))
        except FileNotFoundError:
            return None
        try:
            size = self._files.size(fd)
            return self._files.pread(fd, size if end is None else min(size, end), 0)
        finally:
            self._files.close(fd)

    def _header(self, number: int) -> SegmentHeader | None:
        """The sound header of a segment that belongs under this number."""
        try:
            fd = self._files.open(path_in(self._directory, segment_name(number)))
        except FileNotFoundError:
            return None
        try:
            header = SegmentHeader.unpack(self._files.pread(fd, SEGMENT_HEADER_BYTES, 0))
        finally:
            self._files.close(fd)
        return header if header is not None and header.number == number else None

    def _first_behind(self, number: int) -> int | None:
        """The first group of the next segment whose header is sound; None: none is there."""
        for other in self.listing.segments:
            if other > number:
                header = self._header(other)
                if header is not None:
                    return header.first_sequence
        return None

    @staticmethod
    def _lost(first: int | None, most: int | None) -> tuple[int, int]:
        return (0, 0) if first is None or most is None else (first, most - 1)

    def _missing(self, name: str, most: int | None) -> Fault:
        first, last = self._lost(self._expected, most)
        return Fault(Kind.SEGMENT_MISSING, name, 0, None, "the segment is missing", first, last)

    # what is wrong with it

    def _read_header(self, found: Surveyed) -> int | None:
        """Read and judge the header; the start value of the checksums, if it tells."""
        header = SegmentHeader.unpack(found.data)
        place = (found.name, 0, SEGMENT_HEADER_BYTES)
        if header is None:
            found.faults.append(Fault(Kind.HEADER, *place, "the segment's header is damaged"))
            return None
        if header.version != FORMAT_VERSION:
            path = path_in(self._directory, found.name)
            raise LogUnreadable(f"{path}: format {header.version} is not known to this posthouse")
        if header.number != found.number:
            what = f"this is segment {header.number} under another name"
            found.faults.append(Fault(Kind.HEADER, *place, what))
            return seed_of(header.salt)
        found.header = header
        expected = self._expected
        if expected is not None and header.first_sequence != expected:
            what = f"begins with group {header.first_sequence} where group {expected} belongs"
            first, last = self._lost(expected, header.first_sequence)
            found.faults.append(Fault(Kind.SEQUENCE, *place, what, first, last))
        if self._salt and header.previous_salt not in (0, self._salt):
            what = "it does not follow the segment before it"
            found.faults.append(Fault(Kind.CHAIN, *place, what))
        return seed_of(header.salt)

    def _judge(self, found: Surveyed, seed: int, most: int | None) -> None:
        assert found.salvage is not None
        read = found.salvage
        holes = read.holes
        if found.last:
            if found.header is not None:
                holes = self._judge_last(found, found.header, read, seed)
        elif found.end is not None and read.stop < found.end:
            first, last = self._lost(read.expected, most)
            holes = [*holes, Hole(read.stop, found.end, first, last, None)]
        found.faults += [fault_of(found, hole) for hole in holes]

    @staticmethod
    def _judge_last(found: Surveyed, header: SegmentHeader, read: Salvage, seed: int) -> list[Hole]:
        """The holes that are damage; as in recovery, what a crash leaves at the end is none."""
        scan = scan_frames(
            found.data,
            SEGMENT_HEADER_BYTES,
            len(found.data),
            seed,
            header.first_sequence,
            reused=header.reused,
        )
        synced = max(scan.proof, header.published)
        verdict, _ = judge(
            Findings(
                sealed=False,
                whole=False,
                catalog=bool(scan.frames),
                gap=scan.gap,
                proven=scan.stop < synced,
                followed=scan.proof > 0,
                closed=scan.closed,
                torn=scan.torn_bytes > 0,
            )
        )
        found.closed = verdict is Verdict.APPEND
        found.torn_bytes = scan.torn_bytes if verdict is Verdict.CUT else 0
        if verdict is not Verdict.REFUSE:
            return []
        if read.stop < synced:
            return [*read.holes, Hole(read.stop, synced, read.expected, read.expected, None)]
        return read.holes or [Hole(scan.stop, scan.stop, read.expected, 0, None)]


def fault_of(found: Surveyed, hole: Hole) -> Fault:
    """A hole between frames as a fault."""
    size = len(found.data)
    kind, what = Kind.FRAME, "a frame is damaged"
    if hole.end == hole.start:
        kind, what = Kind.SEQUENCE, "frames are missing here"
    elif hole.end > size:
        kind, what = Kind.SHORT, f"the file ends at offset {size}"
    elif hole.start == SEGMENT_HEADER_BYTES:
        kind, what = Kind.CATALOG, "the segment does not begin with a sound catalog"
    return Fault(kind, found.name, hole.start, hole.end, what, hole.first, hole.last)
