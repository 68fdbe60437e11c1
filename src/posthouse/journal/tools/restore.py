"""Restoring a backup into a new directory, every copy checked on the way."""

from __future__ import annotations

from dataclasses import dataclass

from posthouse.errors import LogDamaged, LogUnreadable
from posthouse.journal.directory import path_in
from posthouse.journal.files import Files
from posthouse.journal.format import RING_NAME, segment_name
from posthouse.journal.tools.check import CheckReport, check_log
from posthouse.journal.tools.copying import read_copy
from posthouse.journal.tools.faults import Fault, Kind
from posthouse.journal.tools.manifest import MANIFEST_NAME, Manifest, Part, RingCopy, read_manifest
from posthouse.journal.tools.survey import Progress
from posthouse.journal.tools.target import begin_target, finish_target, held_still, write_whole


@dataclass(slots=True)
class RestoreReport:
    """What was restored.

    Attributes:
        backup, target: the two directories.
        taken_ns: when the backup was taken, in nanoseconds since 1970.
        last_group: the log is as it was at the end of this group.
        segments, size_bytes: restored.
        groups, records: in them.
    """

    backup: str
    target: str
    taken_ns: int
    last_group: int
    segments: int
    size_bytes: int
    groups: int
    records: int


def restore_backup(
    files: Files, backup: str, target: str, *, progress: Progress | None = None
) -> RestoreReport:
    """Make the new or empty directory ``target`` the log that ``backup`` is a copy of.

    Raises:
        AlreadyOpen: a backup into it is running.
        BadArgument: the target is not empty, or not apart from the backup.
        LogUnreadable: there is no finished backup.
        LogDamaged: a copy is damaged or missing; the target is not a log then.
        OSError: a file cannot be read or written. The target is not a log then.
    """
    manifest = _manifest(files, backup)
    with held_still(files, backup):
        begin_target(files, target, backup)
        for index, part in enumerate(manifest.parts):
            data = read_copy(files, backup, part)
            write_whole(files, path_in(target, segment_name(part.number)), data)
            if progress is not None:
                progress(index + 1, len(manifest.parts))
        if manifest.ring is not None:
            ring = read_copy(files, backup, manifest.ring)
            write_whole(files, path_in(target, RING_NAME), ring)
        checked = check_log(files, target)
        wrong = [fault for fault in checked.faults if fault.kind is not Kind.FORMAT_MISSING]
        if wrong:
            where = path_in(target, wrong[0].file)
            raise LogDamaged(where, wrong[0].offset, f"{wrong[0].what}; the backup does not hold")
        finish_target(files, target)
    return RestoreReport(
        backup,
        target,
        manifest.taken_ns,
        manifest.parts[-1].last_group,
        checked.segments,
        sum(part.size_bytes for part in manifest.parts),
        checked.groups,
        checked.records,
    )


def is_backup(files: Files, directory: str) -> bool:
    """Whether the directory holds a backup's manifest."""
    try:
        return MANIFEST_NAME in files.listdir(directory)
    except (FileNotFoundError, NotADirectoryError):
        return False


def check_backup(files: Files, directory: str, progress: Progress | None = None) -> CheckReport:
    """Read every copy of a backup whole; the report has a fault for each that does not hold.

    Raises:
        LogUnreadable: there is no finished backup.
        LogDamaged: its manifest is damaged.
    """
    manifest = _manifest(files, directory)
    report = CheckReport(directory, closed=True)
    copies: list[Part | RingCopy] = [*manifest.parts]
    if manifest.ring is not None:
        copies.append(manifest.ring)
    for index, copy in enumerate(copies):
        try:
            report.size_bytes += len(read_copy(files, directory, copy))
        except LogDamaged as error:
            what = str(error).partition(f"offset {error.offset}: ")[2]
            report.faults.append(Fault(Kind.COPY, copy.name, error.offset, None, what))
        if progress is not None:
            progress(index + 1, len(copies))
    report.segments = len(manifest.parts)
    report.groups = manifest.parts[-1].last_group - manifest.parts[0].first_group + 1
    return report


def _manifest(files: Files, directory: str) -> Manifest:
    try:
        files.listdir(directory)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise LogUnreadable(f"{directory}: there is no such directory") from error
    manifest = read_manifest(files, directory)
    if manifest is None or not manifest.parts:
        raise LogUnreadable(
            f"{directory}: not a finished backup: it has no {MANIFEST_NAME} file; "
            "run 'posthouse log backup' into it again"
        )
    return manifest
