"""Putting dead letters back where they died."""

from __future__ import annotations

import time

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument
from posthouse.model import Retry
from posthouse.testing.cases.again import reopened
from posthouse.testing.cases.base import SHORT_S, Cases, drain, need, take, waits

ONCE = Retry(max_attempts=1)


class RedriveCases(Cases):
    """All, some, or so many a second; they begin anew."""

    async def test_all_of_them(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=2, backoff=(0.0,), jitter=False))
        ids = list(await queue.put_many([1, 2, 3], headers={"own": "kept"}))
        for _ in range(6):
            await (await take(queue)).nack()
        dead = broker.queue("q.dead")
        await queue.put("newer")
        assert await dead.redrive() == 3
        assert await waits(dead) == 0
        assert (await take(queue)).body == "newer", "they stand at the end"
        again = [await take(queue) for _ in range(3)]
        assert [message.id for message in again] == ids
        assert {message.attempts for message in again} == {1}
        assert again[0].headers == {"own": "kept"}, "nothing tells of their death"
        await again[0].nack(delay=0)
        second = await take(queue)
        assert (second.id, second.attempts) == (ids[0], 2)

    async def test_some_the_oldest_first(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=ONCE)
        await queue.put_many(range(5))
        for _ in range(5):
            await (await take(queue)).nack()
        dead = broker.queue("q.dead")
        assert await dead.redrive(2) == 2
        assert await dead.redrive(0) == 0
        assert await drain(queue) == [0, 1]
        assert await dead.redrive(100) == 3
        assert await dead.redrive() == 0
        assert await drain(queue) == [2, 3, 4]

    async def test_so_many_a_second(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=ONCE)
        await queue.put_many(range(7))
        for _ in range(7):
            await (await take(queue)).nack()
        dead = broker.queue("q.dead")
        assert await dead.redrive(5, per_second=50) == 5
        begun = time.monotonic()
        assert await dead.redrive(per_second=1.9) == 2
        assert time.monotonic() - begun >= 0.5, "the second one, half a second after the first"
        assert await dead.redrive(per_second=1.9) == 0

    async def test_to_each_its_own_queue(self, broker: Broker) -> None:
        queues = [broker.queue(name, retry=ONCE, dead_letter="graves") for name in ("a", "b")]
        for queue in queues:
            await queue.put(queue.name)
            await (await take(queue)).reject()
        graves = broker.queue("graves")
        await graves.put("nobody's")
        assert await graves.redrive() == 2
        for queue in queues:
            assert await drain(queue) == [queue.name]
        assert await drain(graves) == ["nobody's"], "of no origin: it stays"

    async def test_a_queue_without_dead_letters(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="q", retry=ONCE)
        await queue.put_many([1, 2])
        await (await take(queue)).reject()
        assert await queue.redrive() == 0
        assert await broker.queue("empty").redrive() == 0

    async def test_what_is_held_stays(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=ONCE)
        await queue.put_many([1, 2])
        for _ in range(2):
            await (await take(queue)).nack()
        dead = broker.queue("q.dead")
        held = await take(dead)
        assert await dead.redrive() == 1
        await held.give_back()
        assert await drain(dead) == [1]

    async def test_it_passes_the_bound(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=ONCE, max_messages=1)
        for number in range(3):
            await queue.put(number)
            await (await take(queue)).nack()
        await queue.put("full")
        assert await broker.queue("q.dead").redrive() == 3
        assert await drain(queue) == ["full", 0, 1, 2]

    async def test_many(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="dead")
        await queue.put_many([b"x" * 50] * 1500)
        for message in await queue.get_many(1500):
            await message.reject()
        dead = broker.queue("dead")
        assert await waits(dead) == 1500
        assert await dead.redrive() == 1500
        assert await waits(queue) == 1500

    async def test_keys_and_priorities_are_kept(self, broker: Broker) -> None:
        need(broker, "keys", "order.priority")
        queue = broker.queue("q", order="priority", dead_letter="dead")
        await queue.put("low", priority=1)
        await queue.put("a1", key="a", priority=9)
        await queue.put("a2", key="a", priority=9)
        for _ in range(3):
            await (await take(queue)).reject()
        assert await broker.queue("dead").redrive() == 3
        messages = await queue.get_many(9)
        assert [message.body for message in messages] == ["a1", "low"]

    async def test_a_time_to_live_begins_anew(self, broker: Broker) -> None:
        need(broker, "ttl")
        queue = broker.queue("q", ttl=SHORT_S)
        await queue.put(1)
        dead = broker.queue("q.dead")
        await (await take(dead)).give_back()
        broker.queue("q", ttl=3600)
        assert await dead.redrive() == 1
        assert (await take(queue)).body == 1
        broker.queue("q", ttl=SHORT_S)
        await queue.put(2)
        await (await take(dead)).give_back()
        assert await dead.redrive() == 1
        again = await take(dead)
        assert (again.body, again.headers["posthouse-reason"]) == (2, "expired")

    @pytest.mark.parametrize("arguments", [(-1, None), (1.5, None), (True, None), (1, 0), (1, -1)])
    async def test_what_is_no_number(
        self, broker: Broker, arguments: tuple[int, float | None]
    ) -> None:
        dead = broker.queue("dead")
        with pytest.raises(BadArgument):
            await dead.redrive(arguments[0], per_second=arguments[1])

    async def test_reopening_keeps_letters_and_what_was_redriven(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=ONCE)
        await queue.put_many([1, 2], headers={"own": "kept"})
        for number in (1, 2):
            await (await take(queue)).nack(error=f"ValueError: {number}")
        assert await broker.queue("q.dead").redrive(1) == 1
        async with reopened(self, broker) as again:
            dead = await take(again.queue("q.dead"))
            headers = dead.headers
            assert dead.body == 2
            assert headers.pop("posthouse-died-at")
            assert headers == {
                "own": "kept",
                "posthouse-origin": "q",
                "posthouse-reason": "max_attempts",
                "posthouse-attempts": "1",
                "posthouse-error": "ValueError: 2",
            }
            await dead.give_back()
            first = await take(again.queue("q"))
            assert (first.body, first.attempts, first.headers) == (1, 1, {"own": "kept"})
            await first.ack()
            assert await again.queue("q.dead").redrive() == 1
            assert await drain(again.queue("q")) == [2]
