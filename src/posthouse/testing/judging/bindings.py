"""Bindings of queues to topics: what is known of each, and whether a look agrees."""

from __future__ import annotations

from typing import TypeAlias

from posthouse.testing.judging.board import Board
from posthouse.testing.trace import Bindings, BindStarted, Ended

Name: TypeAlias = "tuple[str, str, str]"
"""Topic, queue, pattern."""


class Binding:
    """What may be true of one binding: that it is there, that it is not, or both.

    A call takes effect in the step in which it begins, so the one that began last has the last
    word, as soon as it is done. One that was cut off leaves both open.
    """

    __slots__ = ("before", "last", "maybe", "under")

    def __init__(self) -> None:
        self.maybe = {False}
        self.before = {False}
        self.under: set[int] = set()
        self.last = 0

    def begins(self, op: int, bound: bool) -> None:
        """A call that makes or ends it is under way."""
        if not self.under:
            self.before = set(self.maybe)
        self.under.add(op)
        self.last = op
        self.maybe.add(bound)

    def ended(self, event: Ended, bound: bool) -> None:
        """It returned or raised."""
        self.under.discard(event.op)
        if event.outcome == "done" and event.op == self.last:
            self.maybe = {bound}
        elif event.outcome == "failed" and not self.under and event.op == self.last:
            self.maybe = set(self.before)


class BindingsJudge:
    """Judges bindings."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self._known: dict[Name, Binding] = {}

    def started(self, event: BindStarted) -> None:
        """A binding is being made or ended."""
        self._board.start(event)
        name = (event.topic, event.queue, event.pattern)
        self._known.setdefault(name, Binding()).begins(event.op, event.bound)

    def ended(self, event: BindStarted, end: Ended) -> None:
        """The call returned or raised."""
        self._known[event.topic, event.queue, event.pattern].ended(end, event.bound)

    def cut_off(self) -> None:
        """A life is over: what was under way never ends."""
        for binding in self._known.values():
            binding.under.clear()

    def looked(self, event: Bindings) -> None:
        """These are all the bindings of a topic."""
        found = {(event.topic, queue, pattern) for queue, pattern in event.found}
        for name in found - self._known.keys():
            self._board.say(f"unexpected: {_words(name)}, which nobody bound")
        for name, binding in self._known.items():
            if name[0] != event.topic:
                continue
            there = name in found
            if there not in binding.maybe:
                what = "though it was unbound" if there else "though it was bound"
                self._board.say(f"{_words(name)} {'is' if there else 'is not'} there, {what}")
            if not binding.under:
                binding.maybe = {there}


def _words(name: Name) -> str:
    topic, queue, pattern = name
    return f"the binding of queue {queue!r} to topic {topic!r} by {pattern!r}"
