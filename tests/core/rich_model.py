"""What keys, orders, limits and times to live mean, in the plainest words.

One list of messages, searched every time. Written from docs/ordering.md, docs/limits.md and
docs/timing.md; the only thing it shares with the core is how a rate is parsed.
"""

from __future__ import annotations

from dataclasses import dataclass

from posthouse.model import NANOSECONDS, QueuePolicy, parse_rate


@dataclass(eq=False)
class Item:
    """A live message."""

    id: int
    rank: int
    size: int
    key: str = ""
    priority: int = 0
    expires_ns: int = 0
    due_ns: int = 0
    attempts: int = 0
    origin: str = ""
    where: str = "waiting"  # waiting, delayed, out
    stands: bool = False
    paced: bool = False  # delayed by nothing but its key's rate
    overdue: bool = False  # it came up too late, and waits for nothing but its end
    token: int = 0


class PlainRate:
    """One more may go when the bucket, which a second fills, has a whole one in it."""

    def __init__(self, text: str) -> None:
        count, per_s = parse_rate(text)
        self.interval_ns = int(per_s * NANOSECONDS / count)
        self.burst_ns = int((max(1.0, count / per_s) - 1) * self.interval_ns)
        self.next_ns = 0

    @property
    def free_ns(self) -> int:
        return self.next_ns - self.burst_ns

    def take(self, now_ns: int) -> None:
        self.next_ns = max(self.next_ns, now_ns) + self.interval_ns


