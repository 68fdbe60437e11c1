"""The producer's and the consumer's process: ``python -m bench.peers.worker``.

It reads an `Order` as JSON from its standard input and writes a `bench.peers.work.Report` as JSON
to its standard output. What goes wrong ends it with a traceback.
"""

from __future__ import annotations

import asyncio
import importlib
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from bench.measure import loop_factory
from bench.peers.board import Board
from bench.peers.model import Client, Ends
from bench.peers.work import Report, Task, consume, produce

CONNECT_TIMEOUT_S = 20.0
AGAIN_S = 0.1


@dataclass(frozen=True)
class Order:
    """What one worker is to do, with which client, on which loop."""

    client: str
    loop: str
    ends: Ends
    task: Task


async def connect(order: Order) -> Client:
    """Connect, again and again for a while: some servers listen before they are ready."""
    module = importlib.import_module(order.client)
    deadline = time.monotonic() + CONNECT_TIMEOUT_S
    while True:
        try:
            client: Client = await module.connect(order.ends)
        except Exception:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(AGAIN_S)
        else:
            return client


async def work(order: Order) -> Report:
    """Do it once."""
    client = await connect(order)
    try:
        with Board(Path(order.task.board)) as board:
            side = produce if order.ends.role == "producer" else consume
            return await side(client, order.task, board)
    finally:
        await client.close()


def main() -> None:
    """Read the order, do it, write the report."""
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=Order)
    with asyncio.Runner(loop_factory=loop_factory(order.loop)) as runner:
        report = runner.run(work(order))
    sys.stdout.buffer.write(msgspec.json.encode(report))


if __name__ == "__main__":
    main()
