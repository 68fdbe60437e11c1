"""Rows D4 and D5: a deep backlog, and very many queues. And ``python -m bench.depth``.

The rows fill a million messages. The command fills as many as it is told (10,000,000 by default),
and reports what a row cannot: memory for each waiting message, and how long a restart takes.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import Any

import posthouse
from bench.measure import fresh_directory, loop_factory
from bench.model import Contender, Job, Row, Target

BODY_BYTES = 128
BATCH = 100
FILL_BATCH = 1_000
MANY_QUEUES = 10_000
PROBES = 300
COMMITTED = "on disk before put returns"
DATA = Path(__file__).resolve().parent.parent / ".bench"


KINDS: dict[str, Callable[[int], dict[str, Any]]] = {
    "plain": lambda batch: {},
    "priority": lambda batch: {"priority": batch % 10},
    "ttl": lambda batch: {"ttl": 86_400 + batch},
    "delay": lambda batch: {"delay": 3_600 + batch * 7919 % 1_000},
    "key": lambda batch: {"key": f"customer-{batch % 1_000}"},
    "key-ttl": lambda batch: {"key": f"customer-{batch % 1_000}", "ttl": 86_400 + batch},
    "key-delay": lambda batch: {"key": f"customer-{batch % 1_000}", "delay": 3_600 + batch},
    "fair": lambda batch: {"key": f"tenant-{batch % 1_000}"} if batch % 2 else {},
}
"""Options of a batch's messages, by kind."""


def _queue(broker: posthouse.Broker, kind: str) -> posthouse.Queue[Any]:
    order: Any = "priority" if kind == "priority" else "fifo"
    return broker.queue("deep", max_bytes=1 << 40, order=order, fair=kind == "fair")


