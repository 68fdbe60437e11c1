"""Full queues that drop their oldest, and what waits beside them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import QueueFull
from posthouse.testing.cases.again import reopened
from posthouse.testing.cases.base import Cases, drain, is_now, need, soon, take, turns, waits


class DropCases(Cases):
    """``overflow="drop_oldest"``: of what waits, never of what is in flight."""

    async def test_the_oldest_go(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=3, overflow="drop_oldest")
        for number in range(5):
            await queue.put(number)
        await (queue.put_nowait(5) if is_now(broker) else queue.put(5))
        await queue.put_many([6, 7])
        assert (await queue.stats()).dropped == 5
        assert await drain(queue) == [5, 6, 7]

    async def test_never_what_is_in_flight(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=3, overflow="drop_oldest")
        await queue.put_many([1, 2, 3])
        held = [await take(queue), await take(queue)]
        await queue.put(4)
        await queue.put(5)
        assert (await queue.stats()).dropped == 2
        for message in held:
            await message.nack(delay=0)
        assert await drain(queue) == [1, 2, 5]

    async def test_with_everything_in_flight_it_waits(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=1, overflow="drop_oldest")
        await queue.put(1)
        message = await take(queue)
        if is_now(broker):
            with pytest.raises(QueueFull):
                queue.put_nowait(2)
        with pytest.raises(TimeoutError):
            await queue.put(2, timeout=0.01)
        waiting = asyncio.create_task(queue.put(3))
        await turns()
        assert not waiting.done()
        await message.ack()
        await soon(waiting)
        assert await drain(queue) == [3]

    async def test_by_bytes_as_few_as_will_do(self, broker: Broker) -> None:
        queue = broker.queue("q", max_bytes=100, overflow="drop_oldest")
        await queue.put(b"a" * 60)
        await queue.put(b"b" * 20)
        await queue.put(b"c" * 20)
        await queue.put(b"d" * 50)
        assert await drain(queue) == [b"b" * 20, b"c" * 20, b"d" * 50]

    async def test_nothing_is_dropped_in_vain(self, broker: Broker) -> None:
        queue = broker.queue("q", max_bytes=100, overflow="drop_oldest")
        await queue.put(b"a" * 60)
        held = await take(queue)
        await queue.put(b"b" * 30)
        with pytest.raises(TimeoutError):
            await queue.put(b"c" * 50, timeout=0.01)
        with pytest.raises(QueueFull):
            await queue.put(b"c" * 101)
        if is_now(broker):
            with pytest.raises(QueueFull):
                queue.put_nowait(b"c" * 101)
        assert await waits(queue) == 1
        await held.ack()
        await queue.put(b"c" * 50)
        assert await drain(queue) == [b"b" * 30, b"c" * 50]

    async def test_a_batch_that_can_never_fit(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=2, overflow="drop_oldest")
        await queue.put_many([1, 2])
        with pytest.raises(QueueFull):
            await queue.put_many([3, 4, 5])
        assert await drain(queue) == [1, 2]

    async def test_in_a_transaction(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue = broker.queue("q", max_messages=2, overflow="drop_oldest")
        other = broker.queue("other", max_messages=1, overflow="reject")
        await queue.put_many([1, 2])
        async with broker.transaction() as tx:
            tx.put(queue, 3)
        await other.put("full")
        with pytest.raises(QueueFull):
            async with broker.transaction() as tx:
                tx.put(queue, 4)
                tx.put(other, 4)
        assert await drain(queue) == [2, 3], "nothing was dropped for what did not happen"

    async def test_in_publishing(self, broker: Broker) -> None:
        need(broker, "topics")
        queue = broker.queue("q", max_messages=1, overflow="drop_oldest")
        topic = broker.topic("t")
        await queue.bind(topic)
        for number in range(3):
            await soon(topic.publish(number))
        assert await drain(queue) == [2]

    @pytest.mark.parametrize(
        ("settings", "kept"),
        [
            ({"order": "lifo"}, [4, 3, 2]),
            ({"order": "priority"}, [4, 2, 3]),
            ({"fair": True}, [2, 3, 4]),
            ({"ttl": 3600}, [2, 3, 4]),
        ],
        ids=str,
    )
    async def test_the_oldest_whatever_the_order(
        self, broker: Broker, settings: dict[str, Any], kept: list[int]
    ) -> None:
        need(broker, "order.lifo", "order.priority", "fair", "ttl")
        queue = broker.queue("q", max_messages=3, overflow="drop_oldest", **settings)
        for number in range(5):
            high = number == 4 and settings.get("order") == "priority"
            await queue.put(number, priority=5 if high else 0)
        assert await drain(queue) == kept

    async def test_a_key_goes_on_when_its_first_is_dropped(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q", max_messages=2, overflow="drop_oldest")
        for number in range(4):
            await queue.put(number, key="k")
        assert await drain(queue) == [2, 3]

    async def test_reopening_does_not_bring_back_what_was_dropped(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=2, overflow="drop_oldest")
        for number in range(5):
            await queue.put(number)
        async with reopened(self, broker) as again:
            await again.queue("q").put(5)
            assert await drain(again.queue("q")) == [4, 5]
