"""What of a backlog is in memory, and reading the rest back ahead of those who take it.

A put is seen when it is durable, and only then its place on disk is known; then it is decided here
whether it is kept in memory. What is read back comes through the writer, between the commits.

Invariants:
    1. A queue that has pages gets no put into memory, unless it is `rich`: order is kept.
    2. One read at a time for each queue; while it is under way its pages do not grow.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from itertools import groupby, islice
from typing import Any, Final, TypeAlias, TypeVar

from posthouse.core.pages import PAGE_BYTES, PAGE_MESSAGES, Page, Run
from posthouse.core.places import Placed, by_place
from posthouse.core.queue import QueueState
from posthouse.core.state import BrokerState
from posthouse.core.waiting import sizes_of
from posthouse.journal.journal import LogJournal
from posthouse.lane import Lane
from posthouse.model import NANOSECONDS
from posthouse.records import Entry

MOST_SHARE_BYTES: Final = 64 * 1024
LEAST_SHARE_BYTES: Final = 4 * 1024
LOW_MESSAGES: Final = 8 * PAGE_MESSAGES
"""With fewer than so many in memory, the next are read.

Each look at the disk gives up the interpreter's lock, and beside a busy loop waits to have it
back: few large reads (of up to `PAGE_BYTES`) cost much less than many small ones.
"""
EXPIRE_AHEAD_NS: Final = NANOSECONDS
"""What outlives its time within so long is read together."""

T = TypeVar("T")

Found: TypeAlias = "list[list[Entry]] | None"


class Pager:
    """Decides what stays in memory, and reads the rest.

    Attributes:
        journal: what it reads from.
        on_load: called when messages of a queue that is `rich` came into memory.
    """

    def __init__(self, state: BrokerState, journal: LogJournal, cache_bytes: int) -> None:
        self._state = state
        self.journal = journal
        self._cache_bytes = cache_bytes
        # Queues that hold more than their share, and how much they held when last looked at.
        self._large: dict[int, tuple[QueueState, int]] = {}
        self._held = 0
        # Queues that are read for, and who waits for that.
        self.on_load: Callable[[Lane], None] = lambda lane: None
        self._loading: dict[int, list[asyncio.Future[None]]] = {}
        self._fresh: set[int] = set()  # what was read for somebody who did not go on yet

    @property
    def share_bytes(self) -> int:
        """What a queue may hold in memory whatever the others hold."""
        fair = self._cache_bytes // 4 // max(1, len(self._state.queues))
        return min(max(fair, LEAST_SHARE_BYTES), MOST_SHARE_BYTES, self._cache_bytes)

    def keeps_out(self, lane: Lane, entries: list[Entry], segment: int, place: Run) -> bool:
        """Let messages be seen that stay on disk; False (and nothing done) if they do not."""
        state = lane.state
        if self.keeps(lane):
            return False
        if state.may_page_out(entries[0]):
            self.page_out(state, entries, segment, place)
        elif state.may_shelve(entries[0]):
            self.shelve(state, entries, segment, place)
        elif state.may_stub(entries):
            state.stub_out(entries, segment, place, partial(self.read_placed, state.number))
        else:
            return False
        return True

    def keeps(self, lane: Lane) -> bool:
        """Whether a put that is to be seen now stays in memory."""
        state = lane.state
        if state.pages is not None and state.rich is None:
            return False
        if lane.getters and self._cache_bytes:
            return True
        return not self.crowded(state)

    def busy(self, number: int) -> bool:
        """Whether something is read for the queue, or was, for who has not seen it yet."""
        return number in self._loading or number in self._fresh

    def crowded(self, state: QueueState) -> bool:
        """Whether the queue holds more than its share, and all of them more than the cache."""
        held = state.held_bytes
        if held <= self.share_bytes:
            return False
        self._note(state, held)
        if self._held > self._cache_bytes:
            # Most of it may have been taken since.
            for queue, _ in [*self._large.values()]:
                self._note(queue, queue.held_bytes)
        return self._held > self._cache_bytes

    def _note(self, state: QueueState, held: int) -> None:
        _, before = self._large.pop(state.number, (state, 0))
        self._held -= before
        if held > self.share_bytes:
            self._large[state.number] = (state, held)
            self._held += held

    def adopt(self, state: QueueState) -> None:
        """Read what recovery left on disk from now on."""
        if state.pages is not None:
            state.pages.read = partial(self.read, state.number)
        if state.cold is not None:
            state.cold.read = partial(self.read_placed, state.number)

    def page_out(self, state: QueueState, entries: list[Entry], segment: int, place: Run) -> None:
        """Let messages be seen that stay on disk."""
        state.page_out(segment, place, sizes_of(entries), partial(self.read, state.number))

    def shelve(self, state: QueueState, entries: list[Entry], segment: int, place: Run) -> None:
        """The same for messages of which something must be known while they wait."""
        state.shelve(entries, segment, place, partial(self.read_placed, state.number))

    # reading

    def read(self, number: int, page: Page) -> list[Entry]:
        """The messages of a queue's page. Blocks.

        Raises:
            StorageFailed: the disk failed, or does not have what was written: the broker stops.
        """
        page.sealed = True
        try:
            return self.journal.reader.read(number, page.segment, page.runs())
        except Exception as error:
            self.journal.read_failed(error)
            self.journal.refuse()

    def read_placed(self, number: int, rows: list[Placed]) -> list[Entry]:
        """A queue's messages at these places, in no order. Blocks. Raises: as `read`."""
        try:
            far, near = self._at_hand(number, rows)
            return near + self._read_jobs(number, _jobs_of(far))
        except Exception as error:
            self.journal.read_failed(error)
            self.journal.refuse()

    def _at_hand(self, number: int, rows: list[Placed]) -> tuple[list[Placed], list[Entry]]:
        cold = self._state.queues[number].cold
        return (rows, []) if cold is None else cold.at_hand(rows)

    def _read_jobs(self, number: int, jobs: list[tuple[int, list[Run]]]) -> list[Entry]:
        reader = self.journal.reader
        return [entry for each in jobs for entry in reader.read(number, *each)]

    def ahead(self, lane: Lane, low: int = LOW_MESSAGES) -> None:
        """See that the queue's next messages are in memory before they are asked for.

        With fewer than ``low`` there.
        """
        state = lane.state
        rich = state.rich
        if state.number in self._loading:
            return
        if rich is None:
            if state.pages is not None and len(state.ready) < low:
                self._load_pages(lane, self._next_pages(state))
            return
        many = low <= PAGE_MESSAGES
        if rich.running_low or (many and rich.lacks(low)):
            rows = state.next_stubs(low if many else 1)
            if rows and not state.beyond:
                self._load(lane, rows)
                return
        found = state.next_outside() if rich.stands < low or state.dry else []
        if isinstance(found, Page):
            self._load_pages(lane, [found])
        elif found:
            self._load(lane, found)

    @staticmethod
    def _next_pages(state: QueueState) -> list[Page]:
        chosen: list[Page] = []
        count = size_bytes = 0
        for page in state.pages or ():
            if chosen and (count >= LOW_MESSAGES or size_bytes + page.size_bytes > PAGE_BYTES):
                break
            chosen.append(page)
            count += page.count
            size_bytes += page.size_bytes
        return chosen

    def _load_pages(self, lane: Lane, pages: list[Page]) -> None:
        self._loading[lane.state.number] = []
        self.fetch(lane.state.number, pages, partial(self._arrived, lane, pages))

    def _load(self, lane: Lane, rows: list[Placed]) -> None:
        self._loading[lane.state.number] = []
        self.fetch_placed(lane.state.number, rows, partial(self._placed_arrived, lane, rows))

    def expire(self, lane: Lane, now_ns: int, most: int) -> bool:
        """See that what is on disk and outlived its time comes into memory, to be let go.

        Whether anything was found; when it has come, `on_load` is called.
        """
        state = lane.state
        cold, rich = state.cold, state.rich
        if cold is None or rich is None or cold.expiring:
            return False
        due = cold.soonest_ns <= now_ns
        if not due and not rich.expiring_by(now_ns, most):
            return False
        if state.number in self._loading:
            cold.expiring = True  # it is looked at again when that has come, and not before
            return False
        by_ns = now_ns + EXPIRE_AHEAD_NS
        rows = rich.expiring_by(by_ns, most)
        if due:
            rows += cold.expiring_by(by_ns, most)
        if not rows:
            return False
        cold.expiring = True
        self._load(lane, rows)
        return True

    def arrival(self, lane: Lane) -> asyncio.Future[None] | None:
        """Done when what is being read for the queue has come; None if nothing is."""
        waiters = self._loading.get(lane.state.number)
        if waiters is None:
            return None
        waiter = lane.loop.create_future()
        waiters.append(waiter)
        return waiter

    def fetch(
        self, number: int, pages: list[Page], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Read pages in the writer: ``done`` gets a list of messages for each."""
        jobs: list[tuple[int, list[Run], list[int]]] = []
        for segment, group in groupby(pages, key=lambda page: page.segment):
            runs: list[Run] = []
            counts: list[int] = []
            for page in group:
                page.sealed = True
                runs += page.runs()
                counts.append(page.count)
            jobs.append((segment, runs, counts))
        reader = self.journal.reader

        def read() -> list[list[Entry]]:
            found: list[list[Entry]] = []
            for segment, runs, counts in jobs:
                entries = iter(reader.read(number, segment, runs))
                found += [list(islice(entries, count)) for count in counts]
            return found

        self.journal.submit(read, done)

    def fetch_placed(
        self, number: int, rows: list[Placed], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Read messages in the writer: ``done`` gets them, in no order."""
        far, near = self._at_hand(number, rows)
        jobs = _jobs_of(far)
        self.journal.submit(lambda: near + self._read_jobs(number, jobs), done)

    def _arrived(
        self, lane: Lane, pages: list[Page], found: Found, error: BaseException | None
    ) -> None:
        if found is None:
            self._failed(lane, error)
            return
        count = 0
        for page, entries in zip(pages, found, strict=True):
            count += lane.state.page_in(page, entries)
        self._came(lane, count)

    def _placed_arrived(
        self,
        lane: Lane,
        rows: list[Placed],
        found: list[Entry] | None,
        error: BaseException | None,
    ) -> None:
        if found is None:
            self._failed(lane, error)
            return
        self._came(lane, lane.state.cold_in(rows, found))

    def _failed(self, lane: Lane, error: BaseException | None) -> None:
        self._wake(lane)
        self.journal.read_failed(error or OSError("the writer returned nothing"))

    def _came(self, lane: Lane, count: int) -> None:
        state = lane.state
        self._wake(lane)
        if state.cold is not None and state.cold.expiring:
            state.cold.expiring = False
            state.cold.look_up_soonest()
        if state.rich is not None:
            self.on_load(lane)
        if state.dry:
            self.ahead(lane)
        if lane.shut is not None:
            # These may be the last: who gets none of them has to be told, and nothing else comes.
            count = len(lane.getters)
        if count:
            lane.wake_getters(count)

    def _wake(self, lane: Lane) -> None:
        number = lane.state.number
        for waiter in self._loading.pop(number, ()):
            if not waiter.done():
                waiter.set_result(None)
        self._fresh.add(number)
        # Behind the steps of those who waited.
        lane.loop.call_soon(self._fresh.discard, number)


def read_into(arrived: asyncio.Future[T]) -> Callable[[T | None, BaseException | None], None]:
    """What is called when something was read (see `Pager.fetch`): the future is done with it."""

    def done(found: T | None, error: BaseException | None) -> None:
        if arrived.done():
            return
        if found is not None:
            arrived.set_result(found)
        else:
            arrived.set_exception(error or OSError("the writer returned nothing"))

    return done


def _jobs_of(rows: list[Placed]) -> list[tuple[int, list[Run]]]:
    """What to read of each segment, in the order of places."""
    rows = sorted(rows, key=by_place)
    return [
        (segment, [row.run() for row in group])
        for segment, group in groupby(rows, key=lambda row: row.segment)
    ]
