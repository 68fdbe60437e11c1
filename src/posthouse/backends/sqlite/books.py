"""What a transaction works with: the queues' rows, ids, tokens, the time, and what is due next.

One for each open broker, used in its writer's thread only. What it knows of the database is exact
from `open` on: rows that another process may have changed are read again.
"""

from __future__ import annotations

import sqlite3
from array import array
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final

from posthouse.backends.sqlite.rows import NUMBERS, QueueRow, numbers_of, read_policy, tallies_of
from posthouse.backends.sqlite.yields import Yields
from posthouse.clock import Clock
from posthouse.core.router import Router
from posthouse.errors import BadArgument
from posthouse.model import FOREVER_NS, NANOSECONDS, QueuePolicy

TOKEN_BITS: Final = 40
MOST_ARRIVED: Final = 1000
STANDSTILL_NS: Final = NANOSECONDS

OPEN: Final = """SELECT last_id, last_ns, skew_ns, shape, writer,
    (SELECT group_concat(number) FROM holder),
    (SELECT min(deadline_ns) FROM lease),
    (SELECT min(due_ns) FROM message WHERE state > 2),
    (SELECT min(expires_ns) FROM message WHERE expires_ns > 0 AND state <> 2)
    FROM broker"""
_FLUSH_QUEUE: Final = (
    f"UPDATE queue SET {', '.join(f'{name} = ?' for name in NUMBERS)} WHERE number = ?"
)
_READ_QUEUE: Final = f"SELECT {', '.join(NUMBERS)} FROM queue WHERE number = ?"
_READ_QUEUES: Final = f"SELECT number, name, policy, {', '.join(NUMBERS)} FROM queue"
_FLUSH: Final = """UPDATE broker
    SET last_id = ?, last_ns = ?, skew_ns = ?, shape = ?, writer = ?"""


class Feeding:
    """What an iterator of this process has set aside, shared with its thread.

    Either side takes from its own end of ``stock``: the iterator the first, the writer the last.
    """

    __slots__ = ("stock", "token")

    def __init__(self) -> None:
        self.stock: deque[tuple[Any, int]] = deque()
        self.token = 0


