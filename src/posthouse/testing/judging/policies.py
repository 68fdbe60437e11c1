"""The queues' policies, as far as a judge needs them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal, TypeAlias

from posthouse.testing.judging.fate import Fate, Where

Order: TypeAlias = Literal["fifo", "lifo", "priority", "fair", "keys", "none"]
"""Of a queue; ``fair``: messages of one key are in order, and keys take turns; ``keys``: only
messages of one key are in order; ``none``: not looked at."""


class Policies:
    """What is known of the queues by name. See `History.problems`.

    Attributes:
        leases_last: no lease runs out while its holder lives.
        rate, rate_per_key: how many deliveries in which time, by queue.
    """

    def __init__(
        self,
        *,
        max_attempts: Mapping[str, int],
        dead: Mapping[str, str | None],
        drops: Collection[str],
        max_in_flight: Mapping[str, int],
        max_in_flight_per_key: Mapping[str, int | None],
        rate: Mapping[str, str],
        rate_per_key: Mapping[str, str],
        order: Mapping[str, Order],
        leases_last: bool,
    ) -> None:
        self._max_attempts = dict(max_attempts)
        self._dead = dict(dead)
        self._drops = frozenset(drops)
        self._max_in_flight = dict(max_in_flight)
        self._max_in_flight_per_key = dict(max_in_flight_per_key)
        self._order = dict(order)
        self.rate = dict(rate)
        self.rate_per_key = dict(rate_per_key)
        self.leases_last = leases_last
        for target in dead.values():
            if target is not None:
                # A dead-letter queue that nobody declared is its own.
                self._dead.setdefault(target, target)

    def most(self, queue: str) -> int:
        """How often a message of the queue is delivered at most."""
        return self._max_attempts.get(queue, 5)

    def max_in_flight(self, queue: str) -> int | None:
        """How many of the queue may be held at once; None: any number."""
        return self._max_in_flight.get(queue)

    def max_in_flight_per_key(self, queue: str) -> int | None:
        """How many of one key may be held at once; None: any number."""
        return self._max_in_flight_per_key.get(queue, 1)

    def lined(self, queue: str) -> bool:
        """Whether the messages of one key are in line, whatever the queue's order is."""
        limited = self.max_in_flight_per_key(queue) is not None or queue in self.rate_per_key
        return limited or self.order(queue) in ("fair", "keys")

    def order(self, queue: str) -> Order:
        """In which order the queue delivers."""
        return self._order.get(queue, "fifo")

    def origins(self, fate: Fate, queue: str) -> set[str]:
        """Where a redrive of dead letters of ``queue`` may put the message."""
        return {fate.home} | {name for name in fate.targets if self.dead(name) == queue}

    def graves(self, fate: Fate) -> set[str | None]:
        """Dead-letter queues that it may be in when it waited too long."""
        return {self.dead(name) for name in {fate.home, *fate.targets}}

    def drops(self, queue: str) -> bool:
        """Whether the queue may drop what waits."""
        return queue in self._drops

    def dead(self, queue: str) -> str | None:
        """The queue's dead-letter queue; itself: what fails stays."""
        if queue in self._dead:
            return self._dead[queue]
        return queue if queue.endswith(".dead") else queue + ".dead"

    def buried(self, queue: str, attempts: int) -> Where:
        """Where a message is that goes to the dead-letter queue; nowhere: dropped."""
        target = self.dead(queue)
        if target is None:
            return {}
        if target == queue:
            return {queue: (attempts + 1, attempts + 1)}
        return {target: (1, 1)}

    def failed(self, queue: str, attempts: int) -> Where:
        """Where a message is when its delivery number ``attempts`` failed."""
        if attempts >= self.most(queue):
            return self.buried(queue, attempts)
        return {queue: (attempts + 1, attempts + 1)}
