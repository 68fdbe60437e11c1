"""The broker process killed in a row under load; the test itself keeps the ledger.

Its clients live here, outside of what is killed, so what they were told is what is true.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from pathlib import Path

import pytest

import posthouse
from posthouse.errors import LeaseExpired
from tests.shared.places import kill, nobody, share, status_of

PRODUCERS = 20
BETWEEN = 60
"""Acknowledged operations between two kills."""


class Load:
    """Producers and consumers, and what they were told.

    Attributes:
        stored: the id of every put that was acknowledged, by body.
        seen: the ids under which each body was delivered.
        settled: ids that were acked durably.
        again: ids that came after that.
        told: how much was acknowledged in all.
    """

    def __init__(self) -> None:
        self.stored: dict[int, str] = {}
        self.seen: dict[int, set[str]] = {}
        self.settled: set[str] = set()
        self.again: Counter[str] = Counter()
        self.told = 0
        self.done = False
        self._numbers = itertools.count()
        self._stirred = asyncio.Event()

    def _tell(self) -> None:
        self.told += 1
        self._stirred.set()

    async def reach(self, told: int) -> None:
        """Wait until so much was acknowledged."""
        while self.told < told:
            self._stirred.clear()
            await self._stirred.wait()

    async def produce(self, queue: posthouse.Queue[int]) -> None:
        """Put numbers, one at a time."""
        while not self.done:
            number = next(self._numbers)
            self.stored[number] = await queue.put(number)
            self._tell()

    async def produce_together(self, broker: posthouse.Broker) -> None:
        """Put two numbers in a transaction."""
        queue: posthouse.Queue[int] = broker.queue("q")
        while not self.done:
            numbers = next(self._numbers), next(self._numbers)
            async with broker.transaction() as tx:
                for number in numbers:
                    tx.put(queue, number)
            self.stored.update(zip(numbers, tx.ids, strict=True))
            self._tell()

    async def consume(self, queue: posthouse.Queue[int]) -> None:
        """Take and ack durably, until nothing is left."""
        while True:
            try:
                messages = await queue.get_many(20, timeout=0.5)
            except TimeoutError:
                figures = await queue.stats()
                if self.done and not figures.waiting + figures.delayed + figures.in_flight:
                    return
                continue
            for message in messages:
                self.seen.setdefault(message.body, set()).add(message.id)
                self.again[message.id] += message.id in self.settled
                try:
                    await message.ack(durable=True)
                except LeaseExpired:
                    continue  # it comes again, unless it was written before the kill
                self.settled.add(message.id)
                self._tell()


async def kills_in_a_row(data: Path, kills: int) -> None:
    load = Load()
    async with share(data) as one, share(data) as other:
        queue: posthouse.Queue[int] = one.queue("q", retry=posthouse.Retry(max_attempts=1_000))
        async with asyncio.TaskGroup() as group:
            for _ in range(PRODUCERS):
                group.create_task(load.produce(queue))
            group.create_task(load.produce_together(other))
            group.create_task(load.consume(other.queue("q")))
            pids = set()
            for number in range(kills):
                # At any moment of a group's life: what is told last decides nothing.
                await load.reach(load.told + BETWEEN + number % 7)
                pids.add(kill(data))
            await load.reach(load.told + BETWEEN)
            load.done = True
        assert status_of(data).pid not in pids
        assert len(pids) == kills
        assert (await queue.stats()).waiting == 0
    for number, message_id in load.stored.items():
        assert load.seen.get(number) == {message_id}, f"{number} was lost, or stored twice"
    assert not +load.again
    await nobody(data)


async def test_kills_in_a_row(tmp_path: Path) -> None:
    async with asyncio.timeout(110):
        await kills_in_a_row(tmp_path / "data", 4)


@pytest.mark.soak
@pytest.mark.timeout(1800)
async def test_two_hundred_kills_in_a_row(tmp_path: Path) -> None:
    await kills_in_a_row(tmp_path / "data", 200)


async def test_a_killed_broker_is_followed_by_one_only(tmp_path: Path) -> None:
    """All clients miss it in the same moment."""
    data = tmp_path / "data"
    async with asyncio.timeout(100):
        brokers = [await share(data) for _ in range(10)]
        try:
            for _ in range(2):
                kill(data)
                await asyncio.gather(*(broker.queue("q").put(1) for broker in brokers))
            assert (await brokers[0].queue("q").stats()).waiting == 20
        finally:
            for broker in brokers:
                await broker.close()
    text = (data / ".shared" / "broker.log").read_text()
    assert text.count(" serving log:") == 3
