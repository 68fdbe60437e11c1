"""`async for` over a queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, TypeVar

from posthouse.errors import QueueShutDown
from posthouse.message import Message, Source
from posthouse.records import Entry

T = TypeVar("T")

PREFETCH_MESSAGES: Final = 100
PREFETCH_BYTES: Final = 1024 * 1024


class QueueIterator(AsyncIterator[Message[T]]):
    """What `async for` runs on. See `Queue.__aiter__`."""

    __slots__ = ("_port", "_reserved", "_source")

    def __init__(self, source: Source) -> None:
        self._port = source.port
        self._source = source
        self._reserved: list[Entry] = []  # the next one last

    def __aiter__(self) -> QueueIterator[T]:
        return self

    async def __anext__(self) -> Message[T]:
        reserved = self._reserved
        port = self._port
        if not reserved:
            entries = port.reserve(PREFETCH_MESSAGES, PREFETCH_BYTES)
            while not entries:
                try:
                    await port.readable()
                except QueueShutDown:
                    raise StopAsyncIteration from None
                entries = port.reserve(PREFETCH_MESSAGES, PREFETCH_BYTES)
            entries.reverse()
            self._reserved = reserved = entries
        try:
            token, entry, attempts = port.lease_reserved(reserved[-1])
        except QueueShutDown:
            self._give_back()
            raise StopAsyncIteration from None
        reserved.pop()
        return Message(self._source, entry, token, attempts)

    async def aclose(self) -> None:
        """Put back what was set aside."""
        self._give_back()

    def _give_back(self) -> None:
        reserved, self._reserved = self._reserved, []
        if reserved:
            self._port.restore(reserved)

    def __del__(self) -> None:
        self._give_back()
