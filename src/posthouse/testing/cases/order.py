"""LIFO and priority."""

from __future__ import annotations

from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument
from posthouse.model import Retry
from posthouse.testing.cases.again import reopened
from posthouse.testing.cases.base import Cases, drain, is_now, need, take, turns, waits

AT_ONCE = Retry(max_attempts=5, backoff=(0.0,), jitter=False)


class OrderCases(Cases):
    """Which message comes next; one that comes back has its place again."""

    async def test_lifo(self, broker: Broker) -> None:
        need(broker, "order.lifo")
        queue = broker.queue("q", order="lifo", retry=AT_ONCE)
        await queue.put_many([1, 2, 3])
        await queue.put(4)
        assert [message.body for message in await queue.peek(9)] == [4, 3, 2, 1]
        first, second = await take(queue), await take(queue)
        assert (first.body, second.body) == (4, 3)
        await first.nack()
        await second.give_back()
        await queue.put(5)
        assert await drain(queue) == [5, 4, 3, 2, 1]

    async def test_lifo_in_batches_and_iteration(self, broker: Broker) -> None:
        need(broker, "order.lifo")
        queue = broker.queue("q", order="lifo")
        await queue.put_many(range(5))
        messages = await queue.get_many(3)
        assert [message.body for message in messages] == [4, 3, 2]
        await queue.ack_many(messages)
        async for message in queue:
            if message.body == 1:
                await queue.put("newest")
            await message.ack()
            if message.body == "newest":
                break
        assert await drain(queue) == [0]

    async def test_priority(self, broker: Broker) -> None:
        need(broker, "order.priority")
        queue = broker.queue("q", order="priority", retry=AT_ONCE)
        for body, priority in (("a", 0), ("b", 7), ("c", 255), ("d", 7), ("e", 0)):
            await queue.put(body, priority=priority)
        await queue.put("f")
        first, second = await take(queue), await take(queue)
        assert (first.body, second.body) == ("c", "b")
        await second.nack()
        await first.nack()
        await queue.put("g", priority=8)
        assert await drain(queue) == ["c", "g", "b", "d", "a", "e", "f"]

    async def test_a_message_that_comes_due_joins_by_its_priority(self, broker: Broker) -> None:
        need(broker, "order.priority", "delay")
        queue = broker.queue("q", order="priority")
        await queue.put("high", priority=9, delay=0.02)
        for _ in range(2):
            await queue.put("low")
        message = await take(queue)
        while message.body != "high":
            await message.give_back()
            await turns()
            message = await take(queue)
        await message.ack()
        assert await drain(queue) == ["low", "low"]

    @pytest.mark.parametrize("priority", [-1, 256, 1.0, True, "1", None])
    async def test_what_is_no_priority(self, broker: Broker, priority: int) -> None:
        need(broker, "order.priority")
        queue = broker.queue("q", order="priority")
        with pytest.raises(BadArgument):
            await queue.put(1, priority=priority)
        assert await waits(queue) == 0

    async def test_a_priority_needs_a_queue_of_that_order(self, broker: Broker) -> None:
        queue = broker.queue("q")
        with pytest.raises(BadArgument):
            await queue.put(1, priority=1)
        with pytest.raises(BadArgument):
            await queue.put_many([1], priority=1)
        if is_now(broker):
            with pytest.raises(BadArgument):
                queue.put_nowait(1, priority=1)
        with pytest.raises(BadArgument):
            async with broker.transaction() as tx:
                tx.put(queue, 1, priority=1)
        await queue.put("plain", priority=0)
        assert await drain(queue) == ["plain"]

    async def test_an_order_can_be_changed(self, broker: Broker) -> None:
        need(broker, "order.lifo")
        queue = broker.queue("q")
        await queue.put_many([1, 2, 3])
        broker.queue("q", order="lifo")
        assert (await take(queue)).body == 3
        broker.queue("q", order="fifo")
        assert await drain(queue) == [1, 2]

    async def test_orders_that_are_none(self, broker: Broker) -> None:
        bad: list[Any] = [{"order": "random"}, {"order": None}, {"order": "lifo", "fair": True}]
        for settings in bad:
            with pytest.raises(BadArgument):
                broker.queue("q", **settings)
        assert await broker.queue_names() == []

    async def test_reopening_keeps_orders(self, broker: Broker) -> None:
        need(broker, "order.lifo", "order.priority")
        lifo = broker.queue("lifo", order="lifo")
        await lifo.put_many([1, 2, 3])
        await (await take(lifo)).nack(delay=0)
        priority = broker.queue("priority", order="priority")
        for level in (1, 200, 3):
            await priority.put(level, priority=level)
        async with reopened(self, broker) as again:
            assert await drain(again.queue("lifo")) == [3, 2, 1]
            assert await drain(again.queue("priority")) == [200, 3, 1]