class PlainQueue:
    """A queue; ``items`` is everything that lives in it."""

    def __init__(self, policy: QueuePolicy) -> None:
        self.items: list[Item] = []
        self.turn: list[Item] = []  # of a fair queue: whose turn it is
        self.policy = policy
        self.rate = None if policy.rate is None else PlainRate(policy.rate)
        self.key_rates: dict[str, PlainRate] = {}

    # policy, restart

    def set_policy(self, policy: QueuePolicy) -> None:
        old, self.policy = self.policy, policy
        if old.rate != policy.rate:
            self.rate = None if policy.rate is None else PlainRate(policy.rate)
        if old.rate_per_key != policy.rate_per_key:
            self.key_rates.clear()
        names = ("order", "fair", "max_in_flight_per_key", "rate_per_key")
        if any(getattr(old, name) != getattr(policy, name) for name in names):
            self.line_up()

    def restart(self, now_ns: int) -> None:
        """The process ended; what was out is back, rates begin anew."""
        policy = self.policy
        self.rate = None if policy.rate is None else PlainRate(policy.rate)
        self.key_rates.clear()
        for item in self.items:
            item.overdue = False
            self.unpace(item)
            if item.where == "out":
                item.where, item.due_ns, item.token = "waiting", 0, 0
            if item.due_ns <= now_ns:
                item.due_ns = 0
        for item in self.items:
            item.where = "delayed" if item.due_ns and not item.key else "waiting"
        self.line_up()

    def line_up(self) -> None:
        """Everybody stands in line again, by rank."""
        self.turn = []
        for item in self.items:
            item.stands = False
            if item.where == "delayed" and item.key:
                item.where = "waiting"
                self.unpace(item)
        for item in self.by_rank():
            if item.where == "waiting" and not item.stands and not item.overdue:
                self.step_out(item)

    @staticmethod
    def unpace(item: Item) -> None:
        if item.paced:
            item.paced, item.due_ns = False, 0

    # lines

    @property
    def free(self) -> bool:
        """Nothing asks for lines."""
        policy = self.policy
        return (
            policy.max_in_flight_per_key is None and not policy.fair and policy.rate_per_key is None
        )

    def has_line(self, item: Item) -> bool:
        return not self.free and bool(item.key or self.policy.fair)

    def of_key(self, item: Item) -> list[Item]:
        return [other for other in self.by_rank() if other.key == item.key]

    def step_out(self, item: Item) -> None:
        """The first in this one's line stands, if none of its key does and few are out."""
        if not self.has_line(item):
            if item in self.items and not item.stands and not item.overdue:
                self.stand(item)
            return
        line = self.of_key(item)
        limit = self.policy.max_in_flight_per_key if item.key else None
        out = sum(1 for other in line if other.where == "out")
        if any(other.stands for other in line) or (limit is not None and out >= limit):
            return
        waiting = [other for other in line if other.where == "waiting" and not other.overdue]
        if waiting:
            self.stand(waiting[0])

    def stand(self, item: Item) -> None:
        item.stands = True
        if item.due_ns:
            item.where = "delayed"
        else:
            self.turn.append(item)

    def by_rank(self) -> list[Item]:
        return sorted(self.items, key=lambda item: item.rank)

    # verbs

    def arrive(self, item: Item) -> None:
        self.items.append(item)
        if item.due_ns and not item.key:
            item.where = "delayed"
        else:
            self.step_out(item)

    def make_due(self, now_ns: int) -> int:
        due = [item for item in self.items if item.where == "delayed" and item.due_ns <= now_ns]
        for item in sorted(due, key=lambda item: (item.due_ns, item.rank)):
            item.where, item.due_ns, item.paced = "waiting", 0, False
            if item.stands:
                self.turn.append(item)
            else:
                self.step_out(item)
        return len(due)

    def take(self, now_ns: int) -> Item | None:
        """What is delivered next."""
        out = sum(1 for item in self.items if item.where == "out")
        if self.policy.max_in_flight is not None and out >= self.policy.max_in_flight:
            return None
        if self.rate is not None and self.rate.free_ns > now_ns:
            return None
        while True:
            self.make_due(now_ns)
            item = self.first()
            if item is None:
                return None
            self.turn.remove(item)
            rate = self.key_rate(item)
            if item.expires_ns and item.expires_ns <= now_ns:
                item.stands, item.overdue = False, True
                self.step_out_next(item)
            elif rate is not None and rate.free_ns > now_ns:
                item.where, item.due_ns, item.paced = "delayed", rate.free_ns, True
            else:
                return self.taken(item, rate, now_ns)

    def step_out_next(self, item: Item) -> None:
        if self.has_line(item):
            self.step_out(item)

    def taken(self, item: Item, rate: PlainRate | None, now_ns: int) -> Item:
        item.where, item.stands, item.due_ns = "out", False, 0
        item.attempts += 1
        for each in (rate, self.rate):
            if each is not None:
                each.take(now_ns)
        self.step_out_next(item)
        return item

    def key_rate(self, item: Item) -> PlainRate | None:
        text = self.policy.rate_per_key
        if not item.key or text is None:
            return None
        return self.key_rates.setdefault(item.key, PlainRate(text))

    def first(self) -> Item | None:
        """Of those whose turn may be now."""
        if not self.turn:
            return None
        policy = self.policy
        if policy.fair:
            return self.turn[0]
        if policy.order == "lifo":
            return max(self.turn, key=lambda item: item.rank)
        if policy.order == "priority":
            return min(self.turn, key=lambda item: (-item.priority, item.rank))
        return min(self.turn, key=lambda item: item.rank)

    def back(self, item: Item, due_ns: int) -> None:
        """It was out and waits again."""
        item.due_ns, item.token = due_ns, 0
        item.where = "delayed" if due_ns else "waiting"
        item.stands = not (due_ns and not item.key)
        if not due_ns:
            self.turn.insert(0, item)
        elif not item.key:
            self.step_out_next(item)

    def gone(self, items: list[Item]) -> None:
        """They live no more."""
        for item in items:
            self.items.remove(item)
            if item in self.turn:
                self.turn.remove(item)
        for item in items:
            self.step_out_next(item)

    def expired(self, now_ns: int, most: int) -> list[Item]:
        """What is let go because its time to live is over."""
        over = [
            item
            for item in self.items
            if item.where != "out" and item.expires_ns and item.expires_ns <= now_ns
        ]
        return sorted(over, key=lambda item: (item.expires_ns, item.rank))[:most]

    def waiting(self) -> list[Item]:
        return [item for item in self.by_rank() if item.where == "waiting"]

    def fits(self, count: int, size: int) -> bool:
        policy = self.policy
        most = policy.max_messages if policy.max_messages is not None else 1 << 60
        most_bytes = policy.max_bytes if policy.max_bytes is not None else 1 << 60
        total = sum(item.size for item in self.items)
        return len(self.items) + count <= most and total + size <= most_bytes

    def oldest_in_the_way(self, count: int, size: int) -> list[Item]:
        """What ``drop_oldest`` drops: as few as will do, or none if none will do."""
        dropped: list[Item] = []
        for item in self.waiting():
            if self.fits(count - len(dropped), size - sum(each.size for each in dropped)):
                break
            dropped.append(item)
        enough = self.fits(count - len(dropped), size - sum(each.size for each in dropped))
        return dropped if enough else []
