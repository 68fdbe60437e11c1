"""Ordering keys, and taking fairly over them."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument
from posthouse.model import Retry
from posthouse.queue import Queue
from posthouse.testing.cases.again import reopened
from posthouse.testing.cases.base import (
    SHORT_S,
    Cases,
    drain,
    in_time,
    need,
    none_now,
    soon,
    take,
    turns,
    waits,
    within,
)


async def put_keyed(queue: Queue[Any], *bodies: str) -> None:
    """Put each body with its first character as its key."""
    for body in bodies:
        await queue.put(body, key=body[0])


class KeyCases(Cases):
    """One at a time and in order within a key; other keys in parallel."""

    async def test_one_at_a_time_and_in_order(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q")
        await put_keyed(queue, "a1", "a2", "b1", "a3")
        first = await take(queue)
        other = await take(queue)
        assert (first.body, other.body) == ("a1", "b1")
        await none_now(queue)
        assert await waits(queue) == 2
        await first.ack()
        assert await drain(queue) == ["a2", "a3"]

    async def test_messages_without_a_key_are_free(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q")
        await put_keyed(queue, "a1", "a2")
        await queue.put_many(["x", "y"])
        assert [message.body for message in await queue.get_many(9)] == ["a1", "x", "y"]

    async def test_a_batch_holds_one_of_each_key(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q")
        await put_keyed(queue, "a1", "a2", "b1", "b2", "c1")
        messages = await queue.get_many(9)
        assert [message.body for message in messages] == ["a1", "b1", "c1"]
        await queue.ack_many(messages)
        messages = await queue.get_many(9)
        assert [message.body for message in messages] == ["a2", "b2"]

    async def test_a_batch_put_with_a_key(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q")
        await queue.put_many(range(3), key="k")
        assert [message.body for message in await queue.get_many(9)] == [0]

    @pytest.mark.parametrize("verb", ["nack", "lease"])
    async def test_a_retry_holds_back_its_own_key_only(self, broker: Broker, verb: str) -> None:
        need(broker, "keys")
        queue = broker.queue("q", retry=Retry(max_attempts=9))
        await put_keyed(queue, "a1", "a2", "b1", "b2")
        message = await queue.get(visibility_timeout=SHORT_S if verb == "lease" else None)
        if verb == "nack":
            await message.nack(delay=0.1)
        found = []
        for _ in range(2):
            message = await take(queue)
            found.append(message.body)
            await message.ack()
        assert found == ["b1", "b2"] or "a1" in found, "its lease may have run out by now"
        while len(found) < 4:
            message = await take(queue)
            found.append(message.body)
            await message.ack()
        assert [body for body in found if body[0] == "a"] == ["a1", "a2"]

    async def test_a_delay_holds_back_its_own_key_only(self, broker: Broker) -> None:
        need(broker, "keys", "delay")

        async def test(name: str, delay_s: float) -> None:
            queue = broker.queue(name)
            with within(delay_s):
                await queue.put("a1", key="a", delay=delay_s)
                await put_keyed(queue, "a2", "b1")
                message = await take(queue)
                assert message.body == "b1"
            found = []
            for _ in range(2):
                await message.ack()
                message = await take(queue)
                found.append(message.body)
            assert found == ["a1", "a2"]

        await in_time(test)

    @pytest.mark.parametrize("end", ["ack", "reject", "dead", "ack_many", "transaction", "nack"])
    async def test_what_lets_a_key_go_on(self, broker: Broker, end: str) -> None:
        need(broker, "keys")
        queue = broker.queue("q", retry=Retry(max_attempts=1))
        await put_keyed(queue, "a1", "a2")
        message = await take(queue)
        waiting = asyncio.create_task(queue.get())
        await turns()
        assert not waiting.done()
        if end == "dead":
            await message.nack()
        elif end == "ack_many":
            await queue.ack_many([message])
        elif end == "transaction":
            async with broker.transaction() as tx:
                tx.ack(message)
        elif end == "nack":
            broker.queue("q", retry=Retry(max_attempts=2))
            await message.nack(delay=0)
        else:
            await getattr(message, end)()
        found = await soon(waiting)
        assert found.body == ("a1" if end == "nack" else "a2")
        await found.ack()

    async def test_purge_lets_a_key_go_on(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q")
        await put_keyed(queue, "a1", "a2")
        held = await take(queue)
        assert await queue.purge() == 1
        await queue.put("a3", key="a")
        await none_now(queue)
        await held.ack()
        assert await drain(queue) == ["a3"]

    async def test_a_key_goes_on_when_its_first_expires(self, broker: Broker) -> None:
        need(broker, "keys", "ttl")
        queue = broker.queue("q", expired="drop")
        await queue.put("a1", key="a", ttl=SHORT_S, delay=3600)
        await queue.put("a2", key="a")
        message = await take(queue)
        assert message.body == "a2"
        assert (await queue.stats()).expired == 1

    async def test_tasks_work_on_keys_in_parallel_and_each_in_order(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q", retry=Retry(max_attempts=9, backoff=(0.0,), jitter=False))
        for number in range(10):
            await put_keyed(queue, *[f"{key}{number}" for key in "abc"])
        done: dict[str, list[str]] = {key: [] for key in "abc"}
        busy: set[str] = set()

        async def work(who: int) -> None:
            async for message in queue:
                key = message.body[0]
                assert key not in busy, "two of one key at a time"
                busy.add(key)
                await turns(who)
                busy.discard(key)
                if message.attempts == 1 and int(message.body[1:]) % 4 == who:
                    await message.nack()
                    continue
                done[key].append(message.body)
                await message.ack()

        workers = [asyncio.create_task(work(who)) for who in range(4)]
        await soon(queue.join())
        queue.shutdown()
        await soon(asyncio.gather(*workers))
        assert done == {key: [f"{key}{number}" for number in range(10)] for key in "abc"}

    async def test_in_flight_per_key(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q", max_in_flight_per_key=2)
        await put_keyed(queue, "a1", "a2", "a3", "b1")
        messages = await queue.get_many(9)
        assert [message.body for message in messages] == ["a1", "a2", "b1"]
        await messages[1].ack()
        assert (await take(queue)).body == "a3"

    async def test_without_a_limit_a_key_orders_nothing(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q", max_in_flight_per_key=None)
        await put_keyed(queue, "a1", "b1", "a2")
        assert [message.body for message in await queue.get_many(9)] == ["a1", "b1", "a2"]

    async def test_a_limit_can_be_lifted(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q")
        await put_keyed(queue, "a1", "a2", "a3")
        await take(queue)
        waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
        await turns()
        broker.queue("q", max_in_flight_per_key=None)
        assert [(await soon(task)).body for task in waiting] == ["a2", "a3"]

    @pytest.mark.parametrize("key", ["", "x" * 251, "é" * 126, "\ud800", 5, b"k"])
    async def test_what_is_no_key(self, broker: Broker, key: Any) -> None:
        need(broker, "keys")
        queue = broker.queue("q")
        with pytest.raises(BadArgument):
            await queue.put(1, key=key)
        await queue.put(2, key="x" * 250)
        assert await drain(queue) == [2]

    async def test_reopening_keeps_keys(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q")
        await put_keyed(queue, "a1", "a2", "b1", "b2", "c1", "c2")
        await (await take(queue)).nack(delay=0)
        await take(queue)
        await (await take(queue)).ack()
        async with reopened(self, broker) as again:
            messages = await again.queue("q").get_many(9)
            assert [message.body for message in messages] == ["a1", "b2", "c1"]
            await messages[0].ack()
            assert (await take(again.queue("q"))).body == "a2"

    async def test_reopening_keeps_a_key_behind_its_retry(self, broker: Broker) -> None:
        need(broker, "keys")
        queue = broker.queue("q")
        await put_keyed(queue, "a1", "a2")
        await (await take(queue)).nack(delay=3600)
        async with reopened(self, broker) as again:
            await put_keyed(again.queue("q"), "b1")
            assert await drain(again.queue("q")) == ["b1"]
            stats = await again.queue("q").stats()
            assert (stats.waiting, stats.delayed) == (1, 1)


class FairCases(Cases):
    """A busy key does not starve the others."""

    async def test_keys_take_turns(self, broker: Broker) -> None:
        need(broker, "fair")
        queue = broker.queue("q", fair=True, max_in_flight_per_key=None)
        await put_keyed(queue, "a1", "a2", "a3", "a4", "b1", "b2", "c1")
        messages = await queue.get_many(9)
        assert [message.body for message in messages] == ["a1", "b1", "c1", "a2", "b2", "a3", "a4"]

    async def test_a_late_tenant_is_served_next(self, broker: Broker) -> None:
        need(broker, "fair")
        queue = broker.queue("q", fair=True, max_in_flight_per_key=None)
        await put_keyed(queue, *[f"a{number}" for number in range(50)])
        assert (await take(queue)).body == "a0"
        await put_keyed(queue, "b0")
        found = [(await take(queue)).body for _ in range(2)]
        assert "b0" in found

    async def test_those_without_a_key_share_one_turn(self, broker: Broker) -> None:
        need(broker, "fair")
        queue = broker.queue("q", fair=True)
        await queue.put_many(["-1", "-2", "-3"])
        await put_keyed(queue, "a1")
        assert [message.body for message in await queue.get_many(9)] == ["-1", "a1", "-2", "-3"]

    async def test_one_at_a_time_in_turn(self, broker: Broker) -> None:
        need(broker, "fair")
        queue = broker.queue("q", fair=True)
        await put_keyed(queue, "a1", "a2", "b1", "b2")
        messages = await queue.get_many(9)
        assert [message.body for message in messages] == ["a1", "b1"]
        await messages[1].ack()
        await messages[0].ack()
        assert await drain(queue) == ["b2", "a2"]

    async def test_an_iterator_takes_turns_too(self, broker: Broker) -> None:
        need(broker, "fair")
        queue = broker.queue("q", fair=True, max_in_flight_per_key=None)
        await put_keyed(queue, *[f"a{number}" for number in range(9)])
        found: list[str] = []
        async for message in queue:
            await message.ack()
            if not found:
                await put_keyed(queue, "b0")
            found.append(message.body)
            if len(found) == 10:
                break
        assert found.index("b0") <= 2