async def fill(
    queue: posthouse.Queue[Any], count: int, kind: str = "plain", batch: int = FILL_BATCH
) -> None:
    """Put so many messages, each a body of its own; a few thousand are under way at a time."""
    options = KINDS[kind]
    left = count // batch

    async def producer() -> None:
        nonlocal left
        while left > 0:
            left -= 1
            bodies = [b"%0*d" % (BODY_BYTES, n) for n in range(batch)]
            await queue.put_many(bodies, **options(left))

    await asyncio.gather(*(producer() for _ in range(4 * max(1, FILL_BATCH // batch))))


async def _through(queue: posthouse.Queue[Any], seconds: float) -> float:
    """A producer and a consumer in batches for a time, the backlog left standing; messages/s."""
    bodies = [b"x" * BODY_BYTES] * BATCH
    began = perf_counter()
    sent = received = 0

    async def produce() -> None:
        nonlocal sent
        # No further apart than a few batches: what waits stays as many.
        while perf_counter() - began < seconds:
            if sent - received > 20 * BATCH:
                await asyncio.sleep(0)
                continue
            await queue.put_many(bodies)
            sent += BATCH

    async def consume() -> None:
        nonlocal received
        while perf_counter() - began < seconds:
            if received >= sent:
                await asyncio.sleep(0)
                continue
            messages = await queue.get_many(BATCH, timeout=seconds)
            await queue.ack_many(messages)
            received += len(messages)

    await asyncio.gather(produce(), consume(), return_exceptions=True)
    return received / (perf_counter() - began)


def behind(count: int, url: str | None = None) -> Callable[[Job], Awaitable[float]]:
    """D4: D2 in batches of 100 with so many messages waiting before those that are put."""

    async def work(job: Job) -> float:
        async with posthouse.open(url or str(job.directory)) as broker:
            queue = broker.queue("deep", max_bytes=1 << 40)
            await fill(queue, count)
            return await _through(queue, job.seconds)

    return work


def across(count: int) -> Callable[[Job], Awaitable[float]]:
    """D5: the time from put to delivery, where so many queues have a consumer that waits."""

    async def work(job: Job) -> float:
        body = b"x" * BODY_BYTES
        waits: list[float] = []
        async with posthouse.open(str(job.directory)) as broker:
            queues: list[posthouse.Queue[Any]] = []
            done = asyncio.Event()

            async def consume(queue: posthouse.Queue[Any]) -> None:
                while True:
                    message = await queue.get()
                    waits.append(perf_counter() - began)
                    await message.ack()
                    done.set()

            began = perf_counter()
            consumers: list[asyncio.Future[None]] = []
            for number in range(count):
                queue = broker.queue(f"q{number}")
                queues.append(queue)
                consumers.append(asyncio.ensure_future(consume(queue)))
                if len(consumers) % 100 == 0:
                    # Each queue is declared in the log: let that reach the disk.
                    done.clear()
                    await queue.put(body)
                    await done.wait()
            waits.clear()
            deadline = perf_counter() + job.seconds
            sent = 0
            while len(waits) < PROBES or perf_counter() < deadline:
                done.clear()
                began = perf_counter()
                await queues[sent * 7919 % count].put(body)
                await done.wait()
                sent += 1
            for consumer in consumers:
                consumer.cancel()
            await asyncio.gather(*consumers, return_exceptions=True)
        return median(waits) * 1e6

    return work


def rows() -> list[Row]:
    """D4 and D5."""
    empty = Contender("posthouse, nothing waiting", COMMITTED, behind(0))
    empty_memory = Contender("posthouse, nothing waiting", "none (memory)", behind(0, "memory:"))
    alone = Contender("posthouse, one queue", COMMITTED, across(1))
    return [
        Row(
            "D4 (1 M)",
            "log, batches of 100 with 1,000,000 messages of 128 B waiting",
            "messages/s",
            Contender("posthouse", COMMITTED, behind(1_000_000)),
            (Target(empty, goal=0.8),),
        ),
        Row(
            "D4 (1 M, memory)",
            "memory, batches of 100 with 1,000,000 messages of 128 B waiting",
            "messages/s",
            Contender("posthouse", "none (memory)", behind(1_000_000, "memory:")),
            (Target(empty_memory, goal=0.8),),
        ),
        Row(
            "D5",
            "log, 10,000 queues with a waiting consumer each, put to delivery, p50",
            "us",
            Contender("posthouse", COMMITTED, across(MANY_QUEUES)),
            (Target(alone, goal=2.0),),
        ),
    ]


def _resident_bytes() -> int:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


async def _fill_and_tell(
    directory: str, count: int, seconds: float, kind: str, batch: int, cache: dict[str, Any]
) -> None:
    async with posthouse.open(directory, **cache) as broker:
        before = _resident_bytes()
        queue = _queue(broker, kind)
        began = perf_counter()
        await fill(queue, count, kind, batch)
        took = perf_counter() - began
        grown = _resident_bytes() - before
        print(f"filled {count:,} of {BODY_BYTES} B at {count / took:,.0f} messages/s")
        print(f"resident memory grew by {grown:,} bytes: {grown / count:.1f} a message")
        rate = await _through(queue, seconds)
        print(f"batches of {BATCH} with that backlog: {rate:,.0f} messages/s")


async def _open_and_tell(directory: str, kind: str, cache: dict[str, Any]) -> None:
    before = _resident_bytes()
    began, used = perf_counter(), process_time()
    async with posthouse.open(directory, **cache) as broker:
        opened = perf_counter() - began
        queue = _queue(broker, kind)
        if kind in ("delay", "key-delay"):
            await queue.put(b"the only one that may be had")
        message = await queue.get()
        first, used = perf_counter() - began, process_time() - used
        grown = _resident_bytes() - before
        await message.ack()
    print(f"opened after {opened:.2f} s, first delivery after {first:.2f} s", end="")
    print(f" ({used:.2f} s of CPU time)")
    print(f"resident memory after that: {grown:,} bytes more than before")


def main() -> int:
    """Fill, go through, and open again in processes of their own."""
    parser = argparse.ArgumentParser(prog="bench.depth", description=__doc__)
    parser.add_argument("--messages", type=int, default=10_000_000)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--kind", choices=list(KINDS), default="plain", help="of the backlog")
    parser.add_argument("--batch", type=int, default=FILL_BATCH, help="messages for each record")
    parser.add_argument("--cache-bytes", type=int, help="of the broker; its default if not given")
    parser.add_argument("--dir", type=Path, default=DATA, help="where to put data")
    parser.add_argument("--open", metavar="DIRECTORY", help="open this log and report")
    parser.add_argument("--fill", metavar="DIRECTORY", help="fill this directory and report")
    args = parser.parse_args()
    cache: dict[str, Any] = {} if args.cache_bytes is None else {"cache_bytes": args.cache_bytes}
    factory = loop_factory("uvloop")
    with asyncio.Runner(loop_factory=factory) as runner:
        if args.open:
            runner.run(_open_and_tell(args.open, args.kind, cache))
            return 0
        if args.fill:
            told = args.messages, args.seconds, args.kind, args.batch
            runner.run(_fill_and_tell(args.fill, *told, cache))
            return 0
    with fresh_directory(args.dir) as directory:
        again = [sys.executable, "-m", "bench.depth"]
        size = ["--messages", str(args.messages), "--seconds", str(args.seconds)]
        size += ["--batch", str(args.batch)]
        kind = ["--kind", args.kind]
        if cache:
            kind += ["--cache-bytes", str(args.cache_bytes)]
        for step in (["--fill", str(directory), *size, *kind], ["--open", str(directory), *kind]):
            if subprocess.run([*again, *step], check=False).returncode:
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
