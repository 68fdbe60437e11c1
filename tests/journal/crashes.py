"""What a power cut may leave of a recorded run.

Strict: a synced write makes only itself durable, a file's sync not its name, a directory's sync
only the names in it. Everything else may be there, or not, or in part, in any order.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from posthouse.testing.files import Operation
from tests.journal.memory import Inode, MemoryFiles


@dataclass(slots=True)
class Change:
    """A write (or a new length, without data) to a file, and whether it must be there."""

    offset: int
    data: bytes | None
    durable: bool


@dataclass(slots=True, eq=False)
class File:
    """``base``: what is durable and covered by nothing older that is not."""

    base: bytearray = field(default_factory=bytearray)
    changes: list[Change] = field(default_factory=list)

    def settle(self) -> None:
        while self.changes and self.changes[0].durable:
            _apply(self.base, self.changes.pop(0), None)


@dataclass(slots=True)
class Naming:
    """A change of a directory, and whether it must be there."""

    operation: Operation
    file: File
    durable: bool


class Platter:
    """A disk that is told the operations of a run one by one."""

    def __init__(self) -> None:
        self._now: dict[str, File] = {}
        self._namings: list[Naming] = []
        self._files: list[File] = []

    def do(self, operation: Operation) -> None:
        path = operation.path
        match operation.name:
            case "create":
                if path not in self._now:
                    self._now[path] = File()
                    self._files.append(self._now[path])
                    self._namings.append(Naming(operation, self._now[path], False))
            case "pwrite":
                self._change(path, operation.offset, operation.data, False)
            case "pwritev_sync":
                self._change(path, operation.offset, operation.data, True)
            case "truncate":
                self._change(path, operation.offset, None, False)
            case "fsync" | "fdatasync":
                for change in self._now[path].changes:
                    change.durable = True
                self._now[path].settle()
            case "rename":
                self._now[operation.target] = self._now.pop(path)
                self._namings.append(Naming(operation, self._now[operation.target], False))
            case "unlink":
                self._namings.append(Naming(operation, self._now.pop(path), False))
            case "fsync_dir":
                for naming in self._namings:
                    naming.durable = True

    def _change(self, path: str, offset: int, data: bytes | None, durable: bool) -> None:
        self._now[path].changes.append(Change(offset, data, durable))
        self._now[path].settle()

    def cached(self) -> MemoryFiles:
        """What a process that comes after sees, without a power cut."""
        return self._state(lambda: True, None)

    def states(self, draw: random.Random, many: int) -> Iterator[MemoryFiles]:
        """States that a crash now may leave: nothing of what is pending, all, and ``many``
        others."""
        yield self._state(lambda: False, None)
        yield self.cached()
        for _ in range(many):
            chance = draw.random()
            yield self._state(lambda chance=chance: draw.random() < chance, draw)

    def _state(self, keep: object, draw: random.Random | None) -> MemoryFiles:
        assert callable(keep)
        disk = MemoryFiles()
        nodes: dict[int, Inode] = {}
        for file in self._files:
            nodes[id(file)] = Inode(self._content(file, keep, draw))
        for naming in self._namings:
            if naming.durable or keep():
                operation = naming.operation
                if operation.name == "create":
                    disk.names.setdefault(operation.path, nodes[id(naming.file)])
                elif operation.name == "unlink":
                    disk.names.pop(operation.path, None)
                elif disk.names.get(operation.path) is nodes[id(naming.file)]:
                    disk.names[operation.target] = disk.names.pop(operation.path)
        return disk

    @staticmethod
    def _content(file: File, keep: object, draw: random.Random | None) -> bytearray:
        assert callable(keep)
        data = bytearray(file.base)
        for change in file.changes:
            if change.durable or keep():
                _apply(data, change, draw)
        return data


def _apply(data: bytearray, change: Change, draw: random.Random | None) -> None:
    if change.data is None:
        del data[change.offset :]
        data.extend(bytes(change.offset - len(data)))
        return
    pieces = [(0, len(change.data))]
    if draw is not None and not change.durable:
        pieces = _torn(len(change.data), draw)
    end = change.offset + pieces[-1][1]
    data.extend(bytes(max(0, end - len(data))))
    for begin, stop in pieces:
        data[change.offset + begin : change.offset + stop] = change.data[begin:stop]


def _torn(size: int, draw: random.Random) -> list[tuple[int, int]]:
    """Which bytes of a write that was under way are there: a prefix, or any of its sectors."""
    if draw.random() < 0.5:
        return [(0, draw.randint(0, size))]
    sectors = [(at, min(at + 512, size)) for at in range(0, size, 512)]
    return [sector for sector in sectors if draw.random() < 0.5] or [(0, 0)]
