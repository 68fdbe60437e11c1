"""A full disk does not hold compaction up: it is what frees the disk."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import pytest

import posthouse
from posthouse.errors import StorageFull
from posthouse.journal.log import LogOptions
from posthouse.testing.cases.base import drain
from posthouse.testing.clock import START_NS
from posthouse.testing.simloop import SimLoop
from tests.journal.memory import MemoryFiles
from tests.lab.disk.lives import open_broker

SEGMENT = 65536
OPTIONS = LogOptions(segment_bytes=SEGMENT, ring_slots=256, cache_bytes=0, compact_bytes_s=SEGMENT)


def _run(main: Coroutine[Any, Any, None], loop: SimLoop) -> None:
    try:
        loop.run(main)
    finally:
        loop.close()


async def _fill(queue: posthouse.Queue[Any], body: bytes, most: int = 100_000) -> int:
    """Put until the disk is full: how many."""
    for count in range(most):
        try:
            await queue.put(body)
        except StorageFull:
            return count
    raise AssertionError("it is never full")


@pytest.mark.parametrize("segments", [8, 12, 30])
def test_a_disk_full_of_segments_of_which_little_lives(segments: int) -> None:
    files, loop = MemoryFiles(capacity_bytes=segments * SEGMENT), SimLoop(1, start_ns=START_NS)

    async def main() -> None:
        broker = await open_broker(files, OPTIONS, loop, random.Random(1))  # type: ignore[arg-type]
        queue = broker.queue("q")
        count = await _fill(queue, b"x" * 2000)
        messages: list[posthouse.Message[Any]] = []
        while not queue.empty():
            messages += await queue.get_many(100, timeout=0, visibility_timeout=3600)
        assert len(messages) == count
        await queue.ack_many([m for at, m in enumerate(messages) if at % 6], durable=True)
        for message in messages[::6]:
            await message.give_back()
            await asyncio.sleep(0.2)
        await asyncio.sleep(300)
        again = await _fill(queue, b"y" * 2000)
        assert again > count // 3  # twice what lives may be taken, and a third of that lived
        assert len(await drain(queue)) == len(messages[::6]) + again
        await broker.close()

    _run(main(), loop)


@pytest.mark.parametrize("segments", [8, 12, 30])
def test_a_disk_that_one_old_segment_keeps_full(segments: int) -> None:
    """All of the oldest lives, and nothing of the others."""
    files, loop = MemoryFiles(capacity_bytes=segments * SEGMENT), SimLoop(1, start_ns=START_NS)

    async def main() -> None:
        broker = await open_broker(files, OPTIONS, loop, random.Random(1))  # type: ignore[arg-type]
        busy = broker.queue("busy")
        olds = [broker.queue(f"old{number}") for number in range(6)]
        for old in olds:
            await old.put_many([b"old" * 300] * 9)
        for _ in range(100_000):
            try:
                await busy.put_many([b"x" * 2000] * 5)
            except StorageFull:
                break
            await busy.ack_many(await busy.get_many(5), durable=True)
        else:
            raise AssertionError("it is never full")
        await asyncio.sleep(300)
        again = await _fill(busy, b"y" * 2000)
        assert again > (segments - 6) * 25  # so many go into a segment
        for old in olds:
            assert await drain(old) == [b"old" * 300] * 9
        await broker.close()

    _run(main(), loop)
