"""The way in: `open` a URL, get a `Broker`."""

from __future__ import annotations

from collections.abc import Collection, Generator
from types import TracebackType
from typing import Any, Literal, Self, TypedDict, TypeVar, Unpack, overload

from posthouse.access.redact import redact_url
from posthouse.backends import registry
from posthouse.backends.contract import Backend, QueuePort
from posthouse.bodies import BodyDecoder, make_encoder
from posthouse.core.filters import parse_field
from posthouse.errors import BadArgument, BrokerClosed, Unsupported
from posthouse.model import QueuePolicy, QueueStats, Retry, check_queue_name
from posthouse.queue import Queue
from posthouse.topic import Topic
from posthouse.transaction import Transaction

T = TypeVar("T")

DEFAULT_URL = "./posthouse-data"


class Settings(TypedDict, total=False):
    """The settings of `Broker.queue`: a `posthouse.model.QueuePolicy`, times in seconds."""

    visibility_timeout: float
    retry: Retry
    dead_letter: str | None
    max_messages: int | None
    max_bytes: int | None
    overflow: Literal["wait", "reject", "drop_oldest"]
    order: Literal["fifo", "lifo", "priority"]
    fair: bool
    max_in_flight: int | None
    max_in_flight_per_key: int | None
    rate: str | None
    rate_per_key: str | None
    ttl: float | None
    expired: Literal["dead_letter", "drop"]
    dedup_window: float
    index: tuple[str, ...]


_SECONDS = {"visibility_timeout", "ttl", "dedup_window"}
_FIELDS = {key: f"{key}_s" if key in _SECONDS else key for key in Settings.__annotations__}


class Broker:
    """Queues behind one URL. Use it as ``async with posthouse.open(url) as broker:``.

    Attributes:
        url: what was opened, its secrets redacted.
        capabilities: what this backend can do; see DESIGN's list in `posthouse.model`.
    """

    def __init__(self, url: str, backend: Backend, require: Collection[str] = ()) -> None:
        self.url = redact_url(url)
        self._require = frozenset(require)
        self._backend = backend
        self._ports: dict[str, QueuePort] = {}
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
        # What a server has, it says when it is reached.
        self.capabilities = self._backend.capabilities
        missing = self._require - self.capabilities
        if missing:
            await self.close()
            raise Unsupported(f"{self.url!r} does not have: {', '.join(sorted(missing))}")
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
        codec: str | None = None,
        compress: Literal["zstd"] | None = None,
        **settings: Unpack[Settings],
    ) -> Queue[T]: ...

    @overload
    def queue(
        self,
        name: str,
        type: object = None,  # not only None: ``Order | None`` is no ``type[T]`` to a checker
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
        """A handle on the queue of that name, which is made if there is none.

        Settings that are given become part of the queue's policy, which is stored with it; the
        others stay as they are (at first: the defaults).

        Args:
            name: letters, digits, ``_``, ``-``, ``.``; at most 200 bytes.
            type: what bodies are decoded as (a msgspec Struct, a dataclass, a TypedDict, a
                pydantic model, ...); None: whatever they are.
            codec: how this handle writes bodies: "json", "msgpack", "text", "bytes", or one given
                to `posthouse.bodies.register`; None: str is text, bytes are bytes, the rest is
                JSON. Any handle reads them all.
            compress: "zstd" to compress bodies that gain by it (needs ``posthouse[zstd]``).
            settings: see `Settings`.

        Raises:
            InvalidName, BadArgument: a name or setting that is not allowed.
            BrokerClosed: the broker is not open.
        """
        check_queue_name(name)
        unknown = settings.keys() - _FIELDS.keys()
        if unknown:
            raise BadArgument(f"a queue has no setting {min(unknown)!r}; it has: {sorted(_FIELDS)}")
        given = {_FIELDS[key]: value for key, value in settings.items()}
        decoder, encoder = BodyDecoder(type), make_encoder(codec, compress)
        return Queue(name, self._port(name, given), decoder, encoder)

    def _port(self, name: str, given: dict[str, Any]) -> QueuePort:
        self._check_open()
        port = self._ports.get(name)
        if port is not None and not given:
            return port
        try:
            QueuePolicy(**given)
        except TypeError as error:
            raise BadArgument(f"a setting of queue {name!r} has a wrong type: {error}") from error
        for field in given.get("index", ()):
            parse_field(field)
        declared = self._backend.port(name, given)
        return self._ports.setdefault(name, declared)

    def _check_open(self) -> None:
        if self._state != "open":
            raise BrokerClosed(
                "the broker is not open: use 'async with posthouse.open(...) as broker'"
                if self._state == "new"
                else "the broker is closed; open it again"
            )

    def transaction(self, *, timeout: float | None = None) -> Transaction:
        """Acks, nacks, rejects and puts over any of this broker's queues, all or none.

        ``timeout`` bounds the wait for room in full queues, in seconds.
        """
        return Transaction(self._backend, timeout)

    def topic(
        self, name: str, *, codec: str | None = None, compress: Literal["zstd"] | None = None
    ) -> Topic:
        """A handle on the topic of that name; ``codec`` and ``compress`` as for a queue.

        Raises:
            InvalidName: names are those of queues.
            BadArgument: a codec or compression that is not known.
            Unsupported: the backend has no topics.
        """
        check_queue_name(name)
        if "topics" not in self.capabilities:
            raise Unsupported(f"{self.url!r} does not have: topics")
        return Topic(name, self._backend, make_encoder(codec, compress))

    async def queue_names(self) -> list[str]:
        """The names of all queues, sorted."""
        self._check_open()
        return await self._backend.queue_names()

    async def stats(self) -> list[QueueStats]:
        """All queues' figures, by name."""
        self._check_open()
        return await self._backend.stats()

    def __repr__(self) -> str:
        return f"<Broker {self.url!r}, {self._state}>"


def open(url: str = DEFAULT_URL, *, require: Collection[str] = (), **options: Any) -> Broker:
    """A broker for the URL; it opens at ``async with`` (or ``await``).

    Args:
        url: where messages live: ``memory:``, a directory (``./data``, ``log:./data``), a database
            (``sqlite:///queues.db``), or a server (``tcp://``, ``tls://``, ``unix:``); see
            docs/backends.md.
        require: capabilities that must be there, as in ``{"transactions", "durable"}``.
        options: the backend's own; see its page.

    Raises:
        BadArgument: the URL, a capability or an option is not known.
        Unsupported: the backend lacks a required capability.
    """
    backend = registry.connect(url, require, options)
    return Broker(registry.whole_url(url, options), backend, require)
