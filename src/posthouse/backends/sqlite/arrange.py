"""Where a message stands in its queue: places, lines behind keys, and what is delayed.

``place`` and ``rank`` are the order of taking: 0 and the rank in a fifo or lifo queue (lifo reads
it backwards), by priority in one of that order, and a turn in a fair one. A message with a key
belongs to its key's *line* (in a fair queue those without a key are one line): of a line one
message stands, or waits for its time; the next one follows as soon as the key's limit lets it.
The rules are those of `posthouse.core.keys` and `posthouse.core.rich`.
"""

from __future__ import annotations

from typing import Final

from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.rows import MESSAGE, MessageRow, QueueRow
from posthouse.backends.sqlite.schema import DELAYED, HELD, LINED, PACED, STANDING
from posthouse.model import MAX_PRIORITY, QueuePolicy

_OUT: Final = """SELECT
    (SELECT count(*) FROM message WHERE queue = :q AND line = :l AND state = 0),
    (SELECT count(*) FROM message WHERE queue = :q AND line = :l AND state = 2),
    (SELECT count(*) FROM message WHERE queue = :q AND line = :l AND state > 2)"""
_NEXT: Final = f"""SELECT {MESSAGE} FROM message
    WHERE queue = ? AND line = ? AND state = 1 ORDER BY rank LIMIT 1"""
_STAND: Final = "UPDATE message SET state = ?, place = ? WHERE id = ?"
_BACK: Final = """UPDATE message
    SET state = ?, place = ?, token = 0, attempts = ?, due_ns = ? WHERE id = ?"""


def line_of(policy: QueuePolicy, key: str) -> str | None:
    """The line that a message with this key belongs to; None for none."""
    if policy.max_in_flight_per_key is None and policy.rate_per_key is None and not policy.fair:
        return None
    return key if key or policy.fair else None


def place_of(policy: QueuePolicy, priority: int) -> int:
    """The place that a priority gives, but for turns."""
    return MAX_PRIORITY - priority if policy.order == "priority" else 0


def order_of(policy: QueuePolicy) -> str:
    """The order of taking, for ORDER BY; never from a user."""
    return "m.place DESC, m.rank DESC" if policy.order == "lifo" else "m.place, m.rank"


def stand(books: Books, queue: QueueRow, row: MessageRow) -> None:
    """Let a message that is in no order stand, or wait for its time."""
    if row.due_ns > books.now_ns:
        books.execute(_STAND, (DELAYED, 0, row.id))
        queue.delayed += 1
        books.expect(row.due_ns)
    else:
        books.execute(_STAND, (STANDING, _turn(books, queue, row.priority), row.id))
        books.arrive(queue, (row.id,))
    books.touch(queue)


def _turn(books: Books, queue: QueueRow, priority: int, *, first: bool = False) -> int:
    """The place of a message that joins: in a fair queue behind all (``first``: before them)."""
    if not queue.policy.fair:
        return place_of(queue.policy, priority)
    which = "min(place) - 1" if first else "max(place) + 1"
    (place,) = books.execute(
        f"SELECT {which} FROM message WHERE queue = ? AND state = 0", (queue.number,)
    ).fetchone()
    return place or 0


def advance(books: Books, queue: QueueRow, line: str) -> None:
    """Let the next of a line stand, if it may."""
    standing, held, timed = books.execute(_OUT, {"q": queue.number, "l": line}).fetchone()
    if standing or (timed and line):
        return
    limit = queue.policy.max_in_flight_per_key
    if line and limit is not None and held >= limit:
        return
    found = books.execute(_NEXT, (queue.number, line)).fetchone()
    if found is None:
        return
    row = MessageRow(*found)
    stand(books, queue, row)
    if not line and row.due_ns > books.now_ns:
        advance(books, queue, line)  # a delayed message without a key has nobody behind it


