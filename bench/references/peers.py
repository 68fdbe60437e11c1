"""Other people's embedded queues. None has batches: they put, get and settle one at a time.

Each is set to the durability that posthouse has (every commit synced). They are called in the
loop's own thread with nothing between, which favours them.
"""

from __future__ import annotations

from typing import Any

from bench.flow import pump_inline
from bench.model import Contender, Job


async def _persist_queue(job: Job) -> float:
    import persistqueue
    from persistqueue.serializers import json as plain

    queue: Any = persistqueue.SQLiteAckQueue(str(job.directory), serializer=plain)
    body = "x" * job.size_bytes

    def cycle() -> int:
        queue.put(body)
        item = queue.get(block=False)
        queue.ack(item)
        return 1

    try:
        return pump_inline(job.seconds, cycle)
    finally:
        queue.close()


async def _huey(job: Job) -> float:
    from huey.storage import SqliteStorage

    storage: Any = SqliteStorage("bench", filename=str(job.directory / "huey.db"), fsync=True)
    body = job.body

    def cycle() -> int:
        storage.enqueue(body)
        # Huey's dequeue deletes: it has no lease, and its crash loses what was taken.
        return 1 if storage.dequeue() is not None else 0

    try:
        return pump_inline(job.seconds, cycle)
    finally:
        storage.close()


async def _litequeue(job: Job) -> float:
    from litequeue import LiteQueue

    queue: Any = LiteQueue(str(job.directory / "lite.db"))
    # It ships with NORMAL, which does not sync at commit in WAL mode.
    queue.conn.execute("PRAGMA synchronous = FULL")
    body = "x" * job.size_bytes

    def cycle() -> int:
        queue.put(body)
        message = queue.pop()
        queue.done(message.message_id)
        return 1

    try:
        return pump_inline(job.seconds, cycle)
    finally:
        queue.close()


FULL = "synced at each commit"
PERSIST_QUEUE = Contender("persist-queue SQLiteAckQueue", FULL, _persist_queue, slow=True)
HUEY = Contender("huey SqliteStorage, fsync=True", FULL, _huey, slow=True)
LITEQUEUE = Contender("litequeue, synchronous=FULL", FULL, _litequeue, slow=True)
