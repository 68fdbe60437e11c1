"""What happens by itself when its time has come: leases end, delays are over, messages expire."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from posthouse.backends.sqlite import arrange, leave, settle
from posthouse.backends.sqlite.bell import clean, yields_path
from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.rows import MESSAGE, MessageRow
from posthouse.backends.sqlite.yields import yielded
from posthouse.core.state import HOLDER_DIED

MOST: Final = 500
ROUNDS: Final = 10

_LEASES: Final = """SELECT token, queue, holder, counted, ids FROM lease
    WHERE deadline_ns <= ? ORDER BY deadline_ns LIMIT ?"""
_DELAYS: Final = f"""SELECT queue, {MESSAGE} FROM message INDEXED BY due
    WHERE state > 2 AND due_ns <= ? ORDER BY due_ns, rank LIMIT ?"""
_EXPIRED: Final = f"""SELECT queue, {MESSAGE} FROM message INDEXED BY expiring
    WHERE expires_ns > 0 AND state <> 2 AND expires_ns <= ? ORDER BY expires_ns LIMIT ?"""


def work(books: Books, directory: Path) -> None:
    """Do what is due, so much at a time; what is left is due still."""
    for _ in range(ROUNDS):
        now_ns = books.now_ns
        for token, queue, holder, counted, ids in books.execute(_LEASES, (now_ns, MOST)).fetchall():
            begun = None if counted else yielded(yields_path(directory, holder), token)
            numbers = settle.ids_of(ids)
            if not counted and holder == books.holder:
                aside = _still_aside(books, queue, token)
                if aside:
                    settle.lapse_begun(books, token, queue, numbers, aside)
                    continue
            settle.lapse(books, token, queue, numbers, begun)
        for queue, *columns in books.execute(_DELAYS, (now_ns, MOST)).fetchall():
            arrange.promote(books, books.row(queue), MessageRow(*columns))
        for queue, *columns in books.execute(_EXPIRED, (now_ns, MOST)).fetchall():
            leave.expire(books, books.row(queue), MessageRow(*columns))
        if not books.due_again():
            return


def _still_aside(books: Books, queue: int, token: int) -> set[int]:
    """What a live iterator of this process has under a lease and has not yielded."""
    for feed in books.feeds.get(queue, ()):
        if feed.token == token:
            return {entry[0] for entry, _ in feed.stock.copy()}
    return set()


def reclaim(books: Books, directory: Path, holder: int) -> None:
    """A holder's process is gone: its leases end, and what it had begun was an attempt."""
    rows = books.execute(
        "SELECT token, queue, counted, ids FROM lease WHERE holder = ?", (holder,)
    ).fetchall()
    for token, queue, counted, ids in rows:
        begun = None if counted else yielded(yields_path(directory, holder), token)
        settle.lapse(books, token, queue, settle.ids_of(ids), begun, HOLDER_DIED)
    books.execute("DELETE FROM holder WHERE number = ?", (holder,))
    books.changed()
    clean(directory, holder)


def resign(books: Books) -> None:
    """This holder closes: what it has goes back, the attempts not counted."""
    rows = books.execute(
        "SELECT token, queue, ids FROM lease WHERE holder = ?", (books.holder,)
    ).fetchall()
    for token, queue, ids in rows:
        leave.give_back(books, books.row(queue), token, settle.ids_of(ids))
    books.execute("DELETE FROM lease WHERE holder = ?", (books.holder,))
    books.execute("DELETE FROM holder WHERE number = ?", (books.holder,))
    books.changed()
