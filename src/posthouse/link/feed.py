"""What ``async for`` draws from over a link: a subscription's client side.

What lies here is leased, and its leases are renewed while it lies; a message's lease begins anew
when it is handed out. One whose lease ran out nevertheless is left out quietly. Credit goes back
to the server when half of it is used, or when the program asks and nothing is left here: so where
the server pushes one at a time, for an order that counts, none comes before it is asked for.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Final

from posthouse.errors import QueueShutDown
from posthouse.link.link import Link
from posthouse.model import NANOSECONDS
from posthouse.records import Entry
from posthouse.wire.answers import Delivered
from posthouse.wire.requests import Credit, Returned, Subscribe, Unsubscribe

RENEWALS_PER_LEASE: Final = 3
FRESH: Final = 10
"""A lease that has used up less than this part of its length is as good as new."""


class Lying:
    """A message that was pushed (by a subscription, 0: by none) and not yet handed out."""

    __slots__ = ("attempts", "entry", "lease_ns", "number", "renewed_s", "token")

    def __init__(
        self, token: int, entry: Entry, attempts: int, lease_ns: int, number: int = 0
    ) -> None:
        self.number = number
        self.token = token
        self.entry = entry
        self.attempts = attempts
        self.lease_ns = lease_ns
        self.renewed_s = time.monotonic()

    def size(self) -> int:
        return len(self.entry[2]) + len(self.entry[3])


class LinkFeed:
    """See `posthouse.backends.contract.Feed` for the verbs.

    Args:
        link: the way to the server.
        queue: its name.
        most, most_bytes: the credit.
        rest: takes what is left when the handle was shut down.
        ready: waits until the queue is declared.
    """

    def __init__(
        self,
        link: Link,
        queue: str,
        most: int,
        most_bytes: int,
        rest: Callable[[int, int], Awaitable[Delivered]],
        ready: Callable[[], Awaitable[None]],
    ) -> None:
        self._link = link
        self._rest = rest
        self._ready = ready
        self._draining = False
        self._queue = queue
        self._most = most
        self._most_bytes = most_bytes
        self._lying: deque[Lying] = deque()
        self._number = 0
        self._used = self._used_bytes = 0  # credit that is used and not given anew
        self._told = False  # the server knows that the program waits
        self._note: Credit | None = None
        self._note_turn = 0
        self._received = 0
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        # Between the loop and the thread that acts for it while it stands still.
        self._lock = threading.Lock()

    def next(self) -> tuple[int, Entry, int] | None:
        """Deliver the next message now; None: none is here. Raises QueueShutDown."""
        self._link.check()
        while (one := self._pop()) is not None:
            self._note_seen(one)
            now_s = time.monotonic()
            lease_s = one.lease_ns / NANOSECONDS
            old_s = now_s - one.renewed_s
            if 2 * self._used >= self._most or 2 * self._used_bytes > self._most_bytes:
                self._give_credit(waits=False)
            if old_s >= lease_s:
                self._link.holdings.drop(one.token)
                continue
            if old_s * FRESH > lease_s:
                self._link.renew(self._queue, one.token, one.lease_ns)
            return one.token, one.entry, one.attempts
        if self._error is not None:
            raise self._error
        if self._number:
            if not self._told:
                self._give_credit(waits=True)
        elif not (self._draining or self._closed):
            self._subscribe()
        return None

    def _pop(self) -> Lying | None:
        try:
            return self._lying.popleft()
        except IndexError:
            return None

    def _note_seen(self, one: Lying) -> None:
        """Tell the server, with what else is said in this turn."""
        self._used += 1
        self._used_bytes += one.size()
        if one.number and one.number == self._number:
            self._said().seen += 1

    def _said(self) -> Credit:
        """What is said to the server in this turn; it may still be added to."""
        note = self._note
        if note is None or note.of != self._number or self._note_turn != self._link.turns:
            self._note = note = Credit(self._number, 0, 0)
            self._note_turn = self._link.turns
            self._link.say(note)
        return note

    async def wait(self) -> None:
        """Return when `next` is worth another try. Raises: as `next`."""
        await self._ready()
        if self._lying:
            return
        if self._error is not None:
            raise self._error
        if self._draining:
            await self._take_rest()
            return
        self._waiter = self._link.loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    async def _take_rest(self) -> None:
        try:
            reply = await self._rest(self._most, self._most_bytes)
        except QueueShutDown as error:
            self._error = error
            raise
        counts = reply.attempts or [1] * len(reply.entries)
        for entry, attempts in zip(reply.entries, counts, strict=True):
            self._lying.append(Lying(reply.token, entry, attempts, reply.lease_ns))

    def close(self) -> None:
        """Put back what lies here; may be called from anywhere, and again."""
        if self._closed:
            return
        if self._link.failure is not None:
            self._closed = True
            return
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._link.loop:
            self._close()
        elif not self._link.loop.is_closed():
            self._link.loop.call_soon_threadsafe(self._close)

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._end(self._number)

    def _end(self, number: int) -> None:
        self._number = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        lying = list(self._lying)
        self._lying.clear()
        for one in lying:
            self._link.holdings.drop(one.token)
        if number:
            self._link.feeds.pop(number, None)
            tokens, ids = [one.token for one in lying], [one.entry[0] for one in lying]
            self._link.say(Unsubscribe(number, tokens, ids, self._received))
        else:
            self._give_back(lying)

    def _give_back(self, lying: list[Lying]) -> None:
        by_token: dict[int, list[int]] = {}
        for one in lying:
            by_token.setdefault(one.token, []).append(one.entry[0])
        for token, back in by_token.items():
            self._link.give_back(self._queue, token, back)

    def stop(self) -> None:
        """Push no more: what lies here is handed out, and then the queue is asked for the rest."""
        number, self._number = self._number, 0
        if number:
            self._link.feeds.pop(number, None)
            self._link.say(Unsubscribe(number, [], [], self._received))
        self._draining = True
        self._wake()

    def put_back(self) -> None:
        """Push no more, and put back what lies here."""
        self._error = QueueShutDown(f"queue {self._queue!r} was shut down in this process")
        self._end(self._number)
        self._wake()

    def _subscribe(self) -> None:
        self._used = self._used_bytes = self._received = 0
        self._told = True
        self._number = self._link.subscribe(
            Subscribe(0, self._queue, self._most, self._most_bytes), self
        )

    def _give_credit(self, *, waits: bool) -> None:
        if self._number:
            note = self._said()
            note.messages += self._used
            note.size_bytes += self._used_bytes
            note.waits = note.waits or waits
            self._told = waits
        self._used = self._used_bytes = 0

    # what the link tells

    def pushed(self, message: Any) -> None:
        """Messages came."""
        lease_ns = message.lease_ns
        with self._lock:
            if message.of != self._number:
                return  # it was let go in this moment: these were given back
            self._received += len(message.tokens)
            self._told = False
            for token, entry, attempts in zip(
                message.tokens, message.entries, message.attempts, strict=True
            ):
                self._lying.append(Lying(token, entry, attempts, lease_ns, message.of))
                self._link.holdings.add(token, self._queue, lease_ns, 1)
        if self._timer is None:
            self._set_timer(lease_ns)
        self._wake()

    def recalled(self, *, every: bool) -> None:
        """Somebody needs what lies here: half of it goes back, the youngest, or all."""
        lying = self._lying
        # Who waits is about to take the first: two who recall from each other would both starve.
        spare = len(lying) - (1 if self._waiter is not None else 0)
        with self._lock:
            spare = max(min(spare, len(lying)), 0)
            back = [lying.pop() for _ in range(spare if every else (spare + 1) // 2)]
        for one in back:
            self._link.holdings.drop(one.token)
            self._used += 1
            self._used_bytes += one.size()
        tokens, ids = [one.token for one in back], [one.entry[0] for one in back]
        self._link.say(Returned(self._number, tokens, ids))

    def let_go(self) -> Unsubscribe | None:
        """Called by another thread while the loop stands still: what to say so that all that
        the program has not seen goes to others. None: there is nothing.

        The subscription is over then; the loop begins another one when it turns.
        """
        with self._lock:
            number = self._number
            if not number:
                return None
            self._number = 0
            back: list[Lying] = []
            with contextlib.suppress(IndexError):  # the loop may turn in this moment, and take some
                while True:
                    back.append(self._lying.pop())
            said = Unsubscribe(
                number,
                [one.token for one in back],
                [one.entry[0] for one in back],
                self._received,
            )
        self._link.loop.call_soon_threadsafe(self._let_go, number, said.tokens)
        return said

    def _let_go(self, number: int, tokens: list[int]) -> None:
        self._link.feeds.pop(number, None)
        for token in tokens:
            self._link.holdings.drop(token)
        self._wake()

    def refused(self, error: Exception) -> None:
        """The subscription is over."""
        self._number = 0
        self._error = error
        self._wake()

    def reconnected(self, *, resumed: bool) -> None:
        """A new connection: what lies here goes back if it is still leased; `next` begins anew.

        Not before that: what is pushed to a program that is busy may be what it must not have
        next, when it asks.
        """
        with self._lock:
            self._number = 0
            lying = list(self._lying)
            self._lying.clear()
        if resumed:
            self._give_back(lying)
        self._wake()

    def _wake(self) -> None:
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _set_timer(self, lease_ns: int) -> None:
        pause_s = lease_ns / NANOSECONDS / RENEWALS_PER_LEASE
        self._timer = self._link.loop.call_later(pause_s, self._renew)

    def _renew(self) -> None:
        self._timer = None
        if not self._lying or self._closed:
            return
        now_s = time.monotonic()
        for one in self._lying:
            if now_s - one.renewed_s < one.lease_ns / NANOSECONDS:
                one.renewed_s = now_s
                self._link.renew(self._queue, one.token, one.lease_ns)
        self._set_timer(self._lying[0].lease_ns)
