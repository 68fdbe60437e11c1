"""A child: the producer, a consumer or the collector, each a process on one shared directory.

All it knows about its progress is in messages, so it may be killed anywhere and started again, and
so may the broker process: the producer's cursor is replaced in the transaction that puts the next
files, and the totals in the transaction that acks what they add.

    files -> producer -> demo.sources -> consumers -> demo.results -> collector -> demo.totals
                (cursor + puts)            (ack + put)               (acks + new totals)

A transaction that was under way when the broker process was killed is said again to the next one
and done once; where that cannot be, it ends in LeaseExpired or UnknownOutcome: then producer and
collector look again where they are, and a consumer is given the message again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
from pathlib import Path
from typing import Final, TypeVar

import msgspec

from posthouse.broker import Broker
from posthouse.broker import open as open_broker
from posthouse.cli.demo import events
from posthouse.cli.demo.analysis import count_read, digest, read_source
from posthouse.cli.demo.events import Cursor, Job, Result, Totals
from posthouse.cli.failures import guarded
from posthouse.errors import LeaseExpired, UnknownOutcome
from posthouse.message import Message
from posthouse.queue import Queue
from posthouse.worker import Worker

T = TypeVar("T")

CONSUMING: Final = 8
"""Files that one consumer has in hand."""
LEASE_S: Final = 3.0
"""What a child had in hand when it was killed goes to the others after so long, seconds."""
LINGER_S: Final = 0.5
"""How long the broker process stays when the demo is over, seconds."""
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


class Queues:
    """The queues of the demo."""

    def __init__(self, broker: Broker) -> None:
        self.broker = broker
        self.sources: Queue[bytes] = broker.queue(
            events.SOURCES, bytes, max_messages=SOURCES_LIMIT, visibility_timeout=LEASE_S
        )
        self.results: Queue[Result] = broker.queue(
            events.RESULTS, Result, max_messages=RESULTS_LIMIT, visibility_timeout=LEASE_S
        )
        self.cursor: Queue[Cursor] = broker.queue(events.CURSOR, Cursor, visibility_timeout=LEASE_S)
        self.totals: Queue[Totals] = broker.queue(events.TOTALS, Totals, visibility_timeout=LEASE_S)

    async def position(self) -> int:
        """The next file to put."""
        return (await _only(self.cursor)).next

    async def sum(self) -> Totals:
        """The totals so far."""
        return await _only(self.totals)


async def produce(queues: Queues, job: Job) -> None:
    """Put the files that are not on the queue yet, some at a time."""
    end = len(job.files) if job.end is None else job.end
    position = told = await queues.position()
    tell(events.Started(cursor=position))
    while position < end:
        with contextlib.suppress(LeaseExpired, UnknownOutcome):
            await _put_some(queues, job.files, end)
        position = await queues.position()
        if position > told:
            tell(events.Put(told, position))
            told = position


async def _put_some(queues: Queues, files: list[str], end: int) -> None:
    cursor = await queues.cursor.get()
    start = position = cursor.body.next
    size_bytes = 0
    async with queues.broker.transaction() as tx:
        while position < min(end, start + BATCH_FILES) and size_bytes < BATCH_BYTES:
            source = read_source(files[position])
            headers = {events.INDEX_HEADER: str(position)}
            if source is None:
                headers[events.UNREADABLE_HEADER] = "yes"
            tx.put(queues.sources, source or b"", headers=headers)
            size_bytes += len(source or b"")
            position += 1
        tx.ack(cursor)
        tx.put(queues.cursor, Cursor(position))


async def consume(queues: Queues) -> None:
    """Count files until asked to stop."""
    tell(events.Started())
    worker = Worker(queues.broker)

    @worker.task(events.SOURCES, concurrency=CONSUMING)
    async def count(message: Message[bytes]) -> None:
        await _count_one(queues, message)

    await worker.run()


async def _count_one(queues: Queues, message: Message[bytes]) -> None:
    """Count one file and pass the result on, in one transaction with the ack."""
    index = int(message.headers[events.INDEX_HEADER])
    tell(events.Taken(message.id, index, message.attempts))
    readable = events.UNREADABLE_HEADER not in message.headers
    counts = count_read(message.body if readable else None)
    async with queues.broker.transaction() as tx:
        tx.ack(message)
        tx.put(queues.results, Result(message.id, index, counts))
    tell(events.Done(message.id))


async def collect(queues: Queues, job: Job) -> None:
    """Add results to the totals until every file is in."""
    totals = await queues.sum()
    tell(events.Started(version=totals.version))
    while totals.counts.files < len(job.files):
        before = totals.version
        with contextlib.suppress(LeaseExpired, UnknownOutcome):
            await _add_some(queues)
        totals = await queues.sum()
        if totals.version > before:
            tell(events.Added(totals.version))


async def _add_some(queues: Queues) -> None:
    batch = await queues.results.get_many(BATCH_RESULTS)
    held = await queues.totals.get()
    totals = held.body
    tell(events.Adding(totals.version + 1, [message.body.source for message in batch]))
    async with queues.broker.transaction() as tx:
        tx.ack(held)
        for message in batch:
            tx.ack(message)
        tx.put(queues.totals, add(totals, batch))


def add(totals: Totals, batch: list[Message[Result]]) -> Totals:
    """The next version of the totals, with a batch of results added."""
    ids = [message.body.source for message in batch]
    return Totals(
        version=totals.version + 1,
        counts=sum((message.body.counts for message in batch), totals.counts),
        digest=f"{digest(ids, int(totals.digest, 16)):x}",
    )


async def _only(queue: Queue[T]) -> T:
    """The body of the one message of a queue."""
    found = await queue.peek()
    if found:
        return found[0].body
    # A transaction whose end is not known may hold it still: until its lease has run out.
    message = await queue.get()
    with contextlib.suppress(LeaseExpired):
        await message.give_back()
    return message.body


async def work(job: Job) -> None:
    """Do the job on its broker."""
    async with open_broker(job.url, linger_s=LINGER_S) as broker:
        queues = Queues(broker)
        if job.role == "producer":
            await produce(queues, job)
        elif job.role == "consumer":
            await consume(queues)
        else:
            await collect(queues, job)
        tell(events.Finished())


def main(arguments: list[str]) -> int:
    """Run as ``python -m posthouse.cli.demo.child JOB_FILE``; returns the exit code."""
    # Leases that are lost with a broker process, connections made again: what the demo is about.
    logging.getLogger("posthouse").setLevel(logging.CRITICAL)
    job = msgspec.json.decode(Path(arguments[0]).read_bytes(), type=Job)
    return guarded(lambda: asyncio.run(work(job)))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
