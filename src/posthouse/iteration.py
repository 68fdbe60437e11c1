"""`async for` over a queue."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, TypeVar

from posthouse.errors import QueueShutDown
from posthouse.message import Message, Source

T = TypeVar("T")

PREFETCH_MESSAGES: Final = 100
PREFETCH_BYTES: Final = 1024 * 1024


class QueueIterator(AsyncIterator[Message[T]]):
    """What `async for` runs on. See `Queue.__aiter__`."""

    __slots__ = ("_feed", "_source")

    def __init__(self, source: Source) -> None:
        self._source = source
        self._feed = source.port.feed(PREFETCH_MESSAGES, PREFETCH_BYTES)

    def __aiter__(self) -> QueueIterator[T]:
        return self

    async def __anext__(self) -> Message[T]:
        feed = self._feed
        try:
            taken = feed.next()
            while taken is None:
                await feed.wait()
                taken = feed.next()
        except QueueShutDown:
            feed.close()
            raise StopAsyncIteration from None
        return Message(self._source, taken[1], taken[0], taken[2])

    async def aclose(self) -> None:
        """Put back what was set aside."""
        self._feed.close()

    def __del__(self) -> None:
        # Making the feed may have failed.
        if hasattr(self, "_feed"):
            self._feed.close()
