"""``tcp://host:port`` and ``unix:path``: a posthouse server, through a supervised connection."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from posthouse.access.client import (
    LOGIN_OPTIONS,
    NOBODY,
    TLS_OPTIONS,
    Access,
    client_context,
    login_source,
)
from posthouse.backends.hosted import ENGINE_CAPABILITIES
from posthouse.backends.registry import only_options
from posthouse.errors import BrokerClosed
from posthouse.link import Link, LinkOptions
from posthouse.link.commit import commit
from posthouse.link.link import Summon
from posthouse.link.options import Place
from posthouse.link.port import LinkPort
from posthouse.model import QueuePolicy, QueueStats
from posthouse.records import Publication
from posthouse.wire.requests import Ask, Publish, PublishStep


class RemoteBackend:
    """A server's engine, used by one session.

    Attributes:
        capabilities: before `start` what a server on a log has; afterwards what this one has.
    """

    def __init__(
        self,
        place: Place,
        options: LinkOptions,
        access: Access = NOBODY,
        summon: Summon | None = None,
    ) -> None:
        self.capabilities: frozenset[str] = (ENGINE_CAPABILITIES - {"nowait"}) | {
            "durable",
            "processes",
        }
        self._place = place
        self._options = options
        self._access = access
        self._summon = summon
        self._link: Link | None = None
        self._ports: dict[str, LinkPort] = {}
        # As they were at opening, and only those that are not the default's.
        self._policies: dict[str, QueuePolicy] = {}

    @property
    def link(self) -> Link:
        """The connection. Raises BrokerClosed before the start."""
        if self._link is None:
            raise BrokerClosed(
                "the broker is not open: use 'async with posthouse.open(...) as broker'"
            )
        return self._link

    async def start(self) -> None:
        """See `posthouse.backends.contract.Backend`.

        Raises:
            BrokerUnreachable: the server is not there within ``connect_timeout_s``.
            ProtocolError: it speaks another version of the protocol, or is something else.
            AuthenticationFailed: it refuses the login.
        """
        link = Link(self._place, self._options, self._access, self._summon)
        await link.open()
        self._link = link
        assert link.welcome is not None
        self.capabilities &= frozenset(link.welcome.capabilities)
        self._policies = msgspec.convert(await self._ask("policies"), dict[str, QueuePolicy])

    async def close(self) -> None:
        """See `posthouse.backends.contract.Backend`."""
        if self._link is not None:
            await self._link.close()

    def port(self, name: str, given: Mapping[str, Any]) -> LinkPort:
        """See `posthouse.backends.contract.Backend`; refused settings are told at the next verb."""
        port = self._ports.get(name)
        if port is None:
            policy = self._policies.get(name) or QueuePolicy()
            port = self._ports[name] = LinkPort(self.link, name, policy)
        port.declare(given)
        return port

    async def _ask(self, verb: str, *args: Any) -> Any:
        self.link.check()
        call = self.link.call(Ask(0, verb, "", list(args)), "repeat")
        return await call.futures[0]  # type: ignore[misc]

    async def queue_names(self) -> list[str]:
        """See `posthouse.backends.contract.Backend`."""
        return msgspec.convert(await self._ask("names"), list[str])

    async def stats(self) -> list[QueueStats]:
        """See `posthouse.backends.contract.Backend`."""
        return msgspec.convert(await self._ask("all_stats"), list[QueueStats])

    async def bindings(self, topic: str | None = None) -> list[tuple[str, str, str]]:
        """See `posthouse.backends.contract.Backend`."""
        found = await self._ask("bindings", topic)
        return msgspec.convert(found, list[tuple[str, str, str]])

    def now_ns(self) -> int:
        """See `posthouse.backends.contract.Backend`."""
        return self.link.now_ns()

    def publish_steps(self, what: Publication) -> list[Any]:
        """See `posthouse.backends.contract.Backend`."""
        self.link.check()
        return [PublishStep(*what)]

    async def publish(self, what: Publication, timeout_s: float | None) -> dict[str, int]:
        """See `posthouse.backends.contract.Backend`."""
        link = self.link
        link.check()
        await link.room()
        call = link.call(Publish(0, *what, timeout_s), "unknown", len(what.body))
        future = call.futures[0]
        assert future is not None
        try:
            return msgspec.convert(await future, dict[str, int])
        except BaseException:
            link.abandon(call)
            raise

    async def commit(
        self, steps: list[Any], timeout_s: float | None, done: Callable[[], None]
    ) -> list[int]:
        """See `posthouse.backends.contract.Backend`."""
        return await commit(self.link, steps, timeout_s, done)


_OPTIONS: Final = set(LinkOptions.__struct_fields__)


def make(place: Place, options: Mapping[str, Any], scheme: str, user: str = "") -> RemoteBackend:
    """The backend for a place. ``user``: whom the URL names.

    Raises:
        BadArgument: options that a link does not have, or a login that cannot be.
        AccessFileError: a secret or certificate that cannot be used.
    """
    ours = LOGIN_OPTIONS | (TLS_OPTIONS if place.tls else frozenset())
    only_options(options, _OPTIONS | ours, f"'{scheme}:'")
    login = login_source(str(place), scheme, place.host, user, options)
    context = client_context(options) if place.tls else None
    access = Access(login, context, options.get("server_name") or "")
    of_link = {name: value for name, value in options.items() if name in _OPTIONS}
    return RemoteBackend(place, LinkOptions(**of_link), access)
