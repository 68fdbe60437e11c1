"""How far each iterator has got in what it set aside, where a kill cannot undo it.

An iterator leases a batch and yields it one by one. If its process dies, only what was yielded is
an attempt that failed; the rest never left. So each yield is a number written into a small file
that is mapped into memory: no system call, and it is there as long as the machine runs. Whoever
reclaims the dead holder's leases reads it.

The file is a ring of (token, how many were yielded). A token that is missing was not begun, unless
newer ones have pushed it out.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from typing import Final

SLOTS: Final = 1024
_PAIR: Final = struct.Struct("<qq")


class Yields:
    """This holder's ring. Raises OSError where the file cannot be made."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with path.open("w+b") as file:
            file.truncate(SLOTS * _PAIR.size)
            self._map = mmap.mmap(file.fileno(), SLOTS * _PAIR.size)
        self._slots: dict[int, int] = {}
        self._next = 0

    def mark(self, token: int, count: int) -> None:
        """So many of a lease's messages were yielded."""
        slot = self._slots.get(token)
        if slot is None:
            slot, self._next = self._next, (self._next + 1) % SLOTS
            if len(self._slots) >= SLOTS:
                self._slots.pop(next(iter(self._slots)))
            self._slots[token] = slot
        _PAIR.pack_into(self._map, slot * _PAIR.size, token, count)

    def close(self) -> None:
        """Let go of the file, and delete it."""
        self._map.close()
        self._path.unlink(missing_ok=True)


def yielded(path: Path, token: int) -> int | None:
    """How many of a lease's messages its holder yielded; None if that is not known (any more)."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    pairs = dict(_PAIR.iter_unpack(data[: len(data) - len(data) % _PAIR.size]))
    if token in pairs:
        return int(pairs[token])
    full = len(pairs) == SLOTS and 0 not in pairs
    return None if full and token < min(pairs) else 0
