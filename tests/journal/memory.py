"""A file system in memory, with a size, for tests that open thousands of logs."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import dataclass, field

from posthouse.journal.files import Buffer


@dataclass(slots=True, eq=False)
class Inode:
    data: bytearray = field(default_factory=bytearray)
    locked_by: int | None = None


class MemoryFiles:
    """A `posthouse.journal.files.Files`. ``capacity_bytes``: all files together, at most."""

    def __init__(self, capacity_bytes: int = 1 << 40) -> None:
        self.capacity_bytes = capacity_bytes
        self.names: dict[str, Inode] = {}
        self.open_files: dict[int, Inode] = {}
        self._next_fd = 100

    def copy(self) -> MemoryFiles:
        """What the disk holds now, with nothing open."""
        other = MemoryFiles(self.capacity_bytes)
        other.names = {path: Inode(bytearray(node.data)) for path, node in self.names.items()}
        return other

    def used_bytes(self) -> int:
        nodes = {id(node): node for node in (*self.names.values(), *self.open_files.values())}
        return sum(len(node.data) for node in nodes.values())

    def mkdir(self, path: str) -> None:
        pass

    def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
        node = self.names.get(path)
        if node is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            node = self.names[path] = Inode()
        elif exclusive:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._next_fd += 1
        self.open_files[self._next_fd] = node
        return self._next_fd

    def close(self, fd: int) -> None:
        node = self.open_files.pop(fd)
        if node.locked_by == fd:
            node.locked_by = None

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        return bytes(self.open_files[fd].data[offset : offset + size])

    def pwrite(self, fd: int, data: Buffer, offset: int) -> None:
        node = self.open_files[fd]
        growth = offset + len(data) - len(node.data)
        if growth > 0:
            free = self.capacity_bytes - self.used_bytes()
            if growth > free:
                # As on a real disk: what fits is written, then the error comes.
                fits = max(0, len(data) - growth + max(0, free))
                if fits:
                    self.pwrite(fd, bytes(data)[:fits], offset)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if offset > len(node.data):
                node.data.extend(bytes(offset - len(node.data)))
        node.data[offset : offset + len(data)] = data

    def pwritev_sync(self, fd: int, parts: Sequence[Buffer], offset: int) -> None:
        self.pwrite(fd, b"".join(parts), offset)

    def fdatasync(self, fd: int) -> None:
        assert fd in self.open_files

    def fsync(self, fd: int) -> None:
        assert fd in self.open_files

    def fsync_dir(self, path: str) -> None:
        pass

    def size(self, fd: int) -> int:
        return len(self.open_files[fd].data)

    def truncate(self, fd: int, size: int) -> None:
        data = self.open_files[fd].data
        if size < len(data):
            del data[size:]
        else:
            self.pwrite(fd, bytes(size - len(data)), len(data))

    def rename(self, source: str, target: str) -> None:
        self.names[target] = self.names.pop(source)

    def unlink(self, path: str) -> None:
        del self.names[path]

    def listdir(self, path: str) -> list[str]:
        return sorted(name[len(path) + 1 :] for name in self.names if name.startswith(path + "/"))

    def flock(self, fd: int) -> bool:
        node = self.open_files[fd]
        if node.locked_by not in (None, fd):
            return False
        node.locked_by = fd
        return True
