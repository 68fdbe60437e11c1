"""A worker over a server, whose connection breaks while it works."""

from __future__ import annotations

import asyncio
from pathlib import Path

import posthouse
from posthouse.testing import serve
from posthouse.testing.cases.base import soon
from posthouse.testing.chaos import ChaosProxy


async def test_tasks_are_done_once_each_through_resets(tmp_path: Path) -> None:
    done: list[int] = []
    with serve(tmp_path / "data") as served, ChaosProxy(served.url, 5) as proxy:
        async with posthouse.open(served.url) as quiet:
            await quiet.queue("jobs").put_many(range(200))
            proxy.weather(break_after_s=0.05)
            async with posthouse.open(proxy.url, first_pause_s=0.001) as broker:
                worker = posthouse.Worker(broker)

                @worker.task("jobs", concurrency=10)
                async def work(number: int) -> None:
                    await asyncio.sleep(0.005)
                    done.append(number)

                running = asyncio.create_task(worker.run())
                await soon(quiet.queue("jobs").join())
                running.cancel()
                await asyncio.wait([running])
        assert proxy.broken > 1
    assert sorted(done) == list(range(200))
