"""What finding costs: pages, selective takes and sets over a backlog, and the loop's worst turn.

Run it as ``python -m bench.finding [MESSAGES] [--rich] [--index]``. It is not a row of the table:
there is nobody to compare with; read it for how the numbers grow with the backlog.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sys
import time
from collections.abc import Awaitable
from typing import Any

import posthouse

BATCH_MESSAGES = 10_000
CUSTOMERS = 1_000


class Pulse:
    """The loop's longest turn while something else ran."""

    def __init__(self) -> None:
        self.worst_s = 0.0
        self._last = time.perf_counter()
        self._task = asyncio.create_task(self._beat())

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(0)
            now = time.perf_counter()
            self.worst_s = max(self.worst_s, now - self._last)
            self._last = now

    async def stop(self) -> float:
        """The longest turn in seconds."""
        self._task.cancel()
        await asyncio.wait({self._task})
        return max(self.worst_s, time.perf_counter() - self._last)


def body(number: int) -> dict[str, object]:
    """A small order, about 80 bytes of JSON."""
    return {"customer": f"c{number % CUSTOMERS}", "order_id": number, "note": "x" * 40}


async def timed(what: str, work: Awaitable[Any]) -> None:
    """Wait for it, and print what it took."""
    pulse = Pulse()
    began_s = time.perf_counter()
    found = await work
    took_s = time.perf_counter() - began_s
    worst_s = await pulse.stop()
    count = found if isinstance(found, int) else len(found) if isinstance(found, list) else 1
    print(f"| {what} | {count:,} | {took_s * 1e3:,.1f} ms | {worst_s * 1e3:,.1f} ms |", flush=True)


async def run(messages: int, *, rich: bool, index: bool) -> None:
    """All measurements over one backlog in memory."""
    async with posthouse.open("memory:") as broker:
        order: Any = "priority" if rich else "fifo"
        fields = ("body.customer", "body.order_id") if index else ()
        queue = broker.queue("q", order=order, index=fields)
        began_s = time.perf_counter()
        for start in range(0, messages, BATCH_MESSAGES):
            stop = min(start + BATCH_MESSAGES, messages)
            await queue.put_many([body(number) for number in range(start, stop)])
        put_us = (time.perf_counter() - began_s) / messages * 1e6
        print(
            f"{messages:,} messages, order {order!r}, index {fields}, put at {put_us:.2f} us each"
        )
        print(f"{peak_bytes() / messages:,.0f} bytes of memory a message then\n")
        print("| what | messages | took | longest turn of the loop |\n|---|---|---|---|")
        last = messages - 1
        await timed("page of 10, matches at the head", queue.find("body.customer < 'c2'", limit=10))
        await timed("page, one match at the end", queue.find(f"body.order_id == {last}"))
        await timed("newest 10", queue.find(order="-id", limit=10))
        await timed("page, first range", queue.find(f"body.order_id > {last - 5}"))
        await timed("page, a range", queue.find(f"body.order_id > {last - 5}"))
        await timed("get where, match at the head", queue.get(where="body.customer == 'c5'"))
        await timed("get where, one match at the end", queue.get(where=f"body.order_id == {last}"))
        await timed("get_many(100) where 0.1 %", queue.get_many(100, where="body.customer == 'c9'"))
        await timed("delete 0.1 %", queue.find("body.customer == 'c2'").delete())
        await timed("delay 0.1 %", queue.find("body.customer == 'c3'").delay(3600))
        await timed("delete 10 %", queue.find(f"body.order_id < {messages // 10}").delete())
        other = broker.queue("other")
        await timed("move 10 %", queue.find(f"body.order_id < {messages // 5}").move(other))
        began_s = time.perf_counter()
        count = 0
        while batch := await _some(queue):
            await queue.ack_many(batch)
            count += len(batch)
        took_us = (time.perf_counter() - began_s) / max(count, 1) * 1e6
        print(f"\nget_many and ack_many of the rest at {took_us:.2f} us each")
    print(f"peak memory {peak_bytes() / 2**20:,.0f} MiB")


async def _some(queue: posthouse.Queue[Any]) -> list[posthouse.Message[Any]]:
    return await queue.get_many(1_000) if queue.qsize() else []


def peak_bytes() -> int:
    """The most memory that this process had so far."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bench.finding", description=__doc__)
    parser.add_argument("messages", nargs="?", type=int, default=1_000_000)
    parser.add_argument("--rich", action="store_true", help="a queue of order 'priority'")
    parser.add_argument("--index", action="store_true", help="indexes on both fields")
    given = parser.parse_args()
    asyncio.run(run(given.messages, rich=given.rich, index=given.index))


if __name__ == "__main__":
    main()
