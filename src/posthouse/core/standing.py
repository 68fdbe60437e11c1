"""What waits in a queue that is more than first in, first out, for those who only look.

`RichOrder` builds on this: it lets messages in and out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from heapq import heappop, heappush, merge
from itertools import count, islice
from typing import Final, TypeAlias

from posthouse.core.filters import Subject
from posthouse.core.index import Index, KnownOrder
from posthouse.core.keys import KeyLines
from posthouse.core.limits import Rate
from posthouse.core.orders import Order, make_order, rank_of
from posthouse.core.places import Placed
from posthouse.core.stubs import Stubs, is_stub
from posthouse.model import FOREVER_NS, QueuePolicy
from posthouse.records import Entry

Look: TypeAlias = "Callable[[Entry], Subject]"

_IDLE_KEYS: Final = 4096


class Standing:
    """All that waits in memory. ``delayed`` is the queue's heap of (due_ns, rank, entry).

    Of what is a stub (see `stubs`) those who look see only what was read; `known` has all.

    Attributes:
        horizon: only what has a lower order key may be taken: the next is on disk (see `cold`).
        expiries: a heap of (expires_ns, rank); some of them left before their time.
        keys: the lines of ordering keys.
        mortal: what waits and has a time to live, by rank.
        out: how many are out.
        index: all that waits or is delayed, by the fields that the policy names; or None.
        stubs: what is to be read before it is taken; None: there never was any.
    """

    __slots__ = (
        "_blocked",
        "_delayed",
        "_idle_keys",
        "_line_due",
        "_look",
        "_most_out",
        "_order",
        "_overdue",
        "_paced",
        "_policy",
        "_rate",
        "_void",
        "expiries",
        "horizon",
        "index",
        "keys",
        "mortal",
        "out",
        "stubs",
    )

    def __init__(
        self,
        policy: QueuePolicy,
        delayed: list[tuple[int, int, Entry]],
        out: int,
        look: Look | None = None,
    ) -> None:
        self._policy = policy
        self._delayed = delayed
        self._blocked = False  # a taker was refused by the rate
        self._look = look
        self._order = self._make_order()
        self._index_all([entry for _, _, entry in delayed])
        self.expiries: list[tuple[int, int]] = []
        self._overdue: dict[int, Entry] = {}
        self._paced: set[int] = set()  # ranks that are delayed by their key's rate only
        # Ranks that left while they were in the order or in a line; passed over there.
        self._void: set[int] = set()
        self._line_due: dict[int, int] = {}
        self.keys = KeyLines(policy.max_in_flight_per_key, policy.rate_per_key, fair=policy.fair)
        self._idle_keys = _IDLE_KEYS
        self._rate = None if policy.rate is None else Rate(policy.rate)
        self._most_out = policy.max_in_flight or FOREVER_NS
        self.horizon: int | None = None
        self.mortal: dict[int, Entry] = {}
        self.out = out
        self.stubs: Stubs | None = None

    def _make_order(self) -> Order:
        """An empty order, and the indexes empty, as the policy says."""
        policy = self._policy
        order = make_order(policy.order, fair=policy.fair)
        if not policy.index or self._look is None:
            self.index: Index | None = None
            return order
        self.index = Index(policy.index, self._look)
        return KnownOrder(order)

    def _index_all(self, entries: list[Entry]) -> None:
        if self.index is not None:
            for entry in entries:
                self.index.add(entry)

    @property
    def stands(self) -> int:
        """How many may be taken, but for the limits, or have left and are passed over."""
        return len(self._order)

    def precedes(self, horizon: int) -> bool:
        """Whether what is next here comes before ``horizon``."""
        return self.stands > 0 and self._order.next_key() <= horizon

    def waiting(self) -> int:
        """Messages that may be taken, but for the limits, and those in lines."""
        return len(self._order) + self.keys.lined - len(self._void) + len(self._overdue)

    def _line_of(self, entry: Entry) -> str | None:
        """The line that the entry belongs to; None for none."""
        traits = entry[4]
        if traits is not None and traits.key:
            return traits.key
        return "" if self._policy.fair else None

    def known(self) -> Iterator[Entry]:
        """All that waits: what is overdue, then what stands in order, then the lines.

        Of some only the stub (see `stubs`).
        """
        yield from list(self._overdue.values())
        yield from self._in_order()
        if self.keys.lined:
            void = self._void
            lined = [entry for entry in self.keys.entries() if rank_of(entry) not in void]
            yield from sorted(lined, key=rank_of)

    def _in_order(self) -> Iterator[Entry]:
        void = self._void
        return (entry for entry in self._order if rank_of(entry) not in void)

    def entries(self) -> Iterator[Entry]:
        """The same without what has to be read."""
        stubs = self.stubs
        if stubs is None:
            return self.known()
        return (whole for entry in self.known() if (whole := stubs.whole(entry)) is not None)

    def _lined(self) -> list[Entry]:
        return self.there(self.keys.entries())

    def unordered(self) -> list[Entry]:
        """All that waits, as it comes."""
        return [*self.standing(), *self._lined(), *self._overdue.values()]

    def lined(self) -> list[Entry]:
        """All that is in lines, as it comes; of some only the stub, and some have left."""
        return self.keys.entries()

    def due_of(self, entry: Entry) -> int:
        """From when on a message that waits in its key's line may be taken; 0: at once."""
        return self._line_due.get(rank_of(entry), 0)

    def standing(self) -> list[Entry]:
        """What may be taken, but for the limits, as it comes; `order_key` puts it in order."""
        return self.there(self._order.unordered())

    def next_standing(self, most: int) -> list[Entry]:
        """The first of them, in order."""
        return self.seen(list(islice(self._in_order(), most)))

    @property
    def order_key(self) -> Callable[[Entry], int] | None:
        """What orders `standing`; None where it is in order."""
        return self._order.key

    def oldest_first(self) -> Iterator[Entry]:
        """All that is `known`, by age; where that is the order anyway, at no cost for the rest."""
        if self._policy.order == "fifo" and not self._policy.fair:
            parts = [list(self._overdue.values()), self.keys.entries()]
            lists = [iter(sorted(part, key=rank_of)) for part in parts]
            found = merge(iter(self._order), *lists, key=rank_of)
            return (entry for entry in found if rank_of(entry) not in self._void)
        return iter(sorted(self.known(), key=rank_of))

    def there(self, entries: list[Entry]) -> list[Entry]:
        """Those of these that have not left, as they are `seen`."""
        if self._void:
            entries = [each for each in entries if rank_of(each) not in self._void]
        return self.seen(entries)

    def seen(self, entries: list[Entry]) -> list[Entry]:
        """These without what has to be read."""
        stubs = self.stubs
        if stubs is None:
            return entries
        return [whole for entry in entries if (whole := stubs.whole(entry)) is not None]

    def part(self, at: int, most: int) -> list[Entry]:
        """Some of what stands: see `Order.part`; with ``at`` 0 also what is overdue."""
        overdue = () if at else self._overdue.values()
        return [*overdue, *self.there(self._order.part(at, most))]

    # what has to be read

    def lacks(self, most: int = 1) -> bool:
        """Whether one of the first ``most`` that stand has to be read."""
        stubs = self.stubs
        if stubs is None or not stubs.count:
            return False
        if most == 1 and not self._void:
            # Asked at every take: the order is not walked for that.
            return len(self._order) > 0 and stubs.lacks(self._order.peek())
        return any(map(stubs.lacks, islice(self._in_order(), most)))

    @property
    def running_low(self) -> bool:
        """Whether most of what was read has been taken."""
        stubs = self.stubs
        return stubs is not None and stubs.count > 0 and len(stubs.filled) <= stubs.look_at

    def missing(self, most: int, most_bytes: int, at_once: int) -> list[Placed]:
        """What is to be read next, if so many are taken at once: up to ``most``."""
        stubs = self.stubs
        if stubs is None or not stubs.count:
            return []
        stubs.look_at = len(stubs.filled) * 3 // 4 - 1
        found: list[Placed] = []
        for entry in islice(self._likely(most, max(at_once, self.out)), 2 * most):
            row = stubs.get(rank_of(entry)) if is_stub(entry) else None
            if row is not None:
                most_bytes -= row.size_bytes
                if found and (most_bytes < 0 or len(found) >= most):
                    break
                found.append(row)
        return found

    def _likely(self, most: int, at_once: int) -> Iterator[Entry]:
        """In which order messages will be taken, if what is out is settled soon.

        ``at_once`` are out at a time; then the next of their lines stand. The first ``most`` that
        stand are looked at.
        """
        # In a ring each joins at the end.
        order = self._order.key or (lambda _: next(turns))
        turns = count()
        # In order, so it is a heap.
        heap = [(order(entry), entry) for entry in islice(self._in_order(), most)]
        lines: dict[str, Iterator[Entry]] = {}
        while heap:
            out = [heappop(heap)[1] for _ in range(min(at_once, len(heap)))]
            yield from out
            for key in map(self._line_of, out):
                if key is None:
                    continue
                if key not in lines:
                    lines[key] = self.keys.line_of(key)
                following = next(lines[key], None)
                if following is not None:
                    heappush(heap, (order(following), following))
