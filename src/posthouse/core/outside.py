"""What of a queue is not in memory: when that is allowed, and how it comes back.

First in, first out it is `pages`; what is more than that is `cold`. `Waiting` builds on this.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial
from operator import itemgetter
from typing import Final

from posthouse.core.cold import Cold, ReadPlaced
from posthouse.core.leases import Lease
from posthouse.core.orders import rank_of
from posthouse.core.pages import PAGE_BYTES, PAGE_MESSAGES, Page, Pages, Run
from posthouse.core.places import Placed
from posthouse.core.rich import RichOrder
from posthouse.core.standing import Look
from posthouse.core.stubs import Stubs, may_be_stub
from posthouse.model import FOREVER_NS, QueuePolicy
from posthouse.records import Entry

_HEADERS: Final = itemgetter(3)
FAIR_PAGES: Final = 8
"""So many pages' worth of messages of a fair queue are read together, within a page's bytes."""


class Outside:
    """What a queue holds, and how what is on disk only comes into memory."""

    __slots__ = (
        "attempts",
        "cold",
        "delayed",
        "headed",
        "leases",
        "live",
        "look",
        "max_bytes",
        "max_messages",
        "moved_in",
        "pages",
        "pending",
        "policy",
        "ready",
        "reserved",
        "returned",
        "rich",
        "size_bytes",
    )

    def __init__(self, policy: QueuePolicy, look: Look | None = None) -> None:
        self.policy = policy
        self.look = look  # how indexes see a message; None: there are none
        self.ready: deque[Entry] = deque()
        self.returned: list[tuple[int, Entry]] = []
        self.delayed: list[tuple[int, int, Entry]] = []
        self.attempts: dict[int, int] = {}
        self.leases: dict[int, Lease] = {}
        self.live = 0
        self.size_bytes = 0
        self.pending = 0
        self.reserved = 0
        self.moved_in = 0
        self.rich: RichOrder | None = None
        # What waits on disk only, behind `ready`; None: nothing does.
        self.pages: Pages | None = None
        # The same of what is more than first in, first out; None: nothing ever was.
        self.cold: Cold | None = None
        self.headed = False  # whether any message ever had headers: spares `gone` a sum
        self.max_messages = FOREVER_NS
        self.max_bytes = FOREVER_NS

    def enrich(self) -> RichOrder:
        """From now on this queue is more than first in, first out (see `rich`)."""
        raise NotImplementedError

    @property
    def outside(self) -> int:
        """How many wait on disk only."""
        paged = 0 if self.pages is None else self.pages.count
        return paged if self.cold is None else paged + self.cold.waiting

    @property
    def delayed_count(self) -> int:
        """How many are delayed."""
        return len(self.delayed) + (0 if self.cold is None else len(self.cold.delayed))

    def available(self, now_ns: int) -> bool:
        """Whether a taker might find something now, in a queue that is `rich`."""
        rich = self.rich
        if rich is None:
            return False
        outside = self.pages is not None or self.cold is not None
        return rich.available(now_ns, self.outside if outside else 0)

    @property
    def dry(self) -> bool:
        """Whether the next message has to be read from disk first."""
        pages = self.pages
        if self.rich is not None:
            return self.beyond or self.rich.lacks()
        if pages is None or self.ready:
            return False
        return not self.returned or self.returned[0][0] > pages.first

    @property
    def beyond(self) -> bool:
        """Whether the next message of a `rich` queue is outside of its order."""
        horizon = self._horizon()
        return horizon is not None and self.rich is not None and not self.rich.precedes(horizon)

    def _horizon(self) -> int | None:
        if self.cold is not None:
            return self.cold.horizon(self.pages)
        return None if self.pages is None else Cold.paged(self.policy, self.pages)

    def aim(self, now_ns: int) -> None:
        """Before a take from a queue that is `rich` and has messages on disk only."""
        if self.cold is not None:
            self.cold.make_due(now_ns)
        if self.rich is not None:
            self.rich.horizon = self._horizon()

    @property
    def keeps_cold(self) -> bool:
        """Whether messages that are more than first in, first out may stay on disk."""
        # A fair order is one of keys (see `keeps_stubs`), an index knows what is in every body.
        return not self.policy.fair and (not self.policy.index or self.look is None)

    @property
    def keeps_stubs(self) -> bool:
        """Whether messages that stand in the order, or in a line, may leave their bodies on disk.

        All those of a fair queue, else those with a key.
        """
        return not self.policy.index or self.look is None

    @property
    def keeps_pages(self) -> bool:
        """Whether what is first in, first out may stay on disk."""
        return self.keeps_cold and self.policy.order != "lifo"

    def may_page_out(self, first: Entry) -> bool:
        """Whether accepted messages, of which this is the first, may be seen from their place.

        Only what is first in, first out: nothing that must be known of a message is on disk alone.
        """
        traits = first[4]
        if traits is not None and traits.notable:
            return False
        return self.keeps_pages if self.rich is not None else not self.overtaken(first)

    def may_shelve(self, first: Entry) -> bool:
        """The same for messages of which something must be known while they wait (`cold`)."""
        return self.keeps_cold and (first[4] is None or not first[4].key)

    def may_stub(self, entries: list[Entry]) -> bool:
        """The same for messages with a key, or a turn: their bodies stay on disk (see `stubs`)."""
        if not self.keeps_stubs:
            return False
        takes = partial(may_be_stub, fair=self.policy.fair)
        traits = entries[0][4]
        return takes(entries[0]) and all(entry[4] is traits or takes(entry) for entry in entries)

    def page_out(
        self, segment: int, run: Run, size_bytes: int, read: Callable[[Page], list[Entry]]
    ) -> None:
        """Let accepted messages be seen (see `publish`) that stay on disk, at their place."""
        self.pending -= run[1]
        if self.pages is None:
            self.pages = Pages(read)
        self.pages.add(segment, run, size_bytes)

    def shelve(self, entries: list[Entry], segment: int, run: Run, read: ReadPlaced) -> None:
        """`page_out` for what `may_shelve`: from now on this queue is `rich`."""
        self.pending -= len(entries)
        rows = [(entry, 0 if entry[4] is None else entry[4].due_ns) for entry in entries]
        self.cold_for(read).shelve(rows, segment, run)

    def stub_out(self, entries: list[Entry], segment: int, run: Run, read: ReadPlaced) -> None:
        """`page_out` for what `may_stub`: from now on this queue is `rich`."""
        self.pending -= len(entries)
        rich = self.enrich()
        for stub in self.stubs_for(read).add(entries, segment, run):
            rich.arrive(stub, 0 if stub[4] is None else stub[4].due_ns)

    def stubs_for(self, read: ReadPlaced, found: Stubs | None = None) -> Stubs:
        """Where the bodies of messages with a key may stay on disk; ``found`` by recovery."""
        cold = self.cold_for(read)
        if found is not None:
            cold.stubs = found
        self.enrich().stubs = cold.stubs
        return cold.stubs

    def cold_for(self, read: ReadPlaced) -> Cold:
        """Where messages may stay on disk that are more than first in, first out."""
        self.enrich()
        if self.cold is None:
            self.cold = Cold(self.policy, read)
        return self.cold

    def page_in(self, page: Page, entries: list[Entry]) -> int:
        """The messages of the queue's next page were read: how many came into memory.

        What has left the page meanwhile stays out; a page that is not the next one any more is
        left alone.
        """
        pages = self.pages
        if pages is None or pages.head is not page:
            return 0
        pages.pop()
        if not pages:
            self.pages = None
        if len(entries) != page.count:
            entries = [entry for entry in entries if page.holds(entry[0])]
        page.loaded = entries
        self._see_headers(entries)
        if self.rich is None:
            self.ready.extend(entries)
        else:
            for entry in entries:
                self.rich.arrive(entry, 0)
        return len(entries)

    def cold_in(self, rows: list[Placed], entries: list[Entry]) -> int:
        """Messages were read from their places: how many of them came into memory.

        What has left meanwhile stays out.
        """
        cold, rich = self.cold, self.rich
        if cold is None or rich is None:
            return 0
        self._see_headers(entries)
        read = {rank_of(entry): entry for entry in entries}
        filled = cold.stubs.fill(entries) if cold.stubs.count else 0
        here = cold.leave(rows)
        for row in here:
            rich.arrive(read[row.rank], 0 if row.key == row.rank else row.key)
        return len(here) + filled

    def _see_headers(self, entries: list[Entry]) -> None:
        if not self.headed and any(map(_HEADERS, entries)):
            self.headed = True

    def next_outside(self) -> Page | list[Placed]:
        """What of the messages on disk comes next; nothing (no rows) if there is none."""
        pages, cold = self.pages, self.cold
        if self.rich is not None and self.rich.lacks() and not self.beyond:
            return self.next_stubs(1)
        rows = [] if cold is None else cold.next(pages)
        return rows if rows or pages is None else pages.head

    def next_stubs(self, at_once: int) -> list[Placed]:
        """The stubs that are to be read next, where so many messages are taken at once."""
        if self.rich is None:
            return []
        # Those who take turns seldom stand side by side on disk: more of each line at a time.
        most = PAGE_MESSAGES * (FAIR_PAGES if self.policy.fair else 1)
        return self.rich.missing(most, PAGE_BYTES, at_once)

    def read_next(self) -> bool:
        """Read what comes next here and now; False if all is in memory. Blocks."""
        return self._read(self.next_outside())

    def _read(self, found: Page | list[Placed]) -> bool:
        if isinstance(found, Page):
            assert self.pages is not None
            return bool(self.page_in(found, self.pages.read(found))) or self.pages is not None
        if not found:
            return False
        assert self.cold is not None
        far, near = self.cold.at_hand(found)
        self.cold_in(found, [*near, *(self.cold.read(far) if far else ())])
        return True

    def read_oldest(self) -> bool:
        """The same with what waited longest."""
        cold, pages = self.cold, self.pages
        if cold is None or (pages is not None and pages.first < cold.oldest_rank):
            return self._read([] if pages is None else pages.head)
        return self._read(cold.oldest())

    def read_all(self, *, stubs: bool = True) -> None:
        """Read everything, what is delayed too, and what is in the order already. Blocks."""
        while self.read_next():
            pass
        if self.cold is not None and self.cold.delayed:
            self._read(list(self.cold.delayed))
        for rows in self.cold.stubs.parts() if stubs and self.cold is not None else ():
            self._read(rows)

    def read_pages(self) -> None:
        while self.pages is not None:
            self._read(self.pages.head)

    def arrange(self) -> None:
        """The policy has changed, of a queue that is `rich`."""
        if not self.keeps_cold:
            self.read_all(stubs=not self.keeps_stubs)
        elif not self.keeps_pages:
            self.read_pages()
        if self.cold is not None:
            self.cold.arrange(self.policy)
        if self.rich is not None:
            self.rich.configure(self.policy)

    def leave_pages(self, entries: list[Entry]) -> list[Entry]:
        """Those of these messages that wait on disk only leave the order: which they are."""
        if self.pages is None:
            return []
        left = self.pages.take_out(entries)
        if not self.pages:
            self.pages = None
        return left

    def clear_pages(self) -> Pages | None:
        """Take out everything that waits on disk only."""
        pages, self.pages = self.pages, None
        if pages is not None:
            self.live -= pages.count
            self.size_bytes -= pages.size_bytes
        return pages

    def clear_cold(self) -> list[int]:
        """Take out everything that is on disk only and no page: the ids."""
        cold = self.cold
        if cold is None:
            return []
        self.live -= cold.count
        self.size_bytes -= cold.size_bytes
        ids, ranks = cold.clear()
        for rank in ranks:
            self.attempts.pop(rank, None)
        return ids

    def overtaken(self, entry: Entry) -> bool:
        """Whether what moved in stands behind a put that is seen only now."""
        # What moves in is seen at once, while an older put may still wait for its commit.
        return bool(self.moved_in and self.ready) and rank_of(self.ready[-1]) > entry[0]
