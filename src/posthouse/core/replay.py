"""Recovery: the same records, applied in the same order, give the same state.

While records come in, a queue's messages are held by id, because a settlement may name any of
them; `Replay.finish` then builds the orders that the hot verbs work on.
"""

from __future__ import annotations

from posthouse.core.orders import rank_of
from posthouse.core.queue import QueueState
from posthouse.core.state import HOLDER_DIED, MAX_ATTEMPTS_REASON, BrokerState
from posthouse.errors import BrokerBug
from posthouse.records import (
    Accepted,
    Bound,
    Closed,
    Copied,
    Declared,
    Delivered,
    Entry,
    Moved,
    Opened,
    Put,
    Record,
    Remembered,
    Returned,
    Settled,
)


class _Shelf:
    """One queue's messages during replay."""

    __slots__ = ("attempts", "due_ns", "entries", "held")

    def __init__(self) -> None:
        self.entries: dict[int, Entry] = {}
        self.attempts: dict[int, int] = {}
        self.due_ns: dict[int, int] = {}
        self.held: set[int] = set()  # ranks of what was in flight at the end


class Replay:
    """Applies records to a fresh `BrokerState`."""

    def __init__(self, state: BrokerState) -> None:
        self._state = state
        self._shelves: dict[int, _Shelf] = {}
        self.epoch = 0

    def apply(self, record: Record) -> None:
        """Let one record take effect.

        Raises:
            BrokerBug: it names a queue or a message that cannot be: the log is whole (its
                checksums held) but was not written by these verbs.
        """
        match record:
            case Put():
                self._put(record)
            case Copied():
                self._put(Put(record.queue, record.producer, record.sequence, [record.entry]))
            case Bound():
                self._bound(record)
            case Remembered():
                dedup = self._state.queues[record.queue].dedup
                for name, message_id in zip(record.dedups, record.ids, strict=True):
                    dedup.remember(name, message_id)
            case Accepted():
                for row in zip(record.sequences, record.counts, record.ids, strict=True):
                    self._state.producers.note(record.producer, *row)
            case Settled():
                self._settled(record)
            case Returned():
                self._returned(record)
            case Moved():
                self._moved(record)
            case Delivered():
                self._delivered(record)
            case Declared():
                self._declared(record)
            case Opened():
                if record.epoch == self.epoch:
                    # Said again by `finish`: what earlier lives held has been judged.
                    for shelf in self._shelves.values():
                        shelf.held.clear()
                self.epoch = record.epoch
                self._state.numbers.last_id = max(self._state.numbers.last_id, record.at_ns)
            case Closed():
                # Time goes on from here, should the clock be set back: what was waited counts.
                self._state.numbers.last_id = max(self._state.numbers.last_id, record.at_ns)

    def _shelf(self, number: int) -> _Shelf:
        shelf = self._shelves.get(number)
        if shelf is None:
            raise BrokerBug(f"the log names queue number {number} before it declares it")
        return shelf

    def _declared(self, record: Declared) -> None:
        queue = self._state.queues.get(record.queue)
        if queue is None:
            self._state.add(record.queue, record.name, record.policy)
            self._shelves[record.queue] = _Shelf()
        else:
            queue.set_policy(record.policy, self._state.default_max_bytes)

    def _put(self, record: Put) -> None:
        shelf = self._shelf(record.queue)
        entries = record.entries
        shelf.entries.update([(entry[0], entry) for entry in entries])
        numbers = self._state.numbers
        numbers.last_id = max(numbers.last_id, entries[-1][0])
        if record.carried:
            # Their ranks were given out, by records that may be gone. And what is known of them
            # so far may be half of it: what stands next in the log is the whole.
            numbers.last_id = max(numbers.last_id, *map(rank_of, entries))
            for entry in entries:
                shelf.attempts.pop(rank_of(entry), None)
                shelf.held.discard(rank_of(entry))
                shelf.due_ns.pop(entry[0], None)
        self._state.producers.note(record.producer, record.sequence, len(entries), entries[0][0])
        dedup = self._state.queues[record.queue].dedup
        for entry in entries:
            if entry[4] is not None and entry[4].dedup:
                dedup.remember(entry[4].dedup, entry[0])

    def _bound(self, record: Bound) -> None:
        router = self._state.router
        if record.bound:
            router.bind(record.topic, record.queue, record.pattern)
        else:
            router.unbind(record.topic, record.queue, record.pattern)

    def _settled(self, record: Settled) -> None:
        shelf = self._shelf(record.queue)
        for message_id in record.ids:
            self._take(shelf, message_id)

    @staticmethod
    def _take(shelf: _Shelf, message_id: int) -> Entry | None:
        entry = shelf.entries.pop(message_id, None)
        if entry is not None:
            shelf.due_ns.pop(message_id, None)
            shelf.attempts.pop(rank_of(entry), None)
            shelf.held.discard(rank_of(entry))
        # None is right where the message's own segment is gone already: a segment leaves only
        # when everything in it is settled, and the settlement may live longer than it.
        return entry

    def _returned(self, record: Returned) -> None:
        shelf = self._shelf(record.queue)
        for message_id, attempts, due_ns in zip(
            record.ids, record.attempts, record.due_ns, strict=True
        ):
            entry = shelf.entries.get(message_id)
            if entry is not None:
                shelf.attempts[rank_of(entry)] = attempts
                shelf.held.discard(rank_of(entry))
                shelf.due_ns[message_id] = due_ns

    def _moved(self, record: Moved) -> None:
        entry = self._take(self._shelf(record.queue), record.id)
        numbers = self._state.numbers
        numbers.last_id = max(numbers.last_id, record.traits.rank)
        if entry is not None:
            self._shelf(record.target).entries[record.id] = (*entry[:4], record.traits)

    def _delivered(self, record: Delivered) -> None:
        shelf = self._shelves.get(record.queue)
        if shelf is None:
            return  # the ring is not synced with the log: it may know a queue that the log lost
        for rank, attempts in zip(record.ids, record.attempts, strict=True):
            if attempts > shelf.attempts.get(rank, 0):
                shelf.attempts[rank] = attempts
                shelf.held.add(rank)

    def finish(self, now_ns: int, epoch: int | None = None) -> list[Record]:
        """Build the orders, and bury what killed its holder too often: the records of that.

        ``epoch`` is that of this opening (default: the last one replayed). The records end with
        an `Opened` of it when something was in flight: until that one is on disk, the next
        recovery judges the same again.
        """
        records: list[Record] = []
        for number, shelf in self._shelves.items():
            queue = self._state.queues[number]
            # Arrival is rank order; only what moved in between queues can stand out of it.
            entries = sorted(shelf.entries.values(), key=rank_of)
            for entry in entries:
                queue.count_in(entry)
            queue.opened_with = queue.live
            self._fill(queue, shelf, entries, now_ns)
            queue.dedup.replayed(now_ns)
        # In the order of their numbers: a dead-letter queue may get its own here.
        for number, shelf in sorted(self._shelves.items()):
            queue = self._state.queues[number]
            records += bury_exhausted(self._state, queue, shelf.held, now_ns)
        if any(shelf.held for shelf in self._shelves.values()):
            records.append(Opened(self.epoch if epoch is None else epoch, now_ns))
        self._shelves.clear()
        return records

    @staticmethod
    def _fill(queue: QueueState, shelf: _Shelf, entries: list[Entry], now_ns: int) -> None:
        for entry in entries:
            traits = entry[4]
            due_ns = shelf.due_ns.get(entry[0])
            if due_ns is None:
                due_ns = 0 if traits is None else traits.due_ns
            rank = rank_of(entry)
            if due_ns <= now_ns or rank in shelf.held:
                due_ns = 0  # what was in flight had been due, whatever the clock says now
            queue.arrive(entry, shelf.attempts.get(rank, 0), due_ns)


def bury_exhausted(
    state: BrokerState, queue: QueueState, held: set[int], now_ns: int
) -> list[Record]:
    """Send what killed its holder too often to the dead letters: the records of that.

    ``held``: ranks of what was in flight. One that waits was spared by the policy of its last
    attempt.
    """
    most = queue.policy.retry.max_attempts
    dead = {rank for rank in held if queue.attempts.get(rank, 0) >= most}
    if not dead:
        return []
    if state.dead_letter_name(queue) == queue.name:
        return []
    records: list[Record] = []
    entries = [entry for entry in queue.entries() if rank_of(entry) in dead]
    counts = [queue.attempts[rank_of(entry)] for entry in entries]
    queue.take_out(entries)
    for entry, attempts in zip(entries, counts, strict=True):
        buried = state.bury(
            queue, entry, attempts, now_ns, MAX_ATTEMPTS_REASON, HOLDER_DIED, held=False
        )
        records += buried or []
    return records
