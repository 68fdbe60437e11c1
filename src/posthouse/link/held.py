"""The deliveries that a client holds, as far as it knows."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from posthouse.model import NANOSECONDS

GRACE_S: Final = 5.0


class Held:
    """One delivery: ``left`` of its messages are not settled."""

    __slots__ = ("deadline_s", "lease_ns", "left", "queue", "settled")

    def __init__(self, queue: str, lease_ns: int, left: int) -> None:
        self.queue = queue
        self.lease_ns = lease_ns
        self.deadline_s = time.monotonic() + lease_ns / NANOSECONDS
        self.left = left
        self.settled: set[int] | None = None


class Holdings:
    """All deliveries, by token. One thread changes it; another may take a snapshot.

    ``first`` is called when one comes and there was none.
    """

    __slots__ = ("_first", "_prune_at", "by_token")

    def __init__(self, first: Callable[[], None]) -> None:
        self._first = first
        self.by_token: dict[int, Held] = {}
        self._prune_at = 1000

    def add(self, token: int, queue: str, lease_ns: int, count: int) -> None:
        """A delivery came."""
        first = not self.by_token
        self.by_token[token] = Held(queue, lease_ns, count)
        if first:
            self._first()
        if len(self.by_token) > self._prune_at:
            self.prune()
            self._prune_at = 2 * len(self.by_token) + 1000

    def prune(self) -> None:
        """Forget what ran out a while ago: until then the server may hold it for us still."""
        now_s = time.monotonic() - GRACE_S
        over = [token for token, held in self.by_token.items() if held.deadline_s < now_s]
        for each in over:
            del self.by_token[each]

    def settle(self, token: int, ids: list[int]) -> None:
        """Messages of it were settled."""
        held = self.by_token.get(token)
        if held is None:
            return
        if held.left <= len(ids):
            del self.by_token[token]
            return
        held.left -= len(ids)
        if held.settled is None:
            held.settled = set()
        held.settled.update(ids)

    def holds(self, token: int, message_id: int) -> bool:
        """Whether the message may still be held."""
        held = self.by_token.get(token)
        if held is None or held.deadline_s < time.monotonic():
            return False
        return held.settled is None or message_id not in held.settled

    def extended(self, token: int, lease_ns: int) -> None:
        """Its lease runs so long from now."""
        held = self.by_token.get(token)
        if held is not None:
            held.lease_ns = lease_ns
            held.deadline_s = time.monotonic() + lease_ns / NANOSECONDS

    def drop(self, token: int) -> None:
        """It is lost."""
        self.by_token.pop(token, None)

    def snapshot(self) -> list[tuple[str, int, int]]:
        """What has not run out: (queue, token, length of its lease)."""
        now_s = time.monotonic()
        # Not list(items()): that makes tuples, so the garbage may be collected within, and then
        # other Python runs, and changes it. A copy is made in one step.
        return [
            (held.queue, token, held.lease_ns)
            for token, held in self.by_token.copy().items()
            if held.deadline_s >= now_s
        ]

    def known(self) -> list[tuple[str, int, int]]:
        """The same with what has run out, whose length is then 0: it did come."""
        now_s = time.monotonic()
        return [
            (held.queue, token, held.lease_ns if held.deadline_s >= now_s else 0)
            for token, held in self.by_token.copy().items()
        ]
