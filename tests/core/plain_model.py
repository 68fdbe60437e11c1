"""What a broker's core means, in the plainest words: one list of messages, searched every time.

Nothing here is clever or fast. It is written from docs/queues.md, not from the core's code.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from posthouse.core.transitions import Status
from posthouse.model import QueuePolicy


@dataclass
class Held:
    """A message that somebody holds."""

    token: int
    deadline_ns: int
    holder: int


@dataclass
class Item:
    """A live message."""

    id: int
    rank: int
    queue: str
    body: bytes
    headers: bytes
    status: Status
    due_ns: int = 0
    attempts: int = 0
    reserved: bool = False
    held: Held | None = None
    death: tuple[str, int] | None = None
    puts: bool = field(default=True, repr=False)

    @property
    def size(self) -> int:
        return len(self.body) + len(self.headers)


class Plain:
    """All queues' messages, and the policies."""

    def __init__(self, default_max_bytes: int) -> None:
        self.default_max_bytes = default_max_bytes
        self.policies: dict[str, QueuePolicy] = {}
        self.items: list[Item] = []

    # looking

    def of(self, queue: str, status: Status | None = None) -> list[Item]:
        """The queue's messages (of a status), oldest first."""
        found = [item for item in self.items if item.queue == queue]
        if status is not None:
            found = [item for item in found if item.status is status]
        return sorted(found, key=lambda item: item.rank)

    def takeable(self, queue: str) -> list[Item]:
        """What may be delivered now, in order."""
        return [item for item in self.of(queue, Status.WAITING) if not item.reserved]

    def fits(self, queue: str, count: int, size: int) -> bool:
        """Whether so much more has room: everything that is in the queue counts."""
        policy = self.policies[queue]
        here = self.of(queue)
        if policy.max_messages is not None and len(here) + count > policy.max_messages:
            return False
        most = policy.max_bytes if policy.max_bytes is not None else self.default_max_bytes
        return sum(item.size for item in here) + size <= most

    def with_token(self, queue: str, token: int) -> list[Item]:
        """What a lease still holds."""
        return [i for i in self.of(queue) if i.held is not None and i.held.token == token]

    def held(self, queue: str, token: int, message_id: int) -> Item | None:
        """The message, if this lease holds it."""
        return next((i for i in self.with_token(queue, token) if i.id == message_id), None)

    def dead_letter_queue(self, queue: str) -> str | None:
        """Where what failed too often goes."""
        name = self.policies[queue].dead_letter
        return queue + ".dead" if name == "" else name

    # moving

    def take(self, item: Item, held: Held) -> None:
        """It is delivered: an attempt begins."""
        item.status, item.held, item.reserved = Status.IN_FLIGHT, held, False
        item.attempts += 1
        item.due_ns = 0

    def gone(self, item: Item) -> None:
        """It is settled for good."""
        self.items.remove(item)

    def back(self, item: Item, due_ns: int) -> None:
        """It waits again, in its old place, from a time on."""
        item.held, item.due_ns = None, due_ns
        item.status = Status.DELAYED if due_ns else Status.WAITING

    def give_back(self, item: Item) -> None:
        """As if it had never been delivered."""
        item.attempts -= 1
        self.back(item, 0)

    def fail(self, item: Item, due_ns: int) -> str:
        """An attempt failed: "back", "moved" or "gone"."""
        if item.attempts < self.policies[item.queue].retry.max_attempts:
            self.back(item, due_ns)
            return "back"
        return self.bury(item) or self._stays(item, due_ns)

    def _stays(self, item: Item, due_ns: int) -> str:
        self.back(item, due_ns)
        return "back"

    def bury(self, item: Item) -> str | None:
        """To the dead-letter queue; None where that is its own queue."""
        target = self.dead_letter_queue(item.queue)
        if target == item.queue:
            return None
        if target is None:
            self.gone(item)
            return "gone"
        self.policies.setdefault(target, QueuePolicy(dead_letter=target))
        item.death = (item.queue, item.attempts)
        item.queue, item.attempts, item.held, item.reserved = target, 0, None, False
        item.status, item.due_ns, item.rank = Status.WAITING, 0, -1  # the core draws the rank
        return "moved"

    def make_due(self, queue: str, now_ns: int) -> int:
        """What was delayed until now waits."""
        due = [item for item in self.of(queue, Status.DELAYED) if item.due_ns <= now_ns]
        for item in due:
            item.status, item.due_ns = Status.WAITING, 0
        return len(due)

    def restart(self, now_ns: int) -> list[Item]:
        """The process ended and another took over; what must be buried then, by queue and rank."""
        exhausted = []
        for item in sorted(self.items, key=lambda item: item.rank):
            if item.status is Status.IN_FLIGHT and item.held is not None:
                if item.attempts >= self.policies[item.queue].retry.max_attempts:
                    exhausted.append(item)
                self.back(item, 0)
            item.reserved = False
            if item.status is Status.PENDING:
                self.back(item, item.due_ns)
            if item.due_ns <= now_ns:
                self.back(item, 0)
            item.puts = False
        return exhausted
