"""A program that takes a message and then holds its loop up, until it is told to go on."""

from __future__ import annotations

import asyncio
import sys

import posthouse


async def main(directory: str, lease_s: float) -> None:
    """Take one, stand still until a line comes, ack durably, say how that went."""
    async with posthouse.open(directory, share=True) as broker:
        queue = broker.queue("q")
        message = await queue.get(visibility_timeout=lease_s)
        print("taken", message.body, flush=True)
        sys.stdin.readline()
        await message.ack(durable=True)
        print("acked", flush=True)


asyncio.run(main(sys.argv[1], float(sys.argv[2])))
