"""Delays, times and times to live."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument
from posthouse.model import Retry
from posthouse.testing.cases.again import reopened
from posthouse.testing.cases.base import (
    SHORT_S,
    Cases,
    drain,
    in_time,
    is_now,
    need,
    soon,
    take,
    waits,
    within,
)

FAR = timedelta(hours=1)
SOON = timedelta(milliseconds=30)


class DelayCases(Cases):
    """``delay`` and ``at``: never before."""

    async def test_never_before_its_delay(self, broker: Broker) -> None:
        need(broker, "delay")

        async def test(name: str, delay_s: float) -> None:
            queue = broker.queue(name)
            begun = time.monotonic()
            with within(delay_s):
                await queue.put("later", delay=delay_s)
                await queue.put("now")
                assert (await take(queue)).body == "now"
            assert (await take(queue)).body == "later"
            assert time.monotonic() - begun >= delay_s

        await in_time(test)

    async def test_at(self, broker: Broker) -> None:
        need(broker, "delay")
        queue = broker.queue("q")
        zone = timezone(timedelta(hours=5, minutes=30))
        await queue.put("far", at=datetime.now(zone) + FAR)
        await queue.put("past", at=datetime.now(zone) - FAR)
        await queue.put("long past", at=datetime(1, 1, 1, tzinfo=UTC))
        begun = time.monotonic()
        await queue.put("soon", at=datetime.now(UTC) + SOON)
        assert (await take(queue)).body == "past"
        assert (await take(queue)).body == "long past"
        assert (await take(queue)).body == "soon"
        # The wall clock and the monotonic one may part by a little.
        assert time.monotonic() - begun >= SOON.total_seconds() - 0.01
        assert (await queue.stats()).delayed == 1

    @pytest.mark.parametrize(
        "options",
        [
            {"at": datetime(2100, 1, 1)},
            {"at": datetime(2500, 1, 1, tzinfo=UTC)},
            {"at": datetime.max.replace(tzinfo=UTC)},
            {"at": 1_800_000_000},
            {"at": "2100-01-01T00:00:00Z"},
            {"at": datetime.now(UTC), "delay": 1},
        ],
        ids=str,
    )
    async def test_what_is_no_time(self, broker: Broker, options: dict[str, Any]) -> None:
        need(broker, "delay")
        queue = broker.queue("q")
        with pytest.raises(BadArgument):
            await queue.put(1, **options)
        with pytest.raises(BadArgument):
            await queue.put_many([1], **options)
        assert (await queue.stats()).delayed == 0
        assert await waits(queue) == 0

    async def test_delayed_messages_come_in_the_order_of_their_times(self, broker: Broker) -> None:
        need(broker, "delay")
        queue = broker.queue("q")
        # So far apart that none is due before the last is put, however slow the place is.
        for delay in (0.9, 0.3, 0.6):
            await queue.put(delay, delay=delay)
        assert [(await take(queue)).body for _ in range(3)] == [0.3, 0.6, 0.9]

    async def test_in_a_transaction(self, broker: Broker) -> None:
        need(broker, "delay", "transactions")
        queue = broker.queue("q")
        async with broker.transaction() as tx:
            tx.put(queue, "later", delay=3600)
            tx.put(queue, "now", at=datetime.now(UTC) - FAR)
        assert await drain(queue) == ["now"]
        assert (await queue.stats()).delayed == 1


class TtlCases(Cases):
    """A time to live counts while a message waits, and ends in a dead letter or nowhere."""

    async def test_a_dead_letter(self, broker: Broker) -> None:
        need(broker, "ttl")
        queue = broker.queue("q")
        message_id = await queue.put("old", ttl=SHORT_S, headers={"own": "kept"})
        await queue.put("stays")
        dead = await take(broker.queue("q.dead"))
        headers = dead.headers
        assert (dead.id, dead.body, headers["own"]) == (message_id, "old", "kept")
        assert headers["posthouse-reason"] == "expired"
        assert headers["posthouse-origin"] == "q"
        assert headers["posthouse-attempts"] == "0"
        stats = await queue.stats()
        assert (stats.waiting, stats.expired, stats.dead_lettered) == (1, 1, 1)
        assert await drain(queue) == ["stays"]

    async def test_dropped_by_policy(self, broker: Broker) -> None:
        need(broker, "ttl")
        queue = broker.queue("q", ttl=SHORT_S, expired="drop")
        await queue.put_many(range(20))
        await soon(queue.join())
        stats = await queue.stats()
        assert (stats.expired, stats.dropped, stats.dead_lettered) == (20, 20, 0)
        assert "q.dead" not in await broker.queue_names()

    async def test_dropped_where_there_is_no_dead_letter_queue(self, broker: Broker) -> None:
        need(broker, "ttl")
        queue = broker.queue("q", ttl=SHORT_S, dead_letter=None)
        own = broker.queue("own", ttl=SHORT_S, dead_letter="own")
        for each in (queue, own):
            await each.put(1)
            await soon(each.join())
            stats = await each.stats()
            assert (stats.expired, stats.dropped) == (1, 1)

    async def test_a_put_says_otherwise_than_its_queue(self, broker: Broker) -> None:
        need(broker, "ttl")
        queue = broker.queue("q", ttl=SHORT_S)
        await queue.put("long", ttl=3600)
        await queue.put("short")
        assert (await take(broker.queue("q.dead"))).body == "short"
        assert await drain(queue) == ["long"]

    async def test_every_way_to_put_gets_the_queues(self, broker: Broker) -> None:
        need(broker, "ttl", "transactions")
        queue = broker.queue("q", ttl=SHORT_S)
        await queue.put(b"plain")
        await queue.put_many([b"a", b"b"])
        await (queue.put_nowait(b"nowait") if is_now(broker) else queue.put(b"nowait"))
        async with broker.transaction() as tx:
            tx.put(queue, b"tx")
        await soon(queue.join())
        dead = [(await take(broker.queue("q.dead"))).body for _ in range(5)]
        assert sorted(dead) == [b"a", b"b", b"nowait", b"plain", b"tx"]

    async def test_while_it_is_delayed(self, broker: Broker) -> None:
        need(broker, "ttl", "delay")
        queue = broker.queue("q")
        await queue.put("never", ttl=SHORT_S, delay=3600)
        assert (await take(broker.queue("q.dead"))).body == "never"
        assert (await queue.stats()).delayed == 0

    async def test_behind_its_key(self, broker: Broker) -> None:
        need(broker, "ttl", "keys")
        queue = broker.queue("q")
        await queue.put("held", key="k")
        held = await take(queue)
        await queue.put("behind", key="k", ttl=SHORT_S)
        await queue.put("last", key="k")
        assert (await take(broker.queue("q.dead"))).body == "behind"
        await held.ack()
        assert await drain(queue) == ["last"]

    async def test_not_while_it_is_in_flight(self, broker: Broker) -> None:
        need(broker, "ttl")

        async def test(name: str, ttl_s: float) -> None:
            queue = broker.queue(name, retry=Retry(max_attempts=9))
            with within(ttl_s):
                await queue.put("done in time", ttl=ttl_s)
                await queue.put("failed too late", ttl=ttl_s)
                await queue.put("marks the time", ttl=2 * ttl_s)
                first, second = await queue.get(timeout=ttl_s), await queue.get(timeout=ttl_s)
                assert (first.body, second.body) == ("done in time", "failed too late")
            assert (await take(broker.queue(f"{name}.dead"))).body == "marks the time"
            await first.ack()
            await second.nack(delay=0)
            dead = await take(broker.queue(f"{name}.dead"))
            assert (dead.body, dead.headers["posthouse-attempts"]) == ("failed too late", "1")
            assert (await queue.stats()).acked == 1

        await in_time(test)

    async def test_an_iterator_does_not_set_aside_what_may_expire(self, broker: Broker) -> None:
        need(broker, "ttl")

        async def test(name: str, ttl_s: float) -> None:
            queue = broker.queue(name, ttl=ttl_s)
            iterator = aiter(queue)
            with within(ttl_s):
                await queue.put_many(range(5))
                async with asyncio.timeout(ttl_s):
                    message = await anext(iterator)
                assert message.body == 0
            dead = [(await take(broker.queue(f"{name}.dead"))).body for _ in range(4)]
            await message.ack()
            assert dead == [1, 2, 3, 4]

        await in_time(test)

    async def test_expiry_makes_room(self, broker: Broker) -> None:
        need(broker, "ttl")
        queue = broker.queue("q", max_messages=1, ttl=SHORT_S, expired="drop")
        await queue.put(1)
        await soon(queue.put(2))
        await soon(queue.join())

    @pytest.mark.parametrize("ttl", [0, -1, float("nan"), float("inf"), "1", True, 0.0001])
    async def test_what_is_no_time_to_live(self, broker: Broker, ttl: Any) -> None:
        need(broker, "ttl")
        with pytest.raises(BadArgument):
            broker.queue("q", ttl=ttl)
        with pytest.raises(BadArgument):
            await broker.queue("q").put(1, ttl=ttl)
        with pytest.raises(BadArgument):
            broker.queue("q", expired="bury")  # type: ignore[call-overload]
        assert await waits(broker.queue("q")) == 0

    async def test_reopening_keeps_times_to_live(self, broker: Broker) -> None:
        need(broker, "ttl")
        queue = broker.queue("q", ttl=3600)
        await queue.put("stays")
        await queue.put("goes", ttl=SHORT_S)
        async with reopened(self, broker) as again:
            dead = await take(again.queue("q.dead"))
            assert (dead.body, dead.headers["posthouse-reason"]) == ("goes", "expired")
            assert await drain(again.queue("q")) == ["stays"]

    async def test_what_expired_while_it_was_closed_is_not_delivered(self, broker: Broker) -> None:
        need(broker, "ttl", "durable")
        queue = broker.queue("q", expired="drop", dead_letter=None)
        await queue.put_many(range(5), ttl=SHORT_S)
        await queue.put("stays")
        marker = broker.queue("marker")
        await marker.put(1, delay=2 * SHORT_S)
        async with reopened(self, broker) as again:
            await take(again.queue("marker"))  # so much later it is at least
            assert await drain(again.queue("q")) == ["stays"]
            await soon(again.queue("q").join())
            assert (await again.queue("q").stats()).expired == 5


class StallCases(Cases):
    """A loop that stood still."""

    async def test_delays_and_times_to_live_go_on(self, broker: Broker) -> None:
        need(broker, "ttl", "delay")
        queue = broker.queue("q", expired="drop")
        await queue.put("delayed", delay=SHORT_S)
        await queue.put("expires", ttl=SHORT_S)
        waiting = asyncio.create_task(broker.queue("other").get(timeout=0.001))
        time.sleep(2 * SHORT_S)  # noqa: ASYNC251 - the stall is the point
        with pytest.raises(TimeoutError):
            await soon(waiting)
        assert (await take(queue)).body == "delayed"
        assert await waits(queue) == 0
