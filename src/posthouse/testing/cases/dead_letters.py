"""Backoff, attempts, and where a message goes that failed too often."""

from __future__ import annotations

import asyncio
from datetime import datetime

import pytest

from posthouse.broker import Broker
from posthouse.model import Retry
from posthouse.testing.cases.base import (
    SHORT_S,
    Cases,
    drain,
    is_now,
    redelivered,
    soon,
    take,
    turns,
    waits,
)

AT_ONCE = Retry(max_attempts=3, backoff=(0.0,), jitter=False)


class DeadLetterCases(Cases):
    """Failing costs an attempt; the last one leads to the dead-letter queue."""

    async def test_retries_then_the_dead_letter_queue(self, broker: Broker) -> None:
        queue = broker.queue("orders", retry=AT_ONCE)
        message_id = await queue.put({"sku": "tea"}, headers={"own": "kept", "é": "ü"})
        for attempt in (1, 2, 3):
            message = await take(queue)
            assert (message.id, message.attempts) == (message_id, attempt)
            await message.nack(error=f"ValueError: no. {attempt}")
        dead = await take(broker.queue("orders.dead"))
        assert (dead.id, dead.body, dead.attempts) == (message_id, {"sku": "tea"}, 1)
        headers = dead.headers
        died_at = datetime.fromisoformat(headers.pop("posthouse-died-at"))
        assert died_at.tzinfo is not None
        assert dead.enqueued_at <= died_at
        assert headers == {
            "own": "kept",
            "é": "ü",
            "posthouse-origin": "orders",
            "posthouse-reason": "max_attempts",
            "posthouse-attempts": "3",
            "posthouse-error": "ValueError: no. 3",
        }
        assert await waits(queue) == 0
        await soon(queue.join())

    async def test_one_attempt(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1))
        await queue.put(1)
        await (await take(queue)).nack()
        assert await drain(broker.queue("q.dead")) == [1]

    async def test_backoff_between_attempts(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(backoff=(0.02, 3600.0), jitter=False))
        await queue.put(1)
        await (await take(queue)).nack()
        again = await take(queue)
        assert again.attempts == 2
        await again.nack()
        stats = await queue.stats()
        assert (stats.delayed, stats.waiting, stats.returned) == (1, 0, 2)

    async def test_reject(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="graves")
        message_id = await queue.put("bad")
        await (await take(queue)).reject("malformed", "ValueError: x")
        dead = await take(broker.queue("graves"))
        headers = dead.headers
        assert (dead.id, dead.body) == (message_id, "bad")
        assert headers["posthouse-reason"] == "malformed"
        assert headers["posthouse-error"] == "ValueError: x"
        assert headers["posthouse-attempts"] == "1"
        assert headers["posthouse-origin"] == "q"
        assert (await queue.stats()).dead_lettered == 1

    async def test_a_handler_that_fails_writes_its_error(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1))
        await queue.put(1)
        with pytest.raises(KeyError):
            async with await take(queue):
                raise KeyError("sku")
        dead = await take(broker.queue("q.dead"))
        assert dead.headers["posthouse-error"] == "KeyError: 'sku'"

    async def test_without_a_dead_letter_queue(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1), dead_letter=None)
        await queue.put_many([1, 2, 3])
        await (await take(queue)).nack()
        await (await take(queue)).reject()
        await queue.get(visibility_timeout=SHORT_S)
        joined = asyncio.create_task(queue.join())
        await soon(joined)
        assert (await queue.stats()).dropped == 3
        assert "q.dead" not in await broker.queue_names()

    async def test_dropping_lets_join_return_and_makes_room(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1), dead_letter=None, max_messages=1)
        for verb in ("nack", "reject"):
            await queue.put(verb)
            putting = asyncio.create_task(queue.put("next"))
            await turns()
            await getattr(await take(queue), verb)()
            await soon(putting)
            joined = asyncio.create_task(queue.join())
            await turns()
            await getattr(await take(queue), verb)()
            await soon(joined)

    async def test_burying_lets_join_return_and_makes_room(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1), max_messages=1)
        for verb in ("nack", "reject"):
            await queue.put(verb)
            putting = asyncio.create_task(queue.put("next"))
            await turns()
            await getattr(await take(queue), verb)()
            await soon(putting)
            joined = asyncio.create_task(queue.join())
            await turns()
            await getattr(await take(queue), verb)()
            await soon(joined)

    async def test_a_queue_that_is_its_own_dead_letter_queue(self, broker: Broker) -> None:
        queue = broker.queue(
            "q", retry=Retry(max_attempts=2, backoff=(0.0,), jitter=False), dead_letter="q"
        )
        await queue.put(1)
        for attempt in range(1, 6):
            message = await take(queue)
            assert message.attempts == attempt
            await message.nack()
        await (await take(queue)).reject()
        again = await take(queue)
        assert (again.body, again.attempts) == (1, 7)
        assert "posthouse-reason" not in again.headers

    async def test_what_fails_in_a_dead_letter_queue_stays(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1))
        await queue.put(1)
        await (await take(queue)).nack()
        dead = broker.queue("q.dead")
        for _ in range(8):
            await (await take(dead)).nack(delay=0)
        assert await waits(dead) == 1
        assert "q.dead.dead" not in await broker.queue_names()

    async def test_a_lease_that_runs_out_is_an_attempt(self, broker: Broker) -> None:
        queue = broker.queue(
            "q", retry=Retry(max_attempts=2), visibility_timeout=SHORT_S, dead_letter="dead"
        )
        await queue.put(1)
        assert (await take(queue)).attempts == 1
        assert (await take(queue)).attempts == 2
        dead = await take(broker.queue("dead"))
        assert dead.headers["posthouse-reason"] == "max_attempts"
        assert dead.headers["posthouse-attempts"] == "2"
        assert dead.headers["posthouse-error"]
        stats = await queue.stats()
        assert (stats.expired_leases, stats.dead_lettered) == (2, 1)

    async def test_dead_letters_pass_the_bound(self, broker: Broker) -> None:
        dead = broker.queue("dead", max_messages=1)
        queue = broker.queue("q", retry=Retry(max_attempts=1), dead_letter="dead")
        await queue.put_many([1, 2, 3])
        for _ in range(3):
            await (await take(queue)).nack()
        assert await waits(dead) == 3
        if is_now(broker):
            assert dead.full()
        assert await drain(dead) == [1, 2, 3]

    async def test_dead_letters_come_in_the_order_of_death(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="dead")
        await queue.put_many([1, 2, 3])
        messages = await queue.get_many(3)
        for position in (2, 0, 1):
            await messages[position].reject()
        assert await drain(broker.queue("dead")) == [3, 1, 2]

    async def test_a_dead_letter_wakes_who_waits_for_it(self, broker: Broker) -> None:
        dead = broker.queue("dead")
        queue = broker.queue("q", dead_letter="dead")
        await queue.put(1)
        waiting = asyncio.create_task(dead.get())
        await turns()
        await (await take(queue)).reject()
        assert (await soon(waiting)).body == 1

    async def test_long_texts_are_cut(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="dead")
        await queue.put(1)
        await (await take(queue)).reject("r" * 100_000, "é" * 100_000)
        headers = (await take(broker.queue("dead"))).headers
        assert 0 < len(headers["posthouse-reason"]) <= 2000
        assert 0 < len(headers["posthouse-error"]) <= 2000

    async def test_an_error_that_is_not_unicode(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1), dead_letter="dead")
        await queue.put_many([1, 2, 3])
        await (await take(queue)).nack(error="bad \udcff byte")
        await (await take(queue)).reject("bad \udcff reason")
        with pytest.raises(ValueError, match="x"):
            async with await take(queue):
                raise ValueError("x \ud800")
        assert await drain(broker.queue("dead")) == [1, 2, 3]
        await soon(queue.join())

    async def test_a_dead_letter_may_die_again(self, broker: Broker) -> None:
        broker.queue("second", dead_letter="third")
        queue = broker.queue("first", dead_letter="second")
        message_id = await queue.put(1)
        await (await take(queue)).reject("one")
        await (await take(broker.queue("second"))).reject("two")
        last = await redelivered(broker.queue("third"))
        assert (last.id, last.headers["posthouse-origin"]) == (message_id, "second")
        assert last.headers["posthouse-reason"] == "two"
