"""A history to be written by hand, and the two lists of histories: broken, and fine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from posthouse.model import NANOSECONDS
from posthouse.testing.history import History
from posthouse.testing.judging.policies import Order

Q = "q"
DEAD = "q.dead"
STACK, URGENT, FAIR, SHARED = "stack", "urgent", "fair", "shared"
FREE, PACED, SLOW = "free", "paced", "slow"
ORDER: dict[str, Order] = {STACK: "lifo", URGENT: "priority", FAIR: "fair", SHARED: "keys"}
POLICIES: dict[str, Any] = {
    "order": ORDER,
    "max_in_flight_per_key": {FREE: None},
    "rate": {PACED: "2/s"},
    "rate_per_key": {SLOW: "1/s"},
}
A, B, C = "0000000000000001", "0000000000000002", "0000000000000003"


class Run(History):
    """A history with a clock to move, and short forms of its verbs."""

    def __init__(self) -> None:
        self.now_s = 0.0
        super().__init__(lambda: int(self.now_s * NANOSECONDS))

    def put(self, body: str, message_id: str, delay_s: float | None = None) -> None:
        self.put_started(Q, [body], delay_s).done([message_id])

    def got(
        self,
        body: str,
        message_id: str,
        token: int,
        attempts: int = 1,
        queue: str = Q,
        lease_s: float | None = None,
    ) -> None:
        self.delivered(queue, message_id, body, token, attempts, lease_s)

    def settle(
        self, verb: str, message_id: str, token: int, queue: str = Q, **more: object
    ) -> None:
        self.settle_started(verb, queue, message_id, token, **more).done()  # type: ignore[arg-type]

    def left(
        self, *found: tuple[str, str, int], dead: tuple[tuple[str, str, int], ...] = ()
    ) -> None:
        self.remaining(Q, found)
        self.remaining(DEAD, dead)

    def complaints(self, most: int = 3, dead: str | None = DEAD) -> list[str]:
        return self.problems(max_attempts={Q: most}, dead={Q: dead}, **POLICIES)


Script = Callable[[Run], None]


def started(run: Run, lease_s: float | None = None) -> None:
    """A message put and delivered once."""
    run.put("a", A)
    run.got("a", A, 1, lease_s=lease_s)


BROKEN: dict[str, tuple[str, Script]] = {}
"""By name: what the judge must say, and the history."""
FINE: dict[str, Script] = {}


def broken(what: str) -> Callable[[Script], Script]:
    def keep(script: Script) -> Script:
        BROKEN[script.__name__] = (what, script)
        return script

    return keep


def fine(script: Script) -> Script:
    FINE[script.__name__] = script
    return script
