"""The end of a life of the broker: what it takes along, and what it leaves open."""

from __future__ import annotations

from posthouse.testing.judging.board import Board
from posthouse.testing.judging.fate import Fate
from posthouse.testing.trace import Restarted


class Lives:
    """Judges restarts."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def restarted(self, event: Restarted) -> None:
        """The broker was closed, or its process ended, or the machine."""
        board = self._board
        board.life += 1
        board.born = board.position
        if event.kind != "close":
            for queue, takers in board.takers.items():
                if takers > 0:
                    self._cut_off(queue)
        board.takers.clear()
        board.iterators.clear()
        for fate in board.fates.values():
            if event.kind == "close":
                self._closed(fate, event.at_ns)
            else:
                self._died(fate, lost_ring=event.kind == "crash")
            fate.soft.clear()
            fate.held = False
        board.settled.clear()
        board.ends_ns.clear()
        # A timer of the new life may let what was delayed be seen a little later.
        for waiting in board.waiting.values():
            for fate in [fate for fate in waiting.values() if fate.due_ns != 0]:
                del waiting[fate.id]

    def _cut_off(self, queue: str) -> None:
        """A taker of the queue was cut off: deliveries may have been counted that nobody saw."""
        board = self._board
        board.cut_off[queue] = board.cut_off.get(queue, 0) + 1
        for fate in board.fates.values():
            if fate.held or fate.gone in ("yes", "for ever") or queue not in fate.where:
                continue
            where = board.policies.failed(queue, fate.where[queue][1])
            fate.may_be_in(where, None if queue in where else board.position)
            if not where:
                fate.may_be_gone(0)
            if queue not in where:
                board.waits_not(fate)

    def _closed(self, fate: Fate, at_ns: int | None) -> None:
        if fate.gone == "yes":
            fate.gone = "for ever"
        if not fate.held:
            return
        # Given back, the attempt not counted, unless the lease had run out.
        given_back = {fate.queue: (fate.attempts, fate.attempts)}
        ends_ns = self._board.ends_ns.get(fate.token)
        if ends_ns is not None and at_ns is not None and at_ns < ends_ns and not fate.settling:
            fate.where = given_back
        else:
            fate.may_be_in(given_back)

    def _died(self, fate: Fate, *, lost_ring: bool) -> None:
        board = self._board
        if fate.gone == "yes":
            fate.gone = "maybe"
        undone = list(fate.soft)
        if fate.held:
            undone.append((fate.queue, fate.attempts))
        for queue, attempts in undone:
            # As if that settlement had never been: the delivery ended with its process.
            where = board.policies.failed(queue, attempts)
            fate.may_be_in(where, None if queue in where else board.position)
            if not where:
                fate.may_be_gone(0)
            if lost_ring:
                fate.may_be_in({queue: (1, min(attempts + 1, board.policies.most(queue)))})
        if fate.soft:
            board.waits_not(fate)
            fate.due_ns = 0
        if lost_ring:
            fate.where = {queue: (1, high) for queue, (_, high) in fate.where.items()}
