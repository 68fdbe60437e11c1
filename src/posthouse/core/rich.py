"""What waits in a queue that is more than first in, first out.

`QueueState` keeps the plain case in a deque of its own. The first message or policy that asks for
more (a key, a priority, a time to live, another order, a limit) brings a `RichOrder`, which from
then on holds everything that waits there; delayed messages stay in the queue's own heap.

A message here is *standing* (it may be taken, or will be when it is due), in its key's line, or
*out* (taken: reserved or in flight).
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heappop, heappush
from typing import Final

from posthouse.core.keys import KeyLines
from posthouse.core.limits import Rate
from posthouse.core.orders import HeapOrder, Order, make_order, rank_of
from posthouse.model import FOREVER_NS, QueuePolicy
from posthouse.records import Entry

_IDLE_KEYS: Final = 4096


def key_of(entry: Entry) -> str:
    """The entry's ordering key; "" for none."""
    traits = entry[4]
    return "" if traits is None else traits.key


class RichOrder:
    """See the module. ``delayed`` is the queue's heap of (due_ns, rank, entry)."""

    __slots__ = (
        "_blocked",
        "_delayed",
        "_expiries",
        "_idle_keys",
        "_keys",
        "_line_due",
        "_most_out",
        "_order",
        "_rate",
        "_void",
        "mortal",
        "out",
        "prefetch",
    )

    def __init__(
        self, policy: QueuePolicy, delayed: list[tuple[int, int, Entry]], out: int
    ) -> None:
        self._delayed = delayed
        self._blocked = False  # a taker was refused by the rate
        self._order: Order = HeapOrder(rank_of)
        self._expiries: list[tuple[int, int]] = []
        self._void: set[int] = set()
        self._line_due: dict[int, int] = {}
        self._keys = KeyLines(policy.max_in_flight_per_key, policy.rate_per_key)
        self._idle_keys = _IDLE_KEYS
        self.mortal: dict[int, Entry] = {}
        self.out = out
        self.configure(policy)

    def configure(self, policy: QueuePolicy) -> None:
        """Take a policy's order and limits; what waits is kept."""
        old = self._order
        self._order = make_order(policy.order, fair=policy.fair)
        for entry in old.entries():
            self._order.add(entry)
        self._keys.configure(policy.max_in_flight_per_key, policy.rate_per_key)
        self._rate = None if policy.rate is None else Rate(policy.rate)
        self._most_out = FOREVER_NS if policy.max_in_flight is None else policy.max_in_flight
        # Where the order is decided anew at each take, an iterator must not hold more than one.
        plain = policy.order == "fifo" and not policy.fair
        limited = policy.rate is not None or policy.max_in_flight is not None
        self.prefetch = FOREVER_NS if plain and not limited else 1

    # coming in

    def arrive(self, entry: Entry, due_ns: int) -> None:
        """A message is new here; it may be taken from ``due_ns`` on (0: at once)."""
        self._watch(entry)
        key = key_of(entry)
        if key:
            if not self._keys.join(key, entry):
                if due_ns:
                    self._line_due[entry[0]] = due_ns
                return
            due_ns = max(due_ns, self._keys.not_before(key))
        self._stand(entry, due_ns)

    def give_back(self, entry: Entry, due_ns: int) -> None:
        """A message that was out stands again."""
        self.out -= 1
        self._watch(entry)
        key = key_of(entry)
        if key:
            self._keys.returned(key)
        if due_ns > 0:
            heappush(self._delayed, (due_ns, rank_of(entry), entry))
        else:
            self._order.put_back(entry)

    def _stand(self, entry: Entry, due_ns: int) -> None:
        if due_ns > 0:
            heappush(self._delayed, (due_ns, rank_of(entry), entry))
        else:
            self._order.add(entry)

    def show(self, entry: Entry) -> None:
        """A delayed message is due."""
        self._order.add(entry)

    def _watch(self, entry: Entry) -> None:
        traits = entry[4]
        if traits is not None and traits.expires_ns:
            self.mortal[entry[0]] = entry
            heappush(self._expiries, (traits.expires_ns, entry[0]))

    # going out

    def take(self, now_ns: int) -> Entry | None:
        """The next message, if the limits allow one now."""
        if self.out >= self._most_out:
            return None
        rate = self._rate
        if rate is not None and rate.free_ns() > now_ns:
            self._blocked = len(self._order) > 0
            return None
        while True:
            try:
                entry = self._order.pop()
            except IndexError:
                return None
            if entry[0] not in self._void:
                break
            self._void.discard(entry[0])
            self._gone(entry)
        self.out += 1
        if rate is not None:
            rate.take(now_ns)
        traits = entry[4]
        if traits is not None:
            if traits.expires_ns:
                self.mortal.pop(entry[0], None)
            if traits.key:
                self._keys.taken(traits.key, now_ns)
                self._step_out(traits.key)
        return entry

    def left(self, entry: Entry) -> None:
        """A message that was out is settled."""
        self.out -= 1
        key = key_of(entry)
        if key:
            self._keys.left(key, held=True)
            self._step_out(key)

    def _gone(self, entry: Entry) -> None:
        """A standing message is no more."""
        key = key_of(entry)
        if key:
            self._keys.left(key, held=False)
            self._step_out(key)

    def _step_out(self, key: str) -> None:
        while (following := self._keys.next_of(key)) is not None:
            entry, not_before_ns = following
            due_ns = self._line_due.pop(entry[0], 0)
            if entry[0] in self._void:
                self._void.discard(entry[0])
                self._keys.left(key, held=False)
                continue
            self._stand(entry, max(due_ns, not_before_ns))

    def remove(self, entries: list[Entry]) -> None:
        """Take standing or lined messages out for good, wherever they are."""
        ids = {entry[0] for entry in entries}
        late = [row for row in self._delayed if row[2][0] in ids]
        if late:
            self._delayed[:] = [row for row in self._delayed if row[2][0] not in ids]
            heapify(self._delayed)
            ids.difference_update(row[2][0] for row in late)
        # Those in the order or in a line are passed over when they come up.
        self._void |= ids
        for entry in entries:
            self.mortal.pop(entry[0], None)
        for _, _, entry in late:
            self._gone(entry)

    # time

    def expired(self, now_ns: int, most: int) -> list[Entry]:
        """Up to ``most`` messages that wait and whose time to live is over; they are removed."""
        entries: list[Entry] = []
        while self._expiries and self._expiries[0][0] <= now_ns and len(entries) < most:
            _, message_id = heappop(self._expiries)
            entry = self.mortal.pop(message_id, None)
            if entry is not None:
                entries.append(entry)
        if entries:
            self.remove(entries)
        if len(self._keys) > self._idle_keys:
            self._keys.forget_idle(now_ns)
            self._idle_keys = max(_IDLE_KEYS, 2 * len(self._keys))
        return entries

    def next_event_ns(self) -> int:
        """When something expires, or the rate lets the next be taken."""
        event_ns = self._expiries[0][0] if self._expiries else FOREVER_NS
        if self._rate is not None and self._blocked:
            event_ns = min(event_ns, self._rate.free_ns())
        return event_ns

    def unblock(self, now_ns: int) -> bool:
        """Whether the rate had refused a taker, and would let it take now."""
        if self._blocked and self._rate is not None and self._rate.free_ns() <= now_ns:
            self._blocked = False
            return True
        return False

    # looking

    def waiting(self) -> int:
        """Messages that may be taken, but for the limits, and those in lines."""
        return len(self._order) + self._keys.lined - len(self._void)

    def available(self) -> int:
        """How many a taker could find now, at the most."""
        return len(self._order)

    def entries(self) -> list[Entry]:
        """All that waits: what stands in order, then the lines."""
        void = self._void
        lined = sorted(self._keys.entries(), key=rank_of)
        return [e for e in [*self._order.entries(), *lined] if e[0] not in void]

    def clear(self, delayed: Iterable[Entry]) -> None:
        """Forget all that waits; ``delayed`` is what was delayed, already out of its heap."""
        standing = [*self._order.entries(), *delayed]
        self._keys.drop_lines()
        while len(self._order):
            self._order.pop()
        self._void.clear()
        self._line_due.clear()
        self.mortal.clear()
        for entry in standing:
            self._gone(entry)
