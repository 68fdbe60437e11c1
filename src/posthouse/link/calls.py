"""What is said to a server and what it answers, over whatever connection there is.

Invariants:

1. ``outstanding`` holds, in the order of their numbers, all requests that are not wholly answered;
   a new connection begins with them.
2. All that is said in one turn of the loop goes out in one write: plain puts to one queue, and
   acks of one queue, in one message. Only when that is much already, it goes out before: the
   server then works on it while the program says the rest.
3. While a message of puts is open (``_puts``), what a put looks at first holds: the handle may
   be used, in this loop, and there is room. It is closed before anything else is said or undone.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from threading import get_ident
from typing import Any, Final, Protocol

import msgspec

from posthouse.access.client import NOBODY, Access
from posthouse.errors import (
    BadArgument,
    BrokerUnreachable,
    PosthouseError,
    WrongLoop,
)
from posthouse.link import replies
from posthouse.link.call import AGAIN, Call, Restart
from posthouse.link.held import Holdings
from posthouse.link.keeper import Keeper
from posthouse.link.line import Line
from posthouse.link.options import LinkOptions, Place
from posthouse.link.run import MOST_RUN, Run
from posthouse.wire.answers import Welcome
from posthouse.wire.requests import (
    AckEach,
    Cancel,
    Get,
    GiveBack,
    Renew,
    Seen,
    Subscribe,
    Unsubscribe,
)

SEEN_STEP: Final = 64
SEEN_BYTES: Final = 1024 * 1024


class Pushed(Protocol):
    """A subscription's client side."""

    def pushed(self, message: Any) -> None: ...
    def recalled(self, *, every: bool) -> None: ...
    def refused(self, error: Exception) -> None: ...
    def reconnected(self, *, resumed: bool) -> None: ...
    def let_go(self) -> Unsubscribe | None: ...


