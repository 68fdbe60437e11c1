"""A delivered message, as a thread sees it."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import partial
from itertools import repeat
from types import TracebackType
from typing import Any, Generic, NoReturn, Self, TypeVar

import msgspec

from posthouse import message as aio
from posthouse.errors import PosthouseError
from posthouse.sync.portal import Portal, refuse_copies

T = TypeVar("T")


# A Struct, and unknown to the garbage collector, for the same reasons as the asyncio face's.
class Message(msgspec.Struct, Generic[T], eq=False, gc=False):
    """One delivery of a message, for threads. As `posthouse.Message`.

    ``with message:`` settles it as ``async with`` does there; on KeyboardInterrupt or SystemExit
    it is given back at once and the attempt does not count. Any thread may settle it.

    Attributes:
        aio: the same delivery for coroutines on the broker's loop.
    """

    aio: aio.Message[T]
    portal: Portal

    @property
    def queue_name(self) -> str:
        """The queue it was taken from."""
        return self.aio.queue_name

    @property
    def id(self) -> str:
        """As `posthouse.Message.id`."""
        return self.aio.id

    @property
    def number(self) -> int:
        """The id as a number."""
        return self.aio.number

    @property
    def attempts(self) -> int:
        """Which delivery this is, from 1 (for a peeked message: deliveries so far)."""
        return self.aio.attempts

    @property
    def settled(self) -> str | None:
        """How this delivery was settled, or None. As `posthouse.Message.settled`."""
        return self.aio.settled

    @property
    def token(self) -> int:
        """The fencing token of its lease (0 for a peeked message)."""
        return self.aio.token

    @property
    def body(self) -> T:
        """The body, decoded (in this thread) at the first look. As `posthouse.Message.body`."""
        return self.aio.body

    @property
    def raw(self) -> bytes:
        """The body's bytes as they are stored."""
        return self.aio.raw

    @property
    def headers(self) -> dict[str, str]:
        """As `posthouse.Message.headers`."""
        return self.aio.headers

    @property
    def enqueued_at(self) -> datetime:
        """When it was put, by the broker's clock, in UTC."""
        return self.aio.enqueued_at

    def ack(self, durable: bool = False) -> None:
        """It is done; the broker forgets it. As `posthouse.Message.ack`."""
        self.portal.call(partial(self.aio.ack, durable), finish=True)

    def nack(self, delay: float | None = None, error: str | None = None) -> None:
        """It failed; it is tried again. As `posthouse.Message.nack`."""
        self.portal.call(partial(self.aio.nack, delay, error), finish=True)

    def reject(self, reason: str = "rejected", error: str | None = None) -> None:
        """It can never be done: to the dead letters. As `posthouse.Message.reject`."""
        self.portal.call(partial(self.aio.reject, reason, error), finish=True)

    def give_back(self) -> None:
        """Undo the delivery. As `posthouse.Message.give_back`."""
        self.portal.call(self.aio.give_back, finish=True)

    def extend(self, seconds: float) -> None:
        """Let the lease run ``seconds`` from now. As `posthouse.Message.extend`."""
        self.portal.call(partial(self.aio.extend, seconds), finish=True)

    def __enter__(self) -> Self:
        self.portal.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.portal.call(partial(self.aio.__aexit__, kind, error, traceback), finish=True)

    def __reduce__(self) -> NoReturn:
        refuse_copies(self)

    def __repr__(self) -> str:
        return repr(self.aio)


def messages_of(portal: Portal, taken: Iterable[aio.Message[T]]) -> list[Message[T]]:
    """A batch for threads."""
    return list(map(Message, taken, repeat(portal)))


async def give_back(taken: Iterable[aio.Message[Any]]) -> None:
    """What was taken for a thread that was interrupted goes back, its attempt not counted."""
    for message in taken:
        try:
            await message.give_back()
        except PosthouseError:
            continue  # its lease ran out, or the broker closed: it went back by itself
