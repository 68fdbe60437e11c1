"""A disk that takes 250 ms for every sync, and many producers: what waits is bounded."""

from __future__ import annotations

import asyncio
import time
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import posthouse
from posthouse.journal.files import Buffer, RealFiles

SYNC_S: Final = 0.25
MIB: Final = 1024 * 1024
PRODUCERS: Final = 2_000
BODY_BYTES: Final = 8 * 1024
PENDING_BYTES: Final = 2 * MIB
QUEUE_BYTES: Final = 4 * MIB


class SlowFiles(RealFiles):
    """A slow disk.

    Attributes:
        syncs: how many there were.
    """

    def __init__(self) -> None:
        super().__init__()
        self.syncs = 0

    def pwritev_sync(self, fd: int, parts: Sequence[Buffer], offset: int) -> None:
        """As slow as an overloaded disk. In the writer's thread."""
        time.sleep(SYNC_S)
        self.syncs += 1
        super().pwritev_sync(fd, parts, offset)


async def test_memory_is_bounded_behind_a_slow_disk(tmp_path: Path) -> None:
    files = SlowFiles()
    done = 0
    async with posthouse.open(
        str(tmp_path / "log"), files=files, pending_bytes=PENDING_BYTES
    ) as broker:
        queue = broker.queue("a", bytes, max_bytes=QUEUE_BYTES)
        body = bytes(BODY_BYTES)

        async def produce() -> None:
            nonlocal done
            await queue.put(bytes(body))
            done += 1

        tracemalloc.start()
        try:
            producers = [asyncio.ensure_future(produce()) for _ in range(PRODUCERS)]
            taken = 0
            while taken < PRODUCERS:
                messages = await queue.get_many(1000)
                taken += len(messages)
                await queue.ack_many(messages)
            await asyncio.gather(*producers)
            _, peak_bytes = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert done == PRODUCERS
    assert files.syncs > 3
    # All of the bodies are 16 MiB; the queue may hold 4, its log's writer as much again, and
    # 2,000 producers that wait cost something too.
    assert peak_bytes < 2 * QUEUE_BYTES + PRODUCERS * 2048, f"{peak_bytes:,} bytes"
