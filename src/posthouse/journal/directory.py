"""The log's directory: its lock, its FORMAT file, and which files are whose."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from posthouse.errors import AlreadyOpen, LogDamaged, LogUnreadable
from posthouse.journal.files import Files
from posthouse.journal.format import (
    CHECKPOINT_NAME,
    FORMAT_NAME,
    FORMAT_TEXT,
    FORMAT_VERSION,
    LOCK_NAME,
    RING_NAME,
    SEGMENT_NAME,
    SPARE_NAME,
    TEMPORARY,
    checkpoint_name,
    format_text,
    segment_name,
)


@dataclass(slots=True)
class Listing:
    """What a directory holds, by meaning.

    Attributes:
        formatted: there is a FORMAT file.
        segments: numbers, growing.
        spares: numbers, growing.
        checkpoints: numbers of the segments that have one.
        leftovers: names of temporary files, which nothing refers to.
        foreign: names that are not ours.
    """

    formatted: bool = False
    segments: list[int] = field(default_factory=list)
    spares: list[int] = field(default_factory=list)
    checkpoints: list[int] = field(default_factory=list)
    leftovers: list[str] = field(default_factory=list)
    foreign: list[str] = field(default_factory=list)


def path_in(directory: str, name: str) -> str:
    """The path of a file in the directory."""
    return os.path.join(directory, name)


def list_directory(files: Files, directory: str) -> Listing:
    """Sort the names in the directory by meaning."""
    listing = Listing()
    for name in files.listdir(directory):
        checkpoint = CHECKPOINT_NAME.fullmatch(name)
        segment, spare = SEGMENT_NAME.fullmatch(name), SPARE_NAME.fullmatch(name)
        if segment is not None and segment_name(int(segment[1])) == name:
            listing.segments.append(int(segment[1]))
        elif checkpoint is not None and checkpoint_name(int(checkpoint[1])) == name:
            listing.checkpoints.append(int(checkpoint[1]))
        elif spare is not None:
            listing.spares.append(int(spare[1]))
        elif name == FORMAT_NAME:
            listing.formatted = True
        elif name.endswith(TEMPORARY) and _is_ours(name[: -len(TEMPORARY)]):
            listing.leftovers.append(name)
        elif name not in (LOCK_NAME, RING_NAME, "lost+found") and not name.startswith("."):
            listing.foreign.append(name)
    listing.segments.sort()
    listing.spares.sort()
    return listing


def _is_ours(name: str) -> bool:
    return (
        name in (FORMAT_NAME, RING_NAME)
        or SPARE_NAME.fullmatch(name) is not None
        or SEGMENT_NAME.fullmatch(name) is not None
        or CHECKPOINT_NAME.fullmatch(name) is not None
    )


def take_lock(files: Files, directory: str) -> int:
    """Take the directory's lock and return its descriptor; closing that releases it.

    Raises:
        AlreadyOpen: another process or another handle of this one has it.
    """
    # The lock file is never renamed or removed: who holds an unlinked one would hold nothing.
    fd = files.open(path_in(directory, LOCK_NAME), create=True)
    try:
        if not files.flock(fd):
            text = files.pread(fd, 32, 0).split(b"\n")[0]
            raise AlreadyOpen(directory, int(text) if text.isdigit() else None)
        files.truncate(fd, 0)
        files.pwrite(fd, b"%d\n" % os.getpid(), 0)
    except BaseException:
        files.close(fd)
        raise
    return fd


def check_format(files: Files, directory: str) -> None:
    """Check the FORMAT file.

    Raises:
        LogUnreadable: it is of a newer version, or not of a log of ours.
    """
    path = path_in(directory, FORMAT_NAME)
    fd = files.open(path)
    try:
        text = files.pread(fd, 64, 0)
    finally:
        files.close(fd)
    match = FORMAT_TEXT.fullmatch(text)
    if match is None:
        raise LogUnreadable(f"{path}: not the format file of a posthouse log")
    version = int(match[1])
    if version != FORMAT_VERSION:
        what = "newer" if version > FORMAT_VERSION else "unknown"
        raise LogUnreadable(
            f"{path}: format {version} is {what} to this posthouse, "
            f"which reads format {FORMAT_VERSION}"
        )


def write_format(files: Files, directory: str) -> None:
    """Publish the FORMAT file: from here on the directory is a log."""
    path = path_in(directory, FORMAT_NAME)
    fd = files.open(path + TEMPORARY, create=True)
    try:
        files.truncate(fd, 0)
        files.pwrite(fd, format_text(), 0)
        files.fsync(fd)
    finally:
        files.close(fd)
    files.rename(path + TEMPORARY, path)
    files.fsync_dir(directory)


def check_new(listing: Listing, directory: str) -> None:
    """Check that a directory without a FORMAT file may become a log.

    What a crash in the making of a log leaves is fine: at most segment 1, and spares.

    Raises:
        LogUnreadable: it holds something else.
    """
    if listing.segments not in ([], [1]):
        raise LogUnreadable(f"{directory}: holds segments of a log but no {FORMAT_NAME} file")
    if listing.foreign:
        raise LogUnreadable(
            f"{directory}: not a posthouse log, and not empty: it holds {listing.foreign[0]!a}"
        )


def check_segments(listing: Listing, directory: str) -> None:
    """Check that no segment is missing between the first and the last.

    Raises:
        LogDamaged: one is, or there is none at all.
    """
    numbers = listing.segments
    if not numbers:
        raise LogDamaged(path_in(directory, segment_name(1)), 0, "all segments are missing")
    for number in range(numbers[0], numbers[-1]):
        if number not in numbers:
            raise LogDamaged(path_in(directory, segment_name(number)), 0, "the segment is missing")
