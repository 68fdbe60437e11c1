"""Disks that fail on purpose, and a disk that remembers what was asked of it.

Both stand between the log and another `Files`, call by call.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from posthouse.journal.files import Buffer, Files, RealFiles

WRITES = frozenset(
    {
        "mkdir",
        "create",
        "pwrite",
        "pwritev_sync",
        "fdatasync",
        "fsync",
        "fsync_dir",
        "truncate",
        "rename",
        "unlink",
    }
)
"""The operations that change what is on disk, or make it durable."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One call.

    Attributes:
        name: the method's; ``create`` for an ``open`` that may make the file.
        path: of the file or directory; of an open file, the one it was opened by, renames since
            then included.
        offset: of a write or read, or the new length of a ``truncate``; else 0.
        data: what was written; else empty.
        target: of a ``rename``.
    """

    name: str
    path: str
    offset: int = 0
    data: bytes = b""
    target: str = ""


class PassingFiles:
    """Hands every call on to ``inner``, through `passing` first."""

    def __init__(self, inner: Files | None = None) -> None:
        self.inner: Files = inner or RealFiles()
        self.paths: dict[int, str] = {}

    def passing(self, operation: Operation) -> None:
        """Called before each operation; may raise in its place."""

    def passed(self, operation: Operation) -> None:
        """Called after each operation that succeeded."""

    def mkdir(self, path: str) -> None:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("mkdir", path)
        self.passing(operation)
        self.inner.mkdir(path)
        self.passed(operation)

    def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("create" if create else "open", path)
        self.passing(operation)
        fd = self.inner.open(path, create=create, exclusive=exclusive)
        self.paths[fd] = path
        self.passed(operation)
        return fd

    def close(self, fd: int) -> None:
        """See `posthouse.journal.files.Files`. Never fails on purpose."""
        self.paths.pop(fd, None)
        self.inner.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("pread", self.paths[fd], offset)
        self.passing(operation)
        data = self.inner.pread(fd, size, offset)
        self.passed(operation)
        return data

    def pwrite(self, fd: int, data: Buffer, offset: int) -> None:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("pwrite", self.paths[fd], offset, bytes(data))
        self.passing(operation)
        self.inner.pwrite(fd, data, offset)
        self.passed(operation)

    def pwritev_sync(self, fd: int, parts: Sequence[Buffer], offset: int) -> None:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("pwritev_sync", self.paths[fd], offset, b"".join(parts))
        self.passing(operation)
        self.inner.pwritev_sync(fd, parts, offset)
        self.passed(operation)

    def fdatasync(self, fd: int) -> None:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("fdatasync", self.paths[fd])
        self.passing(operation)
        self.inner.fdatasync(fd)
        self.passed(operation)

    def fsync(self, fd: int) -> None:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("fsync", self.paths[fd])
        self.passing(operation)
        self.inner.fsync(fd)
        self.passed(operation)

    def fsync_dir(self, path: str) -> None:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("fsync_dir", path)
        self.passing(operation)
        self.inner.fsync_dir(path)
        self.passed(operation)

    def size(self, fd: int) -> int:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("size", self.paths[fd])
        self.passing(operation)
        size = self.inner.size(fd)
        self.passed(operation)
        return size

    def truncate(self, fd: int, size: int) -> None:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("truncate", self.paths[fd], size)
        self.passing(operation)
        self.inner.truncate(fd, size)
        self.passed(operation)

    def rename(self, source: str, target: str) -> None:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("rename", source, target=target)
        self.passing(operation)
        self.inner.rename(source, target)
        for fd, path in self.paths.items():
            if path == source:
                self.paths[fd] = target
        self.passed(operation)

    def unlink(self, path: str) -> None:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("unlink", path)
        self.passing(operation)
        self.inner.unlink(path)
        self.passed(operation)

    def listdir(self, path: str) -> list[str]:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("listdir", path)
        self.passing(operation)
        names = self.inner.listdir(path)
        self.passed(operation)
        return names

    def flock(self, fd: int) -> bool:
        """See `posthouse.journal.files.Files`."""
        operation = Operation("flock", self.paths[fd])
        self.passing(operation)
        took = self.inner.flock(fd)
        self.passed(operation)
        return took


class FaultyFiles(PassingFiles):
    """Call number ``fail_at`` fails.

    Attributes:
        calls: how many there were (``close`` does not count: its failure loses nothing that was
            synced).
        failed: the operation that failed first, or None so far.
    """

    def __init__(
        self,
        fail_at: int,
        error: int,
        *,
        inner: Files | None = None,
        sticky: bool = False,
        short: bool = False,
        late: bool = False,
        names: frozenset[str] | None = None,
    ) -> None:
        """A disk whose call ``fail_at`` (from 1) raises ``OSError(error)``.

        ``sticky``: so does every later one. ``short``: a write puts half of its bytes there
        first. ``late``: the operation is done, and then the error raised all the same, as when
        a sync fails after the pages reached the disk. ``names``: count and fail only these
        operations.
        """
        super().__init__(inner)
        self._fail_at = fail_at
        self._error = error
        self._sticky = sticky
        self._short = short
        self._late = late
        self._names = names
        self._failing = False
        self.calls = 0
        self.failed: Operation | None = None

    def passing(self, operation: Operation) -> None:
        """Fail, if it is this call's turn."""
        self._failing = False
        if self._names is not None and operation.name not in self._names:
            return
        self.calls += 1
        if self.calls < self._fail_at or (self.calls > self._fail_at and not self._sticky):
            return
        self._failing = True
        if self.failed is None:
            self.failed = operation
        if self._short and operation.data:
            self._write_half(operation)
        if not self._late:
            self._raise(operation)

    def passed(self, operation: Operation) -> None:
        """Fail late, if that was asked for."""
        if self._failing and self._late:
            if operation.name in ("open", "create"):
                # The caller never learns the descriptor.
                self.close(next(reversed(self.paths)))
            self._raise(operation)

    def _write_half(self, operation: Operation) -> None:
        for fd, path in self.paths.items():
            if path == operation.path:
                self.inner.pwrite(fd, operation.data[: len(operation.data) // 2], operation.offset)
                return

    def _raise(self, operation: Operation) -> None:
        raise OSError(self._error, os.strerror(self._error), operation.path)


class RecordingFiles(PassingFiles):
    """Remembers every operation that changed the disk, or made a change durable, in order.

    A write is kept with its bytes, so that any state a crash may leave can be rebuilt from a
    prefix of `operations`: what was synced, and any part of what was not.
    """

    def __init__(self, inner: Files | None = None) -> None:
        super().__init__(inner)
        self.operations: list[Operation] = []

    def passed(self, operation: Operation) -> None:
        """Remember it."""
        if operation.name in WRITES:
            self.operations.append(operation)
