"""The file that makes a directory a backup: which copies it is made of.

A directory without one, or with one that does not hold, is no backup. It is replaced as a whole,
when everything that it names is on disk.
"""

from __future__ import annotations

import re
import zlib
from typing import Final

import msgspec

from posthouse.errors import LogDamaged, LogUnreadable
from posthouse.journal.directory import path_in
from posthouse.journal.files import Files
from posthouse.journal.format import TEMPORARY
from posthouse.journal.tools.target import write_whole

MANIFEST_NAME: Final = "BACKUP"
BACKUP_FORMAT: Final = 1
PART_NAME: Final = re.compile(r"[0-9]{8,18}-[0-9a-f]{16}-[0-9]{1,18}\.part", re.ASCII)
RING_COPY_NAME: Final = re.compile(r"attempts-[0-9a-f]{8}-[0-9]{1,9}\.part", re.ASCII)
_HEAD: Final = re.compile(rb"posthouse backup\nformat ([0-9]{1,9})\n([0-9a-f]{8})\n")


class Part(msgspec.Struct, frozen=True):
    """The copy of a segment, up to where it was sound and needed.

    Number, salt and size name it: what a segment holds below an offset never changes.

    Attributes:
        number, salt: which segment.
        size_bytes: how much of it.
        checksum: CRC-32 of these bytes.
        first_group, last_group: in it; ``last_group < first_group``: none.
    """

    number: int
    salt: int
    size_bytes: int
    checksum: int
    first_group: int
    last_group: int

    @property
    def name(self) -> str:
        """The file in the backup."""
        return part_name(self.number, self.salt, self.size_bytes)


class RingCopy(msgspec.Struct, frozen=True):
    """The copy of the attempts ring."""

    size_bytes: int
    checksum: int

    @property
    def name(self) -> str:
        """The file in the backup."""
        return f"attempts-{self.checksum:08x}-{self.size_bytes}.part"


class Manifest(msgspec.Struct, frozen=True):
    """What a backup is made of.

    Attributes:
        taken_ns: when, in nanoseconds since 1970.
        parts: the segments, oldest first, without gaps.
        ring: the attempts ring, if the log had one.
    """

    taken_ns: int
    parts: list[Part]
    ring: RingCopy | None = None

    @property
    def names(self) -> set[str]:
        """The files of the backup."""
        return {part.name for part in self.parts} | ({self.ring.name} if self.ring else set())


def part_name(number: int, salt: int, size_bytes: int) -> str:
    """The file name of a copy."""
    return f"{number:08d}-{salt:016x}-{size_bytes}.part"


def is_copy(name: str) -> bool:
    """Whether a file of this name in a backup's directory is ours."""
    name = name.removesuffix(TEMPORARY)
    return (
        PART_NAME.fullmatch(name) is not None
        or RING_COPY_NAME.fullmatch(name) is not None
        or name == MANIFEST_NAME
    )


def read_manifest(files: Files, directory: str) -> Manifest | None:
    """The manifest; None if there is none.

    Raises:
        LogDamaged: it is not what was written.
        LogUnreadable: it is of a newer format.
    """
    path = path_in(directory, MANIFEST_NAME)
    try:
        fd = files.open(path)
    except FileNotFoundError:
        return None
    try:
        data = files.pread(fd, files.size(fd), 0)
    finally:
        files.close(fd)
    match = _HEAD.match(data)
    if match is None:
        raise LogDamaged(path, 0, "not the manifest of a backup")
    if int(match[1]) != BACKUP_FORMAT:
        raise LogUnreadable(f"{path}: backup format {int(match[1])} is not known to this posthouse")
    body = data[match.end() :]
    if zlib.crc32(body) != int(match[2], 16):
        raise LogDamaged(path, match.end(), "the manifest of the backup is damaged")
    try:
        return msgspec.json.decode(body, type=Manifest)
    except msgspec.MsgspecError as error:
        raise LogDamaged(path, match.end(), f"the manifest does not decode: {error}") from error


def publish_manifest(files: Files, directory: str, manifest: Manifest) -> None:
    """Make the backup the one of this manifest; what it names is there and synced."""
    # First the names of what it refers to.
    files.fsync_dir(directory)
    body = msgspec.json.encode(manifest)
    head = b"posthouse backup\nformat %d\n%08x\n" % (BACKUP_FORMAT, zlib.crc32(body))
    path = path_in(directory, MANIFEST_NAME)
    write_whole(files, path + TEMPORARY, head + body)
    files.rename(path + TEMPORARY, path)
    files.fsync_dir(directory)
