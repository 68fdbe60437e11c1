"""A queue made by hand of a general store: LMDB, and sqlite3 in WAL mode with synchronous=FULL.

Both are called in the loop's own thread with nothing between, which favours them. There are two
of each. *Leased* is what several consumers can share: put, lease and delete are a transaction
each, three commits a batch. *Not leased* is for one consumer only: it takes and deletes in one
transaction that commits when the work is done (a crash gives the batch back, and nobody else can
write meanwhile), two commits a batch.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from typing import Any

from bench.flow import pump_inline
from bench.model import Contender, Job

MAP_BYTES = 8 * 1024**3
LEASE_NS = 30_000_000_000
SYNCED = "synced at each commit"
THREE = "leased, 3 commits a batch"
TWO = "not leased, 2 commits a batch"


class _Lmdb:
    """Bodies by number; and, when leased, who waits and who is held until when."""

    def __init__(self, job: Job, size: int) -> None:
        import lmdb

        self._env: Any = lmdb.open(
            str(job.directory), map_size=MAP_BYTES, sync=True, metasync=True, max_dbs=3
        )
        self._waiting = self._env.open_db(b"waiting")
        self._held = self._env.open_db(b"held")
        self._bodies = self._env.open_db(b"bodies")
        self._batch = [job.body] * size
        self._last = 0
        self.close = self._env.close

    def cycle(self) -> int:
        """Put, take and delete; two commits."""
        with self._env.begin(write=True, db=self._bodies) as txn:
            for body in self._batch:
                self._last += 1
                txn.put(self._last.to_bytes(8, "big"), body, append=True)
        taken: list[Any] = []
        with self._env.begin(write=True) as txn:
            cursor = txn.cursor(db=self._bodies)
            found = cursor.first()
            while found and len(taken) < len(self._batch):
                taken.append(cursor.value())
                found = cursor.delete()
        return len(taken)

    def leased_cycle(self) -> int:
        """Put, lease and delete; three commits."""
        with self._env.begin(write=True) as txn:
            for body in self._batch:
                self._last += 1
                key = self._last.to_bytes(8, "big")
                txn.put(key, body, append=True, db=self._bodies)
                txn.put(key, b"", append=True, db=self._waiting)
        taken: list[Any] = []
        deadline = (time.time_ns() + LEASE_NS).to_bytes(8, "big")
        with self._env.begin(write=True) as txn:
            cursor = txn.cursor(db=self._waiting)
            found = cursor.first()
            while found and len(taken) < len(self._batch):
                key = cursor.key()
                taken.append((key, txn.get(key, db=self._bodies)))
                txn.put(key, deadline, append=True, db=self._held)
                found = cursor.delete()
        with self._env.begin(write=True) as txn:
            for key, _body in taken:
                txn.delete(key, db=self._held)
                txn.delete(key, db=self._bodies)
        return len(taken)


class _Sqlite:
    """One table, with a column for the lease."""

    _TAKE = (
        "DELETE FROM queue WHERE id IN (SELECT id FROM queue ORDER BY id LIMIT ?) "
        "RETURNING id, body"
    )
    _LEASE = (
        "UPDATE queue SET held_until = ? WHERE id IN "
        "(SELECT id FROM queue WHERE held_until < ? ORDER BY id LIMIT ?) RETURNING id, body"
    )

    def __init__(self, job: Job, size: int) -> None:
        database = sqlite3.connect(str(job.directory / "queue.db"), isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute(
            "CREATE TABLE queue (id INTEGER PRIMARY KEY, held_until INTEGER NOT NULL DEFAULT 0, "
            "body BLOB NOT NULL)"
        )
        self._execute = database.execute
        self._many = database.executemany
        self._batch = [(job.body,)] * size
        self.close = database.close

    def _put(self) -> None:
        self._execute("BEGIN IMMEDIATE")
        self._many("INSERT INTO queue (body) VALUES (?)", self._batch)
        self._execute("COMMIT")

    def cycle(self) -> int:
        """Put, take and delete; two commits."""
        self._put()
        self._execute("BEGIN IMMEDIATE")
        taken = self._execute(self._TAKE, (len(self._batch),)).fetchall()
        self._execute("COMMIT")
        return len(taken)

    def leased_cycle(self) -> int:
        """Put, lease and delete; three commits."""
        self._put()
        now = time.time_ns()
        self._execute("BEGIN IMMEDIATE")
        taken = self._execute(self._LEASE, (now + LEASE_NS, now, len(self._batch))).fetchall()
        self._execute("COMMIT")
        self._execute("BEGIN IMMEDIATE")
        self._many("DELETE FROM queue WHERE id = ?", [(row[0],) for row in taken])
        self._execute("COMMIT")
        return len(taken)


def _work(make: Callable[[Job, int], Any], size: int, *, leased: bool) -> Callable[[Job], Any]:
    async def work(job: Job) -> float:
        store = make(job, size)
        try:
            return pump_inline(job.seconds, store.leased_cycle if leased else store.cycle)
        finally:
            store.close()

    return work


def lmdb(size: int, *, leased: bool) -> Contender:
    """LMDB with transactions of ``size`` messages."""
    name = f"LMDB, batches of {size:,}, {THREE if leased else TWO}"
    return Contender(name, SYNCED, _work(_Lmdb, size, leased=leased))


def sqlite(size: int, *, leased: bool) -> Contender:
    """sqlite3 with transactions of ``size`` messages."""
    name = f"sqlite3 WAL FULL, batches of {size:,}, {THREE if leased else TWO}"
    return Contender(name, SYNCED, _work(_Sqlite, size, leased=leased))
