"""A client, as the server knows it: it outlives its connections.

Invariants:

1. A request's replies stay in ``kept`` until the client has seen them; one that comes again is
   answered from there, and is never done twice.
2. ``flight_bytes`` is what puts that are not answered hold in memory.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Protocol

from posthouse.core.producers import FIRST_PRODUCER
from posthouse.errors import LeaseExpired, ProtocolError
from posthouse.journal.group import Group
from posthouse.model import check_queue_name
from posthouse.server.limits import Limits
from posthouse.session import Port, Session
from posthouse.wire import failures
from posthouse.wire.answers import Delivered, Done, Reply
from posthouse.wire.requests import Cancel, Seen

logger = logging.getLogger("posthouse.server")


class Line(Protocol):
    """The connection that a member has at the moment."""

    @property
    def takes(self) -> bool: ...
    def send(self, message: object) -> None: ...
    def flush(self) -> None: ...
    def check_flow(self) -> None: ...


class Neighbours(Protocol):
    """What lies with all clients, on its way to be seen."""

    async def put_back(self, queue: str, *, every: bool) -> None: ...
    def unseen(self, queue: str) -> int: ...


class Cancellable(Protocol):
    """What waits to answer a part of a request: a task, or something lighter."""

    def cancel(self) -> bool: ...


class Pushing(Protocol):
    """A member's subscriptions."""

    def close(self) -> None: ...
    def pause(self) -> None: ...


