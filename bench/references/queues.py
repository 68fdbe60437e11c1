"""Queues in memory: asyncio's own, culsans and janus. No leases, no ids, no acks."""

from __future__ import annotations

import asyncio
from typing import Any

from bench.flow import CHUNK, Flow, pump
from bench.model import Contender, Job
from bench.ours import BOUND

NOTHING = "none (memory)"


async def _single(queue: Any, job: Job) -> float:
    body = job.body

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
                await get()
            flow.received += CHUNK

    return await pump(job.seconds, produce, consume)


async def _asyncio(job: Job) -> float:
    return await _single(asyncio.Queue(BOUND), job)


async def _culsans(job: Job) -> float:
    import culsans

    queue: Any = culsans.Queue(BOUND)
    try:
        return await _single(queue.async_q, job)
    finally:
        queue.shutdown()


async def _janus(job: Job) -> float:
    import janus

    queue: Any = janus.Queue(BOUND)
    try:
        return await _single(queue.async_q, job)
    finally:
        await queue.aclose()


ASYNCIO = Contender("asyncio.Queue", NOTHING, _asyncio)
CULSANS = Contender("culsans", NOTHING, _culsans)
JANUS = Contender("janus", NOTHING, _janus)
