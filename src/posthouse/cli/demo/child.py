"""The child: a producer, concurrent consumers and a collector over one durable queue.

All it knows about its progress is in messages, so it may be killed anywhere and started again:
the producer's cursor is replaced in the transaction that puts the next files, and the totals in
the transaction that acks what they add.

    files -> producer -> demo.sources -> consumers -> demo.results -> collector -> demo.totals
                (cursor + puts)            (ack + put)               (acks + new totals)
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Final

import msgspec

from posthouse.broker import Broker
from posthouse.broker import open as open_broker
from posthouse.cli.demo import events
from posthouse.cli.demo.analysis import count_read, digest, read_source
from posthouse.cli.demo.events import Cursor, Job, Result, Totals
from posthouse.cli.failures import guarded
from posthouse.errors import PosthouseError
from posthouse.message import Message
from posthouse.queue import Queue
from posthouse.worker import Worker

CONSUMERS: Final = 16
SOURCES_LIMIT: Final = 200
RESULTS_LIMIT: Final = 1_000
BATCH_FILES: Final = 20
BATCH_BYTES: Final = 8 * 1024 * 1024
BATCH_RESULTS: Final = 100


def tell(event: events.AnyEvent) -> None:
    """Report to the parent. Blocking on purpose: a report must be out before the next step."""
    line = events.encode_line(event)
    while line:
        line = line[os.write(1, line) :]


class Interrupted(PosthouseError):
    """The child was asked to stop early."""


class MainJob:
    """The queues of the demo and the three who work on them."""

    def __init__(self, broker: Broker, job: Job) -> None:
        self._broker = broker
        self._collected = False
        self._job = job
        self._sources: Queue[bytes] = broker.queue(
            events.SOURCES, bytes, max_messages=SOURCES_LIMIT
        )
        self._results: Queue[Result] = broker.queue(
            events.RESULTS, Result, max_messages=RESULTS_LIMIT
        )
        self._cursor: Queue[Cursor] = broker.queue(events.CURSOR, Cursor)
        self._totals: Queue[Totals] = broker.queue(events.TOTALS, Totals)

    async def run(self) -> None:
        """Work until every file is counted."""
        cursor, totals = await self._cursor.peek(), await self._totals.peek()
        tell(events.Started(cursor[0].body.next, totals[0].body.version))
        worker = Worker(self._broker)
        worker.task(events.SOURCES, concurrency=CONSUMERS)(self.consume)
        async with asyncio.TaskGroup() as group:
            producer = group.create_task(self.produce())
            consumers = group.create_task(self._consume_with(worker))
            await self.collect()
            self._collected = True
            # Nothing is in hand any more; a stop() could come before the run has begun.
            producer.cancel()
            consumers.cancel()
        tell(events.Finished())

    async def _consume_with(self, worker: Worker) -> None:
        await worker.run()
        if not self._collected:
            raise Interrupted("stopped by a signal before everything was counted")

    async def produce(self) -> None:
        """Put the files that are not on the queue yet, some at a time."""
        end = len(self._job.files) if self._job.hold_at is None else self._job.hold_at
        while (start := (await self._cursor.peek())[0].body.next) < end:
            cursor = await self._cursor.get()
            position = start
            size_bytes = 0
            async with self._broker.transaction() as tx:
                while position < min(end, start + BATCH_FILES) and size_bytes < BATCH_BYTES:
                    source = read_source(self._job.files[position])
                    headers = {events.INDEX_HEADER: str(position)}
                    if source is None:
                        headers[events.UNREADABLE_HEADER] = "yes"
                    tx.put(self._sources, source or b"", headers=headers)
                    size_bytes += len(source or b"")
                    position += 1
                tx.ack(cursor)
                tx.put(self._cursor, Cursor(position))
            tell(events.Put(start, position))

    async def consume(self, message: Message[bytes]) -> None:
        """Count one file and pass the result on, in one transaction with the ack."""
        index = int(message.headers[events.INDEX_HEADER])
        tell(events.Taken(message.id, index, message.attempts))
        readable = events.UNREADABLE_HEADER not in message.headers
        counts = count_read(message.body if readable else None)
        async with self._broker.transaction() as tx:
            tx.ack(message)
            tx.put(self._results, Result(message.id, index, counts))
        tell(events.Done(message.id))

    async def collect(self) -> None:
        """Add results to the totals until every file is in."""
        while True:
            totals = (await self._totals.peek())[0].body
            if totals.counts.files >= len(self._job.files):
                return
            batch = await self._results.get_many(BATCH_RESULTS)
            held = await self._totals.get()
            ids = [message.body.source for message in batch]
            tell(events.Adding(totals.version + 1, ids))
            async with self._broker.transaction() as tx:
                tx.ack(held)
                for message in batch:
                    tx.ack(message)
                tx.put(self._totals, add(totals, batch))
            tell(events.Added(totals.version + 1))


def add(totals: Totals, batch: list[Message[Result]]) -> Totals:
    """The next version of the totals, with a batch of results added."""
    ids = [message.body.source for message in batch]
    return Totals(
        version=totals.version + 1,
        counts=sum((message.body.counts for message in batch), totals.counts),
        digest=f"{digest(ids, int(totals.digest, 16)):x}",
    )


async def work(job: Job) -> None:
    """Do the job on its broker."""
    async with open_broker(job.url) as broker:
        await MainJob(broker, job).run()


def main(arguments: list[str]) -> int:
    """Run as ``python -m posthouse.cli.demo.child JOB_FILE``; returns the exit code."""
    job = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Job)
    return guarded(lambda: asyncio.run(work(job)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
