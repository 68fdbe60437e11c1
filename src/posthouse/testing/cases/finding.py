"""Finding messages by what is in them, taking them, and acting on them as a set."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument, BrokerClosed, FilterError, QueueShutDown
from posthouse.model import Retry
from posthouse.queue import Queue
from posthouse.testing.cases.base import Cases, drain, need, outcome, soon, take, turns

MANY = 4_500
"""More than a look goes through in one step."""


async def bodies(queue: Queue[Any], where: str | None = None, **options: Any) -> list[Any]:
    """The bodies of a page."""
    return [message.body for message in await queue.find(where, **options)]


class FindCases(Cases):
    """`find` looks, and changes nothing."""

    async def test_find_by_content(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put({"customer": "acme", "amount": 50, "items": ["tea"]})
        wanted = await queue.put(
            {"customer": "acme", "amount": 150, "items": ["tea", "cup"]}, headers={"region": "eu"}
        )
        await queue.put({"customer": "other", "amount": 150, "items": ["tea"]})
        await queue.put("plain text")
        await queue.put(b"\0bytes")
        page = await queue.find("body.customer == 'acme' and body.amount > 100")
        assert [message.id for message in page] == [wanted]
        assert (page[0].attempts, page[0].token, page.cursor) == (0, 0, None)
        assert [m.id for m in await queue.find("headers.region == 'eu'")] == [wanted]
        assert [m.id for m in await queue.find(f"id == '{wanted}'")] == [wanted]
        assert await bodies(queue, "'plain' in body") == ["plain text"]
        assert await bodies(queue, "body is None") == [b"\0bytes"]
        assert len(await queue.find()) == queue.qsize() == 5

    async def test_find_by_attribute(self, broker: Broker) -> None:
        need(broker, "browse", "delay")
        queue = broker.queue("q", retry=Retry(max_attempts=9, backoff=(0.0,), jitter=False))
        await queue.put("failed")
        await (await take(queue)).nack()
        await queue.put("delayed", delay=3600)
        now = datetime.now(UTC)
        assert await bodies(queue, "attempts == 1") == ["failed"]
        assert await bodies(queue, "attempts == 0") == ["delayed"]
        assert await bodies(queue, f"enqueued_at > '{(now - timedelta(days=1)).isoformat()}'") == [
            "failed",
            "delayed",
        ]
        assert not await queue.find(f"enqueued_at < '{(now - timedelta(days=1)).isoformat()}'")

    async def test_find_does_not_show_what_is_in_flight(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put_many(range(3))
        message = await take(queue)
        assert await bodies(queue) == [1, 2]
        await message.give_back()
        assert await bodies(queue) == [0, 1, 2]

    async def test_find_shows_what_an_iterator_has_set_aside(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put_many(range(5))
        iterator = aiter(queue)
        first = await soon(anext(iterator))
        assert await bodies(queue) == [1, 2, 3, 4]
        assert await queue.find("body == 4").delete() == 1
        await first.ack()
        assert [(await soon(anext(iterator))).body for _ in range(3)] == [1, 2, 3]

    async def test_found_messages_cannot_be_settled(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put(1)
        (found,) = await queue.find()
        with pytest.raises(Exception, match="no longer held"):
            await found.ack()
        assert queue.qsize() == 1

    async def test_find_page_by_page(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put_many([{"n": n} for n in range(MANY)])
        where = "body.n >= 1000 and body.n != 4000"
        wanted = [n for n in range(1000, MANY) if n != 4000]
        seen: list[int] = []
        cursor: str | None = None
        while True:
            page = await queue.find(where, limit=1000, cursor=cursor)
            seen += [message.body["n"] for message in page]
            cursor = page.cursor
            if cursor is None:
                break
            await (await take(queue)).ack()  # what goes on meanwhile does not shift the pages
        assert seen == wanted
        newest_first = [m.body["n"] async for m in queue.find(where, order="-id", limit=700)]
        assert newest_first == wanted[::-1]

    async def test_find_by_priority(self, broker: Broker) -> None:
        need(broker, "browse", "order.priority")
        queue = broker.queue("q", order="priority")
        for n in range(6):
            await queue.put(n, priority=n % 3)
        assert await bodies(queue, order="-priority") == [2, 5, 1, 4, 0, 3]
        assert await bodies(queue, order="id") == [0, 1, 2, 3, 4, 5]
        found = [m.body async for m in queue.find("priority < 2", order="priority", limit=1)]
        assert found == [0, 3, 1, 4]

    async def test_find_refuses(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        with pytest.raises(FilterError, match=r"\n +\^$"):
            queue.find("body.a == nothing")
        with pytest.raises(FilterError):
            await queue.get(where="__import__('os')")
        refused: list[dict[str, Any]] = [
            {"order": "body"},
            {"limit": 0},
            {"limit": True},
            {"cursor": "x"},
            {"cursor": "-id:5"},
            {"cursor": "id:5:5"},
            {"cursor": "id:" + "9" * 5000},
        ]
        for options in refused:
            with pytest.raises(BadArgument):
                queue.find(None, **options)

    async def test_find_after_close(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put(1)
        await broker.close()
        with pytest.raises(BrokerClosed):
            await queue.find()
        with pytest.raises(BrokerClosed):
            await queue.find().delete()
        with pytest.raises(BrokerClosed):
            await queue.get(where="True")


class FoundSetCases(Cases):
    """What was found, acted on as a set."""

    async def test_delete_found(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put_many(range(MANY))
        held = await take(queue)
        count = await queue.find("body < 10 or body >= 2000", limit=1).delete()
        assert count == MANY - 2000 + 9  # one is in flight
        assert queue.qsize() == 1990
        await held.ack()
        assert await drain(queue) == list(range(10, 2000))
        await soon(queue.join())

    async def test_delete_found_of_a_rich_queue(self, broker: Broker) -> None:
        need(broker, "browse", "keys", "delay")
        queue = broker.queue("q")
        for n in range(40):
            await queue.put(n, key=str(n % 4), delay=3600 if n >= 36 else None)
        first = await take(queue)  # the key's others stay in line
        assert await queue.find("body >= 8 and key != '3'").delete() == 24
        await first.ack()
        assert await queue.find("body >= 36").delete() == 1
        left = await drain(queue)
        assert sorted(left) == sorted([*range(1, 8), *range(11, 36, 4)])
        assert [n for n in left if n % 4 == 3] == list(range(3, 36, 4))
        await soon(queue.join())

    async def test_move_found(self, broker: Broker) -> None:
        need(broker, "browse", "delay")
        queue, other = broker.queue("q"), broker.queue("other")
        await queue.put_many(range(MANY), headers={"a": "b"})
        late = await queue.put(MANY, delay=3600)
        ids = [m.id for m in await queue.find("body >= 4000", limit=MANY)]
        await other.put("before")
        assert await queue.find("body >= 4000").move(other) == MANY + 1 - 4000
        assert (queue.qsize(), other.qsize()) == (4000, MANY - 4000 + 1)
        assert (await other.stats()).delayed == 1
        assert [m.id for m in await other.find("body == 4500")] == [late]
        assert (await take(other)).body == "before"
        moved = await other.get_many(MANY)
        assert [m.id for m in moved] == ids[:-1]
        assert moved[0].headers == {"a": "b"}
        assert moved[0].attempts == 1

    async def test_move_refuses(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put(1)
        with pytest.raises(BadArgument):
            await queue.find().move(queue)
        assert queue.qsize() == 1

    async def test_delay_found(self, broker: Broker) -> None:
        need(broker, "browse", "delay")
        queue = broker.queue("q", retry=Retry(max_attempts=9, backoff=(0.0,), jitter=False))
        await queue.put_many(range(10))
        await (await take(queue)).nack()
        assert await queue.find("body < 5").delay(3600) == 5
        assert await drain(queue) == [5, 6, 7, 8, 9]
        assert (await queue.stats()).delayed == 5
        assert await queue.find("body >= 1").delay(0) == 4
        assert await drain(queue) == [1, 2, 3, 4]
        assert await queue.find("attempts == 1").delay(0.01) == 1
        message = await take(queue)
        assert (message.body, message.attempts) == (0, 2)
        for bad in (-1, float("nan"), "1"):
            with pytest.raises(BadArgument):
                await queue.find().delay(bad)  # type: ignore[arg-type]

    async def test_redrive_found(self, broker: Broker) -> None:
        need(broker, "browse")
        queue, dead = broker.queue("q"), broker.queue("q.dead", dead_letter="q.dead")
        await queue.put_many(range(6))
        for n in range(6):
            await (await take(queue)).reject("odd" if n % 2 else "even")
        await dead.put("nobody's")
        assert await dead.find("headers['posthouse-reason'] == 'odd'").redrive() == 3
        assert await drain(queue) == [1, 3, 5]
        assert await dead.find().redrive() == 3
        assert await drain(dead) == ["nobody's"]

    async def test_what_leaves_meanwhile_is_left_alone(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put_many(range(MANY))
        deleting = asyncio.create_task(queue.find().delete())
        taken: list[int] = []
        while not deleting.done():
            try:
                message = queue.get_nowait()
            except asyncio.QueueEmpty:
                pass
            else:
                taken.append(message.body)
                await message.ack(durable=True)
            await asyncio.sleep(0)
        assert await deleting + len(taken) == MANY
        assert queue.empty()
        await soon(queue.join())

    async def test_sets_after_reopening(self, broker: Broker) -> None:
        need(broker, "browse", "durable", "delay", "order.priority")
        queue, other = broker.queue("q"), broker.queue("other", order="priority")
        ids = await queue.put_many(range(100))
        await queue.find("body < 10").delete()
        await queue.find("body >= 90").move(other)
        await queue.find("body >= 80").delay(3600)
        again = await self.reopen(broker)
        try:
            queue, other = again.queue("q"), again.queue("other")
            assert await drain(queue) == list(range(10, 80))
            assert (await queue.stats()).delayed == 10
            assert [m.id for m in await other.get_many(100)] == ids[90:]
        finally:
            await again.close()


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
