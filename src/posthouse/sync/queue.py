"""A queue, as a program of threads sees it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Generic, NoReturn, TypeVar, Unpack

from posthouse import message as aio_message
from posthouse import queue as aio
from posthouse.found import PAGE_MESSAGES
from posthouse.iteration import PREFETCH_MESSAGES
from posthouse.model import QueuePolicy, QueueStats
from posthouse.options import PutOptions
from posthouse.sync.found import Found
from posthouse.sync.iteration import MessageIterator
from posthouse.sync.message import Message, give_back, messages_of
from posthouse.sync.portal import Portal, refuse_copies
from posthouse.sync.receipt import Receipt
from posthouse.sync.topic import Topic

T = TypeVar("T")


class Queue(Generic[T]):
    """A handle on one queue of a broker, for any number of threads. As `posthouse.Queue`.

    Each call goes to the broker's loop and back; the ``_many`` verbs pay that once for a batch.
    Made by `Broker.queue`.

    Attributes:
        aio: the same handle for coroutines on the broker's loop.
        name: the queue's name.
    """

    def __init__(self, queue: aio.Queue[T], portal: Portal) -> None:
        self.aio = queue
        self.name = queue.name
        self._portal = portal

    # put

    def put(
        self,
        body: T,
        *,
        timeout: float | None = None,
        **options: Unpack[PutOptions],
    ) -> str:
        """Put a message; returns its id when it is on disk. As `posthouse.Queue.put`."""
        return self._portal.call(partial(self.aio.put, body, timeout=timeout, **options))

    def put_many(
        self,
        bodies_: Iterable[T],
        /,
        *,
        timeout: float | None = None,
        **options: Unpack[PutOptions],
    ) -> Sequence[str]:
        """Put a batch, all of it or nothing. As `posthouse.Queue.put_many`."""
        # Listed here: an iterable that blocks must not do so on the loop.
        return self._portal.call(
            partial(self.aio.put_many, list(bodies_), timeout=timeout, **options)
        )

    def put_nowait(
        self,
        body: T,
        **options: Unpack[PutOptions],
    ) -> Receipt:
        """Put without waiting for room or for the disk. As `posthouse.Queue.put_nowait`."""
        receipt = self._portal.run(partial(self.aio.put_nowait, body, **options))
        return Receipt(receipt, self._portal)

    # get

    def get(
        self,
        *,
        where: str | None = None,
        timeout: float | None = None,
        visibility_timeout: float | None = None,
    ) -> Message[T]:
        """Take the next message, waiting for one. As `posthouse.Queue.get`.

        Interrupted while waiting (KeyboardInterrupt), nothing is taken.
        """
        return self._portal.take(
            partial(
                self.aio.get, where=where, timeout=timeout, visibility_timeout=visibility_timeout
            ),
            self._made,
            _give_back_one,
        )

    def get_many(
        self,
        most: int = PREFETCH_MESSAGES,
        *,
        where: str | None = None,
        timeout: float | None = None,
        visibility_timeout: float | None = None,
    ) -> list[Message[T]]:
        """Take from 1 to ``most`` messages. As `posthouse.Queue.get_many`."""
        return self._portal.take(
            partial(
                self.aio.get_many,
                most,
                where=where,
                timeout=timeout,
                visibility_timeout=visibility_timeout,
            ),
            partial(messages_of, self._portal),
            give_back,
        )

    def get_nowait(self, *, visibility_timeout: float | None = None) -> Message[T]:
        """Take the next message that waits now. As `posthouse.Queue.get_nowait`."""

        async def taken() -> aio_message.Message[T]:
            return self.aio.get_nowait(visibility_timeout=visibility_timeout)

        return self._portal.take(taken, self._made, _give_back_one)

    def _made(self, message: aio_message.Message[T]) -> Message[T]:
        return Message(message, self._portal)

    def __iter__(self) -> Iterator[Message[T]]:
        """Messages as they come, until the handle is shut down and nothing waits.

        As ``async for`` over a `posthouse.Queue`.
        """
        return MessageIterator(self._portal, self.aio.__aiter__, 1, give_back)

    # settle

    def ack_many(self, messages: Sequence[Message[T]], durable: bool = False) -> None:
        """Ack messages of this queue. As `posthouse.Queue.ack_many`."""
        self._portal.call(
            partial(self.aio.ack_many, [message.aio for message in messages], durable),
            finish=True,
        )

    # the queue as a whole

    def qsize(self) -> int:
        """Messages that wait to be delivered. As `posthouse.Queue.qsize`."""
        return self._portal.run(self.aio.qsize)

    def empty(self) -> bool:
        """Whether none waits."""
        return self._portal.run(self.aio.empty)

    def full(self) -> bool:
        """Whether a put would have to wait for room."""
        return self._portal.run(self.aio.full)

    @property
    def policy(self) -> QueuePolicy:
        """The queue's settings as they are now."""
        return self._portal.run(lambda: self.aio.policy)

    def stats(self) -> QueueStats:
        """What the queue holds, and did since the broker was opened."""
        return self._portal.call(self.aio.stats)

    def peek(self, most: int = 1) -> list[Message[T]]:
        """The next messages in order, left where they are; they cannot be settled."""
        return messages_of(self._portal, self._portal.call(partial(self.aio.peek, most)))

    def find(
        self,
        where: str | None = None,
        *,
        order: str = "id",
        limit: int = PAGE_MESSAGES,
        cursor: str | None = None,
    ) -> Found[T]:
        """What waits or is delayed and matches a filter. As `posthouse.Queue.find`.

        ``page = queue.find("body.amount > 100").page()``, or
        ``count = queue.find("body.amount > 100").delete()``; see `Found`.
        """
        found = self.aio.find(where, order=order, limit=limit, cursor=cursor)
        return Found(found, limit, self._portal)

    def purge(self) -> int:
        """Delete every message that waits or is delayed. As `posthouse.Queue.purge`."""
        return self._portal.call(self.aio.purge)

    def redrive(self, most: int | None = None, *, per_second: float | None = None) -> int:
        """Put dead letters of this queue back. As `posthouse.Queue.redrive`."""
        return self._portal.call(partial(self.aio.redrive, most, per_second=per_second))

    def bind(self, topic: Topic, pattern: str = "#") -> None:
        """Let a topic's messages come here. As `posthouse.Queue.bind`."""
        self._portal.call(partial(self.aio.bind, topic.aio, pattern))

    def unbind(self, topic: Topic, pattern: str = "#") -> None:
        """End a binding. As `posthouse.Queue.unbind`."""
        self._portal.call(partial(self.aio.unbind, topic.aio, pattern))

    def join(self) -> None:
        """Return when the queue holds nothing: waiting, delayed or in flight."""
        self._portal.call(self.aio.join)

    def shutdown(self, immediate: bool = False) -> None:
        """Close this process's handles on the queue. As `posthouse.Queue.shutdown`."""
        self._portal.run(partial(self.aio.shutdown, immediate))

    def __reduce__(self) -> NoReturn:
        refuse_copies(self)

    def __repr__(self) -> str:
        return repr(self.aio)


async def _give_back_one(message: aio_message.Message[Any]) -> None:
    await give_back([message])
