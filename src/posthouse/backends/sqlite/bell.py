"""How the processes that share a database wake each other, and know who is alive.

Beside the database is a directory with a FIFO for each open broker, named by its number. After a
commit that others may wait for, the queues' numbers are written into all others' FIFOs (a write
is atomic and never waits); each reads its own. A FIFO needs no port and no short path, works on
Linux and macOS, and dies with its process: who rings at one that nobody reads learns that its
holder is gone. Where there are no FIFOs, and for a ring that was lost, there is a slow poll.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import Final

EVERYTHING: Final = 0
_MOST: Final = 256  # 2 KiB, less than PIPE_BUF: written whole or not at all
_FULL_BYTES: Final = 32 * 1024
_GONE: Final = frozenset({errno.ENXIO, errno.ENOENT, errno.EPIPE})


def fifo_path(directory: Path, number: int) -> Path:
    """A holder's FIFO."""
    return directory / f"{number}.fifo"


def yields_path(directory: Path, number: int) -> Path:
    """A holder's record of what its iterators yielded."""
    return directory / f"{number}.seen"


class Bell:
    """This holder's FIFO, and those of the others as they are needed."""

    def __init__(self, directory: Path, number: int) -> None:
        self._directory = directory
        self._path = fifo_path(directory, number)
        self._others: dict[int, int] = {}
        self._file = -1
        if not hasattr(os, "mkfifo"):
            return
        # Under its name only when it is read: else it would look like a dead one's.
        made = directory / f"{number}.tmp"
        made.unlink(missing_ok=True)
        os.mkfifo(made, 0o666)
        self._file = os.open(made, os.O_RDWR | os.O_NONBLOCK)
        made.rename(self._path)

    def fileno(self) -> int:
        """What to poll; -1 where there are no FIFOs."""
        return self._file

    def hear(self) -> set[int]:
        """The queues that others changed; with `EVERYTHING` among them: perhaps all."""
        try:
            data = os.read(self._file, 65536)
        except BlockingIOError:
            return set()
        numbers = {n for (n,) in struct.iter_unpack("<q", data[: len(data) // 8 * 8])}
        if len(data) >= _FULL_BYTES:
            numbers.add(EVERYTHING)  # what came when it was full was not written
        return numbers

    def ring(self, others: Collection[int], numbers: Collection[int]) -> list[int]:
        """Tell the others about queues; the numbers of those that are gone."""
        some = list(numbers) if len(numbers) <= _MOST else [EVERYTHING]
        data = struct.pack(f"<{len(some)}q", *some)
        gone = []
        for other in others:
            try:
                os.write(self._open(other), data)
            except BlockingIOError:
                pass  # it has been told so much that it will look anyway
            except OSError as error:
                if error.errno in _GONE:
                    gone.append(other)
                self._forget(other)
        for other in set(self._others).difference(others):
            self._forget(other)
        return gone

    def is_alive(self, other: int) -> bool:
        """Whether that holder's process still reads its FIFO; True where that cannot be told."""
        if self._file < 0:
            return True
        self._forget(other)
        try:
            self._open(other)
        except OSError as error:
            return error.errno not in _GONE
        return True

    def _open(self, other: int) -> int:
        file = self._others.get(other)
        if file is None:
            if self._file < 0:
                raise OSError(errno.ENOSYS, "no FIFOs here")
            file = os.open(fifo_path(self._directory, other), os.O_WRONLY | os.O_NONBLOCK)
            self._others[other] = file
        return file

    def _forget(self, other: int) -> None:
        file = self._others.pop(other, None)
        if file is not None:
            os.close(file)

    def let_go(self) -> None:
        """Close the files only: a forked child must not look like its parent."""
        for other in list(self._others):
            self._forget(other)
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def close(self) -> None:
        """Close and delete this holder's FIFO."""
        self.let_go()
        with contextlib.suppress(OSError):
            self._path.unlink()


def clean(directory: Path, number: int) -> None:
    """Delete what a dead holder left."""
    for path in (fifo_path(directory, number), yields_path(directory, number)):
        with contextlib.suppress(OSError):
            path.unlink()
