"""Full queues: waiting for room in order, being refused, giving up."""

from __future__ import annotations

import asyncio

import pytest

from posthouse.broker import Broker
from posthouse.errors import QueueFull
from posthouse.testing.cases.base import (
    Cases,
    drain,
    is_now,
    need,
    outcome,
    redelivered,
    soon,
    take,
    turns,
    waits,
)


class BoundCases(Cases):
    """``max_messages`` and ``max_bytes`` hold for waiting, delayed and in flight together."""

    async def test_puts_wait_and_go_on_in_order(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=1)
        await queue.put(0)
        waiting = [asyncio.create_task(queue.put(number)) for number in range(1, 6)]
        await turns()
        assert not any(task.done() for task in waiting)
        if is_now(broker):
            assert queue.full()
        for number in range(6):
            message = await take(queue)
            assert message.body == number
            assert not any(task.done() for task in waiting[number:])
            await message.ack()
        ids = [await soon(task) for task in waiting]
        assert ids == sorted(ids)

    async def test_in_flight_and_delayed_count(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=2, overflow="reject")
        await queue.put(1)
        await queue.put(2, delay=3600)
        message = await take(queue)
        with pytest.raises(QueueFull):
            await queue.put(3)
        await message.ack()
        await queue.put(3)

    async def test_max_bytes(self, broker: Broker) -> None:
        queue = broker.queue("q", max_bytes=100)
        await queue.put(b"x" * 60)
        big = asyncio.create_task(queue.put(b"y" * 50))
        await turns()
        assert not big.done()
        small = asyncio.create_task(queue.put(b"z"))
        await turns()
        assert not small.done(), "nobody overtakes who is in line"
        await (await take(queue)).ack()
        await soon(big)
        await soon(small)
        assert await drain(queue) == [b"y" * 50, b"z"]

    async def test_headers_count(self, broker: Broker) -> None:
        queue = broker.queue("q", max_bytes=100, overflow="reject")
        with pytest.raises(QueueFull):
            await queue.put(b"", headers={"a": "x" * 100})
        assert (await queue.stats()).size_bytes == 0

    async def test_reject(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=2, overflow="reject")
        await queue.put_many([1, 2])
        with pytest.raises(asyncio.QueueFull):
            await queue.put(3)
        with pytest.raises(QueueFull):
            await queue.put_many([3])
        if is_now(broker):
            with pytest.raises(QueueFull):
                queue.put_nowait(3)
        assert await drain(queue) == [1, 2]

    async def test_put_nowait_never_waits(self, broker: Broker) -> None:
        need(broker, "nowait")
        queue = broker.queue("q", max_messages=1)
        await queue.put_nowait(1)
        with pytest.raises(QueueFull):
            queue.put_nowait(2)
        assert await drain(queue) == [1]

    async def test_giving_up(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=1)
        await queue.put(1)
        with pytest.raises(TimeoutError):
            await queue.put(2, timeout=0.01)
        with pytest.raises(TimeoutError):
            await queue.put_many([3], timeout=0.01)
        assert await drain(queue) == [1]
        await queue.put(4, timeout=0.01)

    async def test_a_batch_that_can_never_fit(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=3, max_bytes=100)
        with pytest.raises(QueueFull):
            await queue.put_many([1, 2, 3, 4])
        with pytest.raises(QueueFull):
            await queue.put(b"x" * 101)
        with pytest.raises(QueueFull):
            await queue.put_many([b"x" * 60, b"x" * 60])
        assert await waits(queue) == 0
        await queue.put_many([1, 2, 3])

    async def test_a_batch_waits_for_room_for_all_of_it(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=3)
        await queue.put_many([1, 2])
        batch = asyncio.create_task(queue.put_many([3, 4, 5]))
        await turns()
        await (await take(queue)).ack()
        await turns()
        assert not batch.done()
        assert await waits(queue) == 1
        await (await take(queue)).ack()
        await soon(batch)
        assert await drain(queue) == [3, 4, 5]

    async def test_the_next_in_line_follows_one_who_leaves(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=2)
        await queue.put_many([1, 2])
        batch = asyncio.create_task(queue.put_many([3, 4]))
        await turns()
        single = asyncio.create_task(queue.put(5))
        await turns()
        await (await take(queue)).ack()
        await turns()
        assert not single.done()
        batch.cancel()
        assert await outcome(batch) is None
        await soon(single)
        assert await drain(queue) == [2, 5]

    async def test_one_woken_and_cancelled_wakes_the_next(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=1)
        await queue.put(0)
        first = asyncio.create_task(queue.put(1))
        await turns()
        second = asyncio.create_task(queue.put(2))
        await turns()
        message = await take(queue)
        await message.ack()
        first.cancel()
        stored = await outcome(first) is not None
        taken: list[int] = []
        while 2 not in taken:
            message = await take(queue)
            taken.append(message.body)
            await message.ack()
        await soon(second)
        if "nowait" in broker.capabilities:
            assert taken == ([1, 2] if stored else [2])
        else:  # its answer was outstanding: it may be stored
            assert taken in ([1, 2], [2])

    async def test_nack_passes_the_bound(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=1)
        await queue.put(1)
        waiting = asyncio.create_task(queue.put(2))
        message = await take(queue)
        await message.nack(delay=0)
        assert await waits(queue) == 1
        await turns()
        assert not waiting.done()
        await (await take(queue)).ack()
        await soon(waiting)

    async def test_purge_makes_room(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=1)
        await queue.put(1)
        waiting = asyncio.create_task(queue.put(2))
        await turns()
        assert await queue.purge() == 1
        await soon(waiting)
        assert await drain(queue) == [2]

    async def test_raising_the_bound_lets_who_waits_go_on(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=1)
        await queue.put(1)
        waiting = [asyncio.create_task(queue.put(number)) for number in (2, 3)]
        await turns()
        broker.queue("q", max_messages=5)
        for task in waiting:
            await soon(task)
        assert await drain(queue) == [1, 2, 3]

    async def test_a_policy_that_now_rejects_tells_who_waits(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=1)
        await queue.put(1)
        waiting = asyncio.create_task(queue.put(2))
        await turns()
        broker.queue("q", max_messages=1, overflow="reject")
        with pytest.raises(QueueFull):
            await soon(waiting)
        assert await drain(queue) == [1]

    async def test_settings_not_given_are_kept(self, broker: Broker) -> None:
        broker.queue("q", max_messages=1, overflow="reject")
        queue = broker.queue("q", visibility_timeout=3600)
        broker.queue("q")
        await queue.put(1)
        with pytest.raises(QueueFull):
            await queue.put(2)
        message = await redelivered(queue)
        await message.ack()
