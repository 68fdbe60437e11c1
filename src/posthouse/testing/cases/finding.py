"""Finding messages by what is in them, taking them, and acting on them as a set."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument, BrokerClosed, FilterError
from posthouse.model import Retry
from posthouse.queue import Queue
from posthouse.testing.cases.base import Cases, drain, need, outcome, soon, take, turns, waits

T = TypeVar("T")

MANY = 4_500
"""More than a look goes through in one step."""


async def bodies(queue: Queue[Any], where: str | None = None, **options: Any) -> list[Any]:
    """The bodies of a page."""
    return [message.body for message in await queue.find(where, **options)]


async def _all(work: Awaitable[T]) -> T:
    return await work


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
        assert len(await queue.find()) == await waits(queue) == 5

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
        assert await waits(queue) == 1

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
        bad: tuple[Any, ...] = (5, ["True"], "", "x" * 5000)
        for where in bad:
            with pytest.raises(FilterError):
                queue.find(where)
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
        assert await waits(queue) == 1990
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
        assert (await waits(queue), await waits(other)) == (4000, MANY - 4000 + 1)
        assert (await other.stats()).delayed == 1
        assert [m.id for m in await other.find("body == 4500")] == [late]
        assert (await take(other)).body == "before"
        moved = await other.get_many(MANY)
        assert [m.id for m in moved] == ids[:-1]
        assert moved[0].headers == {"a": "b"}
        assert moved[0].attempts == 1

    async def test_move_wakes_who_waits_there(self, broker: Broker) -> None:
        need(broker, "browse", "select")
        queue, other = broker.queue("q"), broker.queue("other")
        plain = asyncio.create_task(other.get())
        choosy = asyncio.create_task(other.get(where="body == 2"))
        await turns()
        await queue.put_many([1, 2])
        assert await queue.find("body == 2").move(other) == 1
        done, _ = await asyncio.wait({plain, choosy}, return_when=asyncio.FIRST_COMPLETED)
        assert done.pop().result().body == 2
        assert await queue.find().move(other) == 1
        await queue.put(2)
        assert await queue.find().move(other) == 1
        assert {m.body for m in await soon(asyncio.gather(plain, choosy))} <= {1, 2}

    async def test_acting_lets_others_run(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put_many(range(MANY))
        beats = 0

        async def beat() -> None:
            nonlocal beats
            while True:
                await asyncio.sleep(0)
                beats += 1

        beating = asyncio.create_task(beat())
        await turns()
        for work in (queue.find("body < 0"), queue.find("body < 0").delete()):
            before = beats
            assert not await soon(work)
            assert beats >= before + 2
        beating.cancel()

    async def test_acting_cancelled_half_way(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put_many(range(MANY))
        deleting = asyncio.create_task(_all(queue.find().delete()))
        while await waits(queue) == MANY:
            await turns(1)
        deleting.cancel()
        await outcome(deleting)
        left = await waits(queue)
        assert await queue.find().delete() == left
        await soon(queue.join())

    async def test_move_refuses(self, broker: Broker) -> None:
        need(broker, "browse")
        queue = broker.queue("q")
        await queue.put(1)
        with pytest.raises(BadArgument):
            await queue.find().move(queue)
        assert await waits(queue) == 1

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
                message = await queue.get(timeout=0)
            except TimeoutError:
                pass
            else:
                taken.append(message.body)
                await message.ack(durable=True)
            await asyncio.sleep(0)
        assert await deleting + len(taken) == MANY
        assert await waits(queue) == 0
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
