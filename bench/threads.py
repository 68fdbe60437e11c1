"""Row S1: a thread puts and a task of the loop takes, beside janus."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import posthouse
from bench.flow import CHUNK, Flow, pump
from bench.model import Contender, Job
from bench.ours import BOUND
from posthouse import sync

NOTHING = "none (memory)"
BATCH = 100

Send = Callable[[Flow], None]
Consume = Callable[[Flow], Awaitable[None]]


async def from_thread(job: Job, send: Send, consume: Consume) -> float:
    """`bench.flow.pump` with its producer in a thread: ``send`` puts some and counts them."""

    async def produce(flow: Flow) -> None:
        def run() -> None:
            while flow.running():
                send(flow)

        await asyncio.to_thread(run)

    return await pump(job.seconds, produce, consume)


async def batches(job: Job) -> float:
    """A thread's put_many; the loop's get_many and ack_many: batches of 100."""
    bodies = [job.body] * BATCH

    def sender(queue: sync.Queue[bytes]) -> Send:
        def send(flow: Flow) -> None:
            queue.put_many(bodies)
            flow.sent += BATCH

        return send

    return await _ours(job, sender)


async def single(job: Job) -> float:
    """A thread's put, one at a time; the loop takes and acks what has come."""
    body = job.body

    def sender(queue: sync.Queue[bytes]) -> Send:
        def send(flow: Flow) -> None:
            queue.put(body)
            flow.sent += 1

        return send

    return await _ours(job, sender)


async def _ours(job: Job, sender: Callable[[sync.Queue[bytes]], Send]) -> float:
    async with posthouse.open("memory:") as broker:
        queue = broker.queue("bench", bytes, max_messages=BOUND)
        send = sender(sync.wrap(broker).queue("bench", bytes))

        async def consume(flow: Flow) -> None:
            while flow.received != flow.expected:
                messages = await queue.get_many(BATCH)
                await queue.ack_many(messages)
                flow.received += len(messages)

        return await from_thread(job, send, consume)


async def _janus(job: Job) -> float:
    import janus

    body = job.body
    queue: janus.Queue[bytes] = janus.Queue(BOUND)

    def send(flow: Flow) -> None:
        put = queue.sync_q.put
        for _ in range(CHUNK):
            put(body)
        flow.sent += CHUNK

    async def consume(flow: Flow) -> None:
        get = queue.async_q.get
        while flow.received != flow.expected:
            for _ in range(CHUNK):
                await get()
            flow.received += CHUNK

    try:
        return await from_thread(job, send, consume)
    finally:
        await queue.aclose()


JANUS = Contender("janus, a thread to the loop", NOTHING, _janus)
