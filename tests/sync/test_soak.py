"""Threads and tasks on one queue, put, get, ack, nack, cancelled and timed out, by a seed."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

import posthouse
from posthouse import sync

EACH = 120
PRODUCERS = 3
CONSUMERS = 3
TOTAL = 2 * PRODUCERS * EACH


class Ledger:
    """What was acknowledged to producers, and what consumers settled for good.

    ``finished`` is called when all of it was.
    """

    def __init__(self, finished: Callable[[], object]) -> None:
        self.finished = finished
        self.put: list[str] = []
        self.acked: list[str] = []
        self.lock = threading.Lock()

    def note(self, where: list[str], ids: list[str]) -> None:
        with self.lock:
            where.extend(ids)
            if len(self.acked) == TOTAL:
                self.finished()


def thread_producer(queue: sync.Queue[int], ledger: Ledger, chance: random.Random) -> None:
    left = EACH
    while left:
        count = min(left, chance.choice((1, 1, 7, 20)))
        if count == 1:
            ledger.note(ledger.put, [queue.put(left)])
        else:
            ledger.note(ledger.put, list(queue.put_many(range(count))))
        left -= count


def thread_consumer(queue: sync.Queue[int], ledger: Ledger, chance: random.Random) -> None:
    while True:
        try:
            if chance.random() < 0.3:
                messages = [queue.get(timeout=chance.random() / 500)]
            else:
                messages = queue.get_many(chance.choice((1, 5, 30)), timeout=0.05)
        except TimeoutError:
            continue
        except posthouse.QueueShutDown:
            return
        what = chance.random()
        if what < 0.15:
            for message in messages:
                message.nack(0)
        elif what < 0.25:
            messages[0].give_back()
            done = messages[1:]
            queue.ack_many(done)
            ledger.note(ledger.acked, [message.id for message in done])
        else:
            queue.ack_many(messages)
            ledger.note(ledger.acked, [message.id for message in messages])


def thread_iterator(queue: sync.Queue[int], ledger: Ledger, chance: random.Random) -> None:
    for message in queue:
        with message:
            pass
        ledger.note(ledger.acked, [message.id])


async def task_producer(queue: posthouse.Queue[int], ledger: Ledger, chance: random.Random) -> None:
    for number in range(EACH):
        ledger.note(ledger.put, [await queue.put(number)])
        if chance.random() < 0.2:
            await asyncio.sleep(0)


async def task_consumer(queue: posthouse.Queue[int], ledger: Ledger, chance: random.Random) -> None:
    while True:
        taking = asyncio.create_task(queue.get())
        if chance.random() < 0.3:
            await asyncio.sleep(0)
            taking.cancel()
        try:
            message = await taking
        except asyncio.CancelledError:
            continue
        except posthouse.QueueShutDown:
            return
        await message.ack()
        ledger.note(ledger.acked, [message.id])


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("kind", ["memory", "log"])
async def test_threads_beside_tasks(kind: str, seed: int, tmp_path: Path) -> None:
    loop = asyncio.get_running_loop()
    over = asyncio.Event()
    ledger = Ledger(lambda: loop.call_soon_threadsafe(over.set))
    url = "memory:" if kind == "memory" else str(tmp_path / "data")
    async with posthouse.open(url) as broker:
        inside = broker.queue("q", int, max_messages=60, retry=posthouse.Retry(max_attempts=10_000))
        outside = sync.wrap(broker).queue("q", int)
        threads = [
            asyncio.to_thread(work, outside, ledger, random.Random(f"{seed} {work} {number}"))
            for work in (thread_producer, thread_consumer, thread_iterator)
            for number in range(1 if work is thread_iterator else PRODUCERS)
        ]
        tasks = [
            work(inside, ledger, random.Random(f"{seed} {work} {number}"))
            for work in (task_producer, task_consumer)
            for number in range(CONSUMERS)
        ]
        running = [asyncio.ensure_future(each) for each in (*threads, *tasks)]
        for each in running:
            each.add_done_callback(lambda done: over.set() if done.exception() else None)
        async with asyncio.timeout(60):
            await over.wait()
        inside.shutdown()
        await asyncio.gather(*running)
        stats = await inside.stats()
        assert (stats.waiting, stats.delayed, stats.in_flight) == (0, 0, 0), seed
        assert stats.put == TOTAL
    assert Counter(ledger.put) == Counter(ledger.acked), seed
    assert len(set(ledger.put)) == TOTAL
