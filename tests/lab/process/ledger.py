"""The witness's ledger: reports in, a `History` out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from posthouse.testing.history import History, Operation
from tests.lab.process.queues import policies_of


class Ledger:
    """Writes down what a life reports; ``rich`` are the queues that it has of `queues.RICH`.

    Attributes:
        rich: these.
        history: what was written.
        reports: how many there were.
    """

    def __init__(self, rich: tuple[str, ...] = ()) -> None:
        self.rich = rich
        self.history = History()
        self.reports = 0
        self._running: dict[int, Operation] = {}
        history = self.history
        self._starts: dict[str, Callable[..., Operation]] = {
            "put": self._put,
            "settle": history.settle_started,
            "transaction": self._transaction,
            "purge": history.purged_started,
            "redrive": history.redrive_started,
            "move": history.move_started,
            "delay": history.delay_started,
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

    def _put(
        self,
        queue: str,
        keys: list[str],
        delay_s: float | None = None,
        options: dict[str, Any] | None = None,
    ) -> Operation:
        given = dict(options or {})
        ttl_s = given.pop("ttl", None)
        return self.history.put_started(queue, keys, delay_s, ttl_s=ttl_s, **given)

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
        return self.history.problems(**policies_of(self.rich))
