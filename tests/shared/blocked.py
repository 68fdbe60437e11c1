"""A program that takes a message and then holds its loop up, until it is told to go on.

Run as ``python -m tests.shared.blocked DIRECTORY get|iterate LEASE_S``.
"""

from __future__ import annotations

import asyncio
import sys

import posthouse


async def main(directory: str, how: str, lease_s: float) -> None:
    """Take one, stand still until a line comes, ack durably, say how that went."""
    async with posthouse.open(directory, share=True) as broker:
        queue = broker.queue("q", visibility_timeout=lease_s)
        iterator = aiter(queue)
        message = await (queue.get() if how == "get" else anext(iterator))
        print("taken", message.body, flush=True)
        sys.stdin.readline()
        await message.ack(durable=True)
        print("acked", flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
