"""Who waits on a queue: getters for messages, putters for room, joiners for the end.

Futures here are wake-ups only: nothing is ever handed over through one, so that a cancelled
waiter cannot lose a message (Tornado #2826); one that was woken and is cancelled wakes the next
(bpo-27585).
"""

from __future__ import annotations

import asyncio
from collections import deque

from posthouse.core.queue import QueueState
from posthouse.model import FOREVER_NS
from posthouse.records import Entry


class Putter:
    """A producer's place in the line for room."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[None] | None = None


class Lane:
    """One queue's state with those who wait on it, and when its next timed event is set."""

    __slots__ = (
        "awake",
        "getters",
        "joiners",
        "line",
        "loop",
        "putters",
        "reservations",
        "scheduled_ns",
        "selectors",
        "shut",
        "state",
        "watched",
    )

    def __init__(self, state: QueueState, loop: asyncio.AbstractEventLoop) -> None:
        self.state = state
        self.loop = loop
        self.getters: deque[asyncio.Future[None]] = deque()
        # Consumers that wait for some messages only: each has to look at every one.
        self.selectors: list[asyncio.Future[None]] = []
        self.putters: deque[Putter] = deque()
        self.joiners: list[asyncio.Future[None]] = []
        # What iterators have set aside; each list is shared with its iterator, the next one last.
        self.reservations: list[list[Entry]] = []
        self.awake = 0  # how many of the line, from the first, were woken and have yet to try
        self.line = False  # producers stand in line: a put that came later must not pass them
        self.watched = False  # putters or joiners want to hear when messages leave
        self.scheduled_ns = FOREVER_NS
        self.shut: Exception | None = None

    def wake_getters(self, count: int) -> None:
        """Wake up to ``count`` consumers, and all that wait for some messages only."""
        if self.selectors:
            self._wake_selectors()
        getters = self.getters
        while getters and count > 0:
            getter = getters.popleft()
            if not getter.done():
                getter.set_result(None)
                count -= 1

    def _wake_selectors(self) -> None:
        selectors, self.selectors = self.selectors, []
        for selector in selectors:
            if not selector.done():
                selector.set_result(None)

    def next_arrival(self) -> asyncio.Future[None]:
        """Done when the next message came, or came back. Cancel it if it is not awaited."""
        self.selectors = [each for each in self.selectors if not each.done()]
        selector: asyncio.Future[None] = self.loop.create_future()
        self.selectors.append(selector)
        return selector

    async def readable(self) -> None:
        """Return when a message may be waiting; check again, another may have been faster."""
        getter = self.getter()
        try:
            await getter
        except BaseException:
            self.depart(getter)
            raise

    def getter(self) -> asyncio.Future[None]:
        """A consumer's place in line, done when a message may be waiting for it; else `depart`."""
        getter: asyncio.Future[None] = self.loop.create_future()
        self.getters.append(getter)
        return getter

    def depart(self, getter: asyncio.Future[None]) -> None:
        """The consumer does not wait any more, and takes nothing."""
        getter.cancel()
        try:
            self.getters.remove(getter)
        except ValueError:
            # Woken and cancelled at once: the wake-up was for somebody, pass it on.
            if self.state.waiting() > 0:
                self.wake_getters(1)

    def left(self) -> None:
        """Messages left the queue: somebody who watches may go on."""
        if self.putters:
            self.wake_putters()
        if self.joiners and not self.state.live:
            joiners, self.joiners = self.joiners, []
            for joiner in joiners:
                if not joiner.done():
                    joiner.set_result(None)
        # A putter that was woken watches again if it has to; until it runs, nobody need be told.
        self.watched = bool(self.joiners)

    def wake_putters(self) -> None:
        """Wake as many of the line for room as there may be room for now, and the first always.

        All together, so that a long line is through in a turn of the loop and in one commit, and
        not in a turn and a commit each: producers that come back faster than that would keep it
        standing for ever. Only the first tries; they run in their order.
        """
        state = self.state
        putters = self.putters
        free = state.max_messages - state.live if state.fits(1, 0) else 0
        most = min(len(putters), max(free, 1))
        while self.awake < most:
            future = putters[self.awake].future
            if future is not None and not future.done():
                future.set_result(None)
            self.awake += 1

    async def joined(self) -> None:
        """Return when the queue holds nothing: waiting, delayed or in flight."""
        while self.state.live:
            joiner = self.loop.create_future()
            self.joiners.append(joiner)
            self.watched = True
            await joiner

    def fail(self, error: Exception, *, joiners: bool = True, getters: bool = True) -> None:
        """Raise ``error`` from everybody who waits (from joiners and getters too, or not)."""
        waiters = [putter.future for putter in self.putters if putter.future is not None]
        # Who waits for some messages only has looked through what there is.
        waiters += self.selectors
        self.selectors.clear()
        if getters:
            waiters += self.getters
            self.getters.clear()
        if joiners:
            waiters += self.joiners
            self.joiners.clear()
        for waiter in waiters:
            if not waiter.done():
                waiter.set_exception(error)
                # A waiter whose task is gone would log "never retrieved".
                waiter.exception()
