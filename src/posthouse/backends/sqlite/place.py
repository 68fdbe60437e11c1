"""Where a database is, and what is beside it: entering, with an epoch of one's own, and leaving."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from posthouse.backends.sqlite import due
from posthouse.backends.sqlite.bell import Bell, yields_path
from posthouse.backends.sqlite.books import Books
from posthouse.backends.sqlite.opening import open_database, patiently
from posthouse.backends.sqlite.trouble import explain
from posthouse.backends.sqlite.yields import Yields
from posthouse.clock import Clock
from posthouse.errors import LogUnreadable

SUFFIX: Final = "-posthouse"
logger = logging.getLogger("posthouse.sqlite")


class Place:
    """One database, as one broker has it open.

    Attributes:
        path: the file.
        directory: beside it, for FIFOs and the like.
        timeout_s: how long a lock of another process is waited for.
    """

    def __init__(
        self, path: str, timeout_s: float, clock: Clock, chance: Callable[[], float]
    ) -> None:
        self.path = path
        self.directory = Path(path + SUFFIX)
        self.timeout_s = timeout_s
        self._clock = clock
        self._chance = chance

    def enter(self) -> tuple[sqlite3.Connection, Bell, Books]:
        """Open the database, take the next epoch, and end the leases of processes that died.

        Raises:
            LogUnreadable, LogDamaged, StorageFull, StorageFailed.
        """
        db = open_database(self.path, self.timeout_s)
        bell: Bell | None = None
        try:
            patiently(lambda: db.execute("BEGIN IMMEDIATE"), self.path, self.timeout_s)
            (epoch,) = db.execute("UPDATE broker SET epoch = epoch + 1 RETURNING epoch").fetchone()
            self.directory.mkdir(exist_ok=True)
            bell = Bell(self.directory, epoch)
            yields = Yields(yields_path(self.directory, epoch))
            books = Books(db, epoch, self._clock, self._chance, yields)
            books.open()
            db.execute("INSERT INTO holder VALUES (?, ?)", (epoch, os.getpid()))
            books.changed()
            for other in [number for number in books.peers if not bell.is_alive(number)]:
                logger.warning("a process that had %s open has died", self.path)
                due.reclaim(books, self.directory, other)
            books.baseline()
            if books.due_again():
                due.work(books, self.directory)
            db.execute("DELETE FROM key_rate WHERE next_ns <= ?", (books.now_ns,))
            books.flush()
            db.execute("COMMIT")
            books.touched = []
        except BaseException as error:
            if bell is not None:
                bell.close()
            db.close()
            if isinstance(error, sqlite3.Error):
                raise explain(error, self.path) from error
            if isinstance(error, OSError):
                raise LogUnreadable(f"{self.directory}: {error.strerror}") from error
            raise
        return db, bell, books

    def who(self, db: sqlite3.Connection) -> Callable[[], str]:
        """A function that names the processes that have the database open, for an error's text."""

        def name() -> str:
            try:
                rows = db.execute("SELECT DISTINCT pid FROM holder ORDER BY pid").fetchall()
            except sqlite3.Error:
                return ""
            others = [str(pid) for (pid,) in rows if pid != os.getpid()]
            return f" (open in: {', '.join(others)})" if others else ""

        return name

    def leave(self, db: sqlite3.Connection, bell: Bell, books: Books) -> None:
        """Let go of everything; the last one takes the directory with it."""
        with contextlib.suppress(sqlite3.Error):
            db.close()
        bell.close()
        with contextlib.suppress(OSError):
            books.yields.close()
        with contextlib.suppress(OSError):
            self.directory.rmdir()
