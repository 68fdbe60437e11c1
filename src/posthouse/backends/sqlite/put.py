"""Putting: room, dedup ids, and the rows of a batch in two statements.

A batch is written by one statement for each table, whatever its size: between any two steps of
SQLite the interpreter may give the thread's turn away, and beside a loop that computes each turn
costs milliseconds.
"""

from __future__ import annotations

import logging
from typing import Final

import msgspec

from posthouse.backends.sqlite import arrange
from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.op import NOT_YET, Op
from posthouse.backends.sqlite.rows import MESSAGE, MessageRow, QueueRow, shown
from posthouse.backends.sqlite.schema import DELAYED, LINED, STANDING
from posthouse.errors import BadArgument, QueueFull
from posthouse.model import MAX_DEDUP_IDS, NANOSECONDS
from posthouse.records import Traits

logger = logging.getLogger("posthouse.sqlite")
PLAIN: Final = Traits()

CONTENT: Final = """INSERT INTO content (id, queue, kind, headers, death, shown, body)
    VALUES (:first, :queue, :kind, :headers, NULL, :shown, :body)"""
CONTENTS: Final = """INSERT INTO content (id, queue, kind, headers, death, shown, body)
    SELECT :first + key, :queue, value ->> 0, :headers, NULL, :shown,
        coalesce(substr(:body, value ->> 1, value ->> 2), x'')
    FROM json_each(:parts)"""
MESSAGES: Final = """INSERT INTO message (id, queue, state, place, rank, token, attempts, due_ns,
        expires_ns, priority, size, line, key)
    SELECT :first + key, :queue, :state, :place, :first + key, 0, 0, :due, :expires, :priority,
        value, :line, :key
    FROM json_each(:sizes)"""
_OLDEST: Final = f"""SELECT {MESSAGE} FROM message INDEXED BY of_queue
    WHERE queue = ? AND state < 2 ORDER BY id"""


def complete(books: Books, queue: QueueRow, traits: Traits | None) -> Traits | None:
    """A message's traits with what the queue's policy adds.

    Raises:
        BadArgument: a priority in a queue of another order.
    """
    if traits is not None and traits.priority and queue.policy.order != "priority":
        raise BadArgument(
            f"queue {queue.name!r} has order {queue.policy.order!r}; a priority needs a queue "
            "with order='priority'"
        )
    if not queue.ttl_ns or (traits is not None and traits.expires_ns):
        return traits
    return msgspec.structs.replace(traits or PLAIN, expires_ns=books.now_ns + queue.ttl_ns)


def put(
    books: Books,
    op: Op,
    kinds: list[int] | int,
    bodies: list[bytes],
    headers: bytes,
    traits: Traits | None,
) -> int | object:
    """Put a batch: the first of its consecutive ids, or `NOT_YET` where that has to wait.

    Raises:
        BadArgument, QueueFull: nothing was done.
    """
    queue = books.named(op.queue)
    traits = complete(books, queue, traits)
    if traits is not None and traits.dedup:
        known = known_id(books, queue, traits.dedup)
        if known:
            queue.deduplicated += 1
            books.touch(queue, stir=False)
            return known
    count = len(bodies)
    size = sum(map(len, bodies)) + count * len(headers)
    if not queue.could_fit(count, size):
        raise QueueFull(
            f"queue {queue.name!r} can never hold this: {count:,} messages of {size:,} bytes; its "
            f"limits are {queue.policy.max_messages} messages, {queue.max_bytes:,} bytes"
        )
    if not queue.fits(count, size) and queue.policy.overflow == "reject":
        raise QueueFull(
            f"queue {queue.name!r} is full: {queue.live:,} messages, {queue.size_bytes:,} bytes"
        )
    if op.ahead or not (queue.fits(count, size) or make_way(books, queue, count, size)):
        return NOT_YET
    return insert(books, queue, kinds, bodies, headers, traits)


def insert(
    books: Books,
    queue: QueueRow,
    kinds: list[int] | int,
    bodies: list[bytes],
    headers: bytes,
    traits: Traits | None,
) -> int:
    """Write a batch that has room: the first of its ids."""
    count = len(bodies)
    first = books.next_ids(count)
    if count == 1:
        parameters = {
            "first": first,
            "queue": queue.number,
            "kind": kinds if isinstance(kinds, int) else kinds[0],
            "headers": headers or None,
            "shown": shown(headers, None),
            "body": bodies[0],
        }
        books.execute(CONTENT, parameters)
    else:
        write_contents(books, queue.number, first, kinds, bodies, headers)
    sizes = [len(body) + len(headers) for body in bodies]
    _write_messages(books, queue, first, sizes, traits or PLAIN)
    queue.put += count
    if traits is not None and traits.dedup:
        _remember(books, queue, traits.dedup, first)
    return first


