"""Taking: leases, in the queue's order and within its limits.

A lease is one row, whatever the size of its delivery: the token, the deadline, and the ids. An
attempt is counted when its lease ends otherwise than by an ack or by being given back; so that a
process that dies with the message has counted it, since the lease is committed before the message
is seen. What an iterator sets aside is a lease too, which counts only what was yielded.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from posthouse.backends.sqlite import arrange, fields, leave
from posthouse.backends.sqlite.books import Books, pack, runs
from posthouse.backends.sqlite.op import NOT_YET, Op
from posthouse.backends.sqlite.rows import DELIVERY, MESSAGE, MessageRow, QueueRow, entry_of
from posthouse.backends.sqlite.schema import HELD
from posthouse.core.filters import Filter
from posthouse.records import Entry

_FROM: Final = "FROM message AS m {how} CROSS JOIN content AS c ON c.id = m.id"
_ID, _EXPIRES, _ATTEMPTS, _SIZE, _LINE, _KEY = 0, 8, 9, 10, 11, 6
HOLD: Final = f"UPDATE message SET state = {HELD}, token = ? WHERE id BETWEEN ? AND ?"
LEASE: Final = "INSERT INTO lease VALUES (?, ?, ?, ?, ?, ?)"


class Delivery(NamedTuple):
    """What was leased under one token; ``attempts`` None: 1 each."""

    token: int
    deadline_ns: int
    entries: list[Entry]
    attempts: list[int] | None


def query(queue: QueueRow, condition: str = "", *, by_id: bool = False) -> str:
    """The statement that finds what may be taken next."""
    how = "NOT INDEXED" if by_id else "INDEXED BY standing"
    return (
        f"SELECT {DELIVERY} {_FROM.format(how=how)} WHERE m.queue = :queue AND m.state = 0"
        f"{condition} ORDER BY {arrange.order_of(queue.policy)} LIMIT :most"
    )


class Taker:
    """One take: its limits, and what it has got so far."""

    def __init__(
        self, books: Books, queue: QueueRow, most: int, most_bytes: int, *, ahead: bool
    ) -> None:
        self._books = books
        self._queue = queue
        self._most = self._allowed(most)
        self._left_bytes = most_bytes
        self._ahead = ahead
        if ahead and not queue.policy.is_plain():
            self._most = min(self._most, 1)
        self._token = 0
        self._full = False
        self.rows: list[Any] = []

    def _allowed(self, most: int) -> int:
        queue, books = self._queue, self._books
        if queue.policy.max_in_flight is not None:
            most = min(most, queue.policy.max_in_flight - queue.held)
        if queue.rate is not None and most > 0:
            most = min(most, queue.rate.allowed(queue.rate_next_ns, books.now_ns))
            if most <= 0:
                queue.retry_ns = queue.rate.free_ns(queue.rate_next_ns)
                books.retrying.add(queue)
        return most

    def run(self, sql: str, parameters: dict[str, Any]) -> None:
        """Hold what the query finds, and what steps out of lines meanwhile."""
        step = self._most
        while len(self.rows) < self._most and not self._full:
            asked = min(step, self._most - len(self.rows))
            chosen, special = self._look(sql, {**parameters, "most": asked})
            self._hold(chosen)
            if special is None:
                if len(chosen) < asked:
                    return
                continue
            if self._ahead and self.rows:
                return
            self._take_special(special)
            step = 1

    def _look(self, sql: str, parameters: dict[str, Any]) -> tuple[list[Any], Any]:
        """The plain messages that come first, and what is next if it is not plain."""
        chosen: list[Any] = []
        cursor = self._books.execute(sql, parameters)
        try:
            for row in cursor:
                if (self.rows or chosen) and row[_SIZE] > self._left_bytes:
                    self._full = True
                    break
                if row[_LINE] is not None or row[_EXPIRES]:
                    return chosen, row
                self._left_bytes -= row[_SIZE]
                chosen.append(row)
        finally:
            cursor.close()
        return chosen, None

    def _hold(self, rows: list[Any]) -> None:
        if not rows:
            return
        books = self._books
        self._token = self._token or books.next_token()
        for first, last in runs([row[_ID] for row in rows]):
            books.execute(HOLD, (self._token, first, last))
        self._queue.held += len(rows)
        books.touch(self._queue, stir=False)
        self.rows += rows

    def _take_special(self, row: Any) -> None:
        books, queue = self._books, self._queue
        if row[_EXPIRES] and row[_EXPIRES] <= books.now_ns:
            found = books.execute(f"SELECT {MESSAGE} FROM message WHERE id = ?", (row[_ID],))
            leave.expire(books, queue, MessageRow(*found.fetchone()))
            return
        key = row[_KEY]
        if key and queue.key_rate is not None and not self._key_may(key, row[_ID]):
            return
        self._left_bytes -= row[_SIZE]
        self._hold([row])
        if row[_LINE] is not None:
            arrange.advance(books, queue, row[_LINE])
        if self._ahead:
            self._full = True

    def _key_may(self, key: str, number: int) -> bool:
        books, queue = self._books, self._queue
        assert queue.key_rate is not None
        found = books.execute(
            "SELECT next_ns FROM key_rate WHERE queue = ? AND key = ?", (queue.number, key)
        ).fetchone()
        next_ns = found[0] if found else 0
        free_ns = queue.key_rate.free_ns(next_ns)
        if free_ns > books.now_ns:
            arrange.pace(books, queue, number, free_ns)
            return False
        books.execute(
            "INSERT OR REPLACE INTO key_rate VALUES (?, ?, ?)",
            (queue.number, key, queue.key_rate.after(next_ns, books.now_ns)),
        )
        return True

    def lease(self, lease_ns: int) -> Delivery | None:
        """Write the lease of what was got; None: nothing was."""
        rows, books, queue = self.rows, self._books, self._queue
        if not rows:
            return None
        if queue.rate is not None:
            queue.rate_next_ns = queue.rate.after(queue.rate_next_ns, books.now_ns, len(rows))
        deadline_ns = books.now_ns + (lease_ns or queue.timeout_ns)
        write_lease(
            books, queue, self._token, deadline_ns, [r[_ID] for r in rows], counted=not self._ahead
        )
        books.leases[self._token] = {row[_ID]: (row[_SIZE], row[_LINE]) for row in rows}
        attempts = [row[_ATTEMPTS] + 1 for row in rows]
        entries = [entry_of(row) for row in rows]
        return Delivery(self._token, deadline_ns, entries, None if max(attempts) == 1 else attempts)


def write_lease(
    books: Books, queue: QueueRow, token: int, deadline_ns: int, ids: list[int], *, counted: bool
) -> None:
    """The row of a lease."""
    row = (token, queue.number, books.holder, deadline_ns, counted, pack(ids))
    books.execute(LEASE, row)
    books.expect(deadline_ns)


def take(
    books: Books,
    op: Op,
    most: int,
    most_bytes: int,
    lease_ns: int,
    *,
    ahead: bool = False,
) -> Delivery | object:
    """Lease what comes next, or `NOT_YET`. ``ahead``: for an iterator; counted when yielded."""
    queue = books.named(op.queue)
    for attempt in range(2):
        taker = Taker(books, queue, most, most_bytes, ahead=ahead)
        taker.run(query(queue), {"queue": queue.number})
        delivery = taker.lease(lease_ns)
        if delivery is not None:
            return delivery
        if attempt or not leave.set_aside_no_more(books, queue, half=True):
            break
    return NOT_YET


def undo(books: Books, op: Op) -> None:
    """Cancelled is not taken: what came nevertheless goes back, its attempt not counted."""
    got: Delivery = op.answer
    queue = books.find(op.queue)
    if queue is not None:
        leave.give_back(books, queue, got.token, [entry[0] for entry in got.entries])


def select(
    books: Books, op: Op, where: Filter, most: int, most_bytes: int, lease_ns: int
) -> Delivery | object:
    """Lease what matches a filter, or `NOT_YET`."""
    queue = books.named(op.queue)
    leave.set_aside_no_more(books, queue)
    asked, parameters = fields.condition(where)
    condition = f" AND {asked}"
    values: dict[str, Any] = {"queue": queue.number, **parameters}
    by_id = False
    chosen = fields.candidates(where, queue.number, queue.policy.index)
    unlimited = queue.policy.is_plain() and queue.key_rate is None
    if op.parked_in and unlimited and queue.arrived is not None:
        # It has looked through what was there before: only what came can match.
        if not queue.arrived:
            return NOT_YET
        by_id = True
        condition += f" AND m.id IN ({', '.join(map(str, queue.arrived))})"
    elif chosen is not None:
        by_id = True
        condition += f" AND m.id IN ({chosen[0]})"
        values |= chosen[1]
    taker = Taker(books, queue, most, most_bytes, ahead=False)
    taker.run(query(queue, condition, by_id=by_id), values)
    return taker.lease(lease_ns) or NOT_YET


def renew(books: Books, op: Op, token: int, ids: list[int]) -> tuple[int, int, set[int]]:
    """What an iterator still has set aside, under a new lease: (token, deadline, what is left)."""
    queue = books.named(op.queue)
    deadline_ns = books.now_ns + queue.timeout_ns
    found = dict(books.held_under(token, ids)) if token in books.leases else {}
    kept = [number for number in ids if number in found]
    if not kept:
        return 0, deadline_ns, set()
    fresh = books.next_token()
    for first, last in runs(kept):
        books.execute(
            "UPDATE message SET token = ? WHERE id BETWEEN ? AND ? AND token = ?",
            (fresh, first, last, token),
        )
    write_lease(books, queue, fresh, deadline_ns, kept, counted=False)
    books.changed()
    books.leases[fresh] = found
    rest = books.leases[token]
    for number in kept:
        rest.pop(number, None)
    if not rest:
        del books.leases[token]
        books.execute("DELETE FROM lease WHERE token = ?", (token,))
    return fresh, deadline_ns, set(kept)
