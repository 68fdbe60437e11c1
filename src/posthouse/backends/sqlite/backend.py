"""``sqlite:///q.db``: messages in an SQLite database, which many processes may share."""

from __future__ import annotations

import random
import select
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import msgspec

from posthouse.backends.registry import only_options
from posthouse.backends.sqlite import commit, policies, whole
from posthouse.backends.sqlite.host import Host, Seen
from posthouse.backends.sqlite.opening import path_of
from posthouse.backends.sqlite.place import Place
from posthouse.backends.sqlite.port import SqlitePort
from posthouse.clock import Clock
from posthouse.errors import BadArgument, BrokerClosed, MessageTooLarge, Unsupported
from posthouse.model import CAPABILITIES, MAX_BATCH_BYTES, QueuePolicy, QueueStats, check_seconds
from posthouse.records import Publication

CAPABILITIES_HERE: Final = CAPABILITIES - {"nowait", "requests", "cluster"}
LOCK_TIMEOUT_S: Final = 30.0


class WallClock:
    """The machine's clock: what all processes that share a database agree on."""

    def now_ns(self) -> int:
        """Nanoseconds since the epoch; the database keeps it from going back."""
        return time.time_ns()


class SqliteBackend:
    """See `posthouse.backends.contract.Backend`."""

    capabilities: frozenset[str] = CAPABILITIES_HERE

    def __init__(
        self,
        path: str,
        *,
        lock_timeout_s: float = LOCK_TIMEOUT_S,
        clock: Clock | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        check_seconds("lock_timeout_s", lock_timeout_s)
        self._clock: Clock = clock or WallClock()
        self._place = Place(path, lock_timeout_s, self._clock, chance)
        self._opened: Host | None = None

    async def start(self) -> None:
        """Open the database on the running loop.

        Raises:
            LogUnreadable: it is somebody else's, of a newer version, or may not be used.
            LogDamaged, StorageFull, StorageFailed: see `posthouse.errors`.
        """
        host = Host(self._place, self._clock)
        await host.writer.start()
        self._opened = host
        await host.ask(lambda books, _: books.touch_all())

    @property
    def _host(self) -> Host:
        if self._opened is None:
            raise BrokerClosed(
                "the broker is not open: use 'async with posthouse.open(...) as broker'"
            )
        return self._opened

    async def close(self) -> None:
        """Give back what is out and release the database."""
        if self._opened is not None:
            await self._opened.close()

    def port(self, name: str, given: Mapping[str, Any]) -> SqlitePort:
        """The queue of that name; declared in the next transaction, before anything else of it.

        Raises:
            BadArgument: settings that do not go together, as far as the others are known here.
        """
        host = self._host
        host.check()
        settings = dict(given)
        seen = host.seen.get(name)
        if seen is None:
            host.seen[name] = Seen(0, 0, False, QueuePolicy(**settings))
        else:
            policy = msgspec.structs.replace(seen.policy, **settings)
            host.seen[name] = msgspec.structs.replace(seen, policy=policy)
        host.declare(lambda books, _: policies.set_policy(books, name, settings), name)
        return SqlitePort(host, name)

    async def queue_names(self) -> list[str]:
        """The names of all queues, sorted."""
        names: list[str] = await self._host.ask(lambda books, _: sorted(books.by_name))
        return names

    async def stats(self) -> list[QueueStats]:
        """All queues' figures, by name."""
        found: list[QueueStats] = await self._host.ask(lambda books, _: whole.all_stats(books))
        return found

    async def bindings(self, topic: str | None = None) -> list[tuple[str, str, str]]:
        """All bindings (of one topic): (topic, queue's name, pattern)."""
        found: list[tuple[str, str, str]] = await self._host.ask(
            lambda books, _: whole.bindings(books, topic)
        )
        return found

    def now_ns(self) -> int:
        """The broker's time."""
        return self._host.now_ns()

    def publish_steps(self, what: Publication) -> list[Any]:
        """A publish as a transaction's step; where it goes is decided at the commit."""
        host = self._host
        host.check()
        return [commit.PublishStep(host, what)]

    async def publish(self, what: Publication, timeout_s: float | None) -> dict[str, int]:
        """Put it on every queue that is bound, all or none: ids by queue."""
        (step,) = self.publish_steps(what)
        ids: dict[str, int] = await self._host.ask(
            lambda books, op: commit.publish(books, op, step), wants="room", timeout_s=timeout_s
        )
        return ids

    async def commit(
        self, steps: list[Any], timeout_s: float | None, done: Callable[[], None]
    ) -> list[int]:
        """Do all steps in one transaction: the ids of the puts, in order.

        Cancelled, it ends when it is known whether they were done.
        """
        host = self._host
        host.check()
        for step in steps:
            if getattr(step, "broker", None) is not host:
                raise BadArgument(f"queue {step.queue.name!r} is another broker's")
        size = sum(len(s.body) + len(s.headers) for s in steps if hasattr(s, "body"))
        if size > MAX_BATCH_BYTES:
            raise MessageTooLarge("the transaction", size, MAX_BATCH_BYTES)

        def decided(_: Any) -> None:
            for step in steps:
                if isinstance(step, commit.SettleStep):
                    host.settled(step.token, [step.message_id])
            done()

        ids: list[int] = await host.ask_to_the_end(
            lambda books, op: commit.commit(books, op, steps), timeout_s=timeout_s, done=decided
        )
        return ids


_OPTIONS: Final = {"lock_timeout_s", "clock", "chance"}


def connect(rest: str, options: Mapping[str, Any]) -> SqliteBackend:
    """The backend for a database's file.

    Options: ``lock_timeout_s``, how long a lock of another process is waited for (30); and, for
    tests, ``clock`` and ``chance``.
    """
    path = path_of(rest)
    if not hasattr(select, "poll"):
        raise Unsupported("'sqlite:' needs poll(2), which this system does not have")
    only_options(options, _OPTIONS, "'sqlite:'")
    return SqliteBackend(path, **options)
