"""The copies in a backup: written, and known to be whole."""

from __future__ import annotations

import zlib

from posthouse.errors import LogDamaged
from posthouse.journal.directory import path_in
from posthouse.journal.files import Files
from posthouse.journal.format import (
    FLAG_CATALOG,
    SEGMENT_HEADER_BYTES,
    TEMPORARY,
    SegmentHeader,
    seed_of,
)
from posthouse.journal.frames import Frame, scan_frames
from posthouse.journal.tools.manifest import Part, RingCopy
from posthouse.journal.tools.target import write_whole


def part_of(header: SegmentHeader, data: bytes, frames: list[Frame]) -> Part:
    """The part that ``data`` is: a segment's bytes up to the end of its last frame."""
    groups = [f.header.sequence for f in frames if not f.header.flags & FLAG_CATALOG]
    first = header.first_sequence
    return Part(
        number=header.number,
        salt=header.salt,
        size_bytes=len(data),
        checksum=zlib.crc32(data),
        first_group=first,
        last_group=groups[-1] if groups else first - 1,
    )


def write_copy(files: Files, directory: str, copy: Part | RingCopy, data: bytes) -> None:
    """Write a copy; it has its name only when all of it is on disk."""
    path = path_in(directory, copy.name)
    write_whole(files, path + TEMPORARY, data)
    files.rename(path + TEMPORARY, path)


def read_copy(files: Files, directory: str, copy: Part | RingCopy) -> bytes:
    """The bytes of a copy, checked whole.

    Raises:
        LogDamaged: it is not what was copied, or is missing.
    """
    path = path_in(directory, copy.name)
    try:
        fd = files.open(path)
    except FileNotFoundError as error:
        raise LogDamaged(path, 0, "the file is missing") from error
    try:
        size = files.size(fd)
        data = files.pread(fd, size, 0)
    finally:
        files.close(fd)
    if size != copy.size_bytes:
        raise LogDamaged(path, min(size, copy.size_bytes), f"the file has {size} bytes")
    if zlib.crc32(data) != copy.checksum:
        offset = 0
        if isinstance(copy, Part):
            offset = _sound_upto(data, copy.salt, copy.first_group)
        raise LogDamaged(path, offset, "it is not what was copied")
    return data


def adopt_part(files: Files, directory: str, name: str) -> Part | None:
    """The part that a file is, if every frame of it is sound up to its end; else None.

    A run that was interrupted leaves such files; they were synced before they got their names.
    """
    fd = files.open(path_in(directory, name))
    try:
        data = files.pread(fd, files.size(fd), 0)
    finally:
        files.close(fd)
    header = SegmentHeader.unpack(data)
    if header is None:
        return None
    scan = scan_frames(
        data,
        SEGMENT_HEADER_BYTES,
        len(data),
        seed_of(header.salt),
        header.first_sequence,
        reused=header.reused,
    )
    part = part_of(header, data, scan.frames)
    return part if scan.stop == len(data) and part.name == name else None


def size_of(files: Files, directory: str, name: str) -> int:
    """A file's size in bytes."""
    fd = files.open(path_in(directory, name))
    try:
        return files.size(fd)
    finally:
        files.close(fd)


def _sound_upto(data: bytes, salt: int, first_group: int) -> int:
    scan = scan_frames(
        data, SEGMENT_HEADER_BYTES, len(data), seed_of(salt), first_group, reused=True
    )
    return scan.stop
