"""Taking over a link."""

from __future__ import annotations

import asyncio
import weakref
from typing import Any, Final

from posthouse.core.filters import Filter
from posthouse.core.leases import BatchLease
from posthouse.errors import QueueShutDown
from posthouse.link.base import PortBase
from posthouse.link.call import Call
from posthouse.link.feed import LinkFeed
from posthouse.model import check_seconds
from posthouse.records import Entry
from posthouse.wire.answers import Delivered
from posthouse.wire.requests import Get

LATE_S: Final = 5.0
"""The server keeps timeouts; the client ends a wait itself when it hears nothing for so long."""


class TakePort(PortBase):
    """The verbs of consumers. See `posthouse.backends.contract.QueuePort`."""

    def __init__(self, link: Any, name: str) -> None:
        super().__init__(link, name)
        self._getting: dict[Call, asyncio.Future[Any]] = {}
        self._feeds: weakref.WeakSet[LinkFeed] = weakref.WeakSet()
        self._closed_takes = False

    def take_one(self, lease_ns: int) -> None:
        """Never now."""
        return

    take_one_from_disk = take_one

    def take_many(self, most: int, most_bytes: int, lease_ns: int) -> None:
        """Never now."""
        return

    async def take_one_waiting(
        self, lease_ns: int, timeout_s: float | None
    ) -> tuple[int, Entry, int]:
        """See the contract."""
        reply = await self._get(Get(0, self._name, 1, 1, lease_ns, timeout_s))
        return reply.token, reply.entries[0], 1 if reply.attempts is None else reply.attempts[0]

    async def take_many_waiting(
        self, most: int, most_bytes: int, lease_ns: int, timeout_s: float | None
    ) -> tuple[int, BatchLease]:
        """See the contract."""
        return _lease(await self._get(Get(0, self._name, most, most_bytes, lease_ns, timeout_s)))

    async def select(
        self,
        where: Filter,
        most: int,
        most_bytes: int,
        lease_ns: int,
        timeout_s: float | None,
    ) -> tuple[int, BatchLease]:
        """See the contract."""
        request = Get(0, self._name, most, most_bytes, lease_ns, timeout_s, where.text)
        return _lease(await self._get(request))

    async def _get(self, request: Get) -> Delivered:
        link = self._link
        link.check()
        timeout_s = request.timeout_s
        if timeout_s is not None:
            check_seconds("timeout", timeout_s)
        if self._declaring is not None:
            await self._ready()
        if self._closed_takes:
            raise self._shut_error()
        if link.crowded():
            await link.turn()
        request.drain = self._shut is not None
        call = link.call(request, "repeat")
        future = call.futures[0]
        assert future is not None
        guard = None
        if timeout_s is not None:
            guard = link.loop.call_later(timeout_s + LATE_S, self._late, call, future)
        self._getting[call] = future
        try:
            reply: Delivered = await future
        except asyncio.CancelledError:
            self._give_up(call, future)
            raise
        except _Drain:
            return await self._get(request)
        finally:
            self._getting.pop(call, None)
            if guard is not None:
                guard.cancel()
        return reply

    def _give_up(self, call: Call, future: asyncio.Future[Any]) -> None:
        if future.done() and not future.cancelled() and future.exception() is None:
            # It came in the turn in which its task was cancelled.
            reply: Delivered = future.result()
            self._link.give_back(self._name, reply.token, [entry[0] for entry in reply.entries])
        else:
            self._link.abandon(call)

    def _late(self, call: Call, future: asyncio.Future[Any]) -> None:
        if not future.done():
            self._link.abandon(call)
            future.set_exception(TimeoutError("the server did not answer in time"))

    def take_refusal(self) -> Exception:
        """See the contract."""
        return self._unsupported("get_nowait")

    def feed(self, most: int, most_bytes: int) -> LinkFeed:
        """See the contract."""
        made = LinkFeed(self._link, self._name, most, most_bytes, self._rest, self._ready)
        if self._shut is not None:
            made.stop()
        if self._closed_takes:
            made.put_back()
        self._feeds.add(made)
        return made

    async def _rest(self, most: int, most_bytes: int) -> Delivered:
        """What is left in a queue that was shut down. Raises QueueShutDown."""
        return await self._get(Get(0, self._name, most, most_bytes))

    def _shut_error(self) -> QueueShutDown:
        return QueueShutDown(f"queue {self._name!r} was shut down in this process")

    def _stop_takes(self, error: QueueShutDown, *, immediate: bool) -> None:
        if immediate:
            self._closed_takes = True
        for feed in list(self._feeds):
            if immediate:
                feed.put_back()
            else:
                feed.stop()
        for call, future in list(self._getting.items()):
            # Who waits asks again for what is there; or is told, if nobody may take any more.
            if future.done():
                continue
            if immediate:
                self._link.abandon(call)
                future.set_exception(error)
            else:
                self._link.stop(call, _Drain())


class _Drain(Exception):
    """The handle was shut down while a get waited: ask again for what is left."""


def _lease(reply: Delivered) -> tuple[int, BatchLease]:
    entries: list[Entry] = reply.entries
    ids = [entry[0] for entry in entries]
    return reply.token, BatchLease(0, 0, ids, entries, reply.attempts)