class Member:
    """One client: a holder of leases, its requests and their answers.

    Attributes:
        line: its connection; None while it is away.
        secret: its session's id, which only the client knows.
        producer: what its puts are known by.
        flight_bytes: see the module.
        left_at_s: when it went away, by the loop's clock.
    """

    __slots__ = (
        "_groups",
        "_highest",
        "_ports",
        "_waits",
        "flight_bytes",
        "house",
        "kept",
        "left_at_s",
        "limits",
        "line",
        "lined",
        "name",
        "number",
        "over",
        "producer",
        "secret",
        "session",
        "subscriptions",
    )

    def __init__(
        self,
        number: int,
        session: Session,
        secret: bytes,
        producer: int,
        name: str,
        limits: Limits,
        house: Neighbours,
    ) -> None:
        assert producer >= FIRST_PRODUCER
        self.number = number
        self.session = session
        self.secret = secret
        self.producer = producer
        self.name = name
        self.limits = limits
        self.house = house
        self.line: Line | None = None
        self.left_at_s = 0.0
        self.flight_bytes = 0
        self.over = False
        # Puts that wait, by queue: those that come after them must not overtake them.
        self.lined: dict[str, int] = {}
        self.kept: dict[int, list[Reply]] = {}
        self.subscriptions: Pushing | None = None
        self._highest = 0
        self._ports: dict[str, Port] = {}
        # What waits for a commit group is told together.
        self._groups: dict[Group, list[tuple[Reply, int]]] = {}
        self._waits: dict[tuple[int, int], Cancellable] = {}

    def port(self, name: str) -> Port:
        """The queue of that name, made if there is none.

        Raises:
            InvalidName: it is no queue's name.
            StorageFull, StorageFailed: it is not there and cannot be made.
        """
        port = self._ports.get(name)
        if port is None:
            check_queue_name(name)
            port = self._ports[name] = self.session.port(name, {})
        return port

    # requests

    def begin(self, number: int) -> bool:
        """Take note of a request; False if it came before (its answers are sent again).

        Raises:
            ProtocolError: numbers grow; too many are unseen.
        """
        kept = self.kept
        if number > self._highest:
            if len(kept) >= self.limits.requests:
                raise ProtocolError(
                    f"more than {self.limits.requests:,} requests are unanswered or unseen"
                )
            self._highest = number
            kept[number] = []
            return True
        replies = kept.get(number)
        if replies is None:
            raise ProtocolError(f"request {number} was seen to be answered, and comes again")
        for reply in replies:
            self.send(reply)
        return False

    def seen(self, message: Seen) -> None:
        """The client has these answers, and asks for none of them again."""
        kept = self.kept
        for number in message.ids:
            kept.pop(number, None)
        if message.below:
            but = set(message.but)
            for number in [each for each in kept if each < message.below and each not in but]:
                del kept[number]
        if message.puts:
            self.session.engine.state.producers.seen(self.producer, message.puts)

    def send(self, message: object) -> None:
        """Say something, if the client is there."""
        line = self.line
        if line is not None:
            line.send(message)

    def flush(self) -> None:
        """Write what is to be said now, and not in the loop's next turn."""
        line = self.line
        if line is not None:
            line.flush()

    def reply(self, reply: Reply) -> None:
        """Answer a request, or a part of it."""
        kept = self.kept.get(reply.of)
        if kept is not None:
            kept.append(reply)
            self.send(reply)

    def reply_when_durable(self, reply: Reply, group: Group | None, port: Port, size: int) -> None:
        """Answer when a commit group is on disk; at once if that is None."""
        if group is None:
            self.reply(reply)
            return
        waiting = self._groups.get(group)
        if waiting is None:
            waiting = self._groups[group] = []
            port.tell(group, partial(self._committed, group))
        waiting.append((reply, size))
        self.flight_bytes += size

    def _committed(self, group: Group, error: BaseException | None) -> None:
        try:
            self._answer(self._groups.pop(group), error)
        except Exception:
            # The journal that tells this has others to tell.
            logger.exception("session %d (%s) could not be answered", self.number, self.name)

    def _answer(self, waiting: list[tuple[Reply, int]], error: BaseException | None) -> None:
        for reply, size in waiting:
            self.flight_bytes -= size
            if error is None:
                self.reply(reply)
            else:
                first = getattr(reply, "part", 0)
                for part in range(first, first + getattr(reply, "count", 1)):
                    self.reply(failures.failed(reply.of, part, error))
        line = self.line
        if line is not None:
            # Now: who puts one after the other waits for nothing else, and what is delivered
            # of it can go out behind.
            line.flush()
            line.check_flow()

    def done(self, number: int, part: int = 0, count: int = 1) -> None:
        """Answer Done."""
        self.reply(Done(number, part, count))

    def failed(self, number: int, part: int, error: BaseException) -> None:
        """Answer Failed."""
        self.reply(failures.failed(number, part, error))

    # what has to wait

    def spawn(
        self,
        number: int,
        part: int,
        work: Callable[[], Coroutine[Any, Any, None]],
        size: int = 0,
        line: str = "",
    ) -> None:
        """Do a part of a request that has to wait.

        ``size`` bytes are in flight meanwhile; it stands in ``line`` to put in that queue.
        """
        task = asyncio.ensure_future(self._run(number, part, work))
        self._waits[number, part] = task
        self.flight_bytes += size
        if line:
            self.lined[line] = self.lined.get(line, 0) + 1

        def ended(task: asyncio.Task[None]) -> None:
            if task.cancelled():  # perhaps before its first step
                self.reply(failures.cancelled(number, part))
            self.flight_bytes -= size
            if line:
                self.lined[line] -= 1
                if not self.lined[line]:
                    del self.lined[line]
            self._waits.pop((number, part), None)
            if self.line is not None:
                self.line.check_flow()

        task.add_done_callback(ended)

    async def _run(
        self, number: int, part: int, work: Callable[[], Coroutine[Any, Any, None]]
    ) -> None:
        try:
            await work()
        except Exception as error:
            self.failed(number, part, error)

    def hold(self, number: int, part: int, wait: Cancellable) -> None:
        """Keep what waits, so that it can be cancelled, until `let_go`."""
        self._waits[number, part] = wait

    def let_go(self, number: int, part: int) -> None:
        """It waits no more."""
        self._waits.pop((number, part), None)

    def cancel(self, message: Cancel) -> None:
        """Stop waiting for a part of a request, if that is still waited for."""
        wait = self._waits.get((message.of, message.part))
        if wait is not None and wait.cancel():
            return
        if message.queue:
            for reply in self.kept.get(message.of, ()):
                if isinstance(reply, Delivered):
                    self._give_back(message.queue, reply)

    def _give_back(self, queue: str, reply: Delivered) -> None:
        port = self.port(queue)
        for entry in reply.entries:
            try:
                port.give_back(reply.token, entry[0])
            except LeaseExpired:
                continue  # it ran out, or came back before

    def busy(self) -> bool:
        """Whether puts or settlements wait for the disk."""
        return bool(self._groups)

    # life

    def end(self, *, release: bool) -> None:
        """It is gone for good; ``release``: what it holds goes back at once, uncounted."""
        self.over = True
        for wait in list(self._waits.values()):
            wait.cancel()
        if self.subscriptions is not None:
            self.subscriptions.close()
        self.kept.clear()
        if release:
            self.session.close()


Handler = Callable[[Member, Any], None]
"""What does a request that is new to the member, and answers it then or later."""
