"""The way in for threads: `open` a URL or `wrap` a broker."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from functools import partial
from types import TracebackType
from typing import Any, Literal, NoReturn, Self, TypeVar, Unpack, overload

from posthouse import broker as aio
from posthouse.broker import DEFAULT_URL, Settings
from posthouse.errors import BadArgument
from posthouse.model import QueueStats
from posthouse.sync.calls import Calls
from posthouse.sync.home import Home
from posthouse.sync.portal import Portal, refuse_copies
from posthouse.sync.queue import Queue
from posthouse.sync.topic import Topic
from posthouse.sync.transaction import Transaction

T = TypeVar("T")


class Broker:
    """Queues behind one URL, for threads. As `posthouse.Broker`.

    Made by `open` (``with posthouse.sync.open(url) as broker:``) or by `wrap`.

    Attributes:
        aio: the same broker for coroutines on its loop.
        url: what was opened.
        capabilities: what this backend can do.
    """

    def __init__(self, broker: aio.Broker, portal: Portal) -> None:
        self.aio = broker
        self.url = broker.url
        self.capabilities = broker.capabilities
        self._portal = portal

    def __enter__(self) -> Self:
        self._portal.check()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Give back what is delivered and not settled, and let go. As `posthouse.Broker.close`.

        Calls that wait in other threads raise BrokerClosed. What `open` opened is closed, its
        loop and thread have ended when this returns; a broker that was given to `wrap` stays
        open, only these handles on it close. In a forked child it does nothing.
        """
        self._portal.close()

    @overload
    def queue(
        self,
        name: str,
        type: type[T],
        *,
        codec: str | None = None,
        compress: Literal["zstd"] | None = None,
        **settings: Unpack[Settings],
    ) -> Queue[T]: ...

    @overload
    def queue(
        self,
        name: str,
        type: object = None,
        *,
        codec: str | None = None,
        compress: Literal["zstd"] | None = None,
        **settings: Unpack[Settings],
    ) -> Queue[Any]: ...

    def queue(
        self,
        name: str,
        type: Any = None,
        *,
        codec: str | None = None,
        compress: Literal["zstd"] | None = None,
        **settings: Unpack[Settings],
    ) -> Queue[Any]:
        """A handle on the queue of that name. As `posthouse.Broker.queue`.

        Handles may be made on the loop too, for threads that are about to be started.
        """
        make = partial(self.aio.queue, name, type, codec=codec, compress=compress, **settings)
        return Queue(self._portal.handle(make), self._portal)

    def transaction(self, *, timeout: float | None = None) -> Transaction:
        """Acks, nacks, rejects and puts, all or none. As `posthouse.Broker.transaction`."""
        return Transaction(self.aio.transaction(timeout=timeout), self._portal)

    def topic(
        self, name: str, *, codec: str | None = None, compress: Literal["zstd"] | None = None
    ) -> Topic:
        """A handle on the topic of that name. As `posthouse.Broker.topic`."""
        return Topic(self.aio.topic(name, codec=codec, compress=compress), self._portal)

    def queue_names(self) -> list[str]:
        """The names of all queues, sorted."""
        return self._portal.call(self.aio.queue_names)

    def stats(self) -> list[QueueStats]:
        """All queues' figures, by name."""
        return self._portal.call(self.aio.stats)

    def __reduce__(self) -> NoReturn:
        refuse_copies(self)

    def __repr__(self) -> str:
        return repr(self.aio)


def open(url: str = DEFAULT_URL, *, require: Collection[str] = (), **options: Any) -> Broker:
    """A broker for the URL, open, on an event loop in a daemon thread of its own.

    Use it as ``with posthouse.sync.open(url) as broker:``, or `Broker.close` it. Arguments and
    errors as `posthouse.open`; and what opening raises (`AlreadyOpen`, `LogDamaged`, ...). The
    loop is uvloop's where that is installed. One that is neither closed nor held any more closes
    by itself, with a ResourceWarning; one that is open when the process leaves is closed then.
    """
    broker = aio.open(url, require=require, **options)
    home = Home(broker)
    try:
        return Broker(broker, Portal(home.open(), home))
    except BaseException:
        home.stop()  # interrupted when it was open, and nobody has it yet
        raise


def wrap(broker: aio.Broker, loop: asyncio.AbstractEventLoop | None = None) -> Broker:
    """The broker of a running loop, for threads beside it. The loop goes on owning it.

    Args:
        broker: an open `posthouse.Broker`.
        loop: the loop it was opened on; None: the one that runs in this thread.

    Raises:
        BadArgument: not a broker of the asyncio face, or no loop runs here and none was given.
    """
    if not isinstance(broker, aio.Broker):
        raise BadArgument(f"wrap takes a posthouse.Broker, not {type(broker).__name__}")
    if loop is None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise BadArgument(
                "no event loop runs in this thread: call wrap on the loop that opened the "
                "broker, or give it as wrap(broker, loop)"
            ) from None
    return Broker(broker, Portal(Calls(loop)))
