"""A few numbers that the producer, the consumer and the harness share: a mapped file.

Each has one writer, and 8 aligned bytes are read and written in one piece.
"""

from __future__ import annotations

import mmap
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

_SLOT = struct.Struct("@q")
_RECEIVED, _EXPECTED, _READY = range(3)


class Board:
    """Opens the file at ``path``, which `create` made."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), 3 * _SLOT.size)

    @classmethod
    def create(cls, path: Path) -> Self:
        """A new board: nothing received, nothing known to expect, nobody ready."""
        path.write_bytes(_SLOT.pack(0) + _SLOT.pack(-1) + _SLOT.pack(0))
        return cls(path)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._map.close()

    @property
    def received(self) -> int:
        """Messages that the consumer has settled."""
        return self._get(_RECEIVED)

    @received.setter
    def received(self, count: int) -> None:
        self._set(_RECEIVED, count)

    @property
    def expected(self) -> int:
        """Messages that were put in all; -1 while there may be more."""
        return self._get(_EXPECTED)

    @expected.setter
    def expected(self, count: int) -> None:
        self._set(_EXPECTED, count)

    @property
    def ready(self) -> bool:
        """Whether the consumer is connected and has made the queue."""
        return bool(self._get(_READY))

    @ready.setter
    def ready(self, value: bool) -> None:
        self._set(_READY, int(value))

    def _get(self, slot: int) -> int:
        value: int = _SLOT.unpack_from(self._map, slot * _SLOT.size)[0]
        return value

    def _set(self, slot: int, value: int) -> None:
        _SLOT.pack_into(self._map, slot * _SLOT.size, value)
