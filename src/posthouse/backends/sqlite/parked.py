"""Calls that wait for something to happen in a queue, in order, inside the writer.

They are tried again in the same transaction that may help them: a put and the get that waits for
it are one commit, and a long line for room is through in one. Room is given in the order of
asking; nobody overtakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.op import Op
from posthouse.backends.sqlite.rows import QueueRow
from posthouse.errors import QueueShutDown

Try = Callable[[Op], bool]
_KINDS: Final = {"room": 0, "message": 1, "match": 1, "end": 2}


def shut_down_error(name: str) -> QueueShutDown:
    """What a handle that was shut down raises."""
    return QueueShutDown(f"queue {name!r} was shut down in this process")


class Parked:
    """Who waits, by queue."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[list[Op], list[Op], list[Op]]] = {}
        self._new: list[Op] = []
        self._looked: set[str] = set()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def names(self) -> list[str]:
        """The queues on which somebody waits."""
        return list(self._waiting)

    def __contains__(self, name: str) -> bool:
        return name in self._waiting

    def add(self, op: Op) -> None:
        """Let it wait."""
        assert op.wants is not None
        if op.parked_in == op.queue:
            return
        self._waiting.setdefault(op.queue, ([], [], []))[_KINDS[op.wants]].append(op)
        if not op.parked_in:
            self._new.append(op)
        op.parked_in = op.queue
        self._looked.add(op.queue)

    def is_line(self, name: str) -> bool:
        """Whether somebody stands in line for room there."""
        return any(_waits(op, name) for op in self._waiting.get(name, ((),))[0])

    def serve(self, books: Books, row: QueueRow, attempt: Try) -> None:
        """Something changed in a queue: who waits may go on."""
        self._looked.add(row.name)
        room, takes, ends = self._waiting.get(row.name, ((), (), ()))
        for op in list(room):
            if _waits(op, row.name):
                op.ahead = False
                if not attempt(op):
                    break
        blocked = False
        for op in list(takes):
            if not _waits(op, row.name) or (blocked and op.wants == "message"):
                continue
            if not attempt(op):
                blocked = blocked or op.wants == "message"
        if not row.live:
            for op in list(ends):
                if _waits(op, row.name):
                    attempt(op)
        if row.name in books.shut and row.waiting <= 0:
            self.fail(row.name, shut_down_error(row.name), attempt, takes=True)

    def fail(
        self, name: str, error: BaseException, attempt: Try, *, room: bool = False, takes: bool
    ) -> None:
        """Tell those who wait there that it is in vain."""
        self._looked.add(name)
        lists = self._waiting.get(name, ((), (), ()))
        for op in [*(lists[0] if room else ()), *(lists[1] if takes else ())]:
            if _waits(op, name):
                op.error = error
                attempt(op)

    def all(self) -> Iterator[Op]:
        """All who wait."""
        for name, lists in self._waiting.items():
            for ops in lists:
                yield from (op for op in ops if _waits(op, name))

    def committed(self) -> list[str]:
        """What was answered is known for good; the queues where a taker has begun to wait."""
        wanting = [op.queue for op in self._new if op.wants in ("message", "match")]
        self._new.clear()
        looked, self._looked = self._looked, set()
        for name in looked & self._waiting.keys():
            lists = self._waiting[name]
            for ops in lists:
                ops[:] = [op for op in ops if _waits(op, name)]
            if not any(lists):
                del self._waiting[name]
        return wanting

    def rolled_back(self) -> None:
        """Who came in this transaction was never here."""
        new, self._new = set(self._new), []
        for op in new:
            for ops in self._waiting.get(op.parked_in, ()):
                ops[:] = [each for each in ops if each is not op]
            op.parked_in = ""
        self.committed()


def _waits(op: Op, name: str) -> bool:
    return op.queue == name and not op.answered and not op.cancelled
