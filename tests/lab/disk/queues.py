"""The queues and topics that the programs on the simulated disk use, with their policies."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import Any, Final

from posthouse.broker import Broker
from posthouse.model import Retry
from posthouse.testing.judging.policies import Order
from tests.lab.topics import PUBLISHED

PLAIN, SHORT, DROPS = "orders", "short", "drops"
QUEUES = (PLAIN, SHORT, DROPS)
"""Every program has these."""

KEYED, URGENT, STACK, LIMITED = "keyed", "urgent", "stack", "limited"
MORTAL, BRIEF, FLEET = "mortal", "brief", "fleet"
BOX, OTHER = "box", "box.2"
RICH: Final[dict[str, dict[str, Any]]] = {
    KEYED: {"dedup_window": 5.0, "retry": Retry(3, first_s=0.5)},
    URGENT: {"order": "priority"},
    STACK: {"order": "lifo", "retry": Retry(2, first_s=0.5)},
    LIMITED: {"max_in_flight": 3, "rate": "5/s"},
    MORTAL: {"ttl": 1.0, "expired": "dead_letter"},
    BRIEF: {"ttl": 1.0, "expired": "drop"},
    FLEET: {"max_messages": 5, "overflow": "drop_oldest"},
    BOX: {},
    OTHER: {},
}
"""A program has some of these; between the last two messages are moved."""

LIMITS = {PLAIN: 5, SHORT: 2, DROPS: 2, KEYED: 3, STACK: 2}
DEAD: dict[str, str | None] = {DROPS: None}
LOSES = frozenset({BRIEF, FLEET})
"""These drop what waits."""
FLEETING = (MORTAL, BRIEF, FLEET)
"""In these, what waits may not stay."""
ORDER: Final[dict[str, Order]] = {URGENT: "priority", STACK: "lifo"}
MAX_IN_FLIGHT = {LIMITED: 3}
RATE = {LIMITED: "5/s"}
FIXED_S: Final = 30.0
"""The visibility timeout of those whose policy never changes."""

DEDUP_S: Final = {PLAIN: 300.0, KEYED: 5.0}
SHORTEST_S: Final = 5.0
"""Of all windows in which a dedup id is remembered."""
MARGIN_S: Final = 0.5


def declare_rich(broker: Broker, name: str) -> None:
    """Make one of `RICH`."""
    broker.queue(name, visibility_timeout=FIXED_S, **RICH[name])


@dataclass
class Again:
    """What was put under a dedup id, to be put again: the body's name and size, since when."""

    dedup: str
    name: str
    size_bytes: int
    since_ns: int


@dataclass
class Names:
    """Names for bodies, the same in each run, and what may be put again.

    Attributes:
        again: by queue, or by topic and routing key.
    """

    again: dict[str, list[Again]] = field(default_factory=dict)
    _numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    def __next__(self) -> str:
        return f"m{next(self._numbers):07d}"

    def published(self) -> str:
        """A name for a body that goes to many queues."""
        return f"{PUBLISHED}{next(self._numbers):07d}"

    def young(self, place: str, now_ns: int, window_s: float) -> list[Again]:
        """What was put there so short a time ago that it must be known still."""
        oldest_ns = now_ns - int((window_s - MARGIN_S) * 1e9)
        kept = [again for again in self.again.get(place, []) if again.since_ns >= oldest_ns]
        self.again[place] = kept
        return kept
