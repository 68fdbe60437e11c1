"""One queue over a link: all verbs of `posthouse.backends.contract.QueuePort`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import Any

import msgspec

from posthouse.core.filters import Filter
from posthouse.errors import LeaseExpired, QueueShutDown
from posthouse.link.link import Link
from posthouse.link.puts import PutPort
from posthouse.link.settles import SettlePort
from posthouse.link.takes import TakePort
from posthouse.model import QueuePolicy, QueueStats
from posthouse.records import Entry
from posthouse.wire.answers import WireEntry
from posthouse.wire.requests import Ask, Declare

Rows = list[tuple[WireEntry, int]]


class LinkPort(PutPort, TakePort, SettlePort):
    """A queue of a server's broker, as this client uses it."""

    def __init__(self, link: Link, name: str, policy: QueuePolicy) -> None:
        super().__init__(link, name)
        self._policy = policy
        self._figures: QueueStats | None = None

    # the queue as a whole

    def declare(self, given: Mapping[str, Any]) -> None:
        """Say that the queue is there, with these settings; refusals come at the next verb.

        Raises:
            BrokerClosed, WrongLoop, ForkedProcess, BrokerUnreachable.
        """
        link = self._link
        link.check()
        self._policy = msgspec.structs.replace(self._policy, **given)
        builtins = {name: msgspec.to_builtins(value) for name, value in given.items()}
        call = link.call(Declare(0, self._name, builtins), "repeat")
        future = call.futures[0]
        assert future is not None
        if given:
            # It may be refused; without settings only what also refuses the next verb can be.
            self._declaring = future
        future.add_done_callback(self._declared)

    def _declared(self, future: asyncio.Future[Any]) -> None:
        if not future.cancelled() and future.exception() is None:
            self._policy = msgspec.convert(future.result(), QueuePolicy)

    async def _ask(self, verb: str, *args: Any, restart: Any = "repeat") -> Any:
        self._link.check()
        if self._declaring is not None:
            await self._ready()
        if self._link.crowded():
            await self._link.turn()
        call = self._link.call(Ask(0, verb, self._name, list(args)), restart)
        future = call.futures[0]
        assert future is not None
        try:
            return await future
        except asyncio.CancelledError:
            self._link.abandon(call)
            raise

    def now_ns(self) -> int:
        """See the contract."""
        return self._link.now_ns()

    def live(self) -> int:
        """See the contract."""
        seen = self._figures
        return 0 if seen is None else seen.waiting + seen.delayed + seen.in_flight

    def waiting(self) -> int:
        """See the contract."""
        return 0 if self._figures is None else self._figures.waiting

    def is_full(self) -> bool:
        """See the contract."""
        seen, policy = self._figures, self._policy
        if seen is None:
            return False
        if policy.max_messages is not None and self.live() >= policy.max_messages:
            return True
        return policy.max_bytes is not None and seen.size_bytes > policy.max_bytes

    def policy(self) -> QueuePolicy:
        """See the contract."""
        return self._policy

    async def stats(self) -> QueueStats:
        """See the contract."""
        self._figures = msgspec.convert(await self._ask("stats"), QueueStats)
        return self._figures

    async def peek(self, most: int) -> list[tuple[Entry, int]]:
        """See the contract."""
        return msgspec.convert(await self._ask("peek", most), Rows)

    async def find(
        self, where: Filter | None, order: str, most: int, after: tuple[int, ...] | None
    ) -> tuple[list[tuple[Entry, int]], tuple[int, ...] | None]:
        """See the contract. A page may be shorter than ``most`` where a frame is full."""
        found = await self._ask("find", _text(where), order, most, after)
        return msgspec.convert(found, tuple[Rows, tuple[int, ...] | None])

    async def delete(self, where: Filter | None) -> int:
        """See the contract."""
        return int(await self._ask("delete", _text(where), restart="unknown"))

    async def delay(self, where: Filter | None, delay_ns: int) -> int:
        """See the contract."""
        return int(await self._ask("delay", _text(where), delay_ns, restart="unknown"))

    async def move(self, where: Filter | None, target: str) -> int:
        """See the contract."""
        return int(await self._ask("move", _text(where), target, restart="unknown"))

    async def redrive_found(self, where: Filter | None) -> int:
        """See the contract."""
        return int(await self._ask("redrive_found", _text(where), restart="unknown"))

    async def purge(self) -> int:
        """See the contract."""
        return int(await self._ask("purge", restart="unknown"))

    async def redrive(self, most: int) -> int:
        """See the contract."""
        return int(await self._ask("redrive", most, restart="unknown"))

    async def bind(self, topic: str, pattern: str) -> None:
        """See the contract."""
        await self._ask("bind", topic, pattern)

    async def unbind(self, topic: str, pattern: str) -> None:
        """See the contract."""
        await self._ask("unbind", topic, pattern)

    async def joined(self) -> None:
        """See the contract."""
        await self._ask("join")

    async def extend(self, token: int, timeout_ns: int) -> None:
        """See the contract."""
        try:
            await self._ask("extend", token, timeout_ns)
        except LeaseExpired:
            self._link.holdings.drop(token)
            raise
        self._link.holdings.extended(token, timeout_ns)

    def last_wait(self) -> Awaitable[None]:
        """See the contract."""
        self._link.check()
        call = self._link.call(Ask(0, "flush", self._name, []), "unknown")
        assert call.futures[0] is not None
        return call.futures[0]

    def shut_down(self, *, immediate: bool) -> None:
        """See the contract."""
        error = QueueShutDown(f"queue {self._name!r} was shut down in this process")
        self._stop_puts(error)
        self._stop_takes(error, immediate=immediate)


def _text(where: Filter | None) -> str | None:
    return None if where is None else where.text