class Books:
    """See the module.

    Attributes:
        db: the connection, inside a transaction between `open` and `flush`.
        now_ns: the time of the transaction; it never goes back, in any process.
        next_ns: when something is due next, at the earliest.
        by_name: all queues.
        leases: of this holder: token -> id -> (size, line) of what is held.
        feeds: what iterators of this process have set aside, by queue number.
        peers: the numbers of the other open brokers.
        retrying: queues whose rate refused a take; see `QueueRow.retry_ns`.
        shut: the queues whose handle was shut down in this process.
    """

    def __init__(
        self,
        db: sqlite3.Connection,
        holder: int,
        clock: Clock,
        chance: Callable[[], float],
        yields: Yields,
    ) -> None:
        self.db = db
        self.execute = db.execute
        self.holder = holder
        self.clock = clock
        self.chance = chance
        self.yields = yields
        self.router = Router()
        self.by_name: dict[str, QueueRow] = {}
        self.by_number: dict[int, QueueRow] = {}
        self.leases: dict[int, dict[int, tuple[int, str | None]]] = {}
        self.feeds: dict[int, list[Feeding]] = {}
        self.peers: list[int] = []
        self.shut: set[str] = set()
        self.retrying: set[QueueRow] = set()
        self.touched: list[QueueRow] = []
        self.now_ns = self.next_ns = self.skew_ns = self.last_id = 0
        self._holders: str | None = None
        self._generation = 0
        self._shape = -1
        self._shape_changed = self._changed = False
        self._tokens = holder << TOKEN_BITS

    # a transaction

    def open(self) -> bool:
        """Read what may have changed; whether something is due. Inside BEGIN IMMEDIATE."""
        row = self.execute(OPEN).fetchone()
        self.last_id, last_ns, self.skew_ns, shape, writer, holders = row[:6]
        self.now_ns = self.clock.now_ns() + self.skew_ns
        if self.now_ns < last_ns:
            # By a little: time stands still. By more: the clock was set back, for all processes
            # alike, and time goes on from where it was.
            if last_ns - self.now_ns > STANDSTILL_NS:
                self.skew_ns += last_ns - self.now_ns
            self.now_ns = last_ns
        if holders != self._holders:
            self._holders = holders
            numbers = map(int, holders.split(",")) if holders else ()
            self.peers = [number for number in numbers if number != self.holder]
        self._changed = self._shape_changed = False
        if shape != self._shape:
            self._load(shape)
        elif writer != self.holder:
            self._generation += 1
        self.next_ns = min(value for value in (*row[6:], FOREVER_NS) if value is not None)
        return self.next_ns <= self.now_ns

    def due_again(self) -> bool:
        """Look again when something is due; whether it is already."""
        row = self.execute(OPEN).fetchone()
        self.next_ns = min(value for value in (*row[6:], FOREVER_NS) if value is not None)
        return self.next_ns <= self.now_ns

    def flush(self) -> None:
        """Write what changed; before COMMIT."""
        dirty = [row for row in self.touched if row.dirty]
        for row in dirty:
            self.execute(_FLUSH_QUEUE, (*numbers_of(row), row.number))
            row.dirty = False
        if self._shape_changed:
            self._shape += 1
        if dirty or self._changed or self._shape_changed:
            self.execute(
                _FLUSH, (self.last_id, self.now_ns, self.skew_ns, self._shape, self.holder)
            )

    def rolled_back(self) -> None:
        """Nothing of the transaction happened: know nothing of it either."""
        self._shape = -1
        for row in self.touched:
            row.dirty = row.stirred = False
        self.touched = []
        held = self.execute("SELECT token, ids FROM lease WHERE holder = ?", (self.holder,))
        self.leases.clear()
        for token, ids in held.fetchall():
            self.leases[token] = dict(self.held_under(token, unpack(ids)))

    def _load(self, shape: int) -> None:
        self._generation += 1
        self._shape = shape
        known = self.by_name
        self.by_name, self.by_number = {}, {}
        for number, name, policy, *numbers in self.execute(_READ_QUEUES).fetchall():
            row = known.get(name)
            if row is None:
                row = QueueRow(number, name, read_policy(policy))
            elif write_differs(row, policy):
                row.set_policy(read_policy(policy))
                self.stir(row)
            row.load(tuple(numbers))
            row.fresh = self._generation
            self.by_name[name] = self.by_number[number] = row
        self.router = Router()
        for topic, queue, pattern in self.execute("SELECT * FROM binding").fetchall():
            self.router.bind(topic, queue, pattern)

    def touch_all(self) -> None:
        """Let all queues be seen by those who look at what was last seen."""
        self.touched = list(self.by_name.values())

    def baseline(self) -> None:
        """From here on the tallies count."""
        for row in self.by_name.values():
            row.opened_with = tallies_of(row)

    # queues

    def find(self, name: str) -> QueueRow | None:
        """The queue of that name, its numbers exact; None if there is none."""
        row = self.by_name.get(name)
        if row is not None and row.fresh != self._generation:
            self._refresh(row)
        return row

    def named(self, name: str) -> QueueRow:
        """The queue of that name, which was declared. Raises BadArgument if that failed."""
        row = self.find(name)
        if row is None:
            raise BadArgument(f"queue {name!r} could not be declared; see the log")
        return row

    def row(self, number: int) -> QueueRow:
        """The queue of that number, its numbers exact."""
        row = self.by_number[number]
        if row.fresh != self._generation:
            self._refresh(row)
        return row

    def _refresh(self, row: QueueRow) -> None:
        row.load(self.execute(_READ_QUEUE, (row.number,)).fetchone())
        row.fresh = self._generation

    def add(self, name: str, policy: QueuePolicy, text: str) -> QueueRow:
        """Make a queue."""
        (number,) = self.execute(
            "INSERT INTO queue (name, policy) VALUES (?, ?) RETURNING number", (name, text)
        ).fetchone()
        row = QueueRow(number, name, policy)
        row.fresh = self._generation
        self.by_name[name] = self.by_number[number] = row
        self.reshaped()
        return row

    def reshaped(self) -> None:
        """Queues, policies or bindings changed: the others have to read them again."""
        self._shape_changed = True

    def changed(self) -> None:
        """Something was written that is in no queue's numbers."""
        self._changed = True

    def touch(self, row: QueueRow, *, stir: bool = True) -> None:
        """The queue's numbers changed; ``stir``: in a way that somebody may wait for."""
        if not row.dirty and not row.stirred:
            self.touched.append(row)
        row.dirty = True
        row.stirred = row.stirred or stir

    def stir(self, row: QueueRow) -> None:
        """Whoever waits on this queue has to look again, at everything."""
        if not row.dirty and not row.stirred:
            self.touched.append(row)
        row.stirred = True
        row.arrived = None

    @staticmethod
    def arrive(row: QueueRow, ids: Iterable[int], count: int = 1) -> None:
        """Messages became free to take."""
        if row.arrived is not None:
            if len(row.arrived) + count > MOST_ARRIVED:
                row.arrived = None
            else:
                row.arrived.extend(ids)

    # numbers

    def next_ids(self, count: int = 1) -> int:
        """The first of so many consecutive new ids: the time, made unique and growing."""
        first = max(self.last_id + 1, self.now_ns)
        self.last_id = first + count - 1
        self._changed = True
        return first

    def next_token(self) -> int:
        """A new fencing token."""
        self._tokens += 1
        return self._tokens

    def expect(self, at_ns: int) -> None:
        """Something is due then."""
        self.next_ns = min(self.next_ns, at_ns)

    def held_under(self, token: int, ids: list[int]) -> list[tuple[int, tuple[int, str | None]]]:
        """Which of these a lease holds: (id, (size, line))."""
        found = []
        for first, last in runs(ids):
            rows = self.execute(
                "SELECT id, size, line FROM message WHERE id BETWEEN ? AND ? AND token = ?",
                (first, last, token),
            )
            found += [(number, (size, line)) for number, size, line in rows]
        return found


def write_differs(row: QueueRow, text: str) -> bool:
    """Whether the text is another policy than the row's."""
    return read_policy(text) != row.policy


def runs(ids: list[int]) -> list[tuple[int, int]]:
    """Numbers as runs of consecutive ones, first and last; a batch's ids are few of them."""
    if len(ids) == 1:
        return [(ids[0], ids[0])]
    if ids and ids[-1] - ids[0] == len(ids) - 1 and ids == list(range(ids[0], ids[-1] + 1)):
        return [(ids[0], ids[-1])]
    found: list[tuple[int, int]] = []
    for number in sorted(ids):
        if found and number == found[-1][1] + 1:
            found[-1] = (found[-1][0], number)
        else:
            found.append((number, number))
    return found


def pack(ids: list[int]) -> bytes:
    """Ids as bytes."""
    return array("q", ids).tobytes()


def unpack(data: bytes) -> list[int]:
    """Bytes as ids."""
    numbers = array("q")
    numbers.frombytes(data)
    return numbers.tolist()
