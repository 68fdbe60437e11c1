"""All the queues of a broker, and the verbs that are not hot or touch more than one queue.

Each verb changes the state and returns the records that the journal must keep, in order; a verb
that finds nothing to do returns no records and has changed nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final, TypeAlias

import msgspec

from posthouse.core import letters
from posthouse.core.leases import BatchLease
from posthouse.core.orders import rank_of
from posthouse.core.paged import purge_pages
from posthouse.core.producers import Producers
from posthouse.core.queue import Numbers, QueueState
from posthouse.core.router import Router
from posthouse.core.standing import Look
from posthouse.model import (
    DEFAULT_MAX_BYTES_MEMORY,
    FOREVER_NS,
    NANOSECONDS,
    QueuePolicy,
    QueueStats,
)
from posthouse.records import (
    Accepted,
    Bound,
    Declared,
    Delivered,
    Entry,
    Moved,
    Record,
    Remembered,
    Returned,
    Settled,
    Traits,
)

DEAD_SUFFIX: Final = ".dead"
PLAIN: Final = Traits()

Late: TypeAlias = "list[tuple[QueueState, Callable[[], None]]]"
"""What a transaction lets be seen only once it is durable: queues, and what to call then."""

MAX_ATTEMPTS_REASON: Final = "max_attempts"
CARRY_STEP: Final = 10_000
SETTLE_STEP: Final = 2_000
RETURN_STEP: Final = 500
EXPIRED_REASON: Final = "expired"
EXPIRED_LEASE: Final = "the lease ran out"
HOLDER_DIED: Final = "the process that held it ended"


class BrokerState:
    """The queues by name and by number, and what they share."""

    __slots__ = (
        "by_name",
        "default_max_bytes",
        "look",
        "moves",
        "numbers",
        "producers",
        "queues",
        "router",
    )

    def __init__(
        self, default_max_bytes: int = DEFAULT_MAX_BYTES_MEMORY, look: Look | None = None
    ) -> None:
        self.look = look  # how indexes see a message; without it queues have none
        # Where a caller says so, what moves is seen only when its record is durable: else a crash
        # could undo the move, and with it the attempts counted in the new queue.
        self.moves: Late | None = None
        self.queues: dict[int, QueueState] = {}
        self.by_name: dict[str, QueueState] = {}
        self.numbers = Numbers()
        self.router = Router()
        self.producers = Producers()
        self.default_max_bytes = default_max_bytes

    # queues

    def declare(self, name: str, policy: QueuePolicy | None) -> tuple[QueueState, list[Record]]:
        """The queue of that name, made or given the policy where needed.

        ``policy`` None keeps what there is (or the default).
        """
        queue = self.by_name.get(name)
        if queue is None:
            number = max(self.queues, default=0) + 1
            queue = self.add(number, name, policy or QueuePolicy())
            return queue, [Declared(number, name, queue.policy)]
        if policy is None or policy == queue.policy:
            return queue, []
        queue.set_policy(policy, self.default_max_bytes)
        return queue, [Declared(queue.number, name, policy)]

    def add(self, number: int, name: str, policy: QueuePolicy) -> QueueState:
        """Make a queue under a number (replay gives the numbers it had)."""
        queue = QueueState(number, name, policy, self.numbers, self.default_max_bytes, self.look)
        self.queues[number] = queue
        self.by_name[name] = queue
        return queue

    def dead_letter_name(self, queue: QueueState) -> str | None:
        """Where this queue's dead letters go: a name, or None to drop them.

        A dead-letter queue that nobody declared keeps its own: what fails there stays there.
        """
        name = queue.policy.dead_letter
        return queue.name + DEAD_SUFFIX if name == "" else name

    def _dead_letter_queue(self, queue: QueueState) -> tuple[QueueState | None, list[Record]]:
        name = self.dead_letter_name(queue)
        if name is None:
            return None, []
        found = self.by_name.get(name)
        if found is not None:
            return found, []
        return self.declare(name, QueuePolicy(dead_letter=name))

    # topics

    def bind(self, topic: str, queue: QueueState, pattern: str) -> list[Record]:
        """Let messages of a topic whose routing keys match go to the queue."""
        if not self.router.bind(topic, queue.number, pattern):
            return []
        return [Bound(topic, queue.number, pattern, True)]

    def unbind(self, topic: str, queue: QueueState, pattern: str) -> list[Record]:
        """End a binding."""
        if not self.router.unbind(topic, queue.number, pattern):
            return []
        return [Bound(topic, queue.number, pattern, False)]

    def carry(self, first_id: int, now_ns: int) -> list[Record]:
        """What must be remembered of messages below ``first_id``, whose records are to leave."""
        records: list[Record] = []
        for queue in self.queues.values():
            pairs = queue.dedup.carry(first_id, self.numbers.last_id, now_ns)
            for start in range(0, len(pairs), CARRY_STEP):
                part = pairs[start : start + CARRY_STEP]
                names, ids = [name for name, _ in part], [number for _, number in part]
                records.append(Remembered(queue.number, names, ids))
        for producer, rows in self.producers.carry(first_id, self.numbers.last_id, now_ns):
            sequences, counts, numbers = map(list, zip(*rows, strict=True))
            records.append(Accepted(producer, sequences, counts, numbers))
        return records

    # settling one message otherwise than by ack

    def nack(
        self,
        queue: QueueState,
        token: int,
        message_id: int,
        now_ns: int,
        due_ns: int,
        error: str | None,
        late: Late | None = None,
    ) -> list[Record] | None:
        """A failed attempt: back to waiting from ``due_ns`` on, or dead after the last one.

        None if the lease does not hold the message.
        """
        released = queue.release(token, message_id)
        if released is None:
            return None
        entry, attempts = released
        return self.failed(queue, entry, attempts, now_ns, due_ns, error, late)

    def failed(
        self,
        queue: QueueState,
        entry: Entry,
        attempts: int,
        now_ns: int,
        due_ns: int,
        error: str | None,
        late: Late | None = None,
    ) -> list[Record]:
        """What a failed attempt leads to, for a message that is out of its lease."""
        if attempts >= queue.policy.retry.max_attempts:
            buried = self.bury(queue, entry, attempts, now_ns, MAX_ATTEMPTS_REASON, error, late)
            if buried is not None:
                return buried
        return self._retry(queue, entry, attempts, due_ns, late)

    @staticmethod
    def _retry(
        queue: QueueState, entry: Entry, attempts: int, due_ns: int, late: Late | None
    ) -> list[Record]:
        queue.returned_count += 1
        show = partial(queue.give_back, entry, attempts, due_ns, queue.rich is not None)
        _show(queue, show, late)
        return [Returned(queue.number, [entry[0]], [attempts], [due_ns])]

    def give_back(self, queue: QueueState, token: int, message_id: int) -> list[Record] | None:
        """Undo a delivery: at once in its place again, the attempt not counted."""
        released = queue.release(token, message_id)
        if released is None:
            return None
        entry, attempts = released
        queue.give_back(entry, attempts - 1, 0)
        return [Returned(queue.number, [entry[0]], [attempts - 1], [0])]

    def reject(
        self,
        queue: QueueState,
        token: int,
        message_id: int,
        now_ns: int,
        reason: str,
        error: str | None,
        late: Late | None = None,
    ) -> list[Record] | None:
        """To the dead-letter queue now. In a queue that is its own, it stays and waits."""
        released = queue.release(token, message_id)
        if released is None:
            return None
        entry, attempts = released
        buried = self.bury(queue, entry, attempts, now_ns, reason, error, late)
        if buried is not None:
            return buried
        due_ns = now_ns + queue.policy.retry.delay_ns(attempts, 1.0)
        return self._retry(queue, entry, attempts, due_ns, late)

    def bury(
        self,
        queue: QueueState,
        entry: Entry,
        attempts: int,
        now_ns: int,
        reason: str,
        error: str | None,
        late: Late | None = None,
        *,
        held: bool = True,
    ) -> list[Record] | None:
        """Move a message to the dead-letter queue, or drop it where there is none.

        ``held``: it was in flight and is out of its lease; else it is out of the order and
        counted out. None (and nothing done) where the dead-letter queue is the queue itself.
        """
        target, records = self._dead_letter_queue(queue)
        if target is queue:
            return None
        if held:
            queue.gone([entry])
        if target is None:
            queue.dropped += 1
            records.append(Settled(queue.number, [entry[0]]))
            return records
        death = letters.death_headers(queue.name, reason, error, attempts, now_ns)
        traits = msgspec.structs.replace(
            entry[4] or PLAIN,
            due_ns=0,
            rank=self.numbers.next_id(now_ns),
            death=death,
            expires_ns=self._grave_expiry(target, now_ns),
            dedup="",
        )
        queue.dead_lettered += 1
        records.append(self._move(queue, target, entry, traits, late))
        return records

    def _grave_expiry(self, target: QueueState, now_ns: int) -> int:
        """Until when a dead-letter queue keeps a letter; 0: for ever.

        Its time to live holds only where the letter's way ends there: between two queues that
        are each other's dead-letter queue it would go to and fro for ever.
        """
        ends = target.policy.expired == "drop" or self.dead_letter_name(target) in (
            None,
            target.name,
        )
        return now_ns + target.ttl_ns if target.ttl_ns and ends else 0

    def _move(
        self, queue: QueueState, target: QueueState, entry: Entry, traits: Traits, late: Late | None
    ) -> Moved:
        moved = (*entry[:4], traits)
        target.count_in(moved)
        target.moved_in += 1
        if late is None:
            late = self.moves
        _show(target, partial(target.arrive, moved, 0, 0), late)
        return Moved(queue.number, target.number, entry[0], traits)

    def redrive(self, queue: QueueState, most: int, now_ns: int) -> tuple[int, list[Record]]:
        """Put up to ``most`` dead letters that wait here back where they died: (how many, records).

        They begin anew: no attempts, at the end of the order, with the time to live that their
        queue gives. A letter whose origin is unknown (nobody's, or this queue itself) stays.
        """
        chosen: list[tuple[Entry, Traits, QueueState]] = []
        for entry in queue.entries() if most > 0 else []:
            traits = entry[4]
            origin = self.by_name.get(letters.origin_of(traits.death)) if traits else None
            if traits is None or origin is None or origin is queue:
                continue
            chosen.append((entry, traits, origin))
            if len(chosen) == most:
                break
        if chosen:
            queue.take_out([entry for entry, _, _ in chosen])
        records: list[Record] = []
        for entry, traits, origin in chosen:
            back = msgspec.structs.replace(
                traits,
                rank=self.numbers.next_id(now_ns),
                death=b"",
                due_ns=0,
                expires_ns=now_ns + origin.ttl_ns if origin.ttl_ns else 0,
            )
            queue.moved_out += 1
            records.append(self._move(queue, origin, entry, back, None))
        return len(chosen), records

    def expire_waiting(self, queue: QueueState, now_ns: int, most: int) -> list[Record]:
        """Let messages whose time to live is over go, by the policy: dead letters, or dropped."""
        records: list[Record] = []
        if queue.rich is None:
            return records
        for entry in queue.rich.expired(now_ns, most):
            attempts = queue.attempts.pop(rank_of(entry), 0)
            queue.count_out([entry])
            queue.expired += 1
            buried = None
            if queue.policy.expired == "dead_letter":
                buried = self.bury(queue, entry, attempts, now_ns, EXPIRED_REASON, None, held=False)
            if buried is None:
                queue.dropped += 1
                buried = [Settled(queue.number, [entry[0]])]
            records += buried
        return records

    def drop_oldest(self, queue: QueueState, count: int, size_bytes: int) -> list[Record]:
        """Make room for a put by dropping what waited longest."""
        dropped = queue.drop_oldest(count, size_bytes)
        if not dropped:
            return []
        queue.dropped += len(dropped)
        return self._settled(queue, dropped)

    # time

    def expire(
        self,
        queue: QueueState,
        now_ns: int,
        grace_ns: int,
    ) -> list[Record]:
        """Give back what leases held past their deadlines; renew ``next_deadline_ns``.

        ``grace_ns`` > 0 moves those deadlines to ``now_ns + grace_ns`` instead: the caller knows
        that its holders could not have renewed (the process stood still).
        """
        records: list[Record] = []
        due = [token for token, lease in queue.leases.items() if deadline_of(lease) <= now_ns]
        for token in due:
            if grace_ns:
                queue.extend(token, now_ns + grace_ns)
                continue
            lease = queue.leases[token]
            if isinstance(lease, BatchLease):
                pairs = list(lease.pairs().values())
            else:
                pairs = [(lease[2], lease[3])]
            del queue.leases[token]
            for entry, attempts in pairs:
                queue.expired_leases += 1
                # A lease that ran out is no failure of the message's own: it is due at once.
                records += self.failed(queue, entry, attempts, now_ns, 0, EXPIRED_LEASE)
        queue.next_deadline_ns = min(map(deadline_of, queue.leases.values()), default=FOREVER_NS)
        return records

    def prolong(self, after_token: int, by_ns: int) -> None:
        """Let the leases with tokens above ``after_token`` run ``by_ns`` longer."""
        for queue in self.queues.values():
            for token in reversed(list(queue.leases)):
                if token <= after_token:
                    break  # leases are kept in the order they were given
                queue.extend(token, deadline_of(queue.leases[token]) + by_ns)

    def release_holder(self, holder: int) -> list[Record]:
        """Give back everything a holder has, the attempts not counted."""
        records: list[Record] = []
        for queue in self.queues.values():
            held = [token for token, lease in queue.leases.items() if holder_of(lease) == holder]
            for token in held:
                lease = queue.leases[token]
                ids = list(lease.pairs()) if isinstance(lease, BatchLease) else [lease[2][0]]
                for message_id in ids:
                    records += self.give_back(queue, token, message_id) or []
        return records

    # many at once

    def purge(self, queue: QueueState) -> tuple[int, list[Record]]:
        """Settle everything that waits or is delayed: (how many, records)."""
        count, records = purge_pages(queue)
        entries = queue.clear()
        count += len(entries)
        queue.purged += count
        return count, records + self._settled(queue, entries)

    @staticmethod
    def _settled(queue: QueueState, entries: list[Entry]) -> list[Record]:
        ids = [entry[0] for entry in entries]
        steps = range(0, len(ids), SETTLE_STEP)
        return [Settled(queue.number, ids[at : at + SETTLE_STEP]) for at in steps]

    def snapshot_attempts(self) -> list[Delivered]:
        """Every attempt count that a restart must know."""
        snapshot: list[Delivered] = []
        for queue in self.queues.values():
            ranks = dict(queue.attempts)
            for lease in queue.leases.values():
                if isinstance(lease, BatchLease):
                    ranks.update({rank_of(e): count for e, count in lease.pairs().values()})
                else:
                    ranks[rank_of(lease[2])] = lease[3]
            if ranks:
                snapshot.append(Delivered(queue.number, list(ranks), list(ranks.values())))
        return snapshot

    def stats(self, queue: QueueState, now_ns: int) -> QueueStats:
        """What the queue holds and did."""
        oldest_id = queue.oldest_id()
        in_flight = queue.in_flight()
        gone = queue.acked + queue.purged + queue.dropped + queue.dead_lettered + queue.moved_out
        return QueueStats(
            name=queue.name,
            waiting=queue.waiting() + queue.reserved,
            delayed=queue.delayed_count,
            in_flight=in_flight,
            size_bytes=queue.size_bytes,
            oldest_age_s=max(now_ns - oldest_id, 0) / NANOSECONDS if oldest_id else 0.0,
            put=queue.live - queue.opened_with + gone - queue.moved_in,
            acked=queue.acked,
            returned=queue.returned_count,
            expired_leases=queue.expired_leases,
            dead_lettered=queue.dead_lettered,
            dropped=queue.dropped,
            purged=queue.purged,
            expired=queue.expired,
            deduplicated=queue.dedup.hits,
        )


def join_returned(records: list[Record]) -> list[Record]:
    """The same records with neighbours that return messages of one queue made one."""
    joined: list[Record] = []
    for record in records:
        last = joined[-1] if joined else None
        if (
            isinstance(record, Returned)
            and isinstance(last, Returned)
            and last.queue == record.queue
            and len(last.ids) < RETURN_STEP
        ):
            last.ids += record.ids
            last.attempts += record.attempts
            last.due_ns += record.due_ns
        else:
            joined.append(record)
    return joined


def _show(queue: QueueState, show: Callable[[], None], late: Late | None) -> None:
    """Let a message that came back, or moved in, be seen: now, or when its frame is durable."""
    if late is None:
        show()
    else:
        queue.pending += 1
        late.append((queue, show))


def deadline_of(lease: object) -> int:
    """A lease's deadline, whatever its shape."""
    if isinstance(lease, BatchLease):
        return lease.deadline_ns
    assert isinstance(lease, tuple)
    return int(lease[0])


def holder_of(lease: object) -> int:
    """A lease's holder, whatever its shape."""
    if isinstance(lease, BatchLease):
        return lease.holder
    assert isinstance(lease, tuple)
    return int(lease[1])
