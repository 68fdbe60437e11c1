"""One queue's state and its hot verbs: put, take, ack, each for one message and for a batch.

Pure: the time is an argument, and nothing here knows a loop, a disk or a lock. A verb checks,
changes the state, and returns what the journal keeps, in one step.

Invariants (each kept by the function named):

1. ``live`` = pending + waiting + delayed + reserved + in flight      (put, gone)
2. ``ready`` is in growing rank order, ``pages`` go on behind it       (publish, page_out)
3. what is in ``returned`` is delivered before ``ready``, lowest rank first: a message that comes
   back takes its old place                                           (give_back, take)
4. ``attempts`` holds ranks of messages not in flight, with attempts > 0   (take, give_back)
5. ``next_deadline_ns`` <= the deadline of every lease                (take, extend, earliest)
"""

from __future__ import annotations

from itertools import repeat

from posthouse.core.dedup import DedupWindow
from posthouse.core.leases import BatchLease
from posthouse.core.orders import rank_of
from posthouse.core.standing import Look
from posthouse.core.waiting import Waiting, size_of
from posthouse.model import (
    DEFAULT_MAX_BYTES_MEMORY,
    FOREVER_NS,
    NANOSECONDS,
    QueuePolicy,
)
from posthouse.records import Entry, Traits


class Numbers:
    """What a broker counts for all its queues: message ids and fencing tokens."""

    __slots__ = ("last_id", "last_token")

    def __init__(self) -> None:
        self.last_id = 0
        self.last_token = 0

    def next_id(self, now_ns: int) -> int:
        """A new id: the time in nanoseconds, made unique and growing."""
        number = self.last_id + 1
        if now_ns > number:
            number = now_ns
        self.last_id = number
        return number


