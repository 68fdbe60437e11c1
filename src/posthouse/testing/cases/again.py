"""Closing and opening again, for cases about what a durable backend keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from posthouse.broker import Broker
from posthouse.testing.cases.base import Cases, need


@asynccontextmanager
async def reopened(cases: Cases, broker: Broker) -> AsyncIterator[Broker]:
    """The same place, open again; the test is skipped where nothing is kept."""
    need(broker, "durable")
    again = await cases.reopen(broker)
    try:
        yield again
    finally:
        await again.close()


async def churn(broker: Broker, size_bytes: int = 400_000) -> None:
    """Put and settle so much that a log with small segments lets go of its first ones."""
    queue = broker.queue("churn")
    body = b"x" * 8_000
    for _ in range(size_bytes // 80_000):
        await queue.put_many([body] * 10)
        await queue.ack_many(await queue.get_many(10), durable=True)
