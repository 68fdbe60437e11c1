"""Ack, nack, reject, give back, extend; leases and their tokens."""

from __future__ import annotations

import asyncio

import pytest

from posthouse.broker import Broker
from posthouse.errors import AlreadySettled, LeaseExpired
from posthouse.model import Retry
from posthouse.testing.cases.base import (
    SHORT_S,
    Cases,
    drain,
    in_time,
    need,
    redelivered,
    soon,
    take,
    waits,
    within,
)


class SettlingCases(Cases):
    """A delivery is settled once, by who holds it."""

    async def test_ack_is_for_good(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put(1)
        message = await take(queue)
        await message.ack()
        assert message.settled == "ack"
        stats = await queue.stats()
        assert (stats.waiting, stats.in_flight, stats.size_bytes) == (0, 0, 0)

    async def test_ack_twice_changes_nothing(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many([1, 2])
        message = await take(queue)
        await message.ack()
        await message.ack()
        await message.ack(durable=True)
        await queue.ack_many([message])
        assert (await queue.stats()).acked == 1

    async def test_durable_ack(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many([1, 2, 3])
        await soon((await take(queue)).ack(durable=True))
        await soon(queue.ack_many(await queue.get_many(2), durable=True))
        await soon(queue.join())

    @pytest.mark.parametrize("first", ["ack", "nack", "reject", "give_back"])
    @pytest.mark.parametrize("second", ["ack", "nack", "reject", "give_back"])
    async def test_settling_again(self, broker: Broker, first: str, second: str) -> None:
        queue = broker.queue("q", retry=Retry(backoff=(0.0,), jitter=False))
        await queue.put(1)
        message = await take(queue)
        await getattr(message, first)()
        before = await queue.stats()
        if first == second:
            await getattr(message, second)()
        else:
            with pytest.raises(AlreadySettled):
                await getattr(message, second)()
        assert message.settled == first
        after = await queue.stats()
        assert (after.waiting, after.acked) == (before.waiting, before.acked)

    async def test_nack_keeps_the_place(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(4))
        first, second = await take(queue), await take(queue)
        await second.nack(delay=0)
        await first.nack(delay=0)
        again = [await take(queue) for _ in range(4)]
        assert [message.body for message in again] == [0, 1, 2, 3]
        assert [message.attempts for message in again] == [2, 2, 1, 1]

    async def test_nack_with_a_delay(self, broker: Broker) -> None:
        async def test(name: str, delay_s: float) -> None:
            queue = broker.queue(name)
            await queue.put_many([1, 2])
            message = await take(queue)
            with within(delay_s):
                await message.nack(delay=delay_s)
                assert (await take(queue)).body == 2
            again = await take(queue)
            assert (again.body, again.attempts) == (1, 2)

        await in_time(test)

    async def test_nack_wakes_who_waits(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put(1)
        message = await take(queue)
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(0)
        await message.nack(delay=0)
        assert (await soon(waiting)).attempts == 2

    async def test_give_back_does_not_count(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many([1, 2])
        for _ in range(10):
            message = await take(queue)
            assert (message.body, message.attempts) == (1, 1)
            await message.give_back()

    async def test_a_lease_that_runs_out(self, broker: Broker) -> None:
        queue = broker.queue("q", visibility_timeout=SHORT_S)
        await queue.put(1)
        first = await take(queue)
        second = await redelivered(queue)
        assert (second.id, second.attempts) == (first.id, 2)
        assert second.token > first.token
        await second.ack()

    async def test_one_get_may_have_its_own_lease(self, broker: Broker) -> None:
        queue = broker.queue("q", visibility_timeout=3600)
        await queue.put_many([1, 2])
        await queue.get(visibility_timeout=SHORT_S)
        await queue.get_many(1, visibility_timeout=SHORT_S)
        again = [await redelivered(queue) for _ in range(2)]
        assert sorted(message.body for message in again) == [1, 2]

    @pytest.mark.parametrize("verb", ["ack", "nack", "reject", "give_back"])
    async def test_a_stale_lease_settles_nothing(self, broker: Broker, verb: str) -> None:
        need(broker, "fenced")
        queue = broker.queue("q", visibility_timeout=SHORT_S)
        await queue.put(1)
        stale = await take(queue)
        held = await redelivered(queue)
        with pytest.raises(LeaseExpired):
            await getattr(stale, verb)()
        with pytest.raises(LeaseExpired):
            await stale.extend(10)
        with pytest.raises(LeaseExpired):
            await queue.ack_many([stale])
        assert stale.settled is None
        stats = await queue.stats()
        assert (stats.in_flight, stats.waiting, stats.acked) == (1, 0, 0)
        await held.ack()

    async def test_a_peeked_message_cannot_be_settled(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put(1)
        peeked = (await queue.peek())[0]
        for verb in ("ack", "nack", "reject", "give_back"):
            with pytest.raises(LeaseExpired):
                await getattr(peeked, verb)()
        assert await waits(queue) == 1

    async def test_extend(self, broker: Broker) -> None:
        async def test(name: str, lease_s: float) -> None:
            queue = broker.queue(name, visibility_timeout=lease_s)
            await queue.put_many(["extended", "left"])
            with within(lease_s):
                extended = await take(queue)
                await extended.extend(3600)
            await take(queue)
            assert (await redelivered(queue)).body == "left"
            assert await waits(queue) == 0
            await extended.ack()

        await in_time(test)

    async def test_extend_may_shorten(self, broker: Broker) -> None:
        queue = broker.queue("q", visibility_timeout=3600)
        await queue.put(1)
        await (await take(queue)).extend(SHORT_S)
        assert (await redelivered(queue)).attempts == 2

    async def test_part_of_a_batch(self, broker: Broker) -> None:
        queue = broker.queue("q", visibility_timeout=3600)
        await queue.put_many(range(6))
        batch = await queue.get_many(6)
        await queue.ack_many(batch[1:3])
        await batch[0].nack(delay=0)
        await batch[3].ack()
        await batch[4].give_back()
        stats = await queue.stats()
        assert (stats.waiting, stats.in_flight, stats.acked) == (2, 1, 3)
        await queue.ack_many([batch[5], batch[3]])
        again = [await take(queue) for _ in range(2)]
        assert [(message.body, message.attempts) for message in again] == [(0, 2), (4, 1)]

    async def test_ack_many_over_several_deliveries(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(10))
        messages = [*await queue.get_many(4), await take(queue), *await queue.get_many(4)]
        await queue.ack_many([*messages[::2], *messages[1::2], messages[0]])
        stats = await queue.stats()
        assert (stats.acked, stats.in_flight, stats.waiting) == (9, 0, 1)

    async def test_ack_many_acks_what_is_held(self, broker: Broker) -> None:
        need(broker, "fenced")
        queue = broker.queue("q", visibility_timeout=3600)
        await queue.put_many(range(4))
        stale = await queue.get(visibility_timeout=SHORT_S)
        held = await queue.get_many(3)
        assert (await redelivered(queue)).id == stale.id
        with pytest.raises(LeaseExpired):
            await queue.ack_many([stale, *held])
        stats = await queue.stats()
        assert (stats.acked, stats.in_flight) == (len(held), 1)
        assert [message.settled for message in held] == ["ack"] * len(held)
        assert stale.settled is None
        for message in held:
            await message.ack()

    async def test_ack_many_of_what_was_settled_otherwise(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(3))
        batch = await queue.get_many(3)
        await batch[1].nack(delay=0)
        with pytest.raises(AlreadySettled):
            await queue.ack_many(batch)
        assert [message.settled for message in batch] == ["ack", "nack", "ack"]
        stats = await queue.stats()
        assert (stats.acked, stats.waiting, stats.in_flight) == (2, 1, 0)

    async def test_a_batch_lease_that_runs_out(self, broker: Broker) -> None:
        async def test(name: str, lease_s: float) -> None:
            queue = broker.queue(name, visibility_timeout=lease_s)
            await queue.put_many(range(5))
            with within(lease_s):
                batch = await queue.get_many(5)
                await batch[2].ack()
            again = [await redelivered(queue) for _ in range(4)]
            assert [message.body for message in again] == [0, 1, 3, 4]
            assert {message.attempts for message in again} == {2}

        await in_time(test)

    async def test_block_acks(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put(1)
        message = await take(queue)
        async with message as entered:
            assert entered is message
        assert message.settled == "ack"
        await soon(queue.join())

    async def test_block_nacks_on_an_exception(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(backoff=(0.0,), jitter=False))
        await queue.put(1)
        with pytest.raises(RuntimeError, match="boom"):
            async with await take(queue) as message:
                raise RuntimeError("boom")
        assert message.settled == "nack"
        assert (await take(queue)).attempts == 2

    async def test_block_that_settles_inside(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="dead")
        await queue.put_many([1, 2])
        async with await take(queue) as message:
            await message.reject("no use")
        with pytest.raises(RuntimeError):
            async with await take(queue) as message:
                await message.ack()
                raise RuntimeError("after the ack")
        assert await drain(broker.queue("dead")) == [1]
        await soon(queue.join())

    async def test_block_whose_lease_ran_out(self, broker: Broker) -> None:
        need(broker, "fenced")
        queue = broker.queue("q", visibility_timeout=SHORT_S)
        await queue.put(1)
        with pytest.raises(LeaseExpired):
            async with await take(queue):
                held = await redelivered(queue)
        await held.nack(delay=0)
        with pytest.raises(RuntimeError, match="the handler's own"):
            async with await take(queue):
                held = await redelivered(queue)
                raise RuntimeError("the handler's own")
        await held.ack()
