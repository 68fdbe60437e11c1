"""The ways in which a message ends or moves on: dead letters, expiry, moves and redrives."""

from __future__ import annotations

import msgspec

from posthouse.backends.sqlite import arrange
from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.policies import declare
from posthouse.backends.sqlite.rows import MESSAGE, MessageRow, QueueRow, shown
from posthouse.backends.sqlite.schema import LINED
from posthouse.core import letters
from posthouse.core.state import DEAD_SUFFIX, EXPIRED_REASON, MAX_ATTEMPTS_REASON
from posthouse.model import QueuePolicy


def dead_letter_name(queue: QueueRow) -> str | None:
    """Where this queue's dead letters go; None: they are dropped."""
    name = queue.policy.dead_letter
    return queue.name + DEAD_SUFFIX if name == "" else name


def failed(
    books: Books, queue: QueueRow, row: MessageRow, attempts: int, due_ns: int, error: str | None
) -> None:
    """What a failed attempt leads to: a retry, or after the last one the dead letters."""
    if attempts >= queue.policy.retry.max_attempts and bury(
        books, queue, row, attempts, MAX_ATTEMPTS_REASON, error
    ):
        return
    queue.returned += 1
    arrange.put_back(books, queue, row, attempts, due_ns)


def rejected(
    books: Books, queue: QueueRow, row: MessageRow, attempts: int, reason: str, error: str | None
) -> None:
    """To the dead letters now; in a queue that is its own, it stays and waits."""
    if bury(books, queue, row, attempts, reason, error):
        return
    queue.returned += 1
    due_ns = books.now_ns + queue.policy.retry.delay_ns(attempts, 1.0)
    arrange.put_back(books, queue, row, attempts, due_ns)


def bury(
    books: Books, queue: QueueRow, row: MessageRow, attempts: int, reason: str, error: str | None
) -> bool:
    """Move a message to the dead-letter queue, or drop it where there is none.

    False, and nothing done, where the dead-letter queue is the queue itself.
    """
    name = dead_letter_name(queue)
    if name == queue.name:
        return False
    if name is None:
        queue.dropped += 1
        arrange.remove(books, queue, row)
        return True
    target = books.find(name) or declare(books, name, QueuePolicy(dead_letter=name))
    queue.dead_lettered += 1
    move(
        books,
        queue,
        target,
        row,
        death=letters.death_headers(queue.name, reason, error, attempts, books.now_ns),
        expires_ns=_grave_expiry(books, target),
    )
    return True


def _grave_expiry(books: Books, target: QueueRow) -> int:
    # Only where the letter's way ends there: else two queues could send it to and fro for ever.
    ends = target.policy.expired == "drop" or dead_letter_name(target) in (None, target.name)
    return books.now_ns + target.ttl_ns if target.ttl_ns and ends else 0


def move(
    books: Books,
    queue: QueueRow,
    target: QueueRow,
    row: MessageRow,
    *,
    death: bytes | None,
    expires_ns: int,
    due_ns: int = 0,
    priority: int | None = None,
) -> None:
    """To the end of another queue, with its id and no attempts. ``death``: b"" keeps what it has.

    Its limits do not hold this up.
    """
    line = arrange.line_of(target.policy, row.key)
    moved = msgspec.structs.replace(
        row,
        state=LINED,
        rank=books.next_ids(),
        attempts=0,
        due_ns=due_ns,
        expires_ns=expires_ns,
        priority=row.priority if priority is None else priority,
        line=line,
    )
    books.execute(
        "UPDATE message SET queue = ?, state = ?, place = 0, rank = ?, token = 0, attempts = 0,"
        " due_ns = ?, expires_ns = ?, priority = ?, line = ? WHERE id = ?",
        (
            target.number,
            LINED,
            moved.rank,
            due_ns,
            expires_ns,
            moved.priority,
            line,
            row.id,
        ),
    )
    if death == b"":
        books.execute("UPDATE content SET queue = ? WHERE id = ?", (target.number, row.id))
    else:
        (headers,) = books.execute("SELECT headers FROM content WHERE id = ?", (row.id,)).fetchone()
        books.execute(
            "UPDATE content SET queue = ?, death = ?, shown = ? WHERE id = ?",
            (target.number, death, shown(headers, death), row.id),
        )
    arrange.leave(books, queue, row)
    arrange.enter(books, target, moved)


def redrive(books: Books, queue: QueueRow, row: MessageRow) -> bool:
    """Back to where it died, to begin anew; False if it is no letter, or of unknown origin."""
    (death,) = books.execute("SELECT death FROM content WHERE id = ?", (row.id,)).fetchone()
    origin = books.find(letters.origin_of(death)) if death else None
    if origin is None or origin is queue:
        return False
    expires_ns = books.now_ns + origin.ttl_ns if origin.ttl_ns else 0
    move(books, queue, origin, row, death=None, expires_ns=expires_ns)
    return True


def expire(books: Books, queue: QueueRow, row: MessageRow) -> None:
    """A message that waits has outlived its time."""
    queue.expired += 1
    books.touch(queue)
    if queue.policy.expired == "dead_letter" and bury(
        books, queue, row, row.attempts, EXPIRED_REASON, None
    ):
        return
    queue.dropped += 1
    arrange.remove(books, queue, row)


def give_back(books: Books, queue: QueueRow, token: int, ids: list[int]) -> int:
    """Give back what a lease of this holder still has of these, uncounted: how many."""
    known = books.leases.get(token)
    if known is None:
        return 0
    count = 0
    for number in ids:
        if known.pop(number, None) is None:
            continue
        found = books.execute(
            f"SELECT {MESSAGE} FROM message WHERE id = ? AND token = ?", (number, token)
        ).fetchone()
        if found is not None:
            row = MessageRow(*found)
            arrange.put_back(books, queue, row, row.attempts)
            count += 1
    if not known:
        del books.leases[token]
        books.execute("DELETE FROM lease WHERE token = ?", (token,))
    return count


def set_aside_no_more(books: Books, queue: QueueRow, *, half: bool = False) -> int:
    """Put back what this process's iterators have set aside; or half of what the fullest has.

    Else a consumer would wait beside messages that a slow iterator is far from needing; or for
    ever, where a cancelled task's traceback keeps its iterator alive.
    """
    feeds = [feed for feed in books.feeds.get(queue.number, ()) if feed.stock]
    if half and feeds:
        feeds = [max(feeds, key=lambda feed: len(feed.stock))]
    count = 0
    for feed in feeds:
        most = (len(feed.stock) + 1) // 2 if half else len(feed.stock)
        token = feed.token
        ids: list[int] = []
        while len(ids) < most and feed.stock:
            try:
                ids.append(feed.stock.pop()[0][0])
            except IndexError:
                break  # its iterator was faster
        count += give_back(books, queue, token, ids)
    return count
