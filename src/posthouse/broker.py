"""The way in: `open` a URL, get a `Broker`."""

from __future__ import annotations

from collections.abc import Collection, Generator
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, overload

from posthouse.backends import registry
from posthouse.backends.contract import Backend, QueuePort
from posthouse.bodies import BodyDecoder
from posthouse.errors import BadArgument, BrokerClosed
from posthouse.model import QueuePolicy, QueueStats, Retry, check_queue_name
from posthouse.queue import Queue
from posthouse.transaction import Transaction

T = TypeVar("T")

DEFAULT_URL = "./posthouse-data"


class Unset:
    """The type of `UNSET`."""

    def __repr__(self) -> str:
        return "UNSET"


UNSET = Unset()
"""A policy setting that was not given: the queue keeps what it has."""


class Broker:
    """Queues behind one URL. Use it as ``async with posthouse.open(url) as broker:``.

    Attributes:
        url: what was opened.
        capabilities: what this backend can do; see DESIGN's list in `posthouse.model`.
    """

    def __init__(self, url: str, backend: Backend) -> None:
        self.url = url
        self._backend = backend
        self._ports: dict[str, tuple[QueuePolicy | None, QueuePort]] = {}
        self._state: Literal["new", "open", "closed"] = "new"
        self.capabilities = backend.capabilities

    async def __aenter__(self) -> Self:
        if self._state != "new":
            raise BrokerClosed(f"this broker is {self._state}; open the URL again")
        self._state = "open"
        try:
            await self._backend.start()
        except BaseException:
            self._state = "closed"
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def __await__(self) -> Generator[Any, None, Broker]:
        return self.__aenter__().__await__()

    async def close(self) -> None:
        """Give back what is delivered and not settled, finish writing, let go of the URL.

        Those attempts do not count. Closing again does nothing.

        Raises:
            StorageFailed: the disk failed while finishing; what was acknowledged is safe.
        """
        if self._state != "open":
            self._state = "closed"
            return
        self._state = "closed"
        await self._backend.close()

    @overload
    def queue(
        self,
        name: str,
        type: type[T],
        *,
        visibility_timeout: float | Unset = ...,
        retry: Retry | Unset = ...,
        dead_letter: str | Unset | None = ...,
        max_messages: int | Unset | None = ...,
        max_bytes: int | Unset | None = ...,
        overflow: Literal["wait", "reject"] | Unset = ...,
    ) -> Queue[T]: ...

    @overload
    def queue(
        self,
        name: str,
        type: None = None,
        *,
        visibility_timeout: float | Unset = ...,
        retry: Retry | Unset = ...,
        dead_letter: str | Unset | None = ...,
        max_messages: int | Unset | None = ...,
        max_bytes: int | Unset | None = ...,
        overflow: Literal["wait", "reject"] | Unset = ...,
    ) -> Queue[Any]: ...

    def queue(
        self,
        name: str,
        type: Any = None,
        *,
        visibility_timeout: float | Unset = UNSET,
        retry: Retry | Unset = UNSET,
        dead_letter: str | Unset | None = UNSET,
        max_messages: int | Unset | None = UNSET,
        max_bytes: int | Unset | None = UNSET,
        overflow: Literal["wait", "reject"] | Unset = UNSET,
    ) -> Queue[Any]:
        """A handle on the queue of that name, which is made if there is none.

        Settings that are given become the queue's policy, stored with it; without any, a queue
        keeps the policy it has. See `posthouse.model.QueuePolicy` for what each means.

        Args:
            name: letters, digits, ``_``, ``-``, ``.``; at most 200 bytes.
            type: what bodies are decoded as (anything msgspec takes); None: whatever they are.

        Raises:
            InvalidName, BadArgument: a name or setting that is not allowed.
            BrokerClosed: the broker is not open.
        """
        check_queue_name(name)
        given = {
            "visibility_timeout_s": visibility_timeout,
            "retry": retry,
            "dead_letter": dead_letter,
            "max_messages": max_messages,
            "max_bytes": max_bytes,
            "overflow": overflow,
        }
        given = {key: value for key, value in given.items() if value is not UNSET}
        return Queue(name, self._port(name, given), BodyDecoder(type))

    def _port(self, name: str, given: dict[str, Any]) -> QueuePort:
        known = self._ports.get(name)
        if known is not None and not given:
            return known[1]
        try:
            policy = QueuePolicy(**given) if given else None
        except TypeError as error:
            raise BadArgument(f"a setting of queue {name!r} has a wrong type: {error}") from error
        if known is not None and known[0] == policy:
            return known[1]
        port = self._backend.port(name, policy) if known is None else known[1]
        if known is not None:
            self._backend.port(name, policy)
        self._ports[name] = (policy, port)
        return port

    def transaction(self, *, timeout: float | None = None) -> Transaction:
        """Acks, nacks, rejects and puts over any of this broker's queues, all or none.

        ``timeout`` bounds the wait for room in full queues, in seconds.
        """
        return Transaction(self._backend, timeout)

    async def queue_names(self) -> list[str]:
        """The names of all queues, sorted."""
        return self._backend.queue_names()

    async def stats(self) -> list[QueueStats]:
        """All queues' figures, by name."""
        return self._backend.stats()

    def __repr__(self) -> str:
        return f"<Broker {self.url!r}, {self._state}>"


def open(url: str = DEFAULT_URL, *, require: Collection[str] = (), **options: Any) -> Broker:
    """A broker for the URL; it opens at ``async with`` (or ``await``).

    Args:
        url: where messages live: ``memory:``, or a directory (``./data``, ``log:./data``).
        require: capabilities that must be there, as in ``{"transactions", "durable"}``.
        options: the backend's own; see its page.

    Raises:
        BadArgument: the URL, a capability or an option is not known.
        Unsupported: the backend lacks a required capability.
    """
    return Broker(url, registry.connect(url, require, options))
