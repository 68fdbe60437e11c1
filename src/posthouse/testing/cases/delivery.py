"""Put and get: order, waiting, batches, looking without taking."""

from __future__ import annotations

import asyncio

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument, Unsupported
from posthouse.testing.cases.base import (
    PATIENCE_S,
    Cases,
    drain,
    in_time,
    is_now,
    need,
    none_now,
    soon,
    take,
    turns,
    waits,
    within,
)


class DeliveryCases(Cases):
    """Messages come out as they went in."""

    async def test_ids_are_texts_that_sort_by_time(self, broker: Broker) -> None:
        queue = broker.queue("q")
        ids = [await queue.put(0), *await queue.put_many([1, 2, 3]), await queue.put(4)]
        assert all(isinstance(each, str) for each in ids)
        assert ids == sorted(set(ids))
        assert [(await take(queue)).id for _ in ids] == ids

    async def test_messages_come_in_the_order_they_were_put(self, broker: Broker) -> None:
        queue = broker.queue("q")
        for number in range(10):
            await queue.put(number)
        await queue.put_many(range(10, 200))
        assert await drain(queue) == list(range(200))

    async def test_many_producers_at_once(self, broker: Broker) -> None:
        queue = broker.queue("q")
        ids = await asyncio.gather(*(queue.put(number) for number in range(200)))
        messages = [await take(queue) for _ in ids]
        assert [message.id for message in messages] == sorted(ids)
        assert [message.body for message in messages] == list(range(200))

    async def test_a_message_has_its_parts(self, broker: Broker) -> None:
        queue = broker.queue("parts")
        message_id = await queue.put({"sku": "tea"}, headers={"kind": "order", "ü": "茶"})
        message = await take(queue)
        assert message.id == message_id
        assert message.body == {"sku": "tea"}
        assert message.headers == {"kind": "order", "ü": "茶"}
        assert message.attempts == 1
        assert message.queue_name == "parts"
        assert message.settled is None
        assert message.enqueued_at.tzinfo is not None
        message.headers["kind"] = "changed"
        assert message.headers["kind"] == "order"

    async def test_without_headers(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put(1)
        await queue.put(2, headers={})
        assert (await take(queue)).headers == {}
        assert (await take(queue)).headers == {}

    async def test_get_waits_for_a_put(self, broker: Broker) -> None:
        queue = broker.queue("q")
        waiting = asyncio.create_task(queue.get())
        await turns()
        assert not waiting.done()
        await queue.put("news")
        assert (await soon(waiting)).body == "news"

    async def test_each_waiting_consumer_gets_one(self, broker: Broker) -> None:
        queue = broker.queue("q")
        waiting = [asyncio.create_task(queue.get()) for _ in range(20)]
        await turns()
        await queue.put_many(range(10))
        for number in range(10, 20):
            await queue.put(number)
        bodies = [(await soon(task)).body for task in waiting]
        assert sorted(bodies) == list(range(20))

    async def test_get_gives_up_after_its_timeout(self, broker: Broker) -> None:
        queue = broker.queue("q")
        with pytest.raises(TimeoutError):
            await queue.get(timeout=0.01)
        with pytest.raises(TimeoutError):
            await queue.get_many(5, timeout=0.01)
        await queue.put(1)
        assert (await queue.get(timeout=0.01)).body == 1

    async def test_get_nowait(self, broker: Broker) -> None:
        need(broker, "nowait")
        queue = broker.queue("q")
        await none_now(queue)
        await queue.put(1)
        assert queue.get_nowait().body == 1
        await none_now(queue)

    async def test_without_nowait_it_is_said_so(self, broker: Broker) -> None:
        queue = broker.queue("q")
        if is_now(broker):
            pytest.skip(f"{broker.url} has nowait")
        with pytest.raises(Unsupported, match="nowait"):
            queue.put_nowait(1)
        with pytest.raises(Unsupported, match="nowait"):
            queue.get_nowait()
        assert await waits(queue) == 0

    async def test_figures_at_once(self, broker: Broker) -> None:
        need(broker, "nowait")
        queue = broker.queue("q", max_messages=3)
        assert (queue.qsize(), queue.empty(), queue.full()) == (0, True, False)
        await queue.put_many([1, 2])
        await queue.put(3, delay=3600)
        assert (queue.qsize(), queue.empty(), queue.full()) == (2, False, True)
        await (await take(queue)).ack()
        assert (queue.qsize(), queue.empty(), queue.full()) == (1, False, False)

    async def test_put_nowait_returns_a_receipt(self, broker: Broker) -> None:
        need(broker, "nowait")
        queue = broker.queue("q")
        receipt = queue.put_nowait("x", headers={"a": "b"})
        assert await soon(receipt) == receipt.id
        assert await receipt == receipt.id, "a receipt may be awaited again"
        message = await take(queue)
        assert (message.id, message.body, message.headers) == (receipt.id, "x", {"a": "b"})

    async def test_what_put_returned_for_can_be_taken_at_once(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put(1)
        assert (await queue.get(timeout=0)).body == 1
        await queue.put_many([2, 3])
        assert [(await queue.get(timeout=0)).body for _ in range(2)] == [2, 3]
        if is_now(broker):
            await queue.put_nowait(4)
            assert queue.get_nowait().body == 4
            await queue.put_many([5])
            assert queue.get_nowait().body == 5

    async def test_batches(self, broker: Broker) -> None:
        queue = broker.queue("q")
        ids = await queue.put_many(range(250), headers={"batch": "1"})
        assert len(ids) == 250
        assert [ids[0], ids[-1]] == list(ids)[:: len(ids) - 1]
        batches = [await queue.get_many(100) for _ in range(3)]
        assert [len(batch) for batch in batches] == [100, 100, 50]
        messages = [message for batch in batches for message in batch]
        assert [message.id for message in messages] == list(ids)
        assert [message.body for message in messages] == list(range(250))
        assert all(message.headers == {"batch": "1"} for message in messages)
        await queue.ack_many(messages)
        assert {message.settled for message in messages} == {"ack"}
        await soon(queue.join())

    async def test_an_empty_batch(self, broker: Broker) -> None:
        queue = broker.queue("q")
        assert list(await queue.put_many([])) == []
        await queue.ack_many([])
        assert await waits(queue) == 0

    async def test_get_many_takes_what_there_is(self, broker: Broker) -> None:
        queue = broker.queue("q")
        waiting = asyncio.create_task(queue.get_many(10))
        await turns()
        await queue.put_many([1, 2])
        messages = await soon(waiting)
        rest = [] if len(messages) == 2 else await queue.get_many(10, timeout=PATIENCE_S)
        assert [message.body for message in [*messages, *rest]] == [1, 2]

    @pytest.mark.parametrize("most", [0, -1, 100_001, True, 1.5, None])
    async def test_get_many_and_peek_bounds(self, broker: Broker, most: int) -> None:
        queue = broker.queue("q")
        with pytest.raises(BadArgument):
            await queue.get_many(most)
        with pytest.raises(BadArgument):
            await queue.peek(most)

    async def test_queues_are_apart(self, broker: Broker) -> None:
        one, two = broker.queue("one"), broker.queue("two")
        await one.put(1)
        await two.put(2)
        assert await drain(two) == [2]
        assert await drain(one) == [1]
        assert await broker.queue_names() == ["one", "two"]

    async def test_handles_on_one_queue_are_one_queue(self, broker: Broker) -> None:
        await broker.queue("q").put(1)
        assert await drain(broker.queue("q")) == [1]

    async def test_delay(self, broker: Broker) -> None:
        need(broker, "delay")

        async def test(name: str, delay_s: float) -> None:
            queue = broker.queue(name)
            with within(delay_s):
                await queue.put("later", delay=delay_s)
                await queue.put("much later", delay=3600)
                await queue.put_many(["batch"], delay=3600)
                await queue.put("now", delay=0)
                assert (await take(queue)).body == "now"
            assert (await take(queue)).body == "later"
            assert await waits(queue) == 0
            stats = await queue.stats()
            assert (stats.waiting, stats.delayed, stats.in_flight) == (0, 2, 2)

        await in_time(test)

    async def test_a_delayed_message_wakes_who_waits(self, broker: Broker) -> None:
        need(broker, "delay")
        queue = broker.queue("q")
        waiting = asyncio.create_task(queue.get())
        await turns()
        await queue.put("later", delay=0.02)
        assert (await soon(waiting)).body == "later"

    async def test_delays_end_in_the_order_of_their_times(self, broker: Broker) -> None:
        need(broker, "delay")
        queue = broker.queue("q")
        for body, delay in (("c", 0.06), ("a", 0.02), ("b", 0.04)):
            await queue.put(body, delay=delay)
        assert sorted([(await take(queue)).body for _ in range(3)]) == ["a", "b", "c"]

    async def test_peek_leaves_everything_where_it_is(self, broker: Broker) -> None:
        queue = broker.queue("q")
        assert await queue.peek() == []
        ids = [await queue.put(number) for number in range(5)]
        assert [message.id for message in await queue.peek(3)] == ids[:3]
        assert [message.body for message in await queue.peek(99)] == [0, 1, 2, 3, 4]
        first = (await queue.peek())[0]
        assert first.attempts == 0
        message = await take(queue)
        assert (message.body, message.attempts) == (0, 1)
        await message.nack(delay=0)
        peeked = (await queue.peek())[0]
        assert (peeked.id, peeked.attempts) == (ids[0], 1)

    async def test_purge(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(5))
        held = await take(queue)
        returned = await take(queue)
        await returned.nack(delay=0)
        await queue.put("delayed", delay=3600)
        assert await queue.purge() == 5
        assert await waits(queue) == 0
        assert await queue.purge() == 0
        await held.ack()
        await soon(queue.join())
        assert (await queue.stats()).purged == 5

    async def test_figures(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="q.dead")
        await queue.put_many([b"x" * 10, b"y" * 20])
        await queue.put(b"z", delay=3600)
        assert await waits(queue) == 2
        one = await take(queue)
        stats = await queue.stats()
        assert (stats.waiting, stats.delayed, stats.in_flight) == (1, 1, 1)
        assert (stats.name, stats.put, stats.size_bytes) == ("q", 3, 31)
        await one.ack()
        await (await take(queue)).reject()
        stats = await queue.stats()
        assert (stats.put, stats.acked, stats.dead_lettered, stats.size_bytes) == (3, 1, 1, 1)
        dead = next(each for each in await broker.stats() if each.name == "q.dead")
        assert (dead.put, dead.waiting, dead.size_bytes) == (0, 1, 20)
