"""The one thread of an open broker that writes: calls in groups, a transaction and a sync each.

What comes while a commit runs is done together in the next one. A call is refused before it
changes anything, so one that is refused does not fail its neighbours. Answers go out after COMMIT.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Final

from posthouse.backends.sqlite import due, leave
from posthouse.backends.sqlite.alarm import MOST_SLEEP_S, Alarm
from posthouse.backends.sqlite.bell import EVERYTHING, Bell
from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.op import NOT_YET, Op
from posthouse.backends.sqlite.opening import patiently
from posthouse.backends.sqlite.parked import Parked, shut_down_error
from posthouse.backends.sqlite.place import Place
from posthouse.backends.sqlite.rows import QueueRow
from posthouse.backends.sqlite.trouble import explain, is_full, is_ours
from posthouse.backends.sqlite.yields import Yields
from posthouse.errors import BrokerBug, BrokerClosed, PosthouseError, UnknownOutcome
from posthouse.model import FOREVER_NS, NANOSECONDS

POLL_S: Final = 1.0
"""How often somebody who waits looks for changes that nobody told of."""
GROUP_OPS: Final = 10_000
GROUP_BYTES: Final = 8 * 1024 * 1024
FULL_DISK_S: Final = 1.0

logger = logging.getLogger("posthouse.sqlite")


class Writer:
    """See the module.

    Attributes:
        failure: why nothing more is done; None while all is well.
    """

    def __init__(
        self,
        place: Place,
        loop: asyncio.AbstractEventLoop,
        on_change: Callable[[list[QueueRow], int], Callable[[], None]],
    ) -> None:
        self._place = place
        self._loop = loop
        self._on_change = on_change
        self._pending: deque[Op] = deque()
        self._alarm = Alarm()
        self._parked = Parked()
        self._answered: list[Op] = []
        self._told: set[int] = set()
        self._gone: set[int] = set()
        self._stopping = self._poisoned = self._drained = False
        self._closing: Op | None = None
        self._version = -1
        self._held_up_s = 0.0
        self.failure: PosthouseError | None = None
        self._started: asyncio.Future[None] = loop.create_future()
        self._ended: asyncio.Future[None] = loop.create_future()
        self._thread = threading.Thread(target=self._run, name="posthouse-sqlite", daemon=True)
        self._db: sqlite3.Connection
        self._books: Books
        self._bell: Bell

    # the loop's side

    @property
    def yields(self) -> Yields:
        """Where iterators note what they yielded."""
        return self._books.yields

    async def start(self) -> None:
        """Open the database in the thread. Raises what became of it."""
        self._thread.start()
        try:
            await asyncio.shield(self._started)
        except asyncio.CancelledError:
            self._stopping = True
            self._alarm.wake()
            raise

    def submit(self, op: Op) -> None:
        """Hand a call over; from any thread. Raises what keeps it from being done."""
        if self.failure is not None:
            raise type(self.failure)(*self.failure.args) from self.failure
        self._pending.append(op)
        if self._alarm.asleep:
            self._alarm.wake()
        if self._drained:
            self._refuse([])  # it stopped in just this moment

    def withdraw(self, op: Op) -> None:
        """Take a call that waits out of its line; what was begun is finished."""

        def work(books: Books, _: Op) -> None:
            if op.late and op.parked_in and not op.answered:
                op.error = TimeoutError()
                self._attempt(op)
            elif op.cancelled and op.answered and op.error is None and op.undo is not None:
                op.undo(books, op)
            row = books.find(op.queue)
            if row is not None:
                books.stir(row)

        if self.failure is None:
            self.submit(Op(work))

    def close_when_done(self) -> asyncio.Future[None]:
        """Finish what was handed over, give back what is held, and end."""

        def work(books: Books, _: Op) -> None:
            due.resign(books)
            self._stopping = True

        if self.failure is None:
            self._closing = Op(work)
            self.submit(self._closing)
            self.failure = BrokerClosed("the broker is closed; open it again")
        return self._ended

    def forked(self, failure: PosthouseError) -> None:
        """This is a child now, without the thread: nothing works here any more."""
        self.failure = failure
        if hasattr(self, "_bell"):
            self._bell.let_go()

    # the thread

    def _run(self) -> None:
        try:
            self._db, self._bell, self._books = self._place.enter()
        except BaseException as error:
            self.failure = (
                error
                if isinstance(error, PosthouseError)
                else BrokerBug(f"{type(error).__name__}: {error}")
            )
            refusal = error
            self._tell(lambda: self._refuse_start(refusal))
            self._alarm.close()
            return
        self._tell(self._start)
        try:
            while not self._stopping:
                self._turn()
        except BaseException as error:
            logger.exception("the writer of %s stopped", self._place.path)
            self._poison(BrokerBug(f"{type(error).__name__}: {error}"), [])
        self._end()

    def _start(self) -> None:
        if not self._started.done():
            self._started.set_result(None)

    def _refuse_start(self, error: BaseException) -> None:
        if not self._started.done():
            self._started.set_exception(error)

    def _tell(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:
            pass  # the loop is closed: nobody waits

    def _turn(self) -> None:
        numbers = self._sleep()
        ops: list[Op] = []
        size_bytes = 0
        while self._pending and len(ops) < GROUP_OPS and size_bytes < GROUP_BYTES:
            ops.append(self._pending.popleft())
            size_bytes += ops[-1].size_bytes
        if ops or numbers or self._is_due():
            self._group(ops, numbers)

    def _is_due(self) -> bool:
        return self._wait_s() <= 0

    def _wait_s(self) -> float:
        """How long until something is due."""
        books = self._books
        next_ns = min((row.retry_ns for row in books.retrying), default=FOREVER_NS)
        next_ns = min(next_ns, books.next_ns)
        if next_ns >= FOREVER_NS:
            return MOST_SLEEP_S
        return max((next_ns - books.clock.now_ns() - books.skew_ns) / NANOSECONDS, 0.0)

    def _sleep(self) -> set[int]:
        """Wait for calls, rings or the time; the queues that others changed."""
        alarm = self._alarm
        alarm.asleep = True
        wait_s = 0.0 if self._pending else max(self._wait_s(), self._held_up_s)
        self._held_up_s = 0.0
        poll = bool(self._parked) and wait_s > POLL_S
        numbers, nothing = alarm.sleep(POLL_S if poll else wait_s, self._bell)
        alarm.asleep = False
        if poll and nothing and self._others_wrote():
            numbers = {EVERYTHING}
        return self._of_interest(numbers)

    def _others_wrote(self) -> bool:
        (version,) = self._db.execute("PRAGMA data_version").fetchone()
        changed = bool(version != self._version)
        self._version = version
        return changed

    def _of_interest(self, numbers: set[int]) -> set[int]:
        """Of queues that others changed, those on which somebody waits here."""
        aside = {-number for number in numbers if number < 0 and -number in self._books.feeds}
        if aside:
            self._pending.append(Op(lambda books, _: _share(books, aside)))
        if not numbers or not self._parked:
            return set()
        books = self._books
        if EVERYTHING in numbers:
            names = [name for name in self._parked.names() if name in books.by_name]
            return {books.by_name[name].number for name in names}
        known = {number for number in numbers if number in books.by_number}
        return {number for number in known if books.by_number[number].name in self._parked}

    def _group(self, ops: list[Op], numbers: set[int]) -> None:
        """One transaction."""
        books = self._books
        committing = False
        try:
            self._begin()
            self._work(ops, numbers)
            books.flush()
            committing = True
            patiently(lambda: self._db.execute("COMMIT"), self._place.path, self._place.timeout_s)
        except sqlite3.Error as error:
            found: PosthouseError = explain(error, self._place.path)
            if is_ours(error) and not committing:
                found = BrokerBug(repr(error))
            if committing and not is_full(error):
                found = UnknownOutcome(f"{found}; what was under way may or may not be stored")
            fatal = not is_full(error) and not isinstance(found, BrokerBug)
            self._undo(ops, numbers, found, fatal=fatal, cause=error)
            return
        except PosthouseError as error:
            self._undo(ops, numbers, error, fatal=False, cause=error.__cause__, alone=True)
            return
        except Exception as error:
            logger.exception("a call on %s failed", self._place.path)
            self._undo(ops, numbers, BrokerBug(repr(error)), fatal=False, cause=error)
            return
        self._committed()

    def _begin(self) -> None:
        patiently(
            lambda: self._db.execute("BEGIN IMMEDIATE"),
            self._place.path,
            self._place.timeout_s,
            self._place.who(self._db),
        )

    def _work(self, ops: list[Op], numbers: set[int]) -> None:
        books = self._books
        numbers = numbers | {row.number for row in books.retrying}
        books.retrying.clear()
        if books.open():
            due.work(books, self._place.directory)
        for number in numbers:
            if number in books.by_number:
                books.stir(books.row(number))
        for op in ops:
            if op.wants == "room" and op.queue:
                op.ahead = self._parked.is_line(op.queue)
            self._attempt(op)
        while rows := [row for row in books.touched if row.stirred]:
            for row in rows:
                row.stirred = False
                self._told.add(row.number)
                self._parked.serve(books, row, self._attempt)

    def _attempt(self, op: Op) -> bool:
        """Try a call; whether it is answered."""
        if op.answered or op.cancelled:
            return True
        if op.error is None:
            try:
                op.answer = op.work(self._books, op)
            except PosthouseError as error:
                op.error = error
        if op.error is None and op.answer is NOT_YET:
            op.answer = None
            if self._in_vain(op):
                op.error = shut_down_error(op.queue)
            elif op.late or not op.parks:
                op.error = TimeoutError()
            else:
                self._parked.add(op)
                return False
        op.answered = True
        self._answered.append(op)
        return True

    def _in_vain(self, op: Op) -> bool:
        """Whether a take that found nothing belongs to a handle that was shut down."""
        if op.wants not in ("message", "match") or op.queue not in self._books.shut:
            return False
        row = self._books.named(op.queue)
        return op.wants == "match" or row.waiting <= 0

    def shut(self, name: str, *, immediate: bool) -> None:
        """Tell who waits that the queue's handle was shut down."""

        def work(books: Books, _: Op) -> None:
            row = books.find(name)
            books.shut.add(name)
            done = immediate or row is None or row.waiting <= 0
            error = shut_down_error(name)
            self._parked.fail(name, error, self._attempt, room=True, takes=done)
            if row is not None:
                books.stir(row)

        if self.failure is None:
            self.submit(Op(work))

    # afterwards

    def _committed(self) -> None:
        books = self._books
        wanting = self._parked.committed()
        touched = dict.fromkeys(books.touched)
        books.touched = []
        for row in touched:
            row.arrived = []
        answered, self._answered = self._answered, []
        told, self._told = self._told, set()
        # What the others' iterators have set aside is better used here.
        told |= {-books.by_name[name].number for name in wanting if name in books.by_name}
        changed = self._on_change([*touched], books.skew_ns)

        def resolve() -> None:
            changed()
            _resolve(answered)

        if answered or touched:
            self._tell(resolve)
        if told and books.peers:
            for gone in self._bell.ring(books.peers, told):
                if gone not in self._gone:
                    self._gone.add(gone)
                    self._pending.append(Op(partial(self._reclaim, gone)))

    def _reclaim(self, holder: int, books: Books, _: Op) -> None:
        self._gone.discard(holder)
        # It may have closed in good order meanwhile: then it is among the peers no more.
        if holder in books.peers and not self._bell.is_alive(holder):
            logger.warning("a process that had %s open has died", self._place.path)
            due.reclaim(books, self._place.directory, holder)

    def _undo(
        self,
        ops: list[Op],
        numbers: set[int],
        error: PosthouseError,
        *,
        fatal: bool,
        cause: BaseException | None,
        alone: bool = False,
    ) -> None:
        """Nothing of the transaction happened: find out whose fault it was, or stop."""
        error.__cause__ = cause
        begun = self._db.in_transaction
        if begun:
            try:
                self._db.execute("ROLLBACK")
            except sqlite3.Error:
                fatal = True
        for op in self._answered:
            op.answered, op.answer, op.error = False, None, None
        self._answered, self._told = [], set()
        self._stopping = self._poisoned
        self._parked.rolled_back()
        if fatal:
            self._poison(error, ops)
            return
        if begun or not alone:
            self._books.rolled_back()
        if len(ops) > 1 and not alone:
            for op in ops:
                if self._poisoned:
                    self._pending.append(op)  # refused at the end, like all that is left
                else:
                    self._group([op], numbers)
            return
        self._held_up_s = FULL_DISK_S if not ops else 0.0
        if self._closing in ops:
            logger.warning(
                "%s was closed with leases that have to run out: %s", self._place.path, error
            )
            self._stopping = True
        for op in ops:
            op.answered, op.error = True, error
        self._tell(lambda: _resolve(ops))

    def _poison(self, error: PosthouseError, ops: list[Op]) -> None:
        """Nothing works any more: everybody is told, now and later."""
        latched: PosthouseError = error
        if isinstance(error, UnknownOutcome):
            latched = explain(sqlite3.OperationalError(str(error)), self._place.path)
        self.failure = latched
        self._stopping = self._poisoned = True
        for op in ops:
            op.answered, op.error = True, error
        self._tell(lambda: _resolve(ops))

    def _end(self) -> None:
        """Refuse what is left, and let go of everything."""
        failure = self.failure or BrokerClosed("the broker is closed; open it again")
        self.failure = failure
        self._drained = True
        self._refuse([*self._parked.all()])
        self._place.leave(self._db, self._bell, self._books)
        self._alarm.close()
        self._tell(lambda: None if self._ended.done() else self._ended.set_result(None))

    def _refuse(self, left: list[Op]) -> None:
        failure = self.failure or BrokerClosed("the broker is closed; open it again")
        while self._pending:
            left.append(self._pending.popleft())
        for op in left:
            op.answered, op.error = True, type(failure)(*failure.args)
        self._tell(lambda: _resolve(left))


def _share(books: Books, numbers: set[int]) -> None:
    """Somebody else waits: put back half of what an iterator here has set aside."""
    for number in numbers:
        if number in books.by_number:
            leave.set_aside_no_more(books, books.row(number), half=True)


def _resolve(ops: list[Op]) -> None:
    for op in ops:
        op.resolve()