def put_back(
    books: Books, queue: QueueRow, row: MessageRow, attempts: int, due_ns: int = 0
) -> None:
    """A held message has its old place again, or waits until ``due_ns``."""
    late = due_ns > books.now_ns
    place = 0 if late else _turn(books, queue, row.priority, first=True)
    books.execute(_BACK, (DELAYED if late else STANDING, place, attempts, due_ns, row.id))
    queue.held -= 1
    if late:
        queue.delayed += 1
        books.expect(due_ns)
    else:
        books.arrive(queue, (row.id,))
    books.touch(queue)
    if row.expires_ns:
        books.expect(row.expires_ns)
    if row.line is not None:
        advance(books, queue, row.line)


def promote(books: Books, queue: QueueRow, row: MessageRow) -> None:
    """A delayed message is due."""
    queue.delayed -= 1
    books.touch(queue)
    if row.line == "":
        books.execute(_STAND, (LINED, 0, row.id))
        advance(books, queue, row.line)
        return
    books.execute(_STAND, (STANDING, _turn(books, queue, row.priority), row.id))
    books.arrive(queue, (row.id,))


def pace(books: Books, queue: QueueRow, number: int, until_ns: int) -> None:
    """A standing message has to wait because of its key's rate."""
    books.execute(
        "UPDATE message SET state = ?, due_ns = ? WHERE id = ?", (PACED, until_ns, number)
    )
    queue.delayed += 1
    books.touch(queue, stir=False)
    books.expect(until_ns)


def remove(books: Books, queue: QueueRow, row: MessageRow) -> None:
    """A message leaves for good."""
    books.execute("DELETE FROM message WHERE id = ?", (row.id,))
    books.execute("DELETE FROM content WHERE id = ?", (row.id,))
    leave(books, queue, row)


def leave(books: Books, queue: QueueRow, row: MessageRow) -> None:
    """Count a message out of its queue; its row is gone, or another queue's, already."""
    queue.live -= 1
    queue.size_bytes -= row.size
    if row.state == HELD:
        queue.held -= 1
    elif row.state > HELD:
        queue.delayed -= 1
    books.touch(queue)
    if row.line is not None:
        advance(books, queue, row.line)


def enter(books: Books, queue: QueueRow, row: MessageRow) -> None:
    """Count a message in; its row is this queue's, and LINED, already."""
    queue.live += 1
    queue.size_bytes += row.size
    books.touch(queue)
    if row.expires_ns:
        books.expect(row.expires_ns)
    if row.line is None or (not row.line and row.due_ns > books.now_ns):
        stand(books, queue, row)
    else:
        advance(books, queue, row.line)


def rearrange(books: Books, queue: QueueRow) -> None:
    """Place everything anew, after the policy's order or limits per key changed."""
    policy = queue.policy
    number = queue.number
    execute = books.execute
    free = line_of(policy, "k") is None
    unkeyed = "''" if policy.fair else "NULL"
    line = "NULL" if free else f"CASE WHEN key <> '' THEN key ELSE {unkeyed} END"
    place = f"{MAX_PRIORITY} - priority" if policy.order == "priority" else "0"
    execute(
        "UPDATE message SET state = 0, due_ns = 0 WHERE queue = ? AND state = ?", (number, PACED)
    )
    execute(f"UPDATE message SET line = {line}, place = {place} WHERE queue = ?", (number,))
    execute(
        "UPDATE message SET state = 0 WHERE queue = ? AND state = 1 AND line IS NULL", (number,)
    )
    execute(
        "UPDATE message SET state = 1 WHERE queue = ? AND line IS NOT NULL"
        " AND (state = 0 OR (state = 3 AND line <> ''))",
        (number,),
    )
    (queue.delayed,) = execute(
        "SELECT count(*) FROM message WHERE queue = ? AND state > 2", (number,)
    ).fetchone()
    lines = execute(
        "SELECT line FROM message WHERE queue = ? AND state = 1 GROUP BY line ORDER BY min(rank)",
        (number,),
    ).fetchall()
    for (each,) in lines:
        advance(books, queue, each)
    books.touch(queue)
    books.stir(queue)
