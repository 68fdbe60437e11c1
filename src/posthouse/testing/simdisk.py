"""A disk in memory that knows what a power cut would leave of it.

It keeps apart what programs see (the page cache) and what is durable: of each file the content at
its last sync and the changes since then; of the directory the names at its last sync and the
moves since then. Each change makes a `Cut`, the disk as a crash would find it at that moment;
`posthouse.testing.crashes` lists what may then be left.

What it assumes of a file system is what the log may rely on, no more: a synced change is kept; of
the others any part may be kept, in any order, and a write may be torn anywhere; a rename is atomic;
the name of a file is kept only by a sync of its directory.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from posthouse.journal.files import Buffer

Image = dict[str, bytes]
"""A disk after a crash: path to content. All of it is durable."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a file's content since its last sync.

    Attributes:
        index: of the operation, counted over the whole disk.
        offset: of the write; the new length of a truncation.
        data: what was written; None for a truncation.
        forced: this change is durable, though others of the file before it may not be.
    """

    index: int
    offset: int
    data: bytes | None
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """A change of the directory since its last sync: a name made, changed or removed.

    Attributes:
        index: of the operation, counted over the whole disk.
        file: number of the file.
        source: the name it had; None for a new file.
        target: the name it has; None for a removed one.
    """

    index: int
    file: int
    source: str | None
    target: str | None


@dataclass(frozen=True, slots=True)
class Frozen:
    """A file at a cut: what is durable of it, and its changes since.

    Attributes:
        cached: what programs see, where a failed sync made that more than the two together.
    """

    durable: bytes
    pending: tuple[Change, ...]
    cached: bytes | None = None


@dataclass(frozen=True, slots=True)
class Cut:
    """The disk as a crash finds it, just when operation ``index`` has reached the page cache.

    Attributes:
        index: how many operations were complete before it.
        synced: how many were complete when a segment was last synced.
        names: the directory's durable names, to the files' numbers.
        moves: its changes since.
        files: by number.
        what: the operation, in words.
    """

    index: int
    synced: int
    names: Mapping[str, int]
    moves: tuple[Move, ...]
    files: Mapping[int, Frozen]
    what: str


class _Inode:
    __slots__ = ("data", "durable", "frozen", "locked_by", "lost", "number", "pending")

    def __init__(self, number: int, data: bytes | bytearray, durable: bytes) -> None:
        self.number = number
        self.data = data
        self.durable = durable
        self.pending: list[Change] = []
        self.frozen: Frozen | None = None
        self.locked_by: int | None = None
        self.lost = False  # a sync failed: what is in the cache is no more what is on disk

    def change(self, change: Change) -> None:
        self.pending.append(change)
        self.frozen = None

    def sync(self) -> None:
        if self.lost:
            self.durable = bytes(applied(self.durable, self.pending))
        else:
            self.durable = bytes(self.data)
        self.pending.clear()
        self.frozen = None

    def freeze(self) -> Frozen:
        if self.frozen is None:
            cached = bytes(self.data) if self.lost else None
            self.frozen = Frozen(self.durable, tuple(self.pending), cached)
        return self.frozen


def applied(durable: bytes, changes: Sequence[Change]) -> bytes | bytearray:
    """The content after these changes."""
    if not changes:
        return durable
    data = bytearray(durable)
    for change in changes:
        put_change(data, change.offset, change.data)
    return data


def put_change(data: bytearray, offset: int, written: bytes | None) -> None:
    """One write (or, with None, truncation) in memory."""
    if len(data) < offset:
        data.extend(bytes(offset - len(data)))
    if written is None:
        del data[offset:]
    else:
        data[offset : offset + len(written)] = written


_SYNCS: Final = frozenset({"fdatasync", "fsync", "pwritev_sync", "fsync_dir"})


class SimDisk:
    """A `posthouse.journal.files.Files` in memory.

    Attributes:
        cuts: one for each operation that changed something, if ``record``.
        count: operations so far that changed something.
        on_write: called with (path, offset, data) of each write.
        fail_at: the number, from 1, of the operation (of ``fail_names``) that fails; 0: none.
        calls: operations of ``fail_names`` so far.
    """

    def __init__(self, image: Image | None = None, *, record: bool = False) -> None:
        self.record = record
        self.cuts: list[Cut] = []
        self.count = 0
        self.synced = 0
        self.on_write: Callable[[str, int, bytes], None] | None = None
        self.fail_at = 0
        self.fail_error = errno.EIO
        self.fail_names = _SYNCS
        self.fail_sticky = False
        self.calls = 0
        self._names: dict[str, _Inode] = {}
        self._durable_names: Mapping[str, int] = {}
        self._moves: list[Move] = []
        self._files: dict[int, _Inode] = {}
        self._open: dict[int, tuple[_Inode, str]] = {}
        self._next_fd = 1000
        self._next_file = 1
        for path, data in (image or {}).items():
            self._names[path] = self._add(data, data)
        self._durable_names = {path: node.number for path, node in self._names.items()}

    @classmethod
    def after_kill(cls, cut: Cut, *, record: bool = True) -> SimDisk:
        """The same disk when only the process has died: all is seen, not all is durable."""
        disk = cls(record=record)
        for number, frozen in cut.files.items():
            seen: bytes | bytearray = applied(frozen.durable, frozen.pending)
            if frozen.cached is not None:
                seen = frozen.cached
            node = _Inode(number, seen, frozen.durable)
            node.pending = list(frozen.pending)
            node.lost = frozen.cached is not None
            disk._files[number] = node
            disk._next_file = max(disk._next_file, number + 1)
        names = dict(cut.names)
        for move in cut.moves:
            apply_move(names, move)
        disk._names = {path: disk._files[number] for path, number in names.items()}
        disk._durable_names = cut.names
        disk._moves = list(cut.moves)
        disk.count = cut.index + 1
        disk.synced = cut.synced
        return disk

    def image(self) -> Image:
        """What programs see now."""
        return {path: bytes(node.data) for path, node in self._names.items()}

    def cut(self, what: str = "now") -> Cut:
        """The disk as a crash would find it now."""
        used = {node.number for node in self._names.values()}
        used |= set(self._durable_names.values()) | {move.file for move in self._moves}
        return Cut(
            index=self.count,
            synced=self.synced,
            names=self._durable_names,
            moves=tuple(self._moves),
            files={number: self._files[number].freeze() for number in used},
            what=what,
        )

    # Files

    def mkdir(self, path: str) -> None:
        """Directories are there always."""

    def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
        """See `posthouse.journal.files.Files`."""
        node = self._names.get(path)
        if node is None:
            if not create:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
            self._may_fail("create", path, None)
            node = self._names[path] = self._add(b"", b"")
            self._moved(Move(self.count, node.number, None, path), f"create {path}")
        elif exclusive:
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        self._next_fd += 1
        self._open[self._next_fd] = (node, path)
        return self._next_fd

    def close(self, fd: int) -> None:
        """See `posthouse.journal.files.Files`."""
        node, _ = self._open.pop(fd)
        if node.locked_by == fd:
            node.locked_by = None

    def pread(self, fd: int, size: int, offset: int) -> bytes:
        """See `posthouse.journal.files.Files`."""
        return bytes(self._open[fd][0].data[offset : offset + size])

    def pwrite(self, fd: int, data: Buffer, offset: int) -> None:
        """See `posthouse.journal.files.Files`."""
        node, path = self._open[fd]
        self._may_fail("pwrite", path, None)
        self._write(node, path, bytes(data), offset, forced=False)

    def pwritev_sync(self, fd: int, parts: Sequence[Buffer], offset: int) -> None:
        """See `posthouse.journal.files.Files`. Of the file, only these bytes become durable."""
        node, path = self._open[fd]
        data = b"".join(parts)
        failing = self._is_failing("pwritev_sync")
        self._write(node, path, data, offset, forced=False)
        if failing:
            self._lose(node)
            raise OSError(self.fail_error, os.strerror(self.fail_error), path)
        if not self.record:
            return
        if len(node.pending) == 1:
            node.sync()
        else:
            node.pending[-1] = Change(self.count - 1, offset, data, True)
            node.frozen = None
        self._note_sync(node)

    def fdatasync(self, fd: int) -> None:
        """See `posthouse.journal.files.Files`."""
        self._sync("fdatasync", fd)

    def fsync(self, fd: int) -> None:
        """See `posthouse.journal.files.Files`."""
        self._sync("fsync", fd)

    def fsync_dir(self, path: str) -> None:
        """See `posthouse.journal.files.Files`."""
        self._may_fail("fsync_dir", path, None)
        if self.record:
            self._durable_names = {name: node.number for name, node in self._names.items()}
            self._moves.clear()

    def size(self, fd: int) -> int:
        """See `posthouse.journal.files.Files`."""
        return len(self._open[fd][0].data)

    def truncate(self, fd: int, size: int) -> None:
        """See `posthouse.journal.files.Files`."""
        node, path = self._open[fd]
        if size == len(node.data):
            return
        data = self._own(node)
        put_change(data, size, None)
        self._changed(node, Change(self.count, size, None), f"truncate {path} to {size}")

    def rename(self, source: str, target: str) -> None:
        """See `posthouse.journal.files.Files`."""
        self._may_fail("rename", source, None)
        node = self._names.pop(source)
        self._names[target] = node
        for fd, (opened, _) in self._open.items():
            if opened is node:
                self._open[fd] = (node, target)
        self._moved(Move(self.count, node.number, source, target), f"rename {source} {target}")

    def unlink(self, path: str) -> None:
        """See `posthouse.journal.files.Files`."""
        self._may_fail("unlink", path, None)
        node = self._names.pop(path)
        self._moved(Move(self.count, node.number, path, None), f"unlink {path}")

    def listdir(self, path: str) -> list[str]:
        """See `posthouse.journal.files.Files`."""
        start = len(path) + 1
        return sorted(name[start:] for name in self._names if name.startswith(path + "/"))

    def flock(self, fd: int) -> bool:
        """See `posthouse.journal.files.Files`."""
        node, _ = self._open[fd]
        if node.locked_by not in (None, fd):
            return False
        node.locked_by = fd
        return True

    # inside

    def _add(self, data: bytes, durable: bytes) -> _Inode:
        node = _Inode(self._next_file, data, durable)
        self._files[node.number] = node
        self._next_file += 1
        return node

    @staticmethod
    def _own(node: _Inode) -> bytearray:
        """The file's content, to be changed: images are shared until then."""
        data = node.data
        if not isinstance(data, bytearray):
            data = node.data = bytearray(data)
        return data

    def _write(self, node: _Inode, path: str, data: bytes, offset: int, *, forced: bool) -> None:
        put_change(self._own(node), offset, data)
        if self.on_write is not None:
            self.on_write(path, offset, data)
        self._changed(
            node, Change(self.count, offset, data, forced), f"write {path} {offset}+{len(data)}"
        )

    def _changed(self, node: _Inode, change: Change, what: str) -> None:
        if self.record:
            node.change(change)
            self.cuts.append(self.cut(what))
        self.count += 1

    def _moved(self, move: Move, what: str) -> None:
        if self.record:
            self._moves.append(move)
            self.cuts.append(self.cut(what))
        self.count += 1

    def _sync(self, name: str, fd: int) -> None:
        node, path = self._open[fd]
        self._may_fail(name, path, node)
        if self.record:
            node.sync()
            self._note_sync(node)

    def _note_sync(self, node: _Inode) -> None:
        for opened, path in self._open.values():
            if opened is node and path.endswith(".seg"):
                self.synced = self.count
                return

    def _is_failing(self, name: str) -> bool:
        if not self.fail_at or name not in self.fail_names:
            return False
        self.calls += 1
        return self.calls == self.fail_at or (self.fail_sticky and self.calls > self.fail_at)

    def _may_fail(self, name: str, path: str, node: _Inode | None) -> None:
        if self._is_failing(name):
            if node is not None:
                self._lose(node)
            raise OSError(self.fail_error, os.strerror(self.fail_error), path)

    def _lose(self, node: _Inode) -> None:
        """A failed sync: the kernel calls the pages clean, and they are nowhere but in memory."""
        node.pending.clear()
        node.frozen = None
        node.lost = True


def apply_move(names: dict[str, int], move: Move) -> None:
    """Let a change of the directory take effect, if what it starts from is there."""
    if move.source is not None:
        if names.get(move.source) != move.file:
            return
        del names[move.source]
    if move.target is not None:
        names[move.target] = move.file
