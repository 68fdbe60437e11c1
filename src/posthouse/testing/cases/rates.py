"""Rates and in-flight limits, over all consumers."""

from __future__ import annotations

import asyncio
import time

import pytest

from posthouse.broker import Broker
from posthouse.errors import BadArgument
from posthouse.model import Retry
from posthouse.testing.cases.again import reopened
from posthouse.testing.cases.base import (
    SHORT_S,
    Cases,
    drain,
    need,
    none_now,
    soon,
    take,
    turns,
    waits,
)


class InFlightCases(Cases):
    """``max_in_flight``: delivered and not settled, whoever has them."""

    async def test_over_all_consumers(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", max_in_flight=2)
        same = broker.queue("q")
        await queue.put_many(range(5))
        held = [await take(queue), await take(same)]
        for each in (queue, same):
            await none_now(each)
        assert await waits(queue) == 3
        await held[0].ack()
        assert (await take(same)).body == 2

    async def test_a_batch_stays_within_it(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", max_in_flight=3)
        await queue.put_many(range(9))
        messages = await queue.get_many(9)
        assert [message.body for message in messages] == [0, 1, 2]
        await messages[0].ack()
        await messages[1].ack()
        assert [message.body for message in await queue.get_many(9)] == [3, 4]

    @pytest.mark.parametrize("end", ["ack", "nack", "reject", "give_back", "lease", "ack_many"])
    async def test_who_waits_is_woken_when_a_place_is_free(self, broker: Broker, end: str) -> None:
        need(broker, "rate")
        queue = broker.queue("q", max_in_flight=1, retry=Retry(max_attempts=2))
        await queue.put_many([1, 2])
        message = await queue.get(visibility_timeout=SHORT_S if end == "lease" else None)
        waiting = asyncio.create_task(queue.get())
        await turns()
        assert end == "lease" or not waiting.done()
        if end == "nack":
            await message.nack(delay=3600)
        elif end == "ack_many":
            await queue.ack_many([message])
        elif end != "lease":
            await getattr(message, end)()
        found = await soon(waiting)
        assert found.body == (1 if end in ("give_back", "lease") else 2)

    async def test_every_waiting_consumer_gets_its_turn(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", max_in_flight=2)
        await queue.put_many(range(20))
        most = 0
        out = 0
        found: list[int] = []

        async def work() -> None:
            nonlocal out, most
            while True:
                message = await queue.get()
                out += 1
                most = max(most, out)
                await turns(2)
                out -= 1
                found.append(message.body)
                await message.ack()

        workers = [asyncio.create_task(work()) for _ in range(6)]
        await soon(queue.join())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        assert sorted(found) == list(range(20))
        assert most <= 2

    async def test_a_waiting_consumer_that_is_cancelled_wakes_the_next(
        self, broker: Broker
    ) -> None:
        need(broker, "rate")
        queue = broker.queue("q", max_in_flight=1)
        await queue.put_many([1, 2])
        message = await take(queue)
        waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
        await turns()
        await message.ack()
        waiting[0].cancel()
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        if not waiting[0].cancelled():
            await (await waiting[0]).give_back()
        assert (await soon(waiting[1])).body == 2

    async def test_iterators_together(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", max_in_flight=1)
        await queue.put_many(range(6))
        found: list[int] = []

        async def work() -> None:
            async for message in queue:
                async with message:
                    found.append(message.body)
                    await turns()

        workers = [asyncio.create_task(work()) for _ in range(3)]
        await soon(queue.join())
        queue.shutdown()
        await soon(asyncio.gather(*workers))
        assert found == list(range(6))

    async def test_it_can_be_raised_and_lifted(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", max_in_flight=1)
        await queue.put_many(range(4))
        await take(queue)
        waiting = [asyncio.create_task(queue.get()) for _ in range(3)]
        await turns()
        broker.queue("q", max_in_flight=2)
        await soon(asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED))
        assert (await queue.stats()).in_flight == 2
        assert sum(task.done() for task in waiting) == 1
        broker.queue("q", max_in_flight=None)
        assert sorted([(await soon(task)).body for task in waiting]) == [1, 2, 3]

    async def test_given_to_a_queue_that_was_plain(self, broker: Broker) -> None:
        need(broker, "rate", "keys")
        queue = broker.queue("q")
        await queue.put_many(range(4), key="k")
        await queue.put_many(range(4))
        held = await queue.get_many(2)
        broker.queue("q", max_in_flight=2)
        await none_now(queue)
        await queue.ack_many(held)
        assert len(await queue.get_many(9)) == 2

    async def test_after_reopening(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", max_in_flight=2)
        await queue.put_many(range(4), key="k", headers={"a": "b"})
        await queue.put_many(range(4))
        await queue.get_many(2)
        async with reopened(self, broker) as again:
            queue = again.queue("q")
            assert len(await queue.get_many(9)) == 2
            await none_now(queue)


class RateCases(Cases):
    """Deliveries over time: never more than the rate and a second's worth at once."""

    async def test_no_faster_over_all_consumers(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", rate="10/s")
        await queue.put_many(range(14))
        times: list[float] = []

        async def work() -> None:
            while True:
                message = await queue.get()
                times.append(time.monotonic())
                await message.ack()

        workers = [asyncio.create_task(work()) for _ in range(3)]
        await soon(queue.join())
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
        assert len(times) == 14
        # The first ten are a second's worth; the others a tenth of a second each.
        assert times[-1] - times[0] >= 0.4 - 0.01

    async def test_who_waits_is_woken_one_by_one(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", rate="20/s")
        await queue.put_many(range(25))
        assert len(await queue.get_many(100)) == 20
        waiting = [asyncio.create_task(queue.get()) for _ in range(5)]
        bodies = [(await soon(task)).body for task in waiting]
        assert sorted(bodies) == [20, 21, 22, 23, 24], "none of them settles, all of them wake"

    async def test_waiting_ends_with_its_timeout(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", rate="1/h")
        await queue.put_many([1, 2])
        await (await take(queue)).ack()
        with pytest.raises(TimeoutError):
            await queue.get(timeout=0.02)
        await none_now(queue)
        assert await waits(queue) == 1

    async def test_a_rate_can_be_lifted(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", rate="1/h")
        await queue.put_many([1, 2, 3])
        await take(queue)
        waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
        await turns()
        broker.queue("q", rate=None)
        assert sorted([(await soon(task)).body for task in waiting]) == [2, 3]

    async def test_another_setting_does_not_begin_a_rate_anew(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", rate="1/h", rate_per_key="1/h")
        await queue.put_many([1, 2], key="k")
        await (await take(queue)).ack()
        broker.queue("q", max_messages=10)
        await none_now(queue)

    async def test_per_key(self, broker: Broker) -> None:
        need(broker, "rate", "keys")
        queue = broker.queue("q", rate_per_key="1/h")
        for body in ("a1", "a2", "b1", "b2"):
            await queue.put(body, key=body[0])
        await queue.put_many(["x", "y"])
        assert await drain(queue) == ["a1", "b1", "x", "y"]
        stats = await queue.stats()
        assert stats.waiting + stats.delayed == 2
        broker.queue("q", rate_per_key=None)
        assert await drain(queue) == ["a2", "b2"]

    async def test_a_key_goes_on_when_its_rate_lets_it(self, broker: Broker) -> None:
        need(broker, "rate", "keys")
        queue = broker.queue("q", rate_per_key="20/s")
        begun = time.monotonic()
        await queue.put_many(range(22), key="k")
        found = []
        for _ in range(22):
            message = await take(queue)
            found.append(message.body)
            await message.ack()
        assert found == list(range(22))
        assert time.monotonic() - begun >= 0.1 - 0.01, "two more than a second's worth"

    @pytest.mark.parametrize("rate", ["fast", "0/s", "-1/s", "5", 5, "1/d", ""])
    async def test_what_is_no_rate(self, broker: Broker, rate: str) -> None:
        need(broker, "rate")
        for setting in ("rate", "rate_per_key"):
            with pytest.raises(BadArgument):
                broker.queue("q", **{setting: rate})  # type: ignore[call-overload]
        for limit in (0, -1, 1.5, True):
            with pytest.raises(BadArgument):
                broker.queue("q", max_in_flight=limit)  # type: ignore[arg-type]
            with pytest.raises(BadArgument):
                broker.queue("q", max_in_flight_per_key=limit)  # type: ignore[arg-type]
        assert await broker.queue_names() == []

    async def test_reopening_keeps_limits(self, broker: Broker) -> None:
        need(broker, "rate")
        queue = broker.queue("q", rate="2/h", max_in_flight=1)
        await queue.put_many(range(5))
        async with reopened(self, broker) as again:
            queue = again.queue("q")
            message = await take(queue)
            await none_now(queue)
            await message.ack()
            await none_now(queue)
