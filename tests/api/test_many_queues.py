"""Very many queues at once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import posthouse

QUEUES = 10_000


async def test_ten_thousand_queues_declared_in_one_turn_of_the_loop(tmp_path: Path) -> None:
    async with posthouse.open(str(tmp_path / "data")) as broker:

        async def declare(number: int) -> str:
            queue = broker.queue(f"queue-{number}")
            return await queue.put(b"%d" % number)

        ids = await asyncio.gather(*map(declare, range(QUEUES)))
        assert len(set(ids)) == QUEUES
    async with posthouse.open(str(tmp_path / "data")) as broker:
        assert len(await broker.queue_names()) == QUEUES
        message = await broker.queue(f"queue-{QUEUES - 1}").get(timeout=10)
        assert message.raw == b"%d" % (QUEUES - 1)
        await message.ack()