class Calls:
    """Requests on their way, by number. `Link` gives them a connection.

    Attributes:
        welcome: what the server said when it was last reached.
        outstanding: see the module.
        holdings: the deliveries that the client has.
        failure: why no call is possible any more; None while it is.
        feeds: subscriptions, by number.
        turns: how often what was to be said was sent; until the next time it may be added to.
    """

    def __init__(self, place: Place, options: LinkOptions, access: Access = NOBODY) -> None:
        self.place = place
        self.access = access
        self.options = options
        self.loop = asyncio.get_running_loop()
        self.thread = get_ident()
        self.welcome: Welcome | None = None
        self.outstanding: dict[int, Call] = {}
        self.keeper = Keeper(self)
        self.holdings = Holdings(self.keeper.stir)
        self.failure: PosthouseError | None = None
        self.feeds: dict[int, Pushed] = {}
        self.turns = 0
        self.closing = False
        self._away: BrokerUnreachable | None = None
        self._refused = ""
        self._line: Line | None = None
        self._next = 1
        self._sequence = 1
        self._out: list[Any] = []
        self._unsent: list[Call] = []
        self._scheduled = False
        self._renumbered = False  # old sequences may stand behind younger ones
        self._puts: Run | None = None
        self._acks: Call | None = None
        self._renewals: list[tuple[str, int, int]] = []
        self._flight_bytes = 0
        self._flight_calls = 0
        self._gate: deque[asyncio.Future[None]] = deque()
        self._seen: list[int] = []
        self._seen_step = SEEN_STEP
        self._heard_bytes = 0
        self._offset_ns = 0
        self._idle: asyncio.Future[None] | None = None
        self.farewell: asyncio.Future[None] = self.loop.create_future()

    # what a call begins with

    def check(self) -> None:
        """Raise what a call should raise that cannot be made.

        Raises:
            BrokerClosed, ForkedProcess, WrongLoop: the handle cannot be used (here).
            BrokerUnreachable: the server has been away for too long.
        """
        failure = self.failure
        if failure is not None:
            raise type(failure)(*failure.args)
        if get_ident() != self.thread or asyncio._get_running_loop() is not self.loop:
            raise WrongLoop(
                "this handle belongs to another event loop or thread; open a broker of its own "
                "there, or pass the work to the loop that opened it "
                "(asyncio.run_coroutine_threadsafe)"
            )
        if self._away is not None:
            raise BrokerUnreachable(*self._away.args)

    def now_ns(self) -> int:
        """The server's time, as well as it is known here."""
        return time.monotonic_ns() + self._offset_ns

    def full(self) -> bool:
        """Whether a put has to wait until others are answered."""
        welcome = self.welcome
        assert welcome is not None
        return (
            self._flight_bytes > welcome.flight_bytes // 2
            or self._flight_calls > welcome.requests // 4
            or self.crowded()
        )

    def open_run(self, queue: str) -> Run | None:
        """The message that plain puts to a queue may be added to with no other look, if any."""
        run = self._puts
        if (
            run is None
            or run.queue != queue
            or get_ident() != self.thread
            or self.failure is not None
            or self._away is not None
        ):
            return None
        return run

    def crowded(self) -> bool:
        """Whether any call has to wait until others are answered: so many are under way."""
        assert self.welcome is not None
        return len(self.outstanding) >= self.welcome.requests * 3 // 4

    async def room(self) -> None:
        """Return when a put need not wait any more; in the order of coming."""
        await self._wait_while(self.full)

    async def turn(self) -> None:
        """Return when another call may be made."""
        await self._wait_while(self.crowded)

    async def _wait_while(self, busy: Callable[[], bool]) -> None:
        while busy():
            gate: asyncio.Future[None] = self.loop.create_future()
            self._gate.append(gate)
            try:
                await gate
            finally:
                if not gate.done() or gate.cancelled():
                    self._gate.remove(gate)
            self.check()

    # saying

    def say(self, message: Any) -> None:
        """Say something that need not be repeated; nothing while there is no connection."""
        if self._line is not None:
            self._out.append(message)
            self._schedule()

    def call(self, message: Any, restart: Restart, size_bytes: int = 0) -> Call:
        """Make a request: its number is filled in. One future, part 0."""
        self._end_runs()
        call = self._begin(message, restart)
        call.futures.append(self.loop.create_future())
        call.size_bytes = size_bytes
        self._flight_bytes += size_bytes
        return call

    def tell(self, message: Any, restart: Restart = "lease") -> None:
        """Make a request whose outcome nobody waits for."""
        self._end_runs()
        self._begin(message, restart)

    def _begin(self, message: Any, restart: Restart) -> Call:
        call = Call(message, restart)
        self._tell(call)
        return call

    def _tell(self, call: Call) -> None:
        message = call.message
        message.id = number = self._next
        self._next = number + 1
        self.outstanding[number] = call
        if call.restart == AGAIN:
            self._flight_calls += 1
        self._out.append(message)
        self._unsent.append(call)
        self._schedule()

    def sequences(self, count: int) -> int:
        """Numbers for so many puts; the first one."""
        self._end_runs()
        first = self._sequence
        self._sequence = first + count
        return first

    def begin_run(self, queue: str) -> Run:
        """A message that plain puts to a queue may be added to, in this turn."""
        self._end_runs()
        self._puts = run = Run(queue, self._sequence, self.loop, self._say_run)
        self._tell(run)
        return run

    def _say_run(self) -> None:
        self._end_runs()
        if self._line is not None and not self._line.paused:
            self._say_out()

    def _end_runs(self) -> None:
        """Nothing more is added to what was said in this turn."""
        self._acks = None
        run = self._puts
        if run is not None:
            self._puts = None
            run.left = len(run.futures)
            self._sequence += run.left
            self._flight_bytes += run.size_bytes

    def ack(self, queue: str, token: int, message_id: int, *, durable: bool) -> asyncio.Future[Any]:
        """A settlement, with the others of this turn."""
        run = self._acks
        if run is None or run.message.queue != queue or run.message.durable is not durable:
            self._acks = run = self._begin(AckEach(0, queue, [], [], durable), "lease")
            run.left = 0
        message = run.message
        message.tokens.append(token)
        message.ids.append(message_id)
        future: asyncio.Future[Any] = self.loop.create_future()
        run.futures.append(future)
        run.left += 1
        if len(run.futures) >= MOST_RUN:
            self._acks = None
        return future

    def renew(self, queue: str, token: int, lease_ns: int) -> None:
        """Let a lease begin anew, with others of this turn."""
        self._renewals.append((queue, token, lease_ns))
        self.holdings.extended(token, lease_ns)
        self._schedule()

    def subscribe(self, message: Subscribe, feed: Pushed) -> int:
        """Begin a subscription; its number."""
        self._end_runs()
        message.id = number = self._next
        self._next = number + 1
        self.feeds[number] = feed
        self.keeper.stir()
        self._out.append(message)
        self._schedule()
        return number

    def give_back(self, queue: str, token: int, ids: list[int]) -> None:
        """Undo a delivery that nobody wants."""
        self.holdings.drop(token)
        self.tell(GiveBack(0, queue, token, ids))

    def abandon(self, call: Call, part: int = 0) -> None:
        """Whoever waited for it is cancelled: stop it if it is not done."""
        self._end_runs()
        number = call.message.id
        if self.outstanding.get(number) is not call:
            return
        if len(call.futures) == 1:
            call.abandoned = True
            if not call.sent and self._line is None:
                self._finish(call)
                return
        queue = call.message.queue if isinstance(call.message, Get) else ""
        self.say(Cancel(number, part, queue))

    def stop(self, call: Call, instead: Exception) -> None:
        """Stop waiting for what is not done; ``instead`` is raised from those who wait for it."""
        self._end_runs()
        number = call.message.id
        if self.outstanding.get(number) is not call:
            return
        call.instead = instead
        if not call.sent and self._line is None:
            call.refuse_all(instead)
            self._finish(call)
            return
        for part in range(len(call.futures)):
            self.say(Cancel(number, part))

    def _should_say_seen(self) -> bool:
        """The server keeps what it answered until then: many answers, or much in them."""
        return len(self._seen) >= self._seen_step or self._heard_bytes > SEEN_BYTES

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._scheduled = False
        self._say_out()

    def _say_out(self) -> None:
        self._end_runs()
        line = self._line
        if line is None:
            self._out.clear()  # a new connection begins with what is outstanding
            self._unsent.clear()
            self._renewals.clear()
            return
        if line.paused:
            return
        self.turns += 1
        if self._renewals:
            leases, self._renewals = self._renewals, []
            self._begin(Renew(0, leases), "lease")
        out = self._out
        if self._seen and self._should_say_seen():
            out.append(Seen(self._seen, puts=self._answered_puts()))
            self._seen, self._heard_bytes = [], 0
        if not out:
            return
        for call in self._unsent:
            call.sent = True
        self._unsent.clear()
        try:
            line.say(out)
        except (ValueError, TypeError, OverflowError, msgspec.MsgspecError):
            self._say_singly(line, out)
        out.clear()

    def _answered_puts(self) -> int:
        """The sequence below which all puts are answered."""
        waiting = (each for each in self.outstanding.values() if each.restart == AGAIN)
        if self._renumbered:
            lowest = min((each.message.sequence for each in waiting), default=0)
            self._renumbered = lowest > 0
            return lowest or self._sequence
        first = next(waiting, None)
        return self._sequence if first is None else int(first.message.sequence)

    def _say_singly(self, line: Line, out: list[Any]) -> None:
        """One of them has what cannot be said (a lone surrogate, a number over 64 bits)."""
        for message in out:
            try:
                line.say([message])
            except (ValueError, TypeError, OverflowError, msgspec.MsgspecError) as error:
                call = self.outstanding.get(getattr(message, "id", 0))
                if call is not None:
                    call.refuse_all(BadArgument(f"this cannot be sent to a server: {error}"))
                    self._finish(call)

    # hearing

    def hear(self, messages: list[Any], size_bytes: int) -> None:
        """What the server said, in so many bytes (about)."""
        self._heard_bytes += size_bytes
        for message in messages:
            handler = replies.HANDLERS.get(type(message))
            if handler is not None:
                handler(self, message)
        if self._seen and self._should_say_seen():
            self._schedule()
        if self._gate and not self.crowded():
            self._open_gate()

    def part_done(self, call: Call) -> None:
        """A part of it was answered."""
        if call.left <= 0:
            self._finish(call)

    def _finish(self, call: Call) -> None:
        self.outstanding.pop(call.message.id, None)
        self._flight_bytes -= call.size_bytes
        if call.restart == AGAIN:
            self._flight_calls -= 1
        self._seen.append(call.message.id)
        if self._idle is not None and not self._idle.done() and not self.outstanding:
            self._idle.set_result(None)

    def finish(self, call: Call) -> None:
        """It is answered."""
        self._finish(call)

    def _open_gate(self) -> None:
        for gate in self._gate:
            if not gate.done():
                gate.set_result(None)
        self._gate.clear()
