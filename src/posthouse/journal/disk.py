"""The log's files while it is written: the active segment, spares, reclaimed segments.

Every method blocks; they run one at a time, in the writer, or before the loop serves.
"""

from __future__ import annotations

import errno
from dataclasses import replace

from posthouse.errors import StorageFull
from posthouse.journal.codec import encode_payload
from posthouse.journal.directory import path_in
from posthouse.journal.files import Files
from posthouse.journal.format import (
    FLAG_CATALOG,
    FLAG_CLOSED,
    FRAME_HEADER_BYTES,
    SEGMENT_HEADER_BYTES,
    SPARE_NAME,
    TEMPORARY,
    SegmentHeader,
    checkpoint_name,
    seed_of,
    segment_name,
    spare_name,
)
from posthouse.journal.frames import build_frame
from posthouse.journal.options import MIB, LogOptions, Roll, SealedFrame, Spare
from posthouse.records import Record

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_ZEROS = bytes(MIB)


def is_full(error: OSError) -> bool:
    """Whether the disk (or the quota) is full, rather than failing."""
    return error.errno in _NO_SPACE


class Disk:
    """The segments' files. One is active: frames are written behind one another into it.

    Invariants:
        1. ``synced`` <= ``position``: below it every byte is known to be on disk.
        2. After a failed write or sync nothing is written again (`failed`).
        3. A segment has its name only when its header and catalog are on disk and all of the
           segment before it is.
    """

    def __init__(self, files: Files, directory: str, options: LogOptions) -> None:
        self._files = files
        self._directory = directory
        self._options = options
        self._fd: int | None = None
        self._seed = 0
        self._salt = 0
        self._next_spare = 1
        self.number = 0
        self.position = 0
        self.synced = 0
        self.size_bytes = 0
        self.failed: OSError | None = None
        self.checkpoints: set[int] = set()

    def adopt(self, number: int, salt: int, position: int) -> None:
        """Go on writing into segment ``number`` at ``position``, where all before is synced."""
        self._fd = self._files.open(path_in(self._directory, segment_name(number)))
        self.size_bytes = self._files.size(self._fd)
        self.number, self._salt, self._seed = number, salt, seed_of(salt)
        self.position = self.synced = position

    def latch(self, error: BaseException) -> None:
        """Write nothing more: something else of the log failed."""
        if self.failed is None:
            self.failed = error if isinstance(error, OSError) else OSError(str(error))

    def note_spare(self, name: str) -> None:
        """There is a spare of this name: give no new one the same."""
        match = SPARE_NAME.fullmatch(name)
        if match is not None:
            self._next_spare = max(self._next_spare, int(match[1]) + 1)

    def write(self, sealed: SealedFrame, roll: Roll | None) -> int:
        """Write a frame (in a new segment, with ``roll``); return its size in bytes.

        With ``sync="commit"`` it is on disk on return.

        Raises:
            OSError: it is not, and the disk takes nothing more.
        """
        with _Latch(self):
            if roll is not None:
                self._roll(roll, sealed)
            assert self._fd is not None
            if sealed.flags & FLAG_CLOSED:
                self._sync()
            head = build_frame(sealed, self._seed, self.synced)
            parts = (head, sealed.payload) if sealed.payload else (head,)
            size = len(head) + len(sealed.payload)
            if self._options.sync == "commit" or sealed.flags & FLAG_CLOSED:
                self._files.pwritev_sync(self._fd, parts, self.position)
                self.position += size
                self.synced = self.position
            else:
                self._files.pwrite(self._fd, b"".join(parts), self.position)
                self.position += size
            if self.position > self.size_bytes:
                self.size_bytes = self.position
            return size

    def write_all(self, frames: list[SealedFrame]) -> None:
        """Write frames behind one another; all of them are on disk on return.

        Raises:
            OSError: they are not, and the disk takes nothing more.
        """
        with _Latch(self):
            assert self._fd is not None
            parts: list[bytes] = []
            for sealed in frames:
                parts += (build_frame(sealed, self._seed, self.synced), sealed.payload)
            self._files.pwritev_sync(self._fd, parts, self.position)
            self.position += sum(map(len, parts))
            self.synced = self.position
            self.size_bytes = max(self.size_bytes, self.position)

    def sync(self) -> None:
        """Make all that was written durable.

        Raises:
            OSError: it is not, and the disk takes nothing more.
        """
        with _Latch(self):
            self._sync()

    def _sync(self) -> None:
        if self.synced < self.position and self._fd is not None:
            self._files.fdatasync(self._fd)
            self.synced = self.position

    def grow(self, size_bytes: int) -> int:
        """Prewrite so many bytes more of the active segment; return its size then.

        Raises:
            StorageFull: there is no space; nothing has changed.
            OSError: the disk failed, and takes nothing more.
        """
        with _Latch(self):
            # First what is written: a sync that fails for want of space must not be its.
            self._sync()
            assert self._fd is not None
            try:
                _write_zeros(self._files, self._fd, self.size_bytes, size_bytes)
                self._files.fdatasync(self._fd)
            except OSError as error:
                if not is_full(error):
                    raise
                self._files.truncate(self._fd, self.size_bytes)
                raise StorageFull(f"{self._directory}: {error.strerror}") from error
            self.size_bytes += size_bytes
            return self.size_bytes

    def make_spare(self, size_bytes: int) -> Spare:
        """Prewrite a file to begin a segment with.

        Raises:
            StorageFull: there is no space; nothing has changed.
            OSError: the disk failed, and takes nothing more.
        """
        with _Latch(self):
            name = spare_name(self._next_spare)
            path = path_in(self._directory, name)
            temporary = path + TEMPORARY
            created = False
            try:
                fd = self._files.open(temporary, create=True)
                created = True
                try:
                    self._files.truncate(fd, 0)
                    _write_zeros(self._files, fd, 0, size_bytes)
                    self._files.fsync(fd)
                finally:
                    self._files.close(fd)
            except OSError as error:
                if not is_full(error):
                    raise
                if created:
                    self._files.unlink(temporary)
                raise StorageFull(f"{self._directory}: {error.strerror}") from error
            self._files.rename(temporary, path)
            self._next_spare += 1
            return Spare(name, size_bytes)

    def grow_spare(self, spare: Spare, size_bytes: int) -> Spare:
        """Prewrite so many bytes more of a spare; return it as it is then.

        Raises:
            StorageFull: there is no space; nothing has changed.
            OSError: the disk failed, and takes nothing more.
        """
        with _Latch(self):
            fd = self._files.open(path_in(self._directory, spare.name))
            try:
                _write_zeros(self._files, fd, spare.size_bytes, size_bytes)
                self._files.fdatasync(fd)
            except OSError as error:
                if not is_full(error):
                    raise
                self._files.truncate(fd, spare.size_bytes)
                raise StorageFull(f"{self._directory}: {error.strerror}") from error
            finally:
                self._files.close(fd)
            return Spare(spare.name, spare.size_bytes + size_bytes)

    def drop_spare(self, spare: Spare) -> None:
        """Remove a spare.

        Raises:
            OSError: the disk failed, and takes nothing more.
        """
        with _Latch(self):
            self._files.unlink(path_in(self._directory, spare.name))

    def reclaim(self, number: int, keep_bytes: int) -> Spare | None:
        """Take a segment out of the log.

        Its file is kept as a spare if it is not larger than ``keep_bytes``, else removed.

        Raises:
            OSError: the disk failed, and takes nothing more.
        """
        with _Latch(self):
            # What says that the segment is not needed, and what settled its messages, must not be
            # lost after it (with sync="commit" it is on disk already).
            self._sync()
            path = path_in(self._directory, segment_name(number))
            spare = None
            fd = self._files.open(path)
            try:
                size = self._files.size(fd)
            finally:
                self._files.close(fd)
            if size <= keep_bytes:
                spare = Spare(spare_name(self._next_spare), size)
                self._next_spare += 1
                self._files.rename(path, path_in(self._directory, spare.name))
            else:
                self._files.unlink(path)
            # Only when the directory is on disk may the spare's bytes be written over.
            self._files.fsync_dir(self._directory)
            if number in self.checkpoints:
                self.checkpoints.remove(number)
                self._files.unlink(path_in(self._directory, checkpoint_name(number)))
            return spare

    def begin(
        self,
        spare: Spare,
        header: SegmentHeader,
        catalog: list[Record],
        oldest: int,
        frames: list[SealedFrame],
    ) -> None:
        """Make a spare the segment of this header, with a catalog and frames; make it active.

        Raises:
            OSError: the disk failed.
        """
        path = path_in(self._directory, spare.name)
        fd = self._files.open(path)
        try:
            reused = any(self._files.pread(fd, 8, 0))
            data = _first_bytes(replace(header, reused=reused), catalog, oldest, frames)
            self._files.pwrite(fd, data, 0)
            self._files.fsync(fd)
            self._files.rename(path, path_in(self._directory, segment_name(header.number)))
            self._files.fsync_dir(self._directory)
        except BaseException:
            self._files.close(fd)
            raise
        if self._fd is not None:
            self._files.close(self._fd)
        self._fd = fd
        self.number, self._salt, self._seed = header.number, header.salt, seed_of(header.salt)
        self.position = self.synced = len(data)
        self.size_bytes = max(spare.size_bytes, len(data))

    def _roll(self, roll: Roll, sealed: SealedFrame) -> None:
        self._sync()
        header = SegmentHeader(
            number=self.number + 1,
            salt=self._options.salt(),
            first_sequence=sealed.sequence,
            previous_end=self.position,
            previous_salt=self._salt,
            last_id=roll.last_id,
            published=0,
            reused=False,
        )
        self.begin(roll.spare, header, roll.catalog, sealed.oldest, [])

    def close(self) -> None:
        """Close the active segment's file."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            self._files.close(fd)


def _first_bytes(
    header: SegmentHeader, catalog: list[Record], oldest: int, frames: list[SealedFrame]
) -> bytes:
    """All that a segment is published with."""
    seed, at = seed_of(header.salt), SEGMENT_HEADER_BYTES
    first = SealedFrame(
        encode_payload(catalog), len(catalog), header.first_sequence, FLAG_CATALOG, oldest
    )
    parts: list[bytes] = []
    for sealed in (first, *frames):
        # The file has its name only if all of this is on disk: each may vouch for those before.
        parts += (build_frame(sealed, seed, at), sealed.payload)
        at += FRAME_HEADER_BYTES + len(sealed.payload)
    return replace(header, published=at).pack() + b"".join(parts)


def _write_zeros(files: Files, fd: int, offset: int, size_bytes: int) -> None:
    for at in range(offset, offset + size_bytes, len(_ZEROS)):
        files.pwrite(fd, _ZEROS[: min(len(_ZEROS), offset + size_bytes - at)], at)


class _Latch:
    """Refuse after a failure, and remember one."""

    __slots__ = ("_disk",)

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def __enter__(self) -> None:
        failed = self._disk.failed
        if failed is not None:
            raise DiskLatched(failed.errno, "an earlier write failed") from failed

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if isinstance(error, OSError) and self._disk.failed is None:
            self._disk.failed = error


class DiskLatched(OSError):
    """Nothing was written, as an earlier write had failed."""
