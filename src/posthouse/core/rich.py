"""What waits in a queue that is more than first in, first out.

`QueueState` keeps the plain case in a deque of its own. The first message or policy that asks for
more (a key, a priority, a time to live, another order, a limit) brings a `RichOrder`, which from
then on holds everything that waits there; delayed messages stay in the queue's own heap.

A message here is *standing* (it may be taken, or will be when it is due), in its key's line,
*overdue* (its time to live was found to be over when it came up) or *out* (taken: reserved or in
flight). Ranks name messages: an id may come back to a queue that it left (redrive), a rank never
does.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Final

from posthouse.core.limits import Rate
from posthouse.core.orders import key_of, rank_of
from posthouse.core.places import Placed
from posthouse.core.standing import Standing
from posthouse.core.stubs import is_stub
from posthouse.model import FOREVER_NS, QueuePolicy
from posthouse.records import Entry

_IDLE_KEYS: Final = 4096
_FEW: Final = 64


class RichOrder(Standing):
    """See the module; for the attributes, `Standing`."""

    __slots__ = ()

    def configure(self, policy: QueuePolicy) -> None:
        """Take a policy's order and limits; what waits is kept, and rates that stay go on."""
        old, self._policy = self._policy, policy
        self._most_out = policy.max_in_flight or FOREVER_NS
        if policy.rate != old.rate:
            self._rate = None if policy.rate is None else Rate(policy.rate)
        if _arrangement(policy) == _arrangement(old):
            return
        rows = [(0, entry) for entry in self._in_order()]
        lined = self.keys.reset(policy.max_in_flight_per_key, policy.rate_per_key, fair=policy.fair)
        rows += [
            (self._line_due.get(rank_of(entry), 0), entry)
            for entry in lined
            if rank_of(entry) not in self._void
        ]
        keyed = [
            (0 if rank in self._paced else due_ns, entry)
            for due_ns, rank, entry in self._delayed
            if key_of(entry)
        ]
        if keyed:
            rows += keyed
            self._delayed[:] = [row for row in self._delayed if not key_of(row[2])]
            heapify(self._delayed)
        if self.stubs is not None:
            rows = [(due_ns, self._held_whole(entry)) for due_ns, entry in rows]
            self.mortal.update({r: e for _, e in rows if (r := rank_of(e)) in self.mortal})
        self._forget_void()
        self._line_due.clear()
        self._paced.clear()
        self._order = self._make_order()
        late = [entry for _, _, entry in self._delayed]
        self._index_all([*(entry for _, entry in rows), *self._overdue.values(), *late])
        for due_ns, entry in sorted(rows, key=lambda row: rank_of(row[1])):
            self._place(entry, due_ns)

    def _held_whole(self, entry: Entry) -> Entry:
        """The entry, or what was read of it; then it is no stub any more."""
        stubs = self.stubs
        return entry if stubs is None or stubs.lacks(entry) else stubs.take(entry)

    @property
    def prefetch(self) -> int:
        """How many an iterator may set aside.

        One where it is decided anew at each take what comes next, or whether anything does.
        """
        policy = self._policy
        if not policy.is_plain() or len(self.keys) or self.mortal:
            return 1
        return FOREVER_NS

    # coming in

    def arrive(self, entry: Entry, due_ns: int) -> None:
        """A message is new here; it may be taken from ``due_ns`` on (0: at once)."""
        self._watch(entry)
        self._place(entry, due_ns)

    def _place(self, entry: Entry, due_ns: int) -> None:
        key = self._line_of(entry)
        if due_ns and not key:
            # Nobody stands behind a delayed message that has no key.
            self._delay(entry, due_ns)
        elif key is None or self.keys.join(key, entry):
            self._stand(entry, due_ns)
        elif due_ns:
            self._line_due[rank_of(entry)] = due_ns

    def give_back(self, entry: Entry, due_ns: int) -> None:
        """A message that was out stands again."""
        self.out -= 1
        self._watch(entry)
        key = self._line_of(entry)
        if key is not None:
            if due_ns and not key:
                self.keys.left(key)
            else:
                self.keys.returned(key, rank_of(entry))
        if due_ns:
            if rank_of(entry) in self._void:
                self._order.discard({rank_of(entry)})
                self._unvoid(rank_of(entry))
            self._delay(entry, due_ns)
        elif rank_of(entry) in self._void:
            # It has its place yet: see `take_these`.
            if self._unvoid(rank_of(entry)) and self.stubs is not None:
                self.stubs.filled[rank_of(entry)] = entry
        else:
            self._order.put_back(entry)

    def _unvoid(self, rank: int) -> bool:
        """A rank is void no more; whether the order has a stub of it."""
        self._void.discard(rank)
        stubs = self.stubs
        if stubs is None or rank not in stubs.voided:
            return False
        stubs.voided.discard(rank)
        return True

    def _forget_void(self) -> None:
        self._void.clear()
        if self.stubs is not None:
            self.stubs.voided.clear()

    def _stand(self, entry: Entry, due_ns: int) -> None:
        if due_ns:
            self._delay(entry, due_ns)
        else:
            self._order.add(entry)

    def _delay(self, entry: Entry, due_ns: int) -> None:
        heappush(self._delayed, (due_ns, rank_of(entry), entry))

    def show(self, entry: Entry) -> None:
        """A delayed message is due."""
        self._paced.discard(rank_of(entry))
        if self._line_of(entry) == "" and not self.keys.join("", entry):
            return
        self._order.add(entry)

    def _watch(self, entry: Entry) -> None:
        if self.index is not None:
            self.index.add(entry)
        traits = entry[4]
        if traits is not None and traits.expires_ns:
            self.mortal[rank_of(entry)] = entry
            heappush(self.expiries, (traits.expires_ns, rank_of(entry)))
            if len(self.expiries) > _FEW + 2 * len(self.mortal):
                # Most of them left before their time.
                self.expiries = [(_expiry(e), rank) for rank, e in self.mortal.items()]
                heapify(self.expiries)

    # going out

    def take(self, now_ns: int) -> Entry | None:
        """The next message, if the limits allow one now."""
        if self.out >= self._most_out:
            return None
        rate = self._rate
        if rate is not None and rate.free_ns() > now_ns:
            self._blocked = True
            return None
        entry = self._pop(now_ns)
        if entry is not None:
            self._go_out(entry, now_ns)
        return entry

    def take_these(self, entries: list[Entry], now_ns: int) -> list[Entry]:
        """Take those of these messages that stand, while the limits allow it; looks through all.

        Their places in the order stay, void: given back at once, they stand there again.
        """
        if self.stubs is None and (len(entries) == 1 or self.index is not None):
            here = [entry for entry in entries if self._order.holds(entry)]
        else:
            ranks = set(map(rank_of, self._order.unordered()))
            here = [entry for entry in entries if rank_of(entry) in ranks]
        taken = [entry for entry in here if self._take_this(entry, now_ns)]
        self._sweep(at_least=_FEW)
        return taken

    def _take_this(self, entry: Entry, now_ns: int) -> bool:
        if self.out >= self._most_out:
            return False
        if self._rate is not None and self._rate.free_ns() > now_ns:
            self._blocked = True
            return False
        traits = entry[4]
        rank = rank_of(entry)
        if rank in self._void:
            return False
        if traits is not None and traits.expires_ns and traits.expires_ns <= now_ns:
            return False
        if traits is not None and traits.key and self.keys.free_ns(traits.key) > now_ns:
            return False
        self._void.add(rank)
        if self.stubs is not None and self.stubs.drop(rank):
            self.stubs.voided.add(rank)
        self._go_out(entry, now_ns)
        return True

    def _go_out(self, entry: Entry, now_ns: int) -> None:
        self.out += 1
        if self._rate is not None:
            self._rate.take(now_ns)
        self.mortal.pop(rank := rank_of(entry), None)
        if self.index is not None:
            self.index.remove(rank)
        key = self._line_of(entry)
        if key is not None:
            self.keys.taken(key, rank, now_ns)
            self._step_out(key)
            if len(self.keys) > self._idle_keys:
                self.keys.forget_idle(now_ns)
                self._idle_keys = max(_IDLE_KEYS, 2 * len(self.keys))

    def _pop(self, now_ns: int) -> Entry | None:
        delayed = self._delayed
        while True:
            # Not left to the timer: what steps out of a line may be due already.
            while delayed and delayed[0][0] <= now_ns:
                self.show(heappop(delayed)[2])
            if not len(self._order):
                return None
            if self.horizon is not None and self._order.next_key() > self.horizon:
                return None
            entry = self._order.pop()
            traits = entry[4]
            if self._void and rank_of(entry) in self._void:
                self._unvoid(rank_of(entry))
                continue
            if traits is not None:
                if traits.expires_ns and traits.expires_ns <= now_ns:
                    self._overdue[rank_of(entry)] = entry
                    self._gone(entry)
                    continue
                if traits.key and self.keys.free_ns(traits.key) > now_ns:
                    self._delay(entry, self.keys.free_ns(traits.key))
                    self._paced.add(rank_of(entry))
                    continue
            stubs = self.stubs
            if stubs is None:
                return entry
            if stubs.lacks(entry):
                self._order.put_back(entry)
                return None
            return stubs.take(entry)

    def shed(self, least: int) -> tuple[Entry, int] | None:
        """One leaves that is late in turn, with its due time: what is delayed first.

        None: at ``least`` so many stay of those that may be taken; or it has a key, or is a stub.
        """
        late, due_ns = self._delayed, 0
        if late and not key_of(late[-1][2]) and not is_stub(late[-1][2]):
            due_ns, rank, entry = late.pop()  # the first part of a heap is a heap
        else:
            shed = self._order.shed() if self.stands > least else None
            if shed is None:
                return None
            entry, rank = shed, rank_of(shed)
            if rank in self._void or key_of(entry) or is_stub(entry):
                self._order.add(entry)
                return None
        self.mortal.pop(rank, None)
        return entry, due_ns

    def left(self, entry: Entry) -> None:
        """A message that was out is settled."""
        self.out -= 1
        key = self._line_of(entry)
        if key is not None:
            self.keys.left(key)
            self._step_out(key)

    def _gone(self, entry: Entry) -> None:
        """A message that waited is no more; if it stood, the next of its key may."""
        key = self._line_of(entry)
        if key is not None:
            self.keys.gone(key, rank_of(entry))
            self._step_out(key)

    def _step_out(self, key: str) -> None:
        while (entry := self.keys.next_of(key)) is not None:
            rank = rank_of(entry)
            due_ns = self._line_due.pop(rank, 0)
            if rank not in self._void:
                self._stand(entry, due_ns)
                return
            self._unvoid(rank)
            self.keys.gone(key, rank)

    def remove(self, entries: list[Entry]) -> None:
        """Take messages that wait, or are delayed, out for good, wherever they are."""
        ranks = {rank_of(entry) for entry in entries}
        for rank in ranks:
            self.mortal.pop(rank, None)
            if self.index is not None:
                self.index.remove(rank)
            if self.stubs is not None:
                self.stubs.drop(rank)
        ranks -= {rank for rank in ranks if self._overdue.pop(rank, None) is not None}
        late = {row[1] for row in self._delayed if row[1] in ranks}
        if late:
            self._delayed[:] = [row for row in self._delayed if row[1] not in late]
            heapify(self._delayed)
            self._paced -= late
        self._void |= ranks - late
        for entry in entries:
            self._gone(entry)
        self._sweep(at_least=_FEW)

    def withdraw(self, ranks: set[int], *, again: bool) -> list[tuple[Entry, int]]:
        """Take those messages that wait, or are delayed, out of the order: each with its due time.

        Of some only the stub comes (see `stubs`). ``again``: they may come again under the same
        rank. Looks through all, unless there is an index (and they do not come again).
        """
        due = ((rank, due_ns) for due_ns, rank, _ in self._delayed if rank in ranks)
        late = {rank: 0 if rank in self._paced else due_ns for rank, due_ns in due}
        if self.index is not None:
            here = [entry for rank in ranks if (entry := self.index.entry(rank)) is not None]
        else:
            here = [entry for entry in self.known() if rank_of(entry) in ranks]
            here += [entry for _, rank, entry in self._delayed if rank in late]
        found = [
            (entry, late.get(rank_of(entry), self._line_due.get(rank_of(entry), 0)))
            for entry in here
        ]
        self.remove(here)
        if again:
            self._sweep(at_least=0)
        return found

    def _sweep(self, at_least: int) -> None:
        """Let go of what is void, where it is many."""
        half = (self.stands + self.keys.lined) // 2 if at_least else 0
        if len(self._void) > max(at_least, half):
            self._order.discard(self._void)
            self.keys.discard(self._void)
            for rank in self._void:
                self._line_due.pop(rank, None)
            self._forget_void()

    # time

    def expired(self, now_ns: int, most: int) -> list[Entry]:
        """Up to ``most`` messages that wait and whose time to live is over; they are removed.

        Those that become dead letters have to be read before (see `expiring_by`).
        """
        entries: list[Entry] = []
        missing: list[tuple[int, int]] = []
        stubs = self.stubs
        while self.expiries and self.expiries[0][0] <= now_ns and len(entries) < most:
            row = heappop(self.expiries)
            entry = self.mortal.get(row[1])
            if entry is None:
                continue
            if stubs is not None and self._buries and stubs.lacks(entry):
                missing.append(row)
                if len(missing) > most:
                    break
                continue
            del self.mortal[row[1]]
            entries.append(entry if stubs is None else stubs.whole(entry) or entry)
        for row in missing:
            heappush(self.expiries, row)
        if entries:
            self.remove(entries)
        return entries

    @property
    def _buries(self) -> bool:
        return self._policy.expired == "dead_letter" and self._policy.dead_letter is not None

    def expiring_by(self, by_ns: int, most: int) -> list[Placed]:
        """Up to ``most`` whose time to live is over by then, and which have to be read for that."""
        stubs = self.stubs
        if stubs is None or not stubs.count or not self._buries:
            return []
        looked: list[tuple[int, int]] = []
        found: list[Placed] = []
        while self.expiries and self.expiries[0][0] <= by_ns and len(looked) < most:
            looked.append(heappop(self.expiries))
            row = stubs.get(looked[-1][1]) if looked[-1][1] in self.mortal else None
            if row is not None:
                found.append(row)
        for each in looked:
            heappush(self.expiries, each)
        return found

    def next_event_ns(self) -> int:
        """When something expires, or the rate lets the next be taken."""
        event_ns = self.expiries[0][0] if self.expiries else FOREVER_NS
        if self.stubs is not None and self.stubs.expiring:
            event_ns = FOREVER_NS
        rate = self._rate if self._blocked else None
        return event_ns if rate is None else min(event_ns, rate.free_ns())

    def available(self, now_ns: int, more: int = 0) -> bool:
        """Whether a taker might find something now; ``more`` wait outside (see `cold`)."""
        if self._rate is not None and self._blocked:
            if self._rate.free_ns() > now_ns:
                return False
            self._blocked = False
        return self.out < self._most_out and len(self._order) + more > 0

    def clear(self) -> None:
        """Forget all that waits."""
        self.keys.clear()
        self._order = self._make_order()
        self._forget_void()
        if self.stubs is not None:
            self.stubs.clear()
        self._line_due.clear()
        self._overdue.clear()
        self._paced.clear()
        self.mortal.clear()
        self.expiries.clear()


def _expiry(entry: Entry) -> int:
    return 0 if entry[4] is None else entry[4].expires_ns


def _arrangement(policy: QueuePolicy) -> tuple[object, ...]:
    per_key = (policy.max_in_flight_per_key, policy.rate_per_key)
    return policy.order, policy.fair, per_key, policy.index
