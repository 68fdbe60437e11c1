"""An open broker on its loop: what ports and feeds share."""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import msgspec

from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.op import Op, Undo, Wants, Work
from posthouse.backends.sqlite.opening import open_reader, patiently
from posthouse.backends.sqlite.place import Place
from posthouse.backends.sqlite.rows import QueueRow
from posthouse.backends.sqlite.trouble import explain
from posthouse.backends.sqlite.writer import Writer
from posthouse.clock import Clock
from posthouse.errors import BrokerClosed, ForkedProcess, PosthouseError, WrongLoop
from posthouse.model import QueuePolicy, check_seconds

T = TypeVar("T")
logger = logging.getLogger("posthouse.sqlite")

_hosts: weakref.WeakSet[Host] = weakref.WeakSet()


class Seen(msgspec.Struct, frozen=True):
    """A queue as it was last seen."""

    waiting: int
    live: int
    full: bool
    policy: QueuePolicy


class Lease:
    """A delivery of this process, as far as is known here."""

    __slots__ = ("deadline_ns", "ids")

    def __init__(self, deadline_ns: int, ids: set[int]) -> None:
        self.deadline_ns = deadline_ns
        self.ids = ids


class Host:
    """See the module.

    Attributes:
        loop: the loop that the broker was opened on.
        writer: where calls go.
        seen: queues by name, as they were last seen.
        leases: what was delivered and not settled, by token.
    """

    def __init__(self, place: Place, clock: Clock) -> None:
        self.loop = asyncio.get_running_loop()
        self.place = place
        self.clock = clock
        self.seen: dict[str, Seen] = {}
        self.leases: dict[int, Lease] = {}
        self.skew_ns = 0
        self.writer = Writer(place, self.loop, self._changed)
        self._reader: ThreadPoolExecutor | None = None
        self._db: Any = None
        self._last: asyncio.Future[Any] | None = None
        self._sweep_at = 10_000
        _hosts.add(self)

    def _changed(self, rows: list[QueueRow], skew_ns: int) -> Callable[[], None]:
        """In the writer's thread: what to call on the loop for what changed."""
        seen = [seen_of(row) for row in rows]

        def take_note() -> None:
            self.seen.update(seen)
            self.skew_ns = skew_ns

        return take_note

    def mark(self, token: int, count: int) -> None:
        """An iterator yielded so many messages of a lease."""
        self.writer.yields.mark(token, count)

    def now_ns(self) -> int:
        """The broker's time."""
        return self.clock.now_ns() + self.skew_ns

    # calls

    def check(self) -> None:
        """Raise what keeps a call from being made here and now.

        Raises:
            ForkedProcess, BrokerClosed, WrongLoop, StorageFailed, UnknownOutcome.
        """
        failure = self.writer.failure
        if failure is not None and not isinstance(failure, BrokerClosed):
            raise type(failure)(*failure.args) from failure
        if asyncio._get_running_loop() is not self.loop:
            _wrong_loop()
        if failure is not None:
            raise type(failure)(*failure.args) from failure

    def send(self, op: Op) -> asyncio.Future[Any]:
        """Hand a call over: a future for its answer."""
        self.check()
        future = self.loop.create_future()
        op.future = future
        self.writer.submit(op)
        self._last = future
        return future

    def forget(self, work: Work, queue: str = "") -> None:
        """Hand a call over whose answer nobody waits for; from any thread."""
        try:
            self.writer.submit(Op(work, queue=queue))
        except PosthouseError:
            pass  # it is closed: everything went back

    def declare(self, work: Work, queue: str) -> None:
        """Hand a declaration over; what keeps it from being done is logged."""

        def attempt(books: Books, op: Op) -> None:
            try:
                work(books, op)
            except PosthouseError as error:
                logger.error("queue %r was not declared: %s", queue, error)
                raise

        self.writer.submit(Op(attempt, queue=queue))

    def settle(
        self, work: Work, queue: str, done: Callable[[Any], None] | None = None
    ) -> asyncio.Future[Any]:
        """A call whose future may be left alone for a while: its error is raised by `durable`."""
        return self.send(Op(work, queue=queue, done=done))

    async def ask(
        self,
        work: Work,
        queue: str = "",
        *,
        wants: Wants | None = None,
        timeout_s: float | None = None,
        undo: Undo | None = None,
        size_bytes: int = 0,
    ) -> Any:
        """The answer of a call that may wait up to ``timeout_s``.

        Cancelled, a call that still waits is taken back; one that is done meanwhile is undone.

        Raises:
            TimeoutError, and what the call raises.
        """
        if timeout_s is not None:
            check_seconds("timeout", timeout_s)
        op = Op(work, queue=queue, wants=wants, parks=timeout_s != 0, undo=undo)
        op.size_bytes = size_bytes
        future = self.send(op)
        timer = self.loop.call_later(timeout_s, self._late, op) if timeout_s else None
        try:
            return await future
        except asyncio.CancelledError:
            # It may have its answer, even here: in the turn in which its caller was cancelled.
            op.cancelled = True
            self.writer.withdraw(op)
            raise
        finally:
            if timer is not None:
                timer.cancel()

    async def ask_to_the_end(
        self,
        work: Work,
        *,
        timeout_s: float | None,
        done: Callable[[Any], None],
    ) -> Any:
        """`ask`, cancelled only once it is known whether the call was done."""
        op = Op(work, wants="room", parks=timeout_s != 0, done=done)
        future = self.send(op)
        timer = self.loop.call_later(timeout_s, self._late, op) if timeout_s else None
        cancelled: asyncio.CancelledError | None = None
        try:
            while not future.done():
                try:
                    await asyncio.shield(future)
                except asyncio.CancelledError as error:
                    cancelled = error
                    self._late(op)
                except Exception:  # the future has it
                    break
        finally:
            if timer is not None:
                timer.cancel()
        if cancelled is not None:
            future.exception()  # seen
            raise cancelled
        return future.result()

    def _late(self, op: Op) -> None:
        op.late = True
        self.writer.withdraw(op)

    def last(self) -> asyncio.Future[Any] | None:
        """What was handed over last, if it is not answered yet: what came before is, then."""
        last = self._last
        return None if last is None or last.done() else last

    # looking

    async def read(self, job: Callable[[Any], T]) -> T:
        """Run a job on a connection that only looks, after what was handed over before."""
        self.check()
        await self.send(Op(lambda *_: None))
        if self._reader is None:
            self._reader = ThreadPoolExecutor(1, "posthouse-sqlite-read")
        return await self.loop.run_in_executor(self._reader, self._look, job)

    def _look(self, job: Callable[[Any], T]) -> T:
        def attempt() -> T:
            if self._db is None:
                self._db = open_reader(self.place.path)
            return job(self._db)

        try:
            return patiently(attempt, self.place.path, self.place.timeout_s)
        except sqlite3.Error as error:
            raise explain(error, self.place.path) from error

    # leases

    def delivered(self, token: int, deadline_ns: int, ids: set[int]) -> None:
        """Messages were handed to the program under a lease."""
        lease = self.leases.get(token)
        if lease is None:
            self.leases[token] = Lease(deadline_ns, ids)
            if len(self.leases) > self._sweep_at:
                self._sweep()
        else:
            lease.ids |= ids

    def _sweep(self) -> None:
        now_ns = self.now_ns()
        for token in [t for t, lease in self.leases.items() if lease.deadline_ns <= now_ns]:
            del self.leases[token]
        self._sweep_at = max(10_000, 2 * len(self.leases))

    def settled(self, token: int, ids: list[int]) -> None:
        """Messages of a lease were settled."""
        lease = self.leases.get(token)
        if lease is not None:
            lease.ids.difference_update(ids)
            if not lease.ids:
                del self.leases[token]

    def holds(self, token: int, number: int) -> bool:
        """Whether a delivery still holds a message, as far as is known here."""
        lease = self.leases.get(token)
        return lease is not None and number in lease.ids and lease.deadline_ns > self.now_ns()

    # the end

    async def close(self) -> None:
        """Give back what is out, and close everything."""
        ended = self.writer.close_when_done()
        await asyncio.shield(ended)
        reader, self._reader = self._reader, None
        if reader is not None:
            await self.loop.run_in_executor(None, reader.shutdown)
        if self._db is not None:
            self._db.close()
            self._db = None

    def forked(self) -> None:
        """This process is a child of the one that opened it."""
        self.writer.forked(
            ForkedProcess("the broker was opened before a fork; open it in the child (use spawn)")
        )


def seen_of(row: QueueRow) -> tuple[str, Seen]:
    """A queue's name, and it as it is now."""
    return row.name, Seen(row.waiting, row.live, not row.fits(1, 0), row.policy)


def _wrong_loop() -> NoReturn:
    raise WrongLoop(
        "this broker belongs to another event loop; open one for each loop, or call it from its own"
    )


def _after_fork() -> None:
    for host in list(_hosts):
        host.forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
