"""The queues that every life uses, and those with more to them, with their policies."""

from __future__ import annotations

from random import Random
from typing import Any, Final

from posthouse import Broker, Queue, Retry
from posthouse.testing.judging.policies import Order

MAX_ATTEMPTS: Final = {"a": 3, "b": 2, "c": 3, "a.dead": 5}
DEAD: Final[dict[str, str | None]] = {"a": "a.dead", "b": None, "c": "a.dead", "a.dead": "a.dead"}
BOUND: Final = 40
_RETRY_S: Final = 0.001

URGENT, STACK, FAIR, NARROW = "urgent", "stack", "fair", "narrow"
MORTAL, BRIEF, FLEET = "mortal", "brief", "fleet"
BOX, OTHER = "box", "box2"
RICH: Final[dict[str, dict[str, Any]]] = {
    URGENT: {"order": "priority"},
    STACK: {"order": "lifo"},
    FAIR: {"fair": True},
    NARROW: {"max_in_flight": 3},
    MORTAL: {"ttl": 0.01, "expired": "dead_letter"},
    BRIEF: {"ttl": 0.01, "expired": "drop"},
    FLEET: {"max_messages": 5, "overflow": "drop_oldest"},
    BOX: {},
    OTHER: {},
}
"""Between the last two messages are moved. What dies in them goes where it does for ``a``."""
MOST_ATTEMPTS: Final = 3
ORDER: Final[dict[str, Order]] = {URGENT: "priority", STACK: "lifo", FAIR: "fair"}
DROPS: Final = (MORTAL, BRIEF, FLEET)
MAX_IN_FLIGHT: Final = {NARROW: 3}
LEASE_S: Final = 120.0
"""Longer than any life."""


def draw_rich(random: Random) -> tuple[str, ...]:
    """Which of `RICH` there are, all lives long; often none."""
    if random.random() < 0.3:
        return ()
    chosen = random.sample([name for name in RICH if name != OTHER], random.choice([1, 2, 3]))
    return (*chosen, OTHER) if BOX in chosen else tuple(chosen)


def queues_of(broker: Broker, rich: tuple[str, ...] = ()) -> dict[str, Queue[str]]:
    """The queues of a life, with their policies; ``rich``: these of `RICH` as well."""

    def make(name: str, **more: Any) -> Queue[str]:
        most = MAX_ATTEMPTS.get(name, MOST_ATTEMPTS)
        retry = Retry(most, "fixed", first_s=_RETRY_S, jitter=False)
        dead = DEAD.get(name, "a.dead")
        if rich:
            more["visibility_timeout"] = LEASE_S
        return broker.queue(name, str, retry=retry, dead_letter=dead, **more)

    return {
        "a": make("a"),
        "b": make("b"),
        "c": make("c", max_messages=BOUND),
        **{name: make(name, **RICH[name]) for name in rich},
        "a.dead": make("a.dead"),
    }


def policies_of(rich: tuple[str, ...]) -> dict[str, Any]:
    """What a history has to know of them; see `History.problems`."""
    return {
        "max_attempts": MAX_ATTEMPTS | dict.fromkeys(rich, MOST_ATTEMPTS),
        "dead": DEAD | dict.fromkeys(rich, "a.dead"),
        "drops": [name for name in DROPS if name in rich],
        "max_in_flight": MAX_IN_FLIGHT,
        "order": ORDER,
        "leases_last": bool(rich),
    }
