"""``async for``: leases start at the yield, and what was set aside comes back."""

from __future__ import annotations

import asyncio
import gc
from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import BrokerClosed
from posthouse.message import Message
from posthouse.queue import Queue
from posthouse.testing.cases.base import (
    Cases,
    drain,
    in_time,
    redelivered,
    soon,
    take,
    turns,
    waits,
    within,
)


class IterationCases(Cases):
    """An iterator reserves ahead, in memory only."""

    async def test_yields_everything_in_order(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(250))
        found = []
        async for message in queue:
            assert message.attempts == 1
            found.append(message.body)
            await message.ack()
            if len(found) == 250:
                break
        assert found == list(range(250))
        await soon(queue.join())

    async def test_waits_for_more(self, broker: Broker) -> None:
        queue = broker.queue("q")

        async def consume() -> list[object]:
            found = []
            async for message in queue:
                async with message:
                    found.append(message.body)
                if len(found) == 4:
                    return found
            raise AssertionError("it ended by itself")

        consuming = asyncio.create_task(consume())
        await turns()
        await queue.put(1)
        await queue.put_many([2, 3])
        await turns()
        await queue.put(4)
        assert await soon(consuming) == [1, 2, 3, 4]

    @pytest.mark.parametrize("way", ["break", "exception", "del", "aclose", "cycle"])
    async def test_what_was_set_aside_comes_back(self, broker: Broker, way: str) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(10))
        if way == "break":
            async for each in queue:
                message = each
                break
        elif way == "exception":
            with pytest.raises(RuntimeError):
                async for each in queue:
                    message = each
                    raise RuntimeError
        else:
            iterator = aiter(queue)
            message = await anext(iterator)
            if way == "aclose":
                await iterator.aclose()  # type: ignore[attr-defined]
            elif way == "cycle":
                ring: list[object] = [iterator]
                ring.append(ring)
                del ring, iterator
                gc.collect()
            else:
                del iterator
        assert message.body == 0
        assert await waits(queue) == 9
        again = await queue.get_many(100)
        assert [each.body for each in again] == list(range(1, 10))
        assert {each.attempts for each in again} == {1}

    async def test_cancelled_in_the_body(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(10))

        async def consume() -> None:
            async for message in queue:
                async with message:
                    await asyncio.Event().wait()

        consuming = asyncio.create_task(consume())
        await turns()
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(consuming)
        del consuming
        again = await queue.get_many(100)
        assert [(each.body, each.attempts) for each in again] == [(n, 1) for n in range(10)]

    async def test_cancelled_while_it_waits(self, broker: Broker) -> None:
        queue = broker.queue("q")

        async def consume() -> None:
            async for message in queue:
                await message.ack()

        consuming = asyncio.create_task(consume())
        other = asyncio.create_task(queue.get())
        await turns()
        await queue.put(1)
        consuming.cancel()
        try:
            await soon(consuming)
        except asyncio.CancelledError:
            pass
        if (await queue.stats()).acked == 0:
            assert (await soon(other)).body == 1
        other.cancel()

    async def test_what_is_set_aside_goes_to_who_waits(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many([1, 2, 3])
        iterator = aiter(queue)
        assert (await anext(iterator)).body == 1
        waiting = [asyncio.create_task(queue.get()) for _ in range(2)]
        await turns()
        del iterator
        assert sorted([(await soon(task)).body for task in waiting]) == [2, 3]

    async def test_a_lease_starts_when_its_message_is_yielded(self, broker: Broker) -> None:
        async def test(name: str, lease_s: float) -> None:
            queue = broker.queue(name, visibility_timeout=lease_s)
            hourglass = broker.queue(f"{name}.hourglass", visibility_timeout=lease_s)
            await queue.put_many([1, 2])
            iterator = aiter(queue)
            first = await anext(iterator)
            await hourglass.put("sand")
            await take(hourglass)
            await redelivered(hourglass)  # as long as a lease
            with within(lease_s):
                second = await anext(iterator)
                assert (second.body, second.attempts) == (2, 1)
                await second.ack()
            again = await redelivered(queue)
            assert (again.id, again.attempts) == (first.id, 2)
            await again.ack()
            await soon(queue.join())

        await in_time(test)

    async def test_what_is_set_aside_is_had_by_who_finds_nothing_else(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(5))
        iterator = aiter(queue)
        bodies = [(await anext(iterator)).body]
        while await waits(queue):
            bodies.append((await queue.get(timeout=0)).body)
        assert sorted(bodies) == [0, 1, 2, 3, 4]
        await queue.put(5)
        assert (await soon(anext(iterator))).body == 5

    async def test_what_a_cancelled_task_holds_is_had(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(10))

        async def consume() -> None:
            async for message in queue:
                async with message:
                    await asyncio.Event().wait()

        consuming = asyncio.create_task(consume())
        await turns()
        consuming.cancel()
        with pytest.raises(asyncio.CancelledError):
            await soon(consuming)
        # The task is kept, and with it the traceback, the frame and the iterator.
        found = [(await take(queue)).body for _ in range(10)]
        assert sorted(found) == list(range(10))
        assert consuming.cancelled()

    async def test_a_purge_takes_what_is_set_aside(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(5))
        iterator = aiter(queue)
        await anext(iterator)
        assert await queue.purge() == 4
        assert await waits(queue) == 0
        await queue.put(5)
        assert (await soon(anext(iterator))).body == 5

    async def test_what_is_set_aside_counts_as_waiting(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(5))
        iterator = aiter(queue)
        await anext(iterator)
        stats = await queue.stats()
        assert (stats.waiting, stats.in_flight, await waits(queue)) == (4, 1, 4)
        del iterator

    async def test_ends_at_a_shutdown(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(3))
        found = []
        async for message in queue:
            await message.ack()
            found.append(message.body)
            queue.shutdown()
        assert found == [0, 1, 2]

    async def test_ends_while_it_waits(self, broker: Broker) -> None:
        queue = broker.queue("q")

        async def consume() -> int:
            count = 0
            async for message in queue:
                await message.ack()
                count += 1
            return count

        consuming = asyncio.create_task(consume())
        await queue.put(1)
        await turns()
        queue.shutdown()
        assert await soon(consuming) == 1

    async def test_ends_at_once_and_puts_back(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(3))
        found = []
        iterator = aiter(queue)
        async for message in iterator:
            found.append(message.body)
            await message.ack()
            queue.shutdown(immediate=True)
        assert found == [0]
        assert [message.body for message in await queue.peek(9)] == [1, 2]

    async def test_a_closed_broker_ends_it_with_an_error(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(3))
        iterator = aiter(queue)
        await anext(iterator)
        waiting = asyncio.create_task(_first(broker.queue("empty")))
        await turns()
        await broker.close()
        with pytest.raises(BrokerClosed):
            await anext(iterator)
        with pytest.raises(BrokerClosed):
            await soon(waiting)

    async def test_two_iterators_share(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(150))
        one, two = aiter(queue), aiter(queue)
        bodies = [(await anext(one)).body, (await anext(two)).body]
        assert bodies == [0, 100]
        del one, two
        assert await drain(queue) == [n for n in range(150) if n not in (0, 100)]

    async def test_a_returned_message_comes_before_younger_ones(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many(range(3))
        first = await take(queue)
        iterator = aiter(queue)
        assert (await anext(iterator)).body == 1
        await first.nack(delay=0)
        del iterator
        assert [message.body for message in await queue.get_many(9)] == [0, 2]


async def _first(queue: Queue[Any]) -> Message[Any]:
    return await anext(aiter(queue))
