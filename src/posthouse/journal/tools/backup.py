"""Backup of a log, which a broker may have open and be writing meanwhile.

Why the copy is consistent, without any help of the broker:

1. A log is only ever added to. What a segment holds below the end of a sound frame never changes,
   so a segment's number, its salt and an offset name the bytes below for ever.
2. A frame is there whole or not at all, and carries checksums seeded with its segment's salt.
   What is copied ends with a sound frame; a file that became another segment while it was read
   shows that by its checksums, and is read again or is gone.
3. The newest segment is read last. Everything acknowledged before the backup began had been
   written before, and so is in what is read: the copy is the state at the end of its last group.
4. Segments leave at the old end, after a frame that says so (``oldest``) is on disk. The copy is
   finished only if it has every segment that its own last frame needs; if one left meanwhile,
   a newer frame says so, and the newer segments are read as well.
5. The attempts ring is read before the newest segment: a slot is written over only when what it
   said is in the log.

And why a run may be killed at any moment: copies are written under another name, synced, renamed
and never changed; the manifest that names them is replaced when all of them are on disk; what it
does not name is removed after that. So the backup is always that of the last finished run.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from posthouse.errors import BadArgument, DiskError, LogDamaged
from posthouse.journal.directory import (
    check_format,
    check_segments,
    list_directory,
    path_in,
    take_lock,
)
from posthouse.journal.files import Files
from posthouse.journal.format import LOCK_NAME, TEMPORARY, SegmentHeader
from posthouse.journal.recovery import read_header
from posthouse.journal.ring import read_ring
from posthouse.journal.tools.check import open_survey
from posthouse.journal.tools.copying import adopt_part, part_of, size_of, write_copy
from posthouse.journal.tools.manifest import (
    MANIFEST_NAME,
    PART_NAME,
    Manifest,
    Part,
    RingCopy,
    is_copy,
    part_name,
    publish_manifest,
    read_manifest,
)
from posthouse.journal.tools.survey import Progress, Survey, Surveyed
from posthouse.journal.tools.target import check_apart, make_directory

PASSES: Final = 100
"""After so many passes in which segments left the log faster than they were read, it gives up."""


@dataclass(slots=True)
class BackupReport:
    """What a backup did.

    Attributes:
        source, target: the two directories.
        last_group: the backup is the state at the end of this group.
        segments, size_bytes: in the backup now.
        copied, copied_bytes: of them, copied in this run.
        removed: files of earlier backups that are not needed any more.
    """

    source: str
    target: str
    last_group: int = 0
    segments: int = 0
    size_bytes: int = 0
    copied: int = 0
    copied_bytes: int = 0
    removed: int = 0


def backup_log(
    files: Files,
    source: str,
    target: str,
    now_ns: int,
    *,
    reading: Files | None = None,
    progress: Progress | None = None,
) -> BackupReport:
    """Bring the backup in ``target`` (made if need be) to the state of the log in ``source``.

    Segments that it has already are not copied again. ``reading`` are the files to read the log
    with (default: ``files``).

    Raises:
        AlreadyOpen: another backup into the target is running.
        BadArgument: the target is neither empty nor a backup of this log, or not apart from it.
        LogUnreadable: the source is no log, or of a newer format.
        LogDamaged: the source is damaged, or the target's manifest is. The backup is as it was.
        DiskError: segments left faster than they could be copied.
        OSError: a file cannot be read or written. The backup is as it was.
    """
    reading = reading or files
    survey = open_survey(reading, source, None)
    check_segments(survey.listing, source)
    check_format(reading, source)
    check_apart(target, source)
    with _owned(files, target):
        backup = _Backup(files, reading, BackupReport(source, target), progress)
        backup.begin()
        manifest = backup.copy(now_ns)
        publish_manifest(files, target, manifest)
        backup.tidy(manifest)
    return backup.report


@contextmanager
def _owned(files: Files, target: str) -> Iterator[None]:
    """Make the target if need be, and keep other backups out of it."""
    try:
        names = files.listdir(target)
    except FileNotFoundError:
        names = []
    except NotADirectoryError as error:
        raise BadArgument(f"{target} is a file; give a directory") from error
    foreign = [name for name in names if not is_copy(name) and name not in _NOT_FOREIGN]
    if foreign:
        raise BadArgument(
            f"{target} holds {foreign[0]!a}, which is not of a backup; give a new directory"
        )
    make_directory(files, target)
    lock = take_lock(files, target)
    try:
        yield
    finally:
        files.close(lock)


_NOT_FOREIGN: Final = (LOCK_NAME, "lost+found")


class _Backup:
    """One run."""

    def __init__(
        self, files: Files, reading: Files, report: BackupReport, progress: Progress | None
    ) -> None:
        self.report = report
        self._files = files
        self._reading = reading
        self._progress = progress
        self._have: dict[str, Part] = {}  # copies that are known to be whole
        self._rings: set[str] = set()

    def begin(self) -> None:
        """See what earlier runs left.

        Raises:
            BadArgument: it is the backup of another log.
            LogDamaged: its manifest is damaged.
        """
        target = self.report.target
        names = set(self._files.listdir(target))
        manifest = read_manifest(self._files, target)
        if manifest is not None:
            self._check_same_log(manifest)
            for part in manifest.parts:
                name = part.name
                if name in names and size_of(self._files, target, name) == part.size_bytes:
                    self._have[name] = part
        # Copies of a run that did not come to its manifest: each is read before it is believed.
        for name in sorted(names - set(self._have)):
            if PART_NAME.fullmatch(name) is not None:
                found = adopt_part(self._files, target, name)
                if found is not None:
                    self._have[name] = found

    def copy(self, now_ns: int) -> Manifest:
        """Copy what is missing, until the copies add up to a state of the log."""
        for _ in range(PASSES):
            ring = self._copy_ring()
            parts, needed_from = self._pass()
            if parts and parts[0].number <= needed_from:
                self.report.last_group = parts[-1].last_group
                self.report.segments = len(parts)
                self.report.size_bytes = sum(part.size_bytes for part in parts)
                return Manifest(now_ns, parts, ring)
        raise DiskError(
            f"{self.report.source}: its segments left faster than they could be copied; the "
            "backup is as it was: try again, or with a faster disk"
        )

    def tidy(self, manifest: Manifest) -> None:
        """Remove what the published manifest does not name."""
        target, needed = self.report.target, manifest.names | {MANIFEST_NAME}
        for name in self._files.listdir(target):
            if is_copy(name) and name not in needed:
                self._files.unlink(path_in(target, name))
                self.report.removed += not name.endswith(TEMPORARY)
        self._files.fsync_dir(target)

    def _check_same_log(self, manifest: Manifest) -> None:
        """A log's segments grow in number, and each has a salt of its own."""
        source = self.report.source
        salts = {part.number: part.salt for part in manifest.parts}
        numbers = list_directory(self._reading, source).segments
        other = bool(numbers and salts) and numbers[-1] < max(salts)
        for number in numbers:
            if number in salts and not other:
                try:
                    header = read_header(self._reading, source, number)
                except FileNotFoundError:
                    continue  # it left the log meanwhile
                other = header.number == number and header.salt != salts[number]
        if other:
            raise self._other_log()

    def _other_log(self) -> BadArgument:
        return BadArgument(
            f"{self.report.target} is the backup of another log, or {self.report.source} was "
            "restored or made anew since; give a new directory"
        )

    def _copy_ring(self) -> RingCopy | None:
        data = read_ring(self._reading, self.report.source)
        if not data:
            return None
        ring = RingCopy(len(data), zlib.crc32(data))
        if ring.name not in self._rings:
            write_copy(self._files, self.report.target, ring, data)
            self._rings.add(ring.name)
        return ring

    def _pass(self) -> tuple[list[Part], int]:
        """Copy all segments there are: the parts, and the oldest that they need (0: unknown)."""
        parts: list[Part] = []
        needed_from = 0
        survey = Survey(self._reading, self.report.source, self._progress, self._has)
        for found in survey:
            if found.faults:
                fault = found.faults[0]
                path = path_in(self.report.source, fault.file)
                raise LogDamaged(path, fault.offset, f"{fault.what}; the backup is as it was")
            if found.skipped and found.header is not None and found.end is not None:
                header = found.header
                part = self._have[part_name(header.number, header.salt, found.end)]
            else:
                part, oldest = self._copy_segment(found)
                # If the newest left as well, only the next pass sees what was acknowledged last.
                needed_from = oldest if found.last else 0
            if parts and parts[-1].number + 1 != part.number:
                # Those between left meanwhile; so then may those before them.
                parts.clear()
            parts.append(part)
        return parts, needed_from

    def _has(self, header: SegmentHeader, end: int) -> bool:
        return part_name(header.number, header.salt, end) in self._have

    def _copy_segment(self, found: Surveyed) -> tuple[Part, int]:
        assert found.header is not None
        # In the newest one, not what stands behind a group that is being written.
        frames = found.unbroken
        end = frames[-1].end
        part = part_of(found.header, found.data[:end], frames)
        have = self._have.get(part.name)
        if have is not None and have.checksum != part.checksum:
            raise self._other_log()
        if have is None:
            write_copy(self._files, self.report.target, part, found.data[:end])
            self._have[part.name] = part
            self.report.copied += 1
            self.report.copied_bytes += part.size_bytes
        return part, max(frame.header.oldest for frame in frames)