def write_contents(
    books: Books,
    queue: int,
    first: int,
    kinds: list[int] | int,
    bodies: list[bytes],
    headers: bytes,
) -> None:
    """The wide rows of a batch."""
    parts = []
    at = 1
    for position, body in enumerate(bodies):
        kind = kinds if isinstance(kinds, int) else kinds[position]
        parts.append((kind, at, len(body)))
        at += len(body)
    books.execute(
        CONTENTS,
        {
            "first": first,
            "queue": queue,
            "headers": headers or None,
            "shown": shown(headers, None),
            "body": b"".join(bodies),
            "parts": msgspec.json.encode(parts).decode(),
        },
    )


def _write_messages(
    books: Books, queue: QueueRow, first: int, sizes: list[int], traits: Traits
) -> None:
    count = len(sizes)
    line = arrange.line_of(queue.policy, traits.key)
    late = traits.due_ns > books.now_ns
    state = DELAYED if late else STANDING
    if line is not None and (line or not late):
        state = LINED  # and steps out below, if it may
    books.execute(
        MESSAGES,
        {
            "first": first,
            "queue": queue.number,
            "state": state,
            "place": arrange.place_of(queue.policy, traits.priority),
            "due": traits.due_ns if late else 0,
            "expires": traits.expires_ns,
            "priority": traits.priority,
            "line": line,
            "key": traits.key,
            "sizes": msgspec.json.encode(sizes).decode(),
        },
    )
    queue.live += count
    queue.size_bytes += sum(sizes)
    books.touch(queue)
    if traits.expires_ns:
        books.expect(traits.expires_ns)
    if state == DELAYED:
        queue.delayed += count
        books.expect(traits.due_ns)
    elif state == STANDING:
        books.arrive(queue, range(first, first + count), count)
    elif line is not None:
        arrange.advance(books, queue, line)


# dedup ids


def known_id(books: Books, queue: QueueRow, dedup: str) -> int:
    """The id of the message that was put with this dedup id within the window; 0: none."""
    found = books.execute(
        "SELECT id FROM dedup WHERE queue = ? AND dedup = ? AND id > ?",
        (queue.number, dedup, books.now_ns - _window_ns(queue)),
    ).fetchone()
    return int(found[0]) if found else 0


def _window_ns(queue: QueueRow) -> int:
    return int(queue.policy.dedup_window_s * NANOSECONDS)


def _remember(books: Books, queue: QueueRow, dedup: str, number: int) -> None:
    forgotten = books.execute(
        "DELETE FROM dedup WHERE queue = ? AND (id <= ? OR dedup = ?)",
        (queue.number, books.now_ns - _window_ns(queue), dedup),
    ).rowcount
    books.execute("INSERT INTO dedup VALUES (?, ?, ?)", (queue.number, dedup, number))
    queue.dedups += 1 - forgotten
    if queue.dedups > MAX_DEDUP_IDS:
        logger.warning("queue %r has too many dedup ids: the oldest leaves early", queue.name)
        queue.dedups -= books.execute(
            "DELETE FROM dedup WHERE queue = ? AND dedup IN"
            " (SELECT dedup FROM dedup WHERE queue = ? ORDER BY id LIMIT ?)",
            (queue.number, queue.number, queue.dedups - MAX_DEDUP_IDS),
        ).rowcount


# room


def make_way(books: Books, queue: QueueRow, count: int, size: int) -> bool:
    """Drop the oldest of what waits for a put of this size, if the policy says so; or nothing."""
    found = droppable(books, queue, count, size)
    if found is None:
        return False
    for row in found:
        queue.dropped += 1
        arrange.remove(books, queue, row)
    return True


def droppable(books: Books, queue: QueueRow, count: int, size: int) -> list[MessageRow] | None:
    """What has to go for a put of this size; None where that is not done, or would not do."""
    if queue.policy.overflow != "drop_oldest":
        return None
    found: list[MessageRow] = []
    live, size_bytes = queue.live + count, queue.size_bytes + size
    rows = books.execute(_OLDEST, (queue.number,))
    while live > queue.max_messages or size_bytes > queue.max_bytes:
        row = rows.fetchone()
        if row is None:
            rows.close()
            return None
        found.append(MessageRow(*row))
        live -= 1
        size_bytes -= found[-1].size
    rows.close()
    return found
