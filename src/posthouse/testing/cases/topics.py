"""Topics: one message to many queues, all of them or none."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument, InvalidName, QueueFull, Unroutable
from posthouse.testing.cases.again import churn, reopened
from posthouse.testing.cases.base import SHORT_S, Cases, drain, need, soon, take, turns, waits


class TopicCases(Cases):
    """``publish`` puts on every queue that is bound for the key."""

    @pytest.mark.parametrize(
        ("pattern", "matching", "others"),
        [
            ("eu.created", ["eu.created"], ["eu", "eu.created.now", "eu.paid", "eucreated", ""]),
            ("eu.*", ["eu.created", "eu.paid", "eu."], ["eu", "eu.a.b", "us.created", ""]),
            ("*.created", ["eu.created", ".created"], ["created", "a.b.created"]),
            ("eu.#", ["eu", "eu.created", "eu.a.b.c"], ["us", "us.eu", "europe", ""]),
            ("#", ["", "eu", "a.b.c", "."], []),
            ("*", ["eu"], ["", "a.b"]),
            ("#.created", ["created", "eu.created", "a.b.created"], ["eu.created.now"]),
            ("a.#.z", ["a.z", "a.b.z", "a.b.c.z"], ["a", "z", "a.z.b"]),
            ("*.#", ["a", "a.b", "a.b.c"], [""]),
        ],
    )
    async def test_patterns(
        self, broker: Broker, pattern: str, matching: list[str], others: list[str]
    ) -> None:
        need(broker, "topics")
        queue = broker.queue("q")
        topic = broker.topic("t")
        await queue.bind(topic, pattern)
        for key in matching:
            assert list(await topic.publish(key, key=key)) == ["q"]
        for key in others:
            with pytest.raises(Unroutable):
                await topic.publish(key, key=key)
        assert await drain(queue) == matching

    async def test_fan_out(self, broker: Broker) -> None:
        need(broker, "topics")
        topic = broker.topic("t")
        queues = [broker.queue(f"q{number}") for number in range(5)]
        for queue in queues:
            await queue.bind(topic)
        ids = await topic.publish({"a": 1}, headers={"own": "kept"})
        assert sorted(ids) == [queue.name for queue in queues]
        assert len(set(ids.values())) == 5, "each is a message of its own"
        for queue in queues:
            message = await take(queue)
            assert (message.id, message.body) == (ids[queue.name], {"a": 1})
            assert message.headers == {"own": "kept"}
            await message.ack()

    async def test_a_queue_bound_twice_gets_it_once(self, broker: Broker) -> None:
        need(broker, "topics")
        queue, topic = broker.queue("q"), broker.topic("t")
        for pattern in ("a.*", "#", "a.*"):
            await queue.bind(topic, pattern)
        await topic.publish(1, key="a.b")
        assert await drain(queue) == [1]
        assert sorted(await topic.bindings()) == [("q", "#"), ("q", "a.*")]

    async def test_unroutable(self, broker: Broker) -> None:
        need(broker, "topics")
        topic = broker.topic("t")
        with pytest.raises(Unroutable):
            await topic.publish(1)
        assert await topic.publish(1, unroutable=True) == {}
        queue = broker.queue("q")
        await queue.bind(broker.topic("other"))
        with pytest.raises(Unroutable):
            await topic.publish(1)
        with pytest.raises(Unroutable):
            async with broker.transaction() as tx:
                tx.put(queue, "left out with it")
                tx.publish(topic, 1)
        assert await waits(queue) == 0

    async def test_unbind(self, broker: Broker) -> None:
        need(broker, "topics")
        queue, topic = broker.queue("q"), broker.topic("t")
        await queue.bind(topic, "a")
        await queue.bind(topic, "b")
        await topic.publish(1, key="a")
        await queue.unbind(topic, "a")
        await queue.unbind(topic, "never bound")
        with pytest.raises(Unroutable):
            await topic.publish(2, key="a")
        await topic.publish(3, key="b")
        assert await drain(queue) == [1, 3], "what came by it stays"
        assert await topic.bindings() == [("q", "b")]

    async def test_all_or_none_when_one_rejects(self, broker: Broker) -> None:
        need(broker, "topics")
        topic = broker.topic("t")
        free = broker.queue("a")
        full = broker.queue("b", max_messages=1, overflow="reject")
        for queue in (free, full):
            await queue.bind(topic)
        await full.put("full")
        with pytest.raises(QueueFull):
            await topic.publish(1)
        assert await waits(free) == 0
        await (await take(full)).ack()
        await topic.publish(2)
        assert (await drain(free), await drain(full)) == ([2], [2])

    async def test_all_or_none_when_one_waits(self, broker: Broker) -> None:
        need(broker, "topics")
        topic = broker.topic("t")
        free, full = broker.queue("a"), broker.queue("b", max_messages=1)
        for queue in (free, full):
            await queue.bind(topic)
        await full.put("full")
        with pytest.raises(TimeoutError):
            await topic.publish(0, timeout=0.01)
        publishing = asyncio.create_task(topic.publish(1))
        await turns()
        assert not publishing.done()
        assert await waits(free) == 0
        await (await take(full)).ack()
        await soon(publishing)
        assert (await drain(free), await drain(full)) == ([1], [1])

    async def test_cancelled_while_it_waits_it_leaves_no_trace(self, broker: Broker) -> None:
        need(broker, "topics")
        topic = broker.topic("t")
        free, full = broker.queue("a"), broker.queue("b", max_messages=1)
        for queue in (free, full):
            await queue.bind(topic)
        await full.put("full")
        publishing = asyncio.create_task(topic.publish(1))
        await turns()
        publishing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await publishing
        assert await drain(full) == ["full"]
        assert await waits(free) == 0

    async def test_in_a_transaction(self, broker: Broker) -> None:
        need(broker, "topics", "transactions")
        topic = broker.topic("t")
        source, one, two = broker.queue("source"), broker.queue("one"), broker.queue("two")
        for queue in (one, two):
            await queue.bind(topic)
        await source.put("in")
        message = await take(source)
        async with broker.transaction() as tx:
            tx.ack(message)
            tx.publish(topic, "out")
            tx.put(one, "more")
        assert len(tx.ids) == 3
        assert await drain(one) == ["out", "more"]
        assert await drain(two) == ["out"]
        with pytest.raises(RuntimeError):
            async with broker.transaction() as tx:
                tx.publish(topic, "never")
                raise RuntimeError
        assert await waits(one) == 0
        assert await waits(two) == 0

    async def test_each_queue_has_its_own_policy(self, broker: Broker) -> None:
        need(broker, "topics", "ttl", "order.priority", "delay")
        topic = broker.topic("t")
        plain = broker.queue("plain")
        mortal = broker.queue("mortal", ttl=SHORT_S, expired="drop")
        high = broker.queue("high", order="priority")
        for queue in (plain, mortal, high):
            await queue.bind(topic)
        await high.put("low", priority=1)
        await topic.publish("body", priority=9)
        await soon(mortal.join())
        assert (await mortal.stats()).expired == 1
        assert await drain(high) == ["body", "low"]
        assert await drain(plain) == ["body"]
        await topic.publish("later", delay=3600)
        assert (await plain.stats()).delayed == 1

    async def test_settled_in_one_queue_it_lives_in_the_others(self, broker: Broker) -> None:
        need(broker, "topics")
        topic = broker.topic("t")
        queues = [broker.queue(name, dead_letter=f"{name}.graves") for name in ("a", "b", "c")]
        for queue in queues:
            await queue.bind(topic)
        await topic.publish("body")
        await (await take(queues[0])).ack()
        await (await take(queues[1])).reject()
        assert await drain(queues[2]) == ["body"]
        assert await drain(broker.queue("b.graves")) == ["body"]

    @pytest.mark.parametrize("pattern", ["", "a*", "#b", "x" * 251, None, 5])
    async def test_what_is_no_pattern(self, broker: Broker, pattern: Any) -> None:
        need(broker, "topics")
        queue, topic = broker.queue("q"), broker.topic("t")
        with pytest.raises(BadArgument):
            await queue.bind(topic, pattern)
        with pytest.raises(BadArgument):
            await topic.publish(1, key="k" * 251)
        with pytest.raises(InvalidName):
            broker.topic("a/b")
        assert await topic.bindings() == []

    async def test_reopening_keeps_bindings_and_copies(self, broker: Broker) -> None:
        need(broker, "topics")
        topic = broker.topic("t")
        queues = [broker.queue(name) for name in ("a", "b", "c")]
        for queue in queues:
            await queue.bind(topic, "x.*")
        await queues[2].unbind(topic, "x.*")
        ids = await topic.publish({"n": 1}, key="x.y", headers={"own": "kept"})
        await (await take(queues[0])).ack()
        async with reopened(self, broker) as again:
            assert sorted(await again.topic("t").bindings()) == [("a", "x.*"), ("b", "x.*")]
            message = await take(again.queue("b"))
            assert (message.id, message.body) == (ids["b"], {"n": 1})
            assert message.headers == {"own": "kept"}
            assert await waits(again.queue("a")) == 0
            with pytest.raises(Unroutable):
                await again.topic("t").publish(1, key="y")

    async def test_bindings_outlive_what_the_log_lets_go(self, broker: Broker) -> None:
        need(broker, "topics", "durable")
        topic = broker.topic("t")
        for name in ("a", "b"):
            await broker.queue(name).bind(topic, "x")
        await broker.queue("b").unbind(topic, "x")
        await churn(broker)
        async with reopened(self, broker) as again:
            assert await again.topic("t").bindings() == [("a", "x")]
            await churn(again)
            async with reopened(self, again) as third:
                assert list(await third.topic("t").publish(1, key="x")) == ["a"]
                assert await drain(third.queue("a")) == [1]
