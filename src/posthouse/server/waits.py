"""A get that waits for the next message. It has no task: many wait, and each is woken once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from posthouse.core.leases import BatchLease
from posthouse.errors import BrokerClosed
from posthouse.server.member import Member
from posthouse.session import Port
from posthouse.wire import failures
from posthouse.wire.requests import Get

Deliver = Callable[[Member, Get, Port, tuple[int, BatchLease]], None]


class WaitingGet:
    """Takes when a message comes, and answers; or is cancelled, or too late.

    Args:
        most_bytes: what it takes at the most.
        deliver: answers with what was taken.
        otherwise: goes on in another way, when what is there cannot be taken at once.
    """

    __slots__ = (
        "_arrival",
        "_deliver",
        "_member",
        "_most_bytes",
        "_otherwise",
        "_port",
        "_request",
        "_timer",
    )

    def __init__(
        self,
        member: Member,
        request: Get,
        port: Port,
        most_bytes: int,
        deliver: Deliver,
        otherwise: Callable[[], None],
    ) -> None:
        self._member = member
        self._request = request
        self._port = port
        self._most_bytes = most_bytes
        self._deliver = deliver
        self._otherwise = otherwise
        self._arrival: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def begin(self) -> None:
        """Wait. Raises: as `Port.readable`."""
        if not self._wait():
            return
        self._member.hold(self._request.id, 0, self)
        timeout_s = self._request.timeout_s
        if timeout_s is not None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(timeout_s, self._late)

    def _wait(self) -> bool:
        """Wait (again); False: it goes on in another way."""
        arrival = self._port.arrival()
        if arrival is None:
            self._end()
            self._otherwise()
            return False
        self._arrival = arrival
        arrival.add_done_callback(self._woken)
        return True

    def _woken(self, arrival: asyncio.Future[None]) -> None:
        if arrival is not self._arrival:
            return  # given up meanwhile
        self._arrival = None
        member, request, port = self._member, self._request, self._port
        try:
            if arrival.cancelled():
                raise BrokerClosed("the server is closing")
            arrival.result()
            batch = port.take_many(request.most, self._most_bytes, request.lease_ns)
            if batch is None:
                self._wait()
                return
            self._end()
            self._deliver(member, request, port, batch)
        except Exception as error:
            self._end()
            member.failed(request.id, 0, error)
        member.flush()

    def _end(self) -> None:
        self._member.let_go(self._request.id, 0)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> bool:
        arrival, self._arrival = self._arrival, None
        if arrival is None:
            return False
        self._end()
        self._port.depart(arrival)
        return True

    def _late(self) -> None:
        if self._give_up():
            timeout_s = self._request.timeout_s
            error = TimeoutError(f"no message came within {timeout_s:g} s")
            self._member.failed(self._request.id, 0, error)

    def cancel(self) -> bool:
        """Wait no more; False: it is answered."""
        if not self._give_up():
            return False
        self._member.reply(failures.cancelled(self._request.id, 0))
        return True
