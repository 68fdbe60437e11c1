"""The queue as a whole: figures, purge, redrive, bindings; and acting on what was found."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from posthouse.backends.sqlite import arrange, leave
from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.op import NOT_YET, Op
from posthouse.backends.sqlite.rows import MESSAGE, MessageRow, QueueRow
from posthouse.backends.sqlite.schema import LINED, PACED
from posthouse.model import NANOSECONDS, QueueStats

Act = Literal["delete", "delay", "move", "redrive"]

_LETTERS: Final = """SELECT m.id FROM message AS m CROSS JOIN content AS c ON c.id = m.id
    WHERE m.queue = ? AND m.state < 2 AND c.death IS NOT NULL ORDER BY m.state, """


def stats(books: Books, queue: QueueRow) -> QueueStats:
    """The queue's figures; what iterators of this process have set aside waits."""
    aside = sum(len(feed.stock) for feed in books.feeds.get(queue.number, ()))
    aside = min(aside, queue.held)
    oldest = books.execute(
        "SELECT id FROM message WHERE queue = ? AND state < 2 ORDER BY id LIMIT 1",
        (queue.number,),
    ).fetchone()
    age_ns = max(books.now_ns - oldest[0], 0) if oldest else 0
    return QueueStats(
        name=queue.name,
        waiting=queue.waiting + aside,
        delayed=queue.delayed,
        in_flight=queue.held - aside,
        size_bytes=queue.size_bytes,
        oldest_age_s=age_ns / NANOSECONDS,
        **queue.tallies(),
    )


def all_stats(books: Books) -> list[QueueStats]:
    """All queues' figures, by name."""
    return [stats(books, books.named(name)) for name in sorted(books.by_name)]


def purge(books: Books, op: Op) -> int:
    """Settle all that waits or is delayed; how many."""
    queue = books.named(op.queue)
    leave.set_aside_no_more(books, queue)
    count, size = books.execute(
        "SELECT count(*), coalesce(sum(size), 0) FROM message WHERE queue = ? AND state <> 2",
        (queue.number,),
    ).fetchone()
    if not count:
        return 0
    books.execute(
        "DELETE FROM content WHERE id IN (SELECT id FROM message WHERE queue = ? AND state <> 2)",
        (queue.number,),
    )
    books.execute("DELETE FROM message WHERE queue = ? AND state <> 2", (queue.number,))
    queue.live -= count
    queue.size_bytes -= size
    queue.delayed = 0
    queue.purged += count
    books.touch(queue)
    return int(count)


def redrive(books: Books, op: Op, most: int) -> int:
    """Put up to ``most`` dead letters that wait back where they died; how many."""
    queue = books.named(op.queue)
    leave.set_aside_no_more(books, queue)
    sql = _LETTERS + arrange.order_of(queue.policy)
    done = 0
    for (number,) in books.execute(sql, (queue.number,)).fetchall() if most > 0 else ():
        if done == most:
            break
        row = waiting_row(books, queue, number)
        if row is not None and leave.redrive(books, queue, row):
            done += 1
    return done


def waiting_row(books: Books, queue: QueueRow, number: int) -> MessageRow | None:
    """A message's row, if it still waits or is delayed in this queue."""
    found = books.execute(
        f"SELECT {MESSAGE} FROM message WHERE id = ? AND queue = ? AND state <> 2",
        (number, queue.number),
    ).fetchone()
    return None if found is None else MessageRow(*found)


def act(
    books: Books,
    op: Op,
    verb: Act,
    ids: list[int],
    newest: int,
    delay_ns: int = 0,
    target: str = "",
) -> int:
    """Do something to those that still wait, and came no later than ``newest``; how many."""
    queue = books.named(op.queue)
    done = 0
    for number in ids:
        row = waiting_row(books, queue, number)
        if row is None or row.rank > newest:
            continue
        if verb == "redrive":
            done += leave.redrive(books, queue, row)
            continue
        if verb == "delete":
            queue.purged += 1
            arrange.remove(books, queue, row)
        elif verb == "move":
            _move(books, queue, books.named(target), row)
        else:
            _delay(books, queue, row, books.now_ns + delay_ns if delay_ns else 0)
        done += 1
    return done


def _move(books: Books, queue: QueueRow, target: QueueRow, row: MessageRow) -> None:
    leave.move(
        books,
        queue,
        target,
        row,
        death=b"",
        expires_ns=row.expires_ns,
        due_ns=row.due_ns if row.state != PACED else 0,
        priority=row.priority if target.policy.order == "priority" else 0,
    )


def _delay(books: Books, queue: QueueRow, row: MessageRow, due_ns: int) -> None:
    books.execute("UPDATE message SET state = 1, due_ns = ? WHERE id = ?", (due_ns, row.id))
    if row.state > 2:
        queue.delayed -= 1
    books.touch(queue)
    moved = msgspec.structs.replace(row, state=LINED, due_ns=due_ns)
    if row.line is None or (not row.line and due_ns > books.now_ns):
        arrange.stand(books, queue, moved)
    if row.line is not None:
        arrange.advance(books, queue, row.line)


def bind(books: Books, op: Op, topic: str, pattern: str) -> None:
    """Let a topic's messages come to the queue."""
    number = books.named(op.queue).number
    if books.router.bind(topic, number, pattern):
        books.execute("INSERT INTO binding VALUES (?, ?, ?)", (topic, number, pattern))
        books.reshaped()


def unbind(books: Books, op: Op, topic: str, pattern: str) -> None:
    """End a binding."""
    number = books.named(op.queue).number
    if books.router.unbind(topic, number, pattern):
        books.execute(
            "DELETE FROM binding WHERE topic = ? AND queue = ? AND pattern = ?",
            (topic, number, pattern),
        )
        books.reshaped()


def bindings(books: Books, topic: str | None) -> list[tuple[str, str, str]]:
    """All bindings (of one topic): (topic, queue's name, pattern)."""
    return [
        (name, books.by_number[number].name, pattern)
        for name, number, pattern in books.router.bindings(topic)
    ]


def joined(books: Books, op: Op) -> object:
    """Whether the queue holds nothing, or `NOT_YET`."""
    return NOT_YET if books.named(op.queue).live else None
