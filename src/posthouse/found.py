"""What a filter finds in a queue: a page of it to look at, or all of it to act on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator
from typing import Any, Final, Generic, Protocol, TypeVar

from posthouse.backends.contract import QueuePort
from posthouse.core.filters import Filter
from posthouse.errors import BadArgument
from posthouse.message import Message, Source
from posthouse.model import MAX_BATCH_MESSAGES, check_seconds

T = TypeVar("T")

ORDERS: Final = ("id", "-id", "priority", "-priority")
PAGE_MESSAGES: Final = 100
_MOST_NUMBER: Final = 1 << 63


class Target(Protocol):
    """A queue that messages may be moved to."""

    name: str
    port: QueuePort


class Page(list[Message[T]]):
    """Messages that were found, to look at: they are leased to nobody and cannot be settled.

    Attributes:
        cursor: what `Queue.find` takes to go on after this page; None: this was the last one.
    """

    cursor: str | None = None


class Found(Generic[T]):
    """What `Queue.find` returns. Awaited, it is a `Page`; iterated, all messages, page by page.

    `delete`, `move`, `delay` and `redrive` act on all that matches, whatever the limit and the
    cursor: in steps, with turns of the loop between them, each message looked up again when its
    turn comes. What is in flight is never touched, and neither is what comes meanwhile. They
    return how many it was, durably.
    """

    def __init__(
        self,
        source: Source,
        where: Filter | None,
        order: str = "id",
        limit: int = PAGE_MESSAGES,
        cursor: str | None = None,
    ) -> None:
        if order not in ORDERS:
            raise BadArgument(f"order is {order!r}; it must be one of {', '.join(ORDERS)}")
        if (
            isinstance(limit, bool)
            or not isinstance(limit, int)
            or not 1 <= limit <= MAX_BATCH_MESSAGES
        ):
            raise BadArgument(f"find's limit is from 1 to {MAX_BATCH_MESSAGES:,}, not {limit!r}")
        self._source = source
        self._where = where
        self._order = order
        self._limit = limit
        self._after = None if cursor is None else _read_cursor(cursor, order)

    def __await__(self) -> Generator[Any, None, Page[T]]:
        return self._page(self._after).__await__()

    async def _page(self, after: tuple[int, ...] | None) -> Page[T]:
        source = self._source
        rows, last = await source.port.find(self._where, self._order, self._limit, after)
        page: Page[T] = Page(Message(source, entry, 0, attempts) for entry, attempts in rows)
        if last is not None:
            page.cursor = ":".join((self._order, *map(str, last)))
        return page

    async def __aiter__(self) -> AsyncIterator[Message[T]]:
        after = self._after
        while True:
            page = await self._page(after)
            for message in page:
                yield message
            if page.cursor is None:
                return
            after = _read_cursor(page.cursor, self._order)

    async def delete(self) -> int:
        """Delete them.

        Raises:
            StorageFull: there is no room to write that down; what was done is done.
        """
        return await self._source.port.delete(self._where)

    async def move(self, queue: Target) -> int:
        """Move them to the end of another queue of this broker, with their ids and no attempts.

        What is delayed stays so. The other queue's limits do not hold this up.

        Raises:
            BadArgument: the queue is this one, or another broker's.
            StorageFull: there is no room to write that down; what was done is done.
        """
        port = self._source.port
        if queue.port.broker is not port.broker:
            raise BadArgument(f"queue {queue.name!r} is another broker's")
        if queue.name == self._source.name:
            raise BadArgument(f"queue {queue.name!r} is where they are already")
        return await port.move(self._where, queue.name)

    async def delay(self, seconds: float) -> int:
        """Let them wait ``seconds`` from now on, also those that wait for a time already.

        0 makes them available at once. Attempts stay as they are. Raises: as `delete`, and
        BadArgument for the seconds.
        """
        return await self._source.port.delay(self._where, check_seconds("delay", seconds))

    async def redrive(self) -> int:
        """Put those that are dead letters back where they died, to begin anew.

        Letters of unknown origin stay. Raises: as `delete`.
        """
        return await self._source.port.redrive_found(self._where)

    def __repr__(self) -> str:
        where = "everything" if self._where is None else repr(self._where.text)
        return f"<Found {where} in {self._source.name!r}>"


def _read_cursor(cursor: str, order: str) -> tuple[int, ...]:
    parts = cursor.split(":") if isinstance(cursor, str) else []
    count = 2 if "priority" in order else 1
    try:
        numbers = tuple(int(part) for part in parts[1:])
    except ValueError:
        numbers = ()
    if (
        len(numbers) != count
        or parts[0] != order
        or not all(abs(number) < _MOST_NUMBER for number in numbers)
    ):
        raise BadArgument(
            f"{cursor!r} is no cursor of a find with order {order!r}; give the one of its last page"
        )
    return numbers
