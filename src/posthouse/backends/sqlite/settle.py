"""Settling: by the holder of a lease, or by the clock.

Only its holder settles what a lease holds, and a lease ends as a whole: so while its row is there,
this process knows what is left of it.
"""

from __future__ import annotations

from typing import Final, Literal

from posthouse.backends.sqlite import arrange, leave
from posthouse.backends.sqlite.books import Books, runs, unpack
from posthouse.backends.sqlite.op import Op
from posthouse.backends.sqlite.rows import MESSAGE, MessageRow, QueueRow
from posthouse.core.state import EXPIRED_LEASE
from posthouse.errors import LeaseExpired

Verb = Literal["nack", "reject", "give_back"]

END_LEASE: Final = "DELETE FROM lease WHERE token = ?"
ACK: Final = "DELETE FROM message WHERE id BETWEEN ? AND ? AND token = ?"
FORGET: Final = "DELETE FROM content WHERE id BETWEEN ? AND ?"
_HELD: Final = f"SELECT {MESSAGE} FROM message WHERE id = ? AND token = ?"


def lost(name: str, numbers: list[int]) -> LeaseExpired:
    """What to raise for messages that are not held."""
    more = f" (and {len(numbers) - 1} more)" if len(numbers) > 1 else ""
    return LeaseExpired(
        f"message {numbers[0]:016x}{more} of queue {name!r} is no longer held: {EXPIRED_LEASE} "
        "or it was settled elsewhere; it may be delivered again",
        numbers,
    )


def holds(books: Books, token: int, number: int) -> bool:
    """Whether this holder has the message under that lease."""
    if number not in books.leases.get(token, ()):
        return False
    found = books.execute("SELECT 1 FROM lease WHERE token = ?", (token,)).fetchone()
    if found is None:
        del books.leases[token]
    return found is not None


def ack(books: Books, op: Op, token: int, ids: list[int]) -> None:
    """Settle messages of one delivery for good.

    Raises:
        LeaseExpired: some are not held; the others were settled.
    """
    queue = books.named(op.queue)
    known = books.leases.get(token, {})
    held = [number for number in dict.fromkeys(ids) if number in known]
    whole = held and len(held) == len(known)
    if whole:
        alive = books.execute(END_LEASE, (token,)).rowcount > 0
    else:
        alive = bool(held) and holds(books, token, held[0])
    if not alive:
        books.leases.pop(token, None)
        raise lost(queue.name, ids)
    settled(books, queue, token, held, known)
    if whole:
        del books.leases[token]
    queue.acked += len(held)
    if len(held) < len(ids):
        missing = [number for number in ids if number not in set(held)]
        if missing:
            raise lost(queue.name, missing)


def settled(
    books: Books,
    queue: QueueRow,
    token: int,
    ids: list[int],
    known: dict[int, tuple[int, str | None]],
) -> None:
    """Messages that this holder has under a lease leave for good."""
    for first, last in runs(ids):
        books.execute(ACK, (first, last, token))
        books.execute(FORGET, (first, last))
    lines: set[str] = set()
    for number in ids:
        size, line = known.pop(number)
        queue.size_bytes -= size
        if line is not None:
            lines.add(line)
    queue.live -= len(ids)
    queue.held -= len(ids)
    # Room, a place in flight, or the end of all may be waited for.
    books.touch(queue, stir=queue.limited or not queue.live)
    for line in sorted(lines):
        books.touch(queue)
        arrange.advance(books, queue, line)


def release(books: Books, queue: QueueRow, token: int, number: int) -> MessageRow | None:
    """Take a message out of its lease; None if it is not held."""
    if not holds(books, token, number):
        return None
    found = books.execute(_HELD, (number, token)).fetchone()
    known = books.leases[token]
    del known[number]
    if not known:
        del books.leases[token]
        books.execute(END_LEASE, (token,))
    return None if found is None else MessageRow(*found)


def end(
    books: Books,
    op: Op,
    verb: Verb,
    token: int,
    number: int,
    delay_ns: int | None = None,
    reason: str = "",
    error: str | None = None,
) -> None:
    """Nack, reject or give back one message. Raises LeaseExpired."""
    queue = books.named(op.queue)
    row = release(books, queue, token, number)
    if row is None:
        raise lost(queue.name, [number])
    if verb == "give_back":
        arrange.put_back(books, queue, row, row.attempts)
        return
    attempts = row.attempts + 1
    if verb == "reject":
        leave.rejected(books, queue, row, attempts, reason, error)
        return
    if delay_ns is None:
        delay_ns = queue.policy.retry.delay_ns(attempts, books.chance())
    due_ns = books.now_ns + delay_ns if delay_ns else 0
    leave.failed(books, queue, row, attempts, due_ns, error)


def give_back_all(books: Books, op: Op, token: int, ids: list[int]) -> None:
    """Give back what of these is still held, the attempts not counted."""
    queue = books.find(op.queue)
    if queue is not None:
        leave.give_back(books, queue, token, ids)


def extend(books: Books, op: Op, token: int, timeout_ns: int) -> int:
    """Let a lease run so long from now: its new deadline. Raises LeaseExpired."""
    deadline_ns = books.now_ns + timeout_ns
    found = books.execute(
        "UPDATE lease SET deadline_ns = ? WHERE token = ? AND holder = ?",
        (deadline_ns, token, books.holder),
    )
    if not found.rowcount:
        raise LeaseExpired(f"the lease on queue {op.queue!r} has run out")
    books.changed()
    books.expect(deadline_ns)
    return deadline_ns


def lapse(
    books: Books,
    token: int,
    queue_number: int,
    ids: list[int],
    begun: int | None,
    error: str = EXPIRED_LEASE,
) -> None:
    """A lease ends by itself: what of it was ``begun`` (None: all) is an attempt that failed."""
    books.leases.pop(token, None)
    books.execute(END_LEASE, (token,))
    queue = books.row(queue_number)
    books.touch(queue)
    for position, number in enumerate(ids):
        found = books.execute(_HELD, (number, token)).fetchone()
        if found is None:
            continue
        row = MessageRow(*found)
        if begun is None or position < begun:
            queue.expired_leases += 1
            leave.failed(books, queue, row, row.attempts + 1, 0, error)
        else:
            arrange.put_back(books, queue, row, row.attempts)


def lapse_begun(
    books: Books, token: int, queue_number: int, ids: list[int], aside: set[int]
) -> None:
    """The lease of an iterator that lives: what it yielded ends, what it has set aside goes on."""
    queue = books.row(queue_number)
    known = books.leases.get(token, {})
    deadline_ns = books.now_ns + queue.timeout_ns
    books.execute("UPDATE lease SET deadline_ns = ? WHERE token = ?", (deadline_ns, token))
    books.touch(queue)
    for number in ids:
        if number in aside or known.pop(number, None) is None:
            continue
        found = books.execute(_HELD, (number, token)).fetchone()
        if found is not None:
            row = MessageRow(*found)
            queue.expired_leases += 1
            leave.failed(books, queue, row, row.attempts + 1, 0, EXPIRED_LEASE)


def ids_of(data: bytes) -> list[int]:
    """The ids of a lease's row."""
    return unpack(data)
