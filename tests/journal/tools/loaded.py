"""A broker under load in a process of its own: ``python -m tests.journal.tools.loaded DIR``.

It says on standard output, a line each, after the call returned: ``put ID`` and ``ack ID``
(durable), and before an ack is asked for ``try ID``. It ends when standard input does.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence

import posthouse
from tests.journal.tools.made import OPTIONS


def say(what: str, ids: Sequence[str]) -> None:
    sys.stdout.write("".join(f"{what} {each}\n" for each in ids))
    sys.stdout.flush()


async def produce(orders: posthouse.Queue[str], stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        say("put", await orders.put_many([f"{number} " + "x" * 300] * (1 + number % 30)))


async def consume(orders: posthouse.Queue[str], stop: asyncio.Event) -> None:
    # Nearly as fast as the producer, so that segments leave and are used again.
    while not stop.is_set():
        messages = await orders.get_many(14)
        ids = [message.id for message in messages]
        say("try", ids)
        await orders.ack_many(messages, durable=True)
        say("ack", ids)


async def main(directory: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(sys.stdin.fileno(), stop.set)
    async with posthouse.open(directory, **OPTIONS) as broker:
        orders = broker.queue("orders")
        await orders.put("first")
        work = [
            asyncio.create_task(produce(orders, stop)),
            asyncio.create_task(consume(orders, stop)),
        ]
        await stop.wait()
        await asyncio.gather(*work)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
