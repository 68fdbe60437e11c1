"""The supervised connection: it is made again whenever it breaks, and requests go on."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import random
import time
import weakref
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from posthouse.access.client import NOBODY, Access
from posthouse.errors import (
    AccessFileError,
    AuthenticationFailed,
    BrokerBug,
    BrokerClosed,
    BrokerUnreachable,
    ForkedProcess,
    PosthouseError,
    ProtocolError,
    UnknownOutcome,
)
from posthouse.link.call import AGAIN, Call
from posthouse.link.calls import SEEN_STEP, Calls
from posthouse.link.line import Line, connect, hello
from posthouse.link.options import LinkOptions, Place
from posthouse.link.restart import restarted
from posthouse.wire.answers import Welcome
from posthouse.wire.format import FRAME_BYTES
from posthouse.wire.requests import Cancel, Goodbye, Ping, Renew, Seen

logger = logging.getLogger("posthouse.link")

CLOSE_S: Final = 5.0
REFUSED_PAUSE_S: Final = 5.0
SUMMON_PAUSE_S: Final = 1.0

_links: weakref.WeakSet[Link] = weakref.WeakSet()


Summon: TypeAlias = Callable[[], Awaitable[None]]
"""Sees to it that a server comes, when nobody answers; raises PosthouseError if none can."""


class Link(Calls):
    """A client's way to its server."""

    def __init__(
        self,
        place: Place,
        options: LinkOptions,
        access: Access = NOBODY,
        summon: Summon | None = None,
    ) -> None:
        super().__init__(place, options, access)
        self._summon = summon
        self._task: asyncio.Task[None] | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._beat: asyncio.TimerHandle | None = None
        _links.add(self)

    # the connection's life

    async def open(self) -> None:
        """Reach the server.

        Raises:
            BrokerUnreachable: it is not there within ``connect_timeout_s``.
            ProtocolError: it speaks another version, or is something else.
            AuthenticationFailed: it refuses the login.
        """
        until_s = self.loop.time() + self.options.connect_timeout_s
        pause_s = self.options.first_pause_s
        while True:
            left_s = until_s - self.loop.time()
            try:
                line = await self._connect(max(left_s, 0.001))
                break
            except BrokerUnreachable as error:
                if left_s <= pause_s:
                    raise BrokerUnreachable(
                        f"{error}; is a server there? It is started by 'posthouse serve'"
                        if self._summon is None
                        else str(error)
                    ) from error
                if self._summon is not None:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(left_s):
                            await self._summon()
                    continue
            except AuthenticationFailed as error:
                if not 0 < error.retry_after_s < left_s:
                    raise
                pause_s = error.retry_after_s
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self.options.most_pause_s)
        self._task = self.loop.create_task(self._supervise(line))
        self._task.add_done_callback(self._supervised)
        self._beat = self.loop.call_later(self._beat_s(), self._tick)

    async def _connect(self, timeout_s: float) -> Line:
        known = self.welcome
        options = self.options
        session, producer = (b"", 0) if known is None else (known.session, known.producer)
        login = await self.access.read()
        first = hello(
            session, producer, "client", options.name, options.heartbeat_s, FRAME_BYTES, login
        )
        began_ns = time.monotonic_ns()
        line, welcome = await connect(
            self.loop, self.place, first, self.hear, timeout_s, self.access
        )
        # The server read its clock after that, so this is never behind it: what is delayed may
        # come late by what the greeting took, and never early.
        self._offset_ns = welcome.now_ns - began_ns
        self.welcome = welcome
        self._begin_line(line, welcome, again=known is not None)
        return line

    def _begin_line(self, line: Line, welcome: Welcome, *, again: bool) -> None:
        self._line = line
        self._seen_step = min(SEEN_STEP, welcome.requests // 8)
        line.resumed = self._schedule
        self._away = None
        self._refused = ""
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None
        self._end_runs()
        if not again:
            return
        resumed = welcome.resumed
        logger.info("connected to %s again%s", self.place, "" if resumed else "; it was restarted")
        if not resumed:
            self.holdings.by_token.clear()
            for call in list(self.outstanding.values()):
                restarted(self, call)
        self._out.clear()
        self._renewals.clear()
        if resumed:
            outstanding = list(self.outstanding)
            self._out.append(Seen([], self._next, outstanding, self._answered_puts()))
        self._seen = []
        self._out += [call.message for call in self.outstanding.values()]
        self._unsent = list(self.outstanding.values())
        for number, call in self.outstanding.items():
            queue = getattr(call.message, "queue", "") if call.abandoned else ""
            self._out += [Cancel(number, part, queue) for part in call.unwanted()]
        if resumed:
            self.tell(Renew(0, self.holdings.known(), True))
        feeds, self.feeds = list(self.feeds.values()), {}
        for feed in feeds:
            feed.reconnected(resumed=resumed)
        self._schedule()

    def renumber(self, call: Call, messages: list[tuple[Any, asyncio.Future[Any]]]) -> None:
        """Say parts of a request again, each for itself, after all others."""
        self.outstanding.pop(call.message.id, None)
        self._flight_bytes -= call.size_bytes
        self._flight_calls -= 1
        self._renumbered = True
        for message, future in messages:
            made = self._begin(message, call.restart)
            made.futures.append(future)
            made.sent = call.sent

    async def _supervise(self, line: Line) -> None:
        while True:
            why = await line.lost
            self._line = None
            self._out.clear()
            if self.closing:
                return
            logger.warning("%s: %s; connecting again", self.place, why)
            self._patience = self.loop.call_later(self.options.give_up_after_s, self._give_up)
            line = await self._connect_again()

    def _supervised(self, task: asyncio.Task[None]) -> None:
        """Nobody looks after the connection any more: at the end, or by a fault of ours."""
        error = None if task.cancelled() else task.exception()
        if error is not None and not self.closing:
            logger.error("the connection to %s is given up", self.place, exc_info=error)
            self.failure = BrokerBug(f"the connection to {self.place} broke in a way not foreseen")
            self._refuse_outstanding(f"the connection to {self.place} is given up")

    async def _connect_again(self) -> Line:
        pause_s = self.options.first_pause_s
        timeout_s = max(self.options.heartbeat_s, 1.0)
        failures = 0
        while True:
            # Full jitter: clients of a server that comes back do not come all at once.
            await asyncio.sleep(random.random() * pause_s)
            try:
                return await self._connect(timeout_s)
            except (BrokerUnreachable, ProtocolError) as error:
                logger.debug("%s: %s", self.place, error)
                if self._summon is not None and isinstance(error, BrokerUnreachable):
                    failures = await self._summoned(self._summon, failures)
                    continue
            except (AuthenticationFailed, AccessFileError) as error:
                # The secret may be replaced meanwhile; and the server counts failures.
                logger.error("%s: %s; trying again", self.place, error)
                self._refused = f" (last: {error})"
                pause_s = max(getattr(error, "retry_after_s", 0.0), REFUSED_PAUSE_S)
                await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, self.options.most_pause_s)

    async def _summoned(self, summon: Summon, failures: int) -> int:
        """Summon a server; how often in a row that has failed by now."""
        try:
            await summon()
        except PosthouseError as error:
            logger.error("%s: no broker: %s; trying again", self.place, error)
            self._refused = f" (last: {error})"
            if failures:  # it does not pass by itself: nobody need wait for that to be sure
                self._end_patience(f"{self.place} has no broker: {error}; trying goes on")
            await asyncio.sleep(SUMMON_PAUSE_S)
            return failures + 1
        return 0

    def _give_up(self) -> None:
        self._end_patience(
            f"{self.place} has been away for {self.options.give_up_after_s:g} s; connecting goes on"
            f"{self._refused}"
        )

    def _end_patience(self, text: str) -> None:
        self._away = BrokerUnreachable(text)
        self._refuse_outstanding(text)

    def _refuse_outstanding(self, text: str) -> None:
        self._end_runs()
        for call in list(self.outstanding.values()):
            if call.sent and call.restart not in ("repeat", "lease"):
                error: PosthouseError = UnknownOutcome(
                    f"{text}: it may have been stored (the same dedup id is safe to use again)"
                )
            else:
                error = BrokerUnreachable(text)
            call.refuse_all(error)
            self._finish(call)
        self._open_gate()

    def _beat_s(self) -> float:
        assert self.welcome is not None
        return min(self.options.heartbeat_s, self.welcome.heartbeat_s) / 2

    def _tick(self) -> None:
        self._beat = self.loop.call_later(self._beat_s(), self._tick)
        line = self._line
        if line is None:
            return
        now_s = self.loop.time()
        silent_s = now_s - line.heard_s
        if silent_s > 2 * self.options.heartbeat_s:
            line.abort(BrokerUnreachable(f"the server was silent for {silent_s:.0f} s"))
        else:
            self.say(Ping(0))

    # the end

    async def close(self) -> None:
        """Finish what is under way, say goodbye, refuse everything from now on."""
        if self.closing:
            return
        self.closing = True
        self.keeper.stop()
        closed = BrokerClosed("the broker is closed; open it again")
        self.failure = closed
        for feed in list(self.feeds.values()):
            feed.refused(closed)
        self.feeds.clear()
        self._open_gate()
        await self._finish_all(closed)
        if self._beat is not None:
            self._beat.cancel()
        if self._patience is not None:
            self._patience.cancel()
        line = self._line
        if line is not None:
            self._out.append(Goodbye())
            self._flush()
            try:
                async with asyncio.timeout(CLOSE_S):
                    ends: list[asyncio.Future[Any]] = [self.farewell, line.lost]
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            except TimeoutError:
                pass
            line.close()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        for call in list(self.outstanding.values()):
            call.refuse_all(closed)
        self.outstanding.clear()

    async def _finish_all(self, closed: BrokerClosed) -> None:
        """Wait for puts and settlements that are being written; stop all else."""
        self._end_runs()
        for number, call in list(self.outstanding.items()):
            if call.restart == "repeat":
                call.abandoned = True
                call.refuse_all(closed)
            for part in range(len(call.futures)):
                self.say(Cancel(number, part))
        if self.outstanding and self._line is not None:
            self._idle = self.loop.create_future()
            try:
                async with asyncio.timeout(CLOSE_S):
                    ends: list[asyncio.Future[Any]] = [self._idle, self._line.lost]
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            except TimeoutError:
                pass
        for call in list(self.outstanding.values()):
            if call.sent and call.restart in (AGAIN, "unknown"):
                call.refuse_all(UnknownOutcome("closed before the server answered"))
            else:
                call.refuse_all(closed)
            self._finish(call)


def _after_fork_in_child() -> None:
    # The socket is shared with the parent: two who speak on it would be understood by nobody.
    for link in _links:
        link.failure = ForkedProcess(
            "this handle was opened before the process forked; open the broker in the "
            "child, or start children with the 'spawn' method"
        )


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)