class QueueState(Waiting):
    """What a queue holds. See the module's invariants."""

    __slots__ = (
        "acked",
        "dead_lettered",
        "dedup",
        "dropped",
        "expired",
        "expired_leases",
        "moved_out",
        "name",
        "next_deadline_ns",
        "number",
        "numbers",
        "opened_with",
        "purged",
        "returned_count",
        "timeout_ns",
        "ttl_ns",
    )

    def __init__(
        self,
        number: int,
        name: str,
        policy: QueuePolicy,
        numbers: Numbers,
        default_max_bytes: int = DEFAULT_MAX_BYTES_MEMORY,
        look: Look | None = None,
    ) -> None:
        super().__init__(policy, look)
        self.number = number
        self.name = name
        self.numbers = numbers
        self.dedup = DedupWindow(0)
        self.next_deadline_ns = FOREVER_NS
        self.opened_with = 0
        self.acked = self.purged = self.dropped = self.dead_lettered = 0
        self.expired_leases = self.returned_count = self.expired = self.moved_out = 0
        self.set_policy(policy, default_max_bytes)

    def set_policy(self, policy: QueuePolicy, default_max_bytes: int) -> None:
        """Take a policy; it holds from the next verb on."""
        self.policy = policy
        self.timeout_ns = int(policy.visibility_timeout_s * NANOSECONDS)
        self.max_messages = FOREVER_NS if policy.max_messages is None else policy.max_messages
        self.max_bytes = default_max_bytes if policy.max_bytes is None else policy.max_bytes
        self.ttl_ns = 0 if policy.ttl_s is None else int(policy.ttl_s * NANOSECONDS)
        self.dedup.window_ns = int(policy.dedup_window_s * NANOSECONDS)
        if self.rich is not None:
            self.arrange()
        elif not policy.is_plain() or (policy.index and self.look is not None):
            self.enrich()

    # put

    def put_plain(self, now_ns: int, kind: int, body: bytes, visible: bool) -> Entry | None:
        """`put_one` for a message without headers or traits; seen at once if ``visible``."""
        size = len(body)
        if self.live >= self.max_messages or self.size_bytes + size > self.max_bytes:
            return None
        numbers = self.numbers
        number = numbers.last_id + 1
        if now_ns > number:
            number = now_ns
        numbers.last_id = number
        self.live += 1
        self.size_bytes += size
        entry = (number, kind, body, b"", None)
        if not visible:
            self.pending += 1
        elif self.rich is None:
            self.ready.append(entry)
        else:
            self.rich.arrive(entry, 0)
        return entry

    def put_one(
        self, now_ns: int, kind: int, body: bytes, headers: bytes, traits: Traits | None
    ) -> Entry | None:
        """Accept a message, not yet visible; None if the queue has no room for it."""
        size = len(body) + len(headers)
        if self.live >= self.max_messages or self.size_bytes + size > self.max_bytes:
            return None
        numbers = self.numbers
        number = numbers.last_id + 1
        if now_ns > number:
            number = now_ns
        numbers.last_id = number
        self.live += 1
        self.size_bytes += size
        self.pending += 1
        if headers:
            self.headed = True
        return (number, kind, body, headers, traits)

    def put_many(
        self,
        now_ns: int,
        kinds: list[int] | int,
        bodies: list[bytes],
        size_bytes: int,
        headers: bytes,
        traits: Traits | None,
    ) -> list[Entry] | None:
        """Accept all of a batch, with consecutive ids, or nothing (None: no room).

        ``size_bytes`` is what the bodies and headers of all come to.
        """
        count = len(bodies)
        if not self.fits(count, size_bytes):
            return None
        numbers = self.numbers
        first = numbers.last_id + 1
        if now_ns > first:
            first = now_ns
        numbers.last_id = first + count - 1
        self.live += count
        self.size_bytes += size_bytes
        self.pending += count
        if headers:
            self.headed = True
        ids = range(first, first + count)
        # zip makes the tuples at C speed.
        each = repeat(kinds) if isinstance(kinds, int) else kinds
        return list(zip(ids, each, bodies, repeat(headers), repeat(traits), strict=False))

    # take

    def take_one(self, now_ns: int, timeout_ns: int, holder: int) -> tuple[int, Entry, int] | None:
        """Lease the next message: (token, entry, attempts), or None if none is waiting."""
        rich = self.rich
        if rich is not None:
            if self.cold is not None or self.pages is not None or rich.horizon is not None:
                self.aim(now_ns)
            found = rich.take(now_ns)
            return None if found is None else self.lease_one(found, now_ns, timeout_ns, holder)
        if self.returned:
            found = self._pop_returned()
            return None if found is None else self.lease_one(found, now_ns, timeout_ns, holder)
        if not self.ready:
            return None
        # What follows is `lease_one` again, inline: the call would be a tenth of a get.
        entry = self.ready.popleft()
        attempts = 1
        if self.attempts:
            attempts += self.attempts.pop(rank_of(entry), 0)
        numbers = self.numbers
        numbers.last_token = token = numbers.last_token + 1
        deadline = now_ns + timeout_ns
        self.leases[token] = (deadline, holder, entry, attempts)
        if deadline < self.next_deadline_ns:
            self.next_deadline_ns = deadline
        return token, entry, attempts

    def lease_one(
        self, entry: Entry, now_ns: int, timeout_ns: int, holder: int
    ) -> tuple[int, Entry, int]:
        """Give ``entry`` (already out of the order) to ``holder``: (token, entry, attempts)."""
        attempts = 1
        if self.attempts:
            attempts += self.attempts.pop(rank_of(entry), 0)
        numbers = self.numbers
        token = numbers.last_token + 1
        numbers.last_token = token
        deadline = now_ns + timeout_ns
        self.leases[token] = (deadline, holder, entry, attempts)
        if deadline < self.next_deadline_ns:
            self.next_deadline_ns = deadline
        return token, entry, attempts

    def take_many(
        self, most: int, most_bytes: int, now_ns: int, timeout_ns: int, holder: int
    ) -> tuple[int, BatchLease] | None:
        """Lease up to ``most`` messages under one token; None if none is waiting.

        At least one; more only while their bodies and headers stay within ``most_bytes``.
        """
        entries = self.pop_many(most, most_bytes, now_ns)
        if not entries:
            return None
        return self.lease_many(entries, now_ns, timeout_ns, holder)

    def lease_many(
        self, entries: list[Entry], now_ns: int, timeout_ns: int, holder: int
    ) -> tuple[int, BatchLease]:
        """Give entries (already out of the order) to ``holder`` under one token."""
        ids = [entry[0] for entry in entries]
        counts: list[int] | None = None
        if self.attempts:
            pop = self.attempts.pop
            counts = [pop(rank_of(entry), 0) + 1 for entry in entries]
        numbers = self.numbers
        token = numbers.last_token + 1
        numbers.last_token = token
        deadline = now_ns + timeout_ns
        lease = BatchLease(deadline, holder, ids, entries, counts)
        self.leases[token] = lease
        if deadline < self.next_deadline_ns:
            self.next_deadline_ns = deadline
        return token, lease

    # settle

    def ack_one(self, token: int, message_id: int) -> bool:
        """Settle one delivered message for good; False if this lease does not hold it."""
        lease = self.leases.pop(token, None)
        if lease is None:
            return False
        if lease.__class__ is tuple:
            entry = lease[2]
            if entry[0] != message_id:
                self.leases[token] = lease
                return False
            self.live -= 1
            self.size_bytes -= len(entry[2]) + len(entry[3])
            self.acked += 1
            if self.rich is not None:
                self.rich.left(entry)
            return True
        # One of a batch.
        self.leases[token] = lease
        released = self.release(token, message_id)
        if released is None:
            return False
        self.gone([released[0]])
        self.acked += 1
        return True

    def ack_batch(self, token: int, ids: list[int]) -> bool:
        """Settle a whole delivery; False (and nothing done) unless ``ids`` is all of it."""
        lease = self.leases.get(token)
        if not isinstance(lease, BatchLease) or lease.left is not None or lease.ids != ids:
            return False
        del self.leases[token]
        self.gone(lease.entries)
        self.acked += len(ids)
        return True

    def holds(self, token: int, message_id: int) -> bool:
        """Whether the lease ``token`` still holds the message."""
        lease = self.leases.get(token)
        if lease is None:
            return False
        if isinstance(lease, BatchLease):
            return message_id in lease.pairs()
        return lease[2][0] == message_id

    def held_size(self, token: int, message_id: int) -> int:
        """Bytes of a message that a lease holds (see `holds`)."""
        lease = self.leases[token]
        if isinstance(lease, BatchLease):
            return size_of(lease.pairs()[message_id][0])
        return size_of(lease[2])

    def attempts_of(self, token: int, message_id: int) -> int:
        """Which delivery of the message a lease is; 0 if it does not hold it."""
        lease = self.leases.get(token)
        if lease is None:
            return 0
        if isinstance(lease, BatchLease):
            pair = lease.pairs().get(message_id)
            return 0 if pair is None else pair[1]
        return lease[3] if lease[2][0] == message_id else 0

    def release(self, token: int, message_id: int) -> tuple[Entry, int] | None:
        """Take a message out of its lease: (entry, attempts), or None if it is not held."""
        lease = self.leases.get(token)
        if lease is None:
            return None
        if isinstance(lease, BatchLease):
            pairs = lease.pairs()
            pair = pairs.pop(message_id, None)
            if not pairs:
                del self.leases[token]
            return pair
        if lease[2][0] != message_id:
            return None
        del self.leases[token]
        return lease[2], lease[3]

    # time

    def extend(self, token: int, deadline_ns: int) -> bool:
        """Move a lease's deadline; False if there is no such lease."""
        lease = self.leases.get(token)
        if lease is None:
            return False
        if isinstance(lease, BatchLease):
            lease.deadline_ns = deadline_ns
        else:
            self.leases[token] = (deadline_ns, lease[1], lease[2], lease[3])
        self.next_deadline_ns = min(self.next_deadline_ns, deadline_ns)
        return True

    def next_event_ns(self) -> int:
        """When something may be due here next; FOREVER_NS for never."""
        event_ns = self.next_deadline_ns
        # What follows is `next_timed_ns`, inline: this is asked at every take of a rich queue.
        if self.delayed:
            event_ns = min(event_ns, self.delayed[0][0])
        if self.rich is not None:
            event_ns = min(event_ns, self.rich.next_event_ns())
        return event_ns if self.cold is None else min(event_ns, self.cold.next_event_ns())

    def next_timed_ns(self) -> int:
        """The same but for leases."""
        event_ns = self.delayed[0][0] if self.delayed else FOREVER_NS
        if self.rich is not None:
            event_ns = min(event_ns, self.rich.next_event_ns())
        if self.cold is not None:
            event_ns = min(event_ns, self.cold.next_event_ns())
        return event_ns
