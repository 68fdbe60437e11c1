"""posthouse's side of every row."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import posthouse
from bench.busy import Busy
from bench.flow import CHUNK, Flow, pump, wait_us
from bench.model import Job

BOUND = 1_000
"""Messages that the memory rows' queue holds."""
LOG_BOUND = 20_000
"""The same for the log's: the biggest batch many times over."""


async def memory_single(job: Job) -> float:
    """M1: each put, get and ack awaited singly."""
    body = job.body
    async with posthouse.open("memory:") as broker:
        queue = broker.queue("bench", max_messages=BOUND)

        async def produce(flow: Flow) -> None:
            put = queue.put
            while flow.running():
                for _ in range(CHUNK):
                    await put(body)
                flow.sent += CHUNK

        async def consume(flow: Flow) -> None:
            get = queue.get
            while flow.received != flow.expected:
                for _ in range(CHUNK):
                    message = await get()
                    await message.ack()
                flow.received += CHUNK

        return await pump(job.seconds, produce, consume)


async def memory_batches(job: Job) -> float:
    """M2: put_many, get_many and ack_many in batches of 100."""
    async with posthouse.open("memory:") as broker:
        return await batches(broker.queue("bench", max_messages=BOUND), job, 100)


async def memory_iterated(job: Job) -> float:
    """M3: ``async for`` with ack, fed by batches of 100."""
    bodies = [job.body] * 100
    async with posthouse.open("memory:") as broker:
        queue = broker.queue("bench", max_messages=BOUND)

        async def produce(flow: Flow) -> None:
            while flow.running():
                await queue.put_many(bodies)
                flow.sent += len(bodies)

        return await pump(job.seconds, produce, _iterate(queue))


async def log_many_producers(job: Job) -> float:
    """D1: 1,000 tasks each awaiting its put, one consumer acking what has come."""
    body = job.body
    async with posthouse.open(str(job.directory)) as broker:
        queue = broker.queue("bench", max_messages=LOG_BOUND)

        async def produce(flow: Flow) -> None:
            put = queue.put
            while flow.running():
                await put(body)
                flow.sent += 1

        async def consume(flow: Flow) -> None:
            while flow.received != flow.expected:
                messages = await queue.get_many(1_000)
                await queue.ack_many(messages)
                flow.received += len(messages)

        return await pump(job.seconds, produce, consume, producers=1_000)


async def log_batches_of_100(job: Job) -> float:
    """D2 with batches of 100."""
    return await _log_batches(job, 100)


async def log_batches_of_1000(job: Job) -> float:
    """D2 with batches of 1,000."""
    return await _log_batches(job, 1_000)


async def log_put(job: Job, share: float = 0.5) -> float:
    """D3: one awaited put at a time; the median (or another percentile) in microseconds."""
    body = job.body
    async with posthouse.open(str(job.directory)) as broker:
        queue = broker.queue("bench")
        return await wait_us(job.seconds, lambda: queue.put(body), share)


def log_put_beside(busy: Busy, share: float) -> Callable[[Job], Awaitable[float]]:
    """D3 beside somebody who computes."""

    async def work(job: Job) -> float:
        async with busy():
            return await log_put(job, share)

    return work


async def log_cycle(job: Job) -> float:
    """D3: put, get and ack one at a time; messages a second."""
    return await _cycle(job, durable=False)


async def log_durable_cycle(job: Job) -> float:
    """The same, with the ack awaited until it is on disk."""
    return await _cycle(job, durable=True)


async def _cycle(job: Job, *, durable: bool) -> float:
    body = job.body
    async with posthouse.open(str(job.directory)) as broker:
        queue = broker.queue("bench")
        flow = Flow(job.seconds)
        while flow.running():
            await queue.put(body)
            flow.sent += 1
            message = await queue.get()
            await message.ack(durable=durable)
            flow.received += 1
        return flow.rate()


async def _log_batches(job: Job, size: int) -> float:
    async with posthouse.open(str(job.directory)) as broker:
        return await batches(broker.queue("bench", max_messages=LOG_BOUND), job, size)


async def batches(queue: posthouse.Queue[Any], job: Job, size: int) -> float:
    """put_many, get_many and ack_many in batches of ``size``, a producer and a consumer."""
    bodies = [job.body] * size

    async def produce(flow: Flow) -> None:
        while flow.running():
            await queue.put_many(bodies)
            flow.sent += size

    async def consume(flow: Flow) -> None:
        while flow.received != flow.expected:
            messages = await queue.get_many(size)
            await queue.ack_many(messages)
            flow.received += len(messages)

    return await pump(job.seconds, produce, consume)


def _iterate(queue: posthouse.Queue[Any]) -> Any:
    async def consume(flow: Flow) -> None:
        async for message in queue:
            await message.ack()
            flow.received += 1
            if flow.received == flow.expected:
                return

    return consume
