"""The witness's ledger: reports in, a `History` out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from posthouse.testing.history import History, Operation
from tests.lab.process.life import DEAD, MAX_ATTEMPTS


class Ledger:
    """Writes down what a life reports.

    Attributes:
        history: what was written.
        reports: how many there were.
    """

    def __init__(self) -> None:
        self.history = History()
        self.reports = 0
        self._running: dict[int, Operation] = {}
        history = self.history
        self._starts: dict[str, Callable[..., Operation]] = {
            "put": history.put_started,
            "settle": history.settle_started,
            "transaction": self._transaction,
            "purge": history.purged_started,
            "bind": history.bind_started,
        }

    def take(self, word: str, *fields: Any) -> None:
        """Write down one report.

        Raises:
            ValueError: it is none.
        """
        self.reports += 1
        if word in self._starts:
            self._running[fields[0]] = self._starts[word](*fields[1:])
        elif word == "done":
            self._running.pop(fields[0]).done(fields[1])
        elif word == "failed":
            self._running.pop(fields[0]).failed(fields[1])
        elif word == "unknown":
            self._running.pop(fields[0]).unknown(fields[1])
        elif word == "got":
            self.history.delivered(*fields)
        elif word == "iterating":
            self.history.iterating(*fields)
        elif word == "taking":
            self.history.taking(*fields)
        elif word == "bindings":
            self.history.bindings(fields[0], [(queue, pattern) for queue, pattern in fields[1]])
        elif word == "left":
            self.history.remaining(fields[0], [tuple(row) for row in fields[1]])
        elif word != "opened":
            raise ValueError(f"{word!r} is no report")

    def _transaction(self, settles: list[list[Any]], puts: list[list[str]]) -> Operation:
        return self.history.transaction_started(
            [(verb, queue, message_id, token) for verb, queue, message_id, token in settles],
            [(queue, key) for queue, key in puts],
        )

    def life_over(self, killed: bool) -> None:
        """The process that reported is gone."""
        self._running.clear()
        self.history.restarted("kill" if killed else "close")

    def problems(self) -> list[str]:
        """What does not hold of what was promised; see `History.problems`."""
        return self.history.problems(max_attempts=MAX_ATTEMPTS, dead=DEAD)
