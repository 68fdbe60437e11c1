"""A delivery, against what the history allows: token, holder, attempt, delay, place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from posthouse.model import NANOSECONDS
from posthouse.testing.judging.board import Board
from posthouse.testing.judging.fate import NEVER, Fate
from posthouse.testing.judging.places import held_back, passed_over
from posthouse.testing.judging.rates import Rates
from posthouse.testing.judging.turns import Turns
from posthouse.testing.trace import Delivered

LATE_NS: Final = NANOSECONDS // 10
"""The engine may let a due message be seen a timer's step late; before that it is not missed."""


class Deliveries:
    """Judges deliveries."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._rates = Rates(board)
        self._turns = Turns(board)

    def restarted(self) -> None:
        """Another life begins."""
        self._rates.restarted()

    def delivered(self, event: Delivered) -> None:
        """A message was handed out."""
        board = self._board
        fate = board.sighted(event.queue, event.body, event.id)
        if fate is None:
            return
        name = f"{event.body!r} of queue {event.queue!r}"
        if event.token <= fate.token:
            board.say(f"{name} was delivered with token {event.token} after {fate.token}")
        self._check_holder(fate, event, name)
        self._check_attempts(fate, event, name)
        self._check_time(fate, event, name)
        self._check_key(fate, event, name)
        self._check_in_flight(fate, event, name)
        self._check_order(fate, event, name)
        self._turns.delivered(fate, event)
        self._rates.delivered(event, fate.key)
        board.waits_not(fate)
        self._deliver(fate, event)

    def _deliver(self, fate: Fate, event: Delivered) -> None:
        board = self._board
        if event.queue != (fate.queue or fate.home):
            fate.native = False
        fate.token, fate.queue, fate.attempts = event.token, event.queue, event.attempts
        fate.version += 1
        fate.life = board.life
        fate.held = True
        fate.settling = 0
        fate.due_ns = 0
        fate.where = board.policies.failed(event.queue, event.attempts)
        for queue in fate.where:
            if queue != event.queue:
                fate.arrived[queue] = (board.position, NEVER)
        if event.queue == fate.home and board.policies.drops(fate.home):
            fate.fleeting = True  # again, if it was redriven
        if not fate.where or fate.fleeting:
            fate.may_be_gone(0)
        if event.lease_s is not None and event.at_ns is not None:
            ends_ns = event.at_ns + int(event.lease_s * NANOSECONDS)
            board.ends_ns[event.token] = ends_ns
        for queue in list(fate.where):
            board.arrives(queue, fate)

    def _check_time(self, fate: Fate, event: Delivered, name: str) -> None:
        board = self._board
        if event.at_ns is not None and fate.due_ns and event.at_ns < fate.due_ns:
            early_s = (fate.due_ns - event.at_ns) / NANOSECONDS
            board.say(f"{name} was delivered {early_s:.6f} s before its delay was over")
        first = not fate.version and event.queue == fate.home
        # As for delays: a message may be taken in the turns after a standstill.
        if first and fate.expires_ns and board.before_ns > fate.expires_ns + LATE_NS:
            board.say(f"{name} was delivered, though it had waited too long")

    def _check_key(self, fate: Fate, event: Delivered, name: str) -> None:
        most = self._board.policies.max_in_flight_per_key(event.queue)
        if fate.key is None or fate.vague or most is None:
            return
        held = [
            other.body
            for other in self._held(event)
            if other.key == fate.key and other is not fate and not other.vague
        ]
        if len(held) >= most:
            which = " and ".join(map(repr, held))
            self._board.say(f"{name} was delivered while {which} of its key was held")

    def _check_in_flight(self, fate: Fate, event: Delivered, name: str) -> None:
        most = self._board.policies.max_in_flight(event.queue)
        if most is not None:
            held = sum(other is not fate for other in self._held(event))
            if held >= most:
                self._board.say(f"{name} was delivered while {held} were held; the limit is {most}")

    def _held(self, event: Delivered) -> Iterator[Fate]:
        """What is certainly held of the delivery's queue, before it."""
        for fate in self._board.fates.values():
            if fate.queue == event.queue and self._holds(fate, event):
                yield fate

    def _holds(self, fate: Fate, event: Delivered) -> bool:
        """Whether the newest delivery of a message certainly has its lease still."""
        if not fate.held or fate.settling:
            return False
        if self._board.policies.leases_last:
            return True
        return event.at_ns is not None and event.at_ns < self._board.ends_ns.get(fate.token, 0)

    def _check_holder(self, fate: Fate, event: Delivered, name: str) -> None:
        if not self._holds(fate, event):
            return
        board = self._board
        ends_ns = board.ends_ns.get(fate.token)
        left = ""
        if ends_ns is not None and event.at_ns is not None:
            left = f" {(ends_ns - event.at_ns) / NANOSECONDS:.6f} s more"
        board.say(f"{name} has two holders: its last lease runs{left}")

    def _check_attempts(self, fate: Fate, event: Delivered, name: str) -> None:
        board = self._board
        low, high = fate.where.get(event.queue, (1, 1 << 30))
        if not low <= event.attempts <= high:
            right = str(low) if low == high else f"from {low} to {high}"
            board.say(f"{name} was delivered as attempt {event.attempts}; it must be {right}")
        most = board.policies.most(event.queue)
        if event.attempts > most and board.policies.dead(event.queue) != event.queue:
            board.say(f"{name} was delivered as attempt {event.attempts}; the limit is {most}")

    def _check_order(self, fate: Fate, event: Delivered, name: str) -> None:
        board, queue = self._board, event.queue
        policies = board.policies
        # By the time of two turns ago: after a standstill, consumers may run before timers.
        due_ns = board.before_ns - LATE_NS
        # An iterator may have set some aside; in a line of their key they stay.
        aside = bool(board.iterators.get(queue))
        for other in board.waiting.get(queue, {}).values():
            if aside and (other.key is None or not policies.lined(queue)):
                continue
            if not other.due_ns or other.due_ns < due_ns:
                before = passed_over(policies, queue, other, fate)
            else:
                before = held_back(policies, queue, other, fate)
            if before:
                board.say(f"{name} was delivered before {other.body!r}, which waits before it")
                return
