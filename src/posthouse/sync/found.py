"""What a filter finds in a queue, for threads."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Generic, NoReturn, TypeVar

from posthouse import found as aio
from posthouse.sync.iteration import MessageIterator
from posthouse.sync.message import Message, messages_of
from posthouse.sync.portal import Portal, refuse_copies
from posthouse.sync.target import Target

T = TypeVar("T")


class Page(list[Message[T]]):
    """Messages that were found, to look at. As `posthouse.Page`.

    Attributes:
        cursor: what `Queue.find` takes to go on after this page; None: this was the last one.
    """

    cursor: str | None = None


class Found(Generic[T]):
    """What `Queue.find` returns, for threads. As `posthouse.Found`.

    `page` is what awaiting is there; iterated, it goes to the loop once for each page.

    Attributes:
        aio: the same for coroutines on the broker's loop.
    """

    def __init__(self, found: aio.Found[T], limit: int, portal: Portal) -> None:
        self.aio = found
        self._limit = limit
        self._portal = portal

    def page(self) -> Page[T]:
        """The page: up to ``limit`` messages, and the cursor to go on after them."""
        return self._portal.take(partial(_page, self.aio), self._made, None)

    def _made(self, found: aio.Page[T]) -> Page[T]:
        page: Page[T] = Page(messages_of(self._portal, found))
        page.cursor = found.cursor
        return page

    def __iter__(self) -> Iterator[Message[T]]:
        return MessageIterator(self._portal, self.aio.__aiter__, self._limit, None)

    def delete(self) -> int:
        """Delete them; how many. As `posthouse.Found.delete`."""
        return self._portal.call(self.aio.delete)

    def move(self, queue: Target) -> int:
        """Move them to another queue of this broker. As `posthouse.Found.move`."""
        return self._portal.call(partial(self.aio.move, queue.aio))

    def delay(self, seconds: float) -> int:
        """Let them wait ``seconds`` from now on. As `posthouse.Found.delay`."""
        return self._portal.call(partial(self.aio.delay, seconds))

    def redrive(self) -> int:
        """Put dead letters back where they died. As `posthouse.Found.redrive`."""
        return self._portal.call(self.aio.redrive)

    def __reduce__(self) -> NoReturn:
        refuse_copies(self)

    def __repr__(self) -> str:
        return repr(self.aio)


async def _page(found: aio.Found[T]) -> aio.Page[T]:
    return await found
