"""Cancelled calls: nothing is lost, nothing is half done, nobody is left waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from posthouse.broker import Broker
from posthouse.errors import QueueEmpty, QueueFull, QueueShutDown
from posthouse.message import Message
from posthouse.model import Retry
from posthouse.queue import Queue
from posthouse.testing.cases.base import (
    Cases,
    drain,
    is_now,
    need,
    outcome,
    soon,
    take,
    turns,
    waits,
)

MOST_TURNS = 12


class CancellationCases(Cases):
    """At every turn of the loop a call may be cancelled."""

    async def test_a_cancelled_get_takes_nothing(self, broker: Broker) -> None:
        queue = broker.queue("q")
        for count in range(MOST_TURNS):
            getting = asyncio.create_task(queue.get())
            await turns(count % 3)
            putting = asyncio.create_task(queue.put(count))
            await turns(count)
            getting.cancel()
            message = await outcome(getting)
            await soon(putting)
            if message is None:
                message = await take(queue)
            assert (message.body, message.attempts) == (count, 1)
            await message.ack()
            assert await waits(queue) == 0

    async def test_a_cancelled_get_many_takes_nothing(self, broker: Broker) -> None:
        queue = broker.queue("q")
        for count in range(MOST_TURNS):
            getting = asyncio.create_task(queue.get_many(10))
            await turns(count % 3)
            putting = asyncio.create_task(queue.put_many([1, 2, 3]))
            await turns(count)
            getting.cancel()
            messages = await outcome(getting) or []
            await soon(putting)
            messages += [await take(queue) for _ in range(3 - len(messages))]
            assert [(each.body, each.attempts) for each in messages] == [(1, 1), (2, 1), (3, 1)]
            await queue.ack_many(messages)
            assert await waits(queue) == 0

    async def test_one_woken_and_cancelled_wakes_the_next(self, broker: Broker) -> None:
        queue = broker.queue("q")
        for _ in range(MOST_TURNS):
            first = asyncio.create_task(queue.get())
            await turns()
            second = asyncio.create_task(queue.get())
            await turns()
            await queue.put(1)
            first.cancel()
            message = await outcome(first)
            if message is None:
                message = await soon(second)
            second.cancel()
            await outcome(second)
            await message.ack()

    async def test_a_cancelled_put_is_whole_or_not_at_all(self, broker: Broker) -> None:
        queue = broker.queue("q")
        certain = []
        for count in range(MOST_TURNS):
            bodies = [f"{count}a", f"{count}b", f"{count}c"]
            putting = asyncio.create_task(queue.put_many(bodies))
            await turns(count)
            putting.cancel()
            if await outcome(putting) is not None:
                certain += bodies
        await queue.put("last")
        found = await drain(queue)
        assert set(certain) <= set(found)
        assert len(found) == len(set(found))
        for count in range(MOST_TURNS):
            mine = [body for body in found if body[:-1] == str(count)]
            assert mine in ([], [f"{count}a", f"{count}b", f"{count}c"])

    async def test_a_put_cancelled_in_line_stores_nothing(self, broker: Broker) -> None:
        queue = broker.queue("q", max_messages=1)
        await queue.put(1)
        putting = asyncio.create_task(queue.put(2))
        await turns()
        putting.cancel()
        assert await outcome(putting) is None
        assert await drain(queue) == [1]
        await turns()
        assert await waits(queue) == 0

    async def test_cancelling_one_put_leaves_its_neighbours(self, broker: Broker) -> None:
        queue = broker.queue("q")
        putting = [asyncio.create_task(queue.put(number)) for number in range(20)]
        await turns(1)
        putting[7].cancel()
        done = [await outcome(task) for task in putting]
        assert all(each is not None for position, each in enumerate(done) if position != 7)
        await queue.put("last")
        found = await drain(queue)
        assert [body for body in found if body not in (7, "last")] == [
            number for number in range(20) if number != 7
        ]

    async def test_a_cancelled_handler_gives_back(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1))
        await queue.put(1)

        async def handle() -> None:
            async with await take(queue):
                await asyncio.Event().wait()

        for _ in range(3):
            handling = asyncio.create_task(handle())
            await turns()
            handling.cancel()
            with pytest.raises(asyncio.CancelledError):
                await soon(handling)
        assert (await queue.get(timeout=0)).attempts == 1

    async def test_a_cancelled_transaction_is_whole_or_not_at_all(self, broker: Broker) -> None:
        need(broker, "transactions")
        source, target = broker.queue("source"), broker.queue("target")
        for count in range(MOST_TURNS):
            await source.put(count)
            message = await take(source)

            moving = asyncio.create_task(_move(broker, message, target))
            await turns(count)
            moving.cancel()
            await outcome(moving)
            await target.put("last")
            moved = [body for body in await drain(target) if body != "last"]
            if moved:
                assert moved == [[count, "a"], [count, "b"]]
                assert message.settled == "ack"
                assert await waits(source) == 0
            else:
                assert message.settled is None
                await message.ack()
            await soon(source.join())

    async def test_a_cancelled_durable_ack_is_an_ack(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put(1)
        message = await take(queue)
        acking = asyncio.create_task(message.ack(durable=True))
        await turns(1)
        acking.cancel()
        await outcome(acking)
        assert message.settled == "ack"
        await soon(queue.join())

    async def test_shutdown_lets_what_waits_be_taken(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many([1, 2])
        queue.shutdown()
        with pytest.raises(QueueShutDown):
            await queue.put(3)
        with pytest.raises(QueueShutDown):
            await queue.put_many([3])
        if is_now(broker):
            with pytest.raises(QueueShutDown):
                queue.put_nowait(3)
        with pytest.raises(QueueShutDown):
            async with broker.transaction() as tx:
                tx.put(queue, 3)
        message = await queue.get()
        assert (await queue.get(timeout=0)).body == 2
        for getting in (queue.get(), queue.get(timeout=9), queue.get_many(5)):
            with pytest.raises(QueueShutDown):
                await soon(getting)
        if is_now(broker):
            with pytest.raises(QueueShutDown):
                queue.get_nowait()
        await message.ack()

    async def test_shutdown_tells_who_waits(self, broker: Broker) -> None:
        empty, full = broker.queue("empty"), broker.queue("full", max_messages=1)
        await full.put(1)
        waiting = [
            asyncio.create_task(empty.get()),
            asyncio.create_task(empty.get_many(3)),
            asyncio.create_task(full.put(2)),
            asyncio.create_task(full.put_many([3])),
        ]
        await turns()
        empty.shutdown()
        full.shutdown()
        for task in waiting:
            with pytest.raises(QueueShutDown):
                await soon(task)
        assert await drain_until_shut(full) == [1]

    async def test_shutdown_at_once(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put_many([1, 2])
        message = await queue.get()
        queue.shutdown(immediate=True)
        with pytest.raises(QueueShutDown):
            await soon(queue.get())
        if is_now(broker):
            with pytest.raises(QueueShutDown):
                queue.get_nowait()
        with pytest.raises(QueueShutDown):
            await soon(queue.get_many(2))
        assert await waits(queue) == 1, "shutdown never deletes"
        await message.ack()

    async def test_join_goes_on_through_a_shutdown(self, broker: Broker) -> None:
        queue = broker.queue("q")
        await queue.put(1)
        joining = asyncio.create_task(queue.join())
        await turns()
        queue.shutdown()
        await turns()
        assert not joining.done()
        await (await queue.get()).ack()
        await soon(joining)
        await soon(queue.join())

    async def test_join_waits_for_everything(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="dead")
        await soon(queue.join())
        await queue.put_many([1, 2])
        await queue.put(3, delay=0.02)
        joining = [asyncio.create_task(queue.join()) for _ in range(3)]
        joining[1].cancel()
        await (await take(queue)).ack()
        await (await take(queue)).nack(delay=0)
        await (await take(queue)).reject()
        last = await take(queue)
        await turns()
        assert not joining[0].done()
        await last.ack()
        await soon(joining[0])
        await soon(joining[2])
        assert joining[1].cancelled()

    async def test_full_and_empty_errors_are_asyncios(self, broker: Broker) -> None:
        assert issubclass(QueueFull, asyncio.QueueFull)
        assert QueueEmpty is asyncio.QueueEmpty


async def _move(broker: Broker, message: Message[Any], target: Queue[Any]) -> None:
    async with broker.transaction() as tx:
        tx.ack(message)
        tx.put(target, [message.body, "a"])
        tx.put(target, [message.body, "b"])


async def drain_until_shut(queue: Queue[Any]) -> list[Any]:
    """Ack what waits in a queue that was shut down."""
    found = []
    async for message in queue:
        found.append(message.body)
        await message.ack()
    return found
