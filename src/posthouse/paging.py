"""What of a backlog is in memory, and reading the rest back ahead of those who take it.

A put is seen when it is durable, and only then its place on disk is known; then it is decided here
whether it is kept in memory. What is read back comes through the writer, between the commits.

Invariants:
    1. A queue that has pages gets no put into memory: order is kept.
    2. One read at a time for each queue; while it is under way its pages do not grow.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Final

from posthouse.core.pages import PAGE_BYTES, PAGE_MESSAGES, Page, Run
from posthouse.core.queue import QueueState
from posthouse.core.state import BrokerState
from posthouse.core.waiting import sizes_of
from posthouse.journal.journal import LogJournal
from posthouse.lane import Lane
from posthouse.records import Entry

MOST_SHARE_BYTES: Final = 64 * 1024
LEAST_SHARE_BYTES: Final = 4 * 1024
LOW_MESSAGES: Final = 2 * PAGE_MESSAGES
"""With fewer than so many in memory, the next are read."""


class Pager:
    """Decides what stays in memory, and reads the rest.

    Attributes:
        journal: what it reads from.
    """

    def __init__(self, state: BrokerState, journal: LogJournal, cache_bytes: int) -> None:
        self._state = state
        self.journal = journal
        self._cache_bytes = cache_bytes
        # Queues that hold more than their share, and how much they held when last looked at.
        self._large: dict[int, tuple[QueueState, int]] = {}
        self._held = 0
        self._loading: set[int] = set()

    @property
    def share_bytes(self) -> int:
        """What a queue may hold in memory whatever the others hold."""
        fair = self._cache_bytes // 4 // max(1, len(self._state.queues))
        return min(max(fair, LEAST_SHARE_BYTES), MOST_SHARE_BYTES, self._cache_bytes)

    def keeps(self, lane: Lane) -> bool:
        """Whether a put that is to be seen now stays in memory."""
        state = lane.state
        if state.pages is not None:
            return False
        held = state.held_bytes
        if held <= self.share_bytes or (lane.getters and self._cache_bytes):
            return True
        self._note(state, held)
        if self._held > self._cache_bytes:
            # Most of it may have been taken since.
            for queue, _ in [*self._large.values()]:
                self._note(queue, queue.held_bytes)
        return self._held <= self._cache_bytes

    def _note(self, state: QueueState, held: int) -> None:
        _, before = self._large.pop(state.number, (state, 0))
        self._held -= before
        if held > self.share_bytes:
            self._large[state.number] = (state, held)
            self._held += held

    def page_out(self, state: QueueState, entries: list[Entry], segment: int, place: Run) -> None:
        """Let messages be seen that stay on disk."""
        state.page_out(segment, place, sizes_of(entries), partial(self.read, state.number))

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

    def ahead(self, lane: Lane) -> None:
        """See that the queue's next messages are in memory before they are asked for."""
        state = lane.state
        pages = state.pages
        if pages is None or state.number in self._loading or len(state.ready) >= LOW_MESSAGES:
            return
        chosen: list[Page] = []
        count = size_bytes = 0
        for page in pages:
            if chosen and (count >= LOW_MESSAGES or size_bytes + page.size_bytes > PAGE_BYTES):
                break
            chosen.append(page)
            count += page.count
            size_bytes += page.size_bytes
        self._loading.add(state.number)
        self.fetch(state.number, chosen, partial(self._arrived, lane, chosen))

    def fetch(
        self, number: int, pages: list[Page], done: Callable[[Any, BaseException | None], None]
    ) -> None:
        """Read pages in the writer: ``done`` gets a list of messages for each."""
        jobs: list[tuple[int, list[Run]]] = []
        for page in pages:
            page.sealed = True
            jobs.append((page.segment, list(page.runs())))
        reader = self.journal.reader

        def read() -> list[list[Entry]]:
            return [reader.read(number, segment, runs) for segment, runs in jobs]

        self.journal.submit(read, done)

    def _arrived(
        self,
        lane: Lane,
        pages: list[Page],
        found: list[list[Entry]] | None,
        error: BaseException | None,
    ) -> None:
        state = lane.state
        self._loading.discard(state.number)
        if found is None:
            self.journal.read_failed(error or OSError("the writer returned nothing"))
            return
        count = 0
        for page, entries in zip(pages, found, strict=True):
            count += state.page_in(page, entries)
        if state.dry:
            self.ahead(lane)
        if count:
            lane.wake_getters(count)
