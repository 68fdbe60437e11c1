"""Dedup ids: a second put within the window is the first one."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument, QueueFull
from posthouse.testing.cases.again import churn, reopened
from posthouse.testing.cases.base import SHORT_S, Cases, drain, is_now, need, soon, take, waits


class DedupCases(Cases):
    """The first id again, and nothing is added."""

    async def test_within_the_window(self, broker: Broker) -> None:
        need(broker, "dedup")
        queue = broker.queue("q")
        first = await queue.put("first", dedup="x")
        assert await queue.put("second", dedup="x") == first
        if is_now(broker):
            assert await queue.put_nowait("third", dedup="x") == first
        else:
            assert await queue.put("third", dedup="x") == first
        assert await queue.put("other", dedup="y") != first
        assert await queue.put("none") != first
        stats = await queue.stats()
        assert (stats.waiting, stats.deduplicated) == (3, 2)
        assert await drain(queue) == ["first", "other", "none"]

    async def test_settled_or_dead_it_is_still_known(self, broker: Broker) -> None:
        need(broker, "dedup")
        queue = broker.queue("q")
        acked = await queue.put(1, dedup="acked")
        await (await take(queue)).ack()
        dead = await queue.put(2, dedup="dead")
        await (await take(queue)).reject()
        assert await queue.put(3, dedup="acked") == acked
        assert await queue.put(3, dedup="dead") == dead
        assert await waits(queue) == 0

    async def test_after_the_window(self, broker: Broker) -> None:
        need(broker, "dedup", "delay")
        queue = broker.queue("q", dedup_window=SHORT_S)
        first = await queue.put(1, dedup="x")
        marker = broker.queue("marker")
        await marker.put(1, delay=SHORT_S)
        await take(marker)
        assert await queue.put(2, dedup="x") != first
        assert await drain(queue) == [1, 2]

    async def test_each_queue_has_its_own(self, broker: Broker) -> None:
        need(broker, "dedup")
        one, two = broker.queue("one"), broker.queue("two")
        assert await one.put(1, dedup="x") != await two.put(1, dedup="x")

    async def test_at_the_same_time(self, broker: Broker) -> None:
        need(broker, "dedup")
        queue = broker.queue("q")
        ids = await asyncio.gather(*[queue.put(number, dedup="x") for number in range(20)])
        assert len(set(ids)) == 1
        assert await waits(queue) == 1

    async def test_a_full_queue_knows_what_it_has(self, broker: Broker) -> None:
        need(broker, "dedup")
        queue = broker.queue("q", max_messages=1)
        first = await queue.put(1, dedup="x")
        assert await soon(queue.put(2, dedup="x")) == first
        waiting = [asyncio.create_task(queue.put(3, dedup="y")) for _ in range(2)]
        await asyncio.sleep(0)
        await (await take(queue)).ack()
        ids = [await soon(task) for task in waiting]
        assert ids[0] == ids[1]
        assert await drain(queue) == [3]

    async def test_nothing_is_dropped_for_a_put_that_adds_nothing(self, broker: Broker) -> None:
        need(broker, "dedup")
        queue = broker.queue("q", max_messages=2, overflow="drop_oldest")
        await queue.put(1)
        await queue.put(2, dedup="x")
        await queue.put("again", dedup="x")
        assert await drain(queue) == [1, 2]

    async def test_in_transactions(self, broker: Broker) -> None:
        need(broker, "dedup", "transactions")
        queue = broker.queue("q", max_messages=2, overflow="reject")
        first = await queue.put(1, dedup="x")
        async with broker.transaction() as tx:
            tx.put(queue, 2, dedup="x")
            tx.put(queue, 3, dedup="y")
            tx.put(queue, 4, dedup="x")
        assert tx.ids[0] == tx.ids[2] == first
        assert tx.ids[1] != first
        async with broker.transaction() as again:
            again.put(queue, 5, dedup="y")
        assert again.ids == [tx.ids[1]], "full as it is, nothing is added"
        with pytest.raises(QueueFull):
            async with broker.transaction() as other:
                other.put(queue, 6, dedup="z")
        assert await drain(queue) == [1, 3]
        assert await queue.put(7, dedup="z") not in (first, tx.ids[1]), "that one left no trace"

    async def test_in_publishing(self, broker: Broker) -> None:
        need(broker, "dedup", "topics")
        topic = broker.topic("t")
        queues = [broker.queue(name) for name in ("a", "b", "c")]
        for queue in queues[:2]:
            await queue.bind(topic)
        first = await topic.publish("body", dedup="x")
        assert await topic.publish("again", dedup="x") == first
        await queues[2].bind(topic)
        third = await topic.publish("for the new one", dedup="x")
        assert (third["a"], third["b"]) == (first["a"], first["b"])
        assert [await drain(queue) for queue in queues] == [
            ["body"],
            ["body"],
            ["for the new one"],
        ]

    @pytest.mark.parametrize("dedup", ["", "x" * 251, "\ud800", 5, b"x"])
    async def test_what_is_no_dedup_id(self, broker: Broker, dedup: Any) -> None:
        need(broker, "dedup")
        queue = broker.queue("q")
        with pytest.raises(BadArgument):
            await queue.put(1, dedup=dedup)
        with pytest.raises(BadArgument):
            await queue.put_many([1, 2], dedup="one for two")
        assert await waits(queue) == 0

    async def test_reopening_keeps_dedup_ids(self, broker: Broker) -> None:
        need(broker, "dedup")
        queue = broker.queue("q")
        first = await queue.put(1, dedup="x")
        settled = await queue.put(2, dedup="y")
        await queue.ack_many(await queue.get_many(2))
        async with reopened(self, broker) as again:
            assert await again.queue("q").put(3, dedup="x") == first
            assert await again.queue("q").put(3, dedup="y") == settled
            assert await waits(again.queue("q")) == 0

    async def test_dedup_ids_outlive_what_the_log_lets_go(self, broker: Broker) -> None:
        need(broker, "dedup", "durable")
        queue = broker.queue("q")
        ids = {}
        for name in ("x", "y"):
            ids[name] = await queue.put(name, dedup=name)
            await (await take(queue)).ack()
            await churn(broker)
        async with reopened(self, broker) as again:
            for name, message_id in ids.items():
                assert await again.queue("q").put("again", dedup=name) == message_id
            await churn(again)
            async with reopened(self, again) as third:
                for name, message_id in ids.items():
                    assert await third.queue("q").put("again", dedup=name) == message_id
                assert await waits(third.queue("q")) == 0
