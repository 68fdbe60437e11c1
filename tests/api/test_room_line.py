"""The line for room in a queue: it is through as soon as there is room, however long it was."""

from __future__ import annotations

import asyncio

import posthouse
from posthouse.testing.cases.base import soon, take, turns


async def test_a_long_line_is_through_in_a_turn() -> None:
    async with posthouse.open("memory:") as broker:
        queue = broker.queue("q", max_messages=100)
        await queue.put_many([b""] * 100)
        putters = [asyncio.create_task(queue.put(b"")) for _ in range(100)]
        await turns(2)
        held = await queue.get_many(100)
        await queue.ack_many(held)
        await turns(2)
        assert all(putter.done() for putter in putters)


async def test_one_in_the_middle_of_the_line_may_leave(tmp_path: object) -> None:
    async with posthouse.open(str(tmp_path)) as broker:
        queue = broker.queue("q", max_messages=3)
        await queue.put_many([b"0", b"1", b"2"])
        putters = [asyncio.create_task(queue.put(b"%d" % n)) for n in range(3, 9)]
        await turns(2)
        first = await take(queue)
        await first.ack()
        putters[1].cancel()  # in the turn in which those before it are woken
        putters[0].cancel()
        got = []
        for _ in range(6):
            message = await take(queue)
            got.append(message.body)
            await message.ack()
        assert got == [b"1", b"2", b"5", b"6", b"7", b"8"]
        await soon(asyncio.gather(*putters, return_exceptions=True))
