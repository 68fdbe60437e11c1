"""Taking messages by what is in them, and indexes, which change what that costs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument, QueueShutDown
from posthouse.model import Retry
from posthouse.queue import Queue
from posthouse.testing.cases.base import Cases, drain, need, outcome, soon, take, turns
from posthouse.testing.cases.finding import MANY


class SelectCases(Cases):
    """`get(where=...)` takes what matches."""

    async def test_get_where(self, broker: Broker) -> None:
        need(broker, "select")
        queue = broker.queue("q")
        await queue.put_many([{"n": n} for n in range(MANY)])
        for n in (7, 4400, 3000):
            message = await soon(queue.get(where=f"body.n == {n}"))
            assert (message.body, message.attempts) == ({"n": n}, 1)
            await message.ack()
        batch = await soon(queue.get_many(5, where="body.n >= 2990"))
        assert [m.body["n"] for m in batch] == [2990, 2991, 2992, 2993, 2994]
        await batch[2].give_back()
        assert (await take(queue)).body == {"n": 0}
        again = await soon(queue.get(where="body.n > 2990"))
        assert again.body == {"n": 2992}
        with pytest.raises(TimeoutError):
            await queue.get(where="body.n == 7", timeout=0)
        stats = await queue.stats()
        assert (stats.waiting, stats.in_flight) == (MANY - 3 - 6, 6)

    async def test_get_where_waits(self, broker: Broker) -> None:
        need(broker, "select")
        queue = broker.queue("q")
        await queue.put("other")
        waiting = asyncio.create_task(queue.get(where="body == 'mine'"))
        anything = asyncio.create_task(queue.get(where="body == 'both' or body == 'mine'"))
        await turns()
        await queue.put("other")
        await turns()
        assert not waiting.done()
        assert not anything.done()
        await queue.put("mine")
        await queue.put("mine")
        assert [m.body for m in await soon(asyncio.gather(waiting, anything))] == ["mine", "mine"]
        assert await drain(queue) == ["other", "other"]

    async def test_get_where_and_plain_gets_side_by_side(self, broker: Broker) -> None:
        need(broker, "select")
        queue = broker.queue("q")
        choosy = asyncio.create_task(queue.get(where="body == 'mine'"))
        await turns()
        plain = asyncio.create_task(queue.get())
        await turns()
        await queue.put("other")
        assert (await soon(plain)).body == "other"
        assert not choosy.done()
        await queue.put("mine")
        assert (await soon(choosy)).body == "mine"

    async def test_get_where_hears_what_comes_back(self, broker: Broker) -> None:
        need(broker, "select")
        queue = broker.queue("q", retry=Retry(max_attempts=9, backoff=(0.0,), jitter=False))
        await queue.put("mine")
        held = await take(queue)
        choosy = asyncio.create_task(queue.get(where="body == 'mine'"))
        again = asyncio.create_task(queue.get(where="attempts == 1"))
        await turns()
        await held.nack()
        done, _ = await asyncio.wait({choosy, again}, return_when=asyncio.FIRST_COMPLETED)
        first = done.pop().result()
        assert first.attempts == 2
        choosy.cancel()
        again.cancel()
        await asyncio.wait({choosy, again})

    async def test_get_where_cancelled(self, broker: Broker) -> None:
        need(broker, "select")
        queue = broker.queue("q")
        choosy = asyncio.create_task(queue.get(where="body == 'mine'"))
        await turns()
        choosy.cancel()
        await queue.put("mine")
        taken = await outcome(choosy)
        assert taken is None
        assert (await take(queue)).body == "mine"

    async def test_get_where_respects_keys(self, broker: Broker) -> None:
        need(broker, "select", "keys")
        queue = broker.queue("q")
        await queue.put({"n": 0}, key="a")
        await queue.put({"n": 1}, key="a")
        await queue.put({"n": 2}, key="b")
        with pytest.raises(TimeoutError):
            await queue.get(where="body.n == 1", timeout=0)
        second = asyncio.create_task(queue.get(where="body.n == 1"))
        first = await take(queue)
        assert first.body == {"n": 0}
        await turns()
        assert not second.done()
        await first.ack()
        message = await soon(second)
        assert message.body == {"n": 1}
        await message.give_back()
        assert await drain(queue) == [{"n": 1}, {"n": 2}]

    @pytest.mark.parametrize("order", ["fifo", "lifo", "priority"])
    async def test_get_where_in_every_order(self, broker: Broker, order: Any) -> None:
        need(broker, "select")
        if order != "fifo":
            need(broker, f"order.{order}")
        queue = broker.queue("q", order=order, max_in_flight=3)
        for n in range(20):
            await queue.put(n, priority=n % 3 if order == "priority" else 0)
        expected = {"fifo": [10, 11], "lifo": [19, 18], "priority": [11, 14]}[order]
        batch = await soon(queue.get_many(2, where="body >= 10"))
        assert [m.body for m in batch] == expected
        await batch[0].nack(delay=0)
        assert (await soon(queue.get(where="body >= 10"))).body == expected[0]
        third = await soon(queue.get(where="body < 10"))
        with pytest.raises(TimeoutError):
            await queue.get(where="True", timeout=0)  # three are in flight
        waiting = asyncio.create_task(queue.get(where="body < 10"))
        await turns()
        assert not waiting.done()
        await third.ack()
        assert (await soon(waiting)).body < 10

    async def test_get_where_after_shutdown(self, broker: Broker) -> None:
        need(broker, "select")
        queue = broker.queue("q")
        await queue.put("mine")
        waiting = asyncio.create_task(queue.get(where="body == 'gone'"))
        await turns()
        queue.shutdown()
        with pytest.raises(QueueShutDown):
            await soon(waiting)
        assert (await soon(queue.get(where="body == 'mine'"))).body == "mine"
        with pytest.raises(QueueShutDown):
            await queue.get(where="True")


class IndexCases(Cases):
    """An index changes what finding costs, and nothing of what is found."""

    FILTERS = (
        "headers.customer == 'c1'",
        "headers.customer in ['c1', 'c3'] and body.n > 10",
        "body.n == 7",
        "body.n in [7, 8, 9999, 'x']",
        "10 <= body.n < 20",
        "body.n > 25 and body.n > 27",
        "body.n < 3 and headers.customer == 'c2'",
        "body.n == 'text' or body.n == 3",
        "not body.n == 3",
        "body.n >= 'a'",
        "body.n == True",
        "body.n == 1 and body.n == 2",
        "body.n is None",
    )

    async def _fill(self, queue: Queue[Any]) -> None:
        for n in range(30):
            await queue.put({"n": n}, headers={"customer": f"c{n % 4}"})
        for other in ("text", True, None, [1], 1.0):
            await queue.put({"n": other}, headers={"customer": "c9"})
        await queue.put("not an object", delay=3600)
        await queue.put({"n": 7}, delay=3600)

    async def _same(self, one: Queue[Any], other: Queue[Any]) -> None:
        for where in self.FILTERS:
            for order in ("id", "-id"):
                found = [m.body for m in await one.find(where, order=order)]
                assert found == [m.body for m in await other.find(where, order=order)], where

    async def test_index_finds_the_same(self, broker: Broker) -> None:
        need(broker, "browse", "indexes", "delay", "select")
        plain = broker.queue("plain", retry=Retry(max_attempts=9, backoff=(0.0,), jitter=False))
        indexed = broker.queue(
            "indexed", index=("headers.customer", "body.n"), retry=plain.policy.retry
        )
        for queue in (plain, indexed):
            await self._fill(queue)
        await self._same(plain, indexed)
        for queue in (plain, indexed):
            taken = await soon(queue.get(where="body.n == 3"))
            assert await queue.find("body.n == 3").delete() == 0
            held = await soon(queue.get_many(3, where="body.n >= 26"))
            assert [m.body["n"] for m in held] == [26, 27, 28]
            await held[0].ack()
            await held[1].nack()
            await held[2].nack(delay=3600)
            assert await queue.find("10 <= body.n < 15").delete() == 5
            assert await queue.find("headers.customer == 'c1'").delay(3600) > 3
            await taken.give_back()
        await self._same(plain, indexed)
        assert [m.attempts for m in await indexed.find("body.n == 27")] == [1]
        iterator = aiter(indexed)
        await soon(anext(iterator))  # and sets others aside
        assert [m.body for m in await indexed.find("body.n == 27")] == [{"n": 27}]

    async def test_index_that_comes_and_goes(self, broker: Broker) -> None:
        need(broker, "browse", "indexes", "delay")
        plain, queue = broker.queue("plain"), broker.queue("q")
        for each in (plain, queue):
            await self._fill(each)
        broker.queue("q", index=("body.n",))
        await self._same(plain, queue)
        broker.queue("q", index=("headers.customer",))
        await self._same(plain, queue)
        broker.queue("q", index=())
        await self._same(plain, queue)
        bad: tuple[Any, ...] = (("body",), ("nothing.x",), ("body.a ==",), ["body.a"], "body.a")
        for index in bad:
            with pytest.raises(BadArgument):
                broker.queue("q", index=index)

    async def test_index_after_reopening(self, broker: Broker) -> None:
        need(broker, "browse", "indexes", "durable", "delay")
        plain = broker.queue("plain")
        indexed = broker.queue("indexed", index=("headers.customer", "body.n"))
        for queue in (plain, indexed):
            await self._fill(queue)
            await (await take(queue)).ack(durable=True)
        again = await self.reopen(broker)
        try:
            plain, indexed = again.queue("plain"), again.queue("indexed")
            assert indexed.policy.index == ("headers.customer", "body.n")
            await self._same(plain, indexed)
        finally:
            await again.close()
