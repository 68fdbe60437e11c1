"""The seam to the operating system: every byte of the log passes through these calls.

One small protocol, so that tests can put a recording or failing disk in its place
(`posthouse.testing`). Paths are str; descriptors are ints; all calls block.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Sequence
from typing import Protocol

Buffer = bytes | bytearray | memoryview


class Files(Protocol):
    """What the journal asks of a file system. Failures are OSError."""

    def mkdir(self, path: str) -> None:
        """Make a directory, mode 0700; one that exists is fine."""

    def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
        """Open for reading and writing, never through a symbolic link; mode 0600 if made."""

    def close(self, fd: int) -> None: ...

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """Read up to ``size`` bytes; fewer only at the end of the file."""

    def pwrite(self, fd: int, data: Buffer, offset: int) -> None:
        """Write all of ``data``; it is in the page cache on return, not on disk."""

    def pwritev_sync(self, fd: int, parts: Sequence[Buffer], offset: int) -> None:
        """Write all parts and return when they are on disk (data and what finds it)."""

    def fdatasync(self, fd: int) -> None: ...

    def fsync(self, fd: int) -> None: ...

    def fsync_dir(self, path: str) -> None: ...

    def size(self, fd: int) -> int:
        """The file's length in bytes."""

    def truncate(self, fd: int, size: int) -> None: ...

    def rename(self, source: str, target: str) -> None: ...

    def unlink(self, path: str) -> None: ...

    def listdir(self, path: str) -> list[str]: ...

    def flock(self, fd: int) -> bool:
        """Take the exclusive lock without waiting; False if another holds it."""


_IOV_MAX = 1024
_NOT_KNOWN = (errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS)
_FULLFSYNC: int | None = getattr(fcntl, "F_FULLFSYNC", None)


class RealFiles:
    """The operating system's own calls."""

    def __init__(self) -> None:
        self._writes_synced = hasattr(os, "RWF_DSYNC") and hasattr(os, "pwritev")

    def mkdir(self, path: str) -> None:
        os.makedirs(path, mode=0o700, exist_ok=True)

    def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        if create:
            flags |= os.O_CREAT
        if exclusive:
            flags |= os.O_EXCL
        return os.open(path, flags, 0o600)

    def close(self, fd: int) -> None:
        os.close(fd)

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        data = os.pread(fd, size, offset)
        if len(data) == size or not data:
            return data
        parts = [data]
        got = len(data)
        while got < size:
            more = os.pread(fd, size - got, offset + got)
            if not more:
                break
            parts.append(more)
            got += len(more)
        return b"".join(parts)

    def pwrite(self, fd: int, data: Buffer, offset: int) -> None:
        written = os.pwrite(fd, data, offset)
        size = len(data)
        while written < size:
            step = os.pwrite(fd, memoryview(data)[written:], offset + written)
            if step == 0:
                raise OSError(errno.EIO, "the operating system wrote nothing")
            written += step

    def pwritev_sync(self, fd: int, parts: Sequence[Buffer], offset: int) -> None:
        if len(parts) > _IOV_MAX:
            parts = [b"".join(parts)]
        size = sum(map(len, parts))
        written = 0
        # One call that writes and syncs gives up the GIL once instead of twice.
        if self._writes_synced:
            try:
                written = os.pwritev(fd, parts, offset, os.RWF_DSYNC)
            except (OSError, NotImplementedError) as error:
                if isinstance(error, OSError) and error.errno not in _NOT_KNOWN:
                    raise
                # This kernel or file system does not know the flag, and wrote nothing.
                self._writes_synced = False
            if written == size:
                return
        self.pwrite(fd, memoryview(b"".join(parts))[written:], offset + written)
        self.fdatasync(fd)

    def fdatasync(self, fd: int) -> None:
        if _FULLFSYNC is not None:
            fcntl.fcntl(fd, _FULLFSYNC)
        elif hasattr(os, "fdatasync"):
            os.fdatasync(fd)
        else:
            os.fsync(fd)

    def fsync(self, fd: int) -> None:
        if _FULLFSYNC is not None:
            fcntl.fcntl(fd, _FULLFSYNC)
        else:
            os.fsync(fd)

    def fsync_dir(self, path: str) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def rename(self, source: str, target: str) -> None:
        os.rename(source, target)

    def unlink(self, path: str) -> None:
        os.unlink(path)

    def listdir(self, path: str) -> list[str]:
        return sorted(os.listdir(path))

    def flock(self, fd: int) -> bool:
        # flock, not lockf: lockf's locks belong to the process, so the same process can take
        # one twice, and closing any descriptor of the file drops it.
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
