"""What the backends on our own engine share: one session, and the verbs forwarded to it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from posthouse.core.transaction import Step
from posthouse.engine import Engine
from posthouse.errors import BrokerClosed
from posthouse.model import CAPABILITIES, QueueStats
from posthouse.records import Publication
from posthouse.session import Port, Session

ENGINE_CAPABILITIES: Final = CAPABILITIES - {"durable", "requests", "processes", "cluster"}


class Hosted:
    """An engine in this process, used by one session."""

    capabilities: frozenset[str] = ENGINE_CAPABILITIES

    def __init__(self) -> None:
        self._engine: Engine | None = None
        self._session: Session | None = None

    def host(self, engine: Engine) -> None:
        """Take the engine that this backend opened."""
        self._engine = engine
        self._session = Session(engine)

    @property
    def session(self) -> Session:
        """The session. Raises BrokerClosed before the start."""
        if self._session is None:
            raise BrokerClosed(
                "the broker is not open: use 'async with posthouse.open(...) as broker'"
            )
        return self._session

    def port(self, name: str, given: Mapping[str, Any]) -> Port:
        """See `posthouse.backends.contract.Backend`."""
        return self.session.port(name, given)

    async def queue_names(self) -> list[str]:
        """See `posthouse.backends.contract.Backend`."""
        return self.session.queue_names()

    async def stats(self) -> list[QueueStats]:
        """See `posthouse.backends.contract.Backend`."""
        return self.session.stats()

    def publish_steps(self, what: Publication) -> list[Step]:
        """See `posthouse.backends.contract.Backend`."""
        return self.session.publish_steps(what)

    async def publish(self, what: Publication, timeout_s: float | None) -> dict[str, int]:
        """See `posthouse.backends.contract.Backend`."""
        return await self.session.publish(what, timeout_s)

    async def bindings(self, topic: str | None = None) -> list[tuple[str, str, str]]:
        """See `posthouse.backends.contract.Backend`."""
        return self.session.bindings(topic)

    def now_ns(self) -> int:
        """See `posthouse.backends.contract.Backend`."""
        return self.session.engine.now_ns()

    async def commit(
        self, steps: list[Step], timeout_s: float | None, done: Callable[[], None]
    ) -> list[int]:
        """See `posthouse.backends.contract.Backend`."""
        return await self.session.commit(steps, timeout_s, done)

    async def close(self) -> None:
        """See `posthouse.backends.contract.Backend`."""
        if self._engine is not None:
            await self._engine.close()
