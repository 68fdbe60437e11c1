"""Row B1: the SQLite backend, beside a loop by hand of the same statements on the same tables."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import msgspec

import posthouse
from bench import ours
from bench.flow import pump_inline
from bench.model import Contender, Job, Row, Target
from bench.references import stores
from posthouse.backends.sqlite import books, opening, put, settle, take
from posthouse.backends.sqlite.rows import NUMBERS, QueueRow, entry_of
from posthouse.model import QueuePolicy

AHEAD = 4
"""Batches that the producer may be ahead: the loop by hand is never, and both stay in the cache."""
LEASE_NS = 30_000_000_000
COMMITTED = "synced before each answer"
SYNCED = "synced at each commit"


def batches(size: int) -> Callable[[Job], Any]:
    """put_many, get_many and ack_many in batches of ``size``, a producer and a consumer."""

    async def work(job: Job) -> float:
        async with posthouse.open(f"sqlite:///{job.directory / 'q.db'}") as broker:
            queue = broker.queue("bench", max_messages=AHEAD * size)
            return await ours.batches(queue, job, size)

    return work


async def cycle(job: Job) -> float:
    """Put, get and ack, each awaited singly."""
    body = job.body
    async with posthouse.open(f"sqlite:///{job.directory / 'q.db'}") as broker:
        queue = broker.queue("bench")
        started = time.perf_counter()
        count = 0
        while time.perf_counter() - started < job.seconds:
            await queue.put(body)
            message = await queue.get()
            await message.ack()
            count += 1
        return count / (time.perf_counter() - started)


class _ByHand:
    """The backend's statements and nothing else: three transactions a batch, in one thread."""

    _COUNTS = f"UPDATE queue SET {', '.join(f'{name} = ?' for name in NUMBERS)} WHERE number = 1"
    _BROKER = "UPDATE broker SET last_id = ?, last_ns = ?, skew_ns = 0, shape = 1, writer = 1"

    def __init__(self, job: Job, size: int) -> None:
        self._db = opening.open_database(str(job.directory / "hand.db"), 1.0)
        self._execute = self._db.execute
        self._execute("INSERT INTO queue (number, name, policy) VALUES (1, 'bench', '{}')")
        self._bodies = [job.body] * size
        self._size = size
        self._last = time.time_ns()
        self._numbers = [0] * len(NUMBERS)
        self._query = take.query(QueueRow(1, "bench", QueuePolicy()))

    def _commit(self) -> None:
        self._execute(self._COUNTS, self._numbers)
        self._execute(self._BROKER, (self._last, time.time_ns()))
        self._execute("COMMIT")

    def cycle(self) -> int:
        """Put, lease and settle a batch."""
        self._put()
        token = self._last
        ids = self._take(token)
        self._execute("BEGIN IMMEDIATE")
        self._execute(books.OPEN).fetchone()
        self._execute(settle.END_LEASE, (token,))
        for first, last in books.runs(ids):
            self._execute(settle.ACK, (first, last, token))
            self._execute(settle.FORGET, (first, last))
        self._commit()
        return len(ids)

    def _put(self) -> None:
        first, self._last = self._last + 1, self._last + self._size
        at, parts = 1, []
        for body in self._bodies:
            parts.append((2, at, len(body)))
            at += len(body)
        sizes = [len(body) for body in self._bodies]
        self._execute("BEGIN IMMEDIATE")
        self._execute(books.OPEN).fetchone()
        same = {"first": first, "queue": 1, "headers": None, "shown": None}
        if self._size == 1:
            self._execute(put.CONTENT, {**same, "kind": 2, "body": self._bodies[0]})
        else:
            joined = {"body": b"".join(self._bodies), "parts": _json(parts)}
            self._execute(put.CONTENTS, {**same, **joined})
        nothing = {"state": 0, "place": 0, "due": 0, "expires": 0, "priority": 0, "line": None}
        row = {"first": first, "queue": 1, "key": "", "sizes": _json(sizes)}
        self._execute(put.MESSAGES, {**nothing, **row})
        self._commit()

    def _take(self, token: int) -> list[int]:
        self._execute("BEGIN IMMEDIATE")
        self._execute(books.OPEN).fetchone()
        found = self._execute(self._query, {"queue": 1, "most": self._size}).fetchall()
        entries = [entry_of(row) for row in found]
        ids = [entry[0] for entry in entries]
        for first, last in books.runs(ids):
            self._execute(take.HOLD, (token, first, last))
        deadline_ns = time.time_ns() + LEASE_NS
        self._execute(take.LEASE, (token, 1, 1, deadline_ns, 1, books.pack(ids)))
        self._commit()
        return ids

    def close(self) -> None:
        """Close the database."""
        self._db.close()


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def by_hand(size: int) -> Contender:
    """The hand-written loop."""

    async def work(job: Job) -> float:
        with closing(_ByHand(job, size)) as store:
            return pump_inline(job.seconds, store.cycle)

    return Contender(f"sqlite3 by hand, the same statements, {size:,} at a time", SYNCED, work)


def rows() -> list[Row]:
    """B1, and what a single message costs."""
    found = [
        Row(
            f"B1 ({size:,})",
            f"SQLite, batches of {size:,}, 1 producer and 1 consumer, put + get + ack",
            "messages/s",
            Contender("posthouse", COMMITTED, batches(size)),
            (Target(by_hand(size), goal=0.8), Target(stores.sqlite(size, leased=True))),
        )
        for size in (100, 1_000)
    ]
    single = Contender("posthouse", COMMITTED, cycle)
    return [
        *found,
        Row(
            "B1 (cycle)",
            "SQLite, put + get + ack one at a time",
            "messages/s",
            single,
            (Target(by_hand(1)), Target(stores.sqlite(1, leased=True))),
        ),
    ]
