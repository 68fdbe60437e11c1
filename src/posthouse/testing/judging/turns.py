"""Turns in a fair queue: a key that waits comes before the second message of another one.

Each key's next message joins at the end of the round when the one before it is taken, or leaves.
So two things decide: since when another key's message certainly stands in the round, and since
when at the earliest this one can.
"""

from __future__ import annotations

from posthouse.testing.judging.board import Board
from posthouse.testing.judging.fate import NEVER, Fate
from posthouse.testing.trace import Delivered


class Turns:
    """Judges whose turn it is."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._last: dict[tuple[str, str | None], int] = {}

    def delivered(self, fate: Fate, event: Delivered) -> None:
        """A message was handed out; ``fate`` is as it was before."""
        board, queue = self._board, event.queue
        if board.policies.order(queue) != "fair" or fate.life == board.life:
            return  # what comes back has the next turn
        last = self._last.get((queue, fate.key), 0)
        self._last[queue, fate.key] = board.position
        native = fate.native and fate.home == queue
        if not native or fate.vague or board.iterators.get(queue):
            return
        joined = max(last, fate.arrival(queue)[0], board.born)
        rows: dict[str | None, list[Fate]] = {}
        for other in board.fates.values():
            if queue in (other.home, other.queue) or queue in other.where:
                rows.setdefault(other.key, []).append(other)
        for key, row in rows.items():
            if key == fate.key or any(other.vague for other in row):
                continue
            since = max(self._stands_since(queue, row), board.born)
            if since < joined:
                board.say(
                    f"{event.body!r} of queue {queue!r} was delivered in the turn of key {key!r}, "
                    f"which waits since event {since}; its own key was served at event {last}"
                )
                return

    def _stands_since(self, queue: str, row: list[Fate]) -> int:
        """Since which event a message of a key certainly stands in the round; NEVER: unknown.

        Only where all that is there of the key waits, and nothing of it is held or delayed.
        """
        waiting = self._board.waiting.get(queue, {})
        since, first = 0, NEVER
        for other in row:
            if other.id in waiting and not other.due_ns and other.put == "done":
                first = min(first, max(other.arrival(queue)[1], other.changed))
                if other.version:  # it was out, and held up the others of its key
                    since = max(since, other.changed)
            elif other.gone in ("yes", "for ever") or other.put == "failed":
                since = max(since, other.changed)
            else:
                return NEVER
        return max(since, first)
