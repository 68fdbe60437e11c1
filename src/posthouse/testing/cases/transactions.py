"""Transactions: all of it, or none."""

from __future__ import annotations

import asyncio

import pytest

import posthouse
from posthouse.broker import Broker
from posthouse.errors import (
    AlreadySettled,
    BadArgument,
    LeaseExpired,
    MessageTooLarge,
    QueueFull,
)
from posthouse.model import Retry
from posthouse.testing.cases.base import (
    PATIENCE_S,
    SHORT_S,
    Cases,
    drain,
    need,
    redelivered,
    soon,
    take,
    turns,
    waits,
)


class TransactionCases(Cases):
    """Settlements and puts over any queues of a broker, together."""

    async def test_transaction_acks_and_puts(self, broker: Broker) -> None:
        need(broker, "transactions")
        orders, invoices = broker.queue("orders"), broker.queue("invoices")
        await orders.put("tea")
        message = await take(orders)
        async with broker.transaction() as tx:
            tx.ack(message)
            tx.put(invoices, {"order": message.id}, headers={"a": "b"})
            tx.put(invoices, "second")
            tx.put(orders, "next", delay=3600)
            assert await waits(invoices) == 0
            assert message.settled != "ack"
        assert message.settled == "ack"
        one, two = await invoices.get_many(2, timeout=PATIENCE_S)
        assert (one.body, one.headers) == ({"order": message.id}, {"a": "b"})
        assert [one.id, two.id] == tx.ids[:2]
        assert tx.ids == sorted(tx.ids)
        assert len(tx.ids) == 3
        stats = await orders.stats()
        assert (stats.waiting, stats.delayed, stats.in_flight, stats.acked) == (0, 1, 0, 1)

    async def test_transaction_with_nothing_in_it(self, broker: Broker) -> None:
        need(broker, "transactions")
        async with broker.transaction() as tx:
            pass
        assert tx.ids == []

    async def test_transaction_that_raises_does_nothing(self, broker: Broker) -> None:
        need(broker, "transactions")
        source, target = broker.queue("source"), broker.queue("target")
        await source.put_many([1, 2, 3])
        messages = await source.get_many(3)
        with pytest.raises(RuntimeError, match="boom"):
            async with broker.transaction() as tx:
                tx.put(target, 1)
                tx.ack(messages[0])
                tx.nack(messages[1])
                tx.reject(messages[2])
                raise RuntimeError("boom")
        assert tx.ids == []
        assert await waits(target) == 0
        assert [message.settled for message in messages] == [None] * 3
        assert (await source.stats()).in_flight == 3
        await source.ack_many(messages)

    async def test_transaction_with_an_expired_lease_does_nothing(self, broker: Broker) -> None:
        need(broker, "transactions", "fenced")
        source, target = broker.queue("source"), broker.queue("target")
        await source.put_many([1, 2])
        stale = await source.get(visibility_timeout=SHORT_S)
        held = await source.get(visibility_timeout=3600)
        again = await redelivered(source)
        with pytest.raises(LeaseExpired):
            async with broker.transaction() as tx:
                tx.put(target, 1)
                tx.ack(held)
                tx.ack(stale)
        assert (held.settled, stale.settled) == (None, None)
        assert await waits(target) == 0
        assert (await source.stats()).acked == 0
        await source.ack_many([held, again])

    async def test_transaction_settles_in_every_way(self, broker: Broker) -> None:
        need(broker, "transactions")
        source = broker.queue("source", retry=Retry(max_attempts=2), dead_letter="dead")
        await source.put_many(range(4))
        for _ in range(1):
            await (await take(source)).nack(delay=0)
        messages = await source.get_many(4)
        async with broker.transaction() as tx:
            tx.nack(messages[0], error="last attempt")
            tx.reject(messages[1], "no use", "why")
            tx.nack(messages[2], delay=0)
            tx.ack(messages[3])
        assert [message.settled for message in messages] == ["nack", "reject", "nack", "ack"]
        again = await take(source)
        assert (again.body, again.attempts) == (2, 2)
        dead = [await take(broker.queue("dead")) for _ in range(2)]
        assert [message.body for message in dead] == [0, 1]
        assert dead[0].headers["posthouse-error"] == "last attempt"
        assert dead[1].headers["posthouse-reason"] == "no use"

    async def test_transaction_wakes_who_waits(self, broker: Broker) -> None:
        need(broker, "transactions")
        one, two = broker.queue("one"), broker.queue("two", dead_letter="dead")
        dead = broker.queue("dead")
        await two.put_many([1, 2])
        messages = await two.get_many(2)
        waiting = [asyncio.create_task(queue.get()) for queue in (one, two, dead)]
        await turns()
        async with broker.transaction() as tx:
            tx.put(one, "put")
            tx.nack(messages[0], delay=0)
            tx.reject(messages[1])
        assert [(await soon(task)).body for task in waiting] == ["put", 1, 2]

    async def test_transaction_replaces_in_a_full_queue(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue = broker.queue("q", max_messages=1, overflow="reject")
        await queue.put(1)
        message = await take(queue)
        async with broker.transaction() as tx:
            tx.ack(message)
            tx.put(queue, 2)
        assert await drain(queue) == [2]

    @pytest.mark.parametrize("verb", ["reject", "nack"])
    async def test_transaction_buries_and_puts_in_a_full_queue(
        self, broker: Broker, verb: str
    ) -> None:
        need(broker, "transactions")
        queue = broker.queue("q", max_messages=1, retry=Retry(max_attempts=1))
        await queue.put(1)
        message = await take(queue)
        async with broker.transaction(timeout=PATIENCE_S) as tx:
            getattr(tx, verb)(message)
            tx.put(queue, 2)
        assert await drain(queue) == [2]
        assert await drain(broker.queue("q.dead")) == [1]

    async def test_transaction_waits_for_room(self, broker: Broker) -> None:
        need(broker, "transactions")
        source, target = broker.queue("source"), broker.queue("target", max_messages=2)
        await source.put("s")
        message = await take(source)
        await target.put_many([1, 2])

        async def move() -> None:
            async with broker.transaction() as tx:
                tx.ack(message)
                tx.put(target, 3)
                tx.put(target, 4)

        moving = asyncio.create_task(move())
        await turns()
        await (await take(target)).ack()
        await turns()
        assert not moving.done()
        assert message.settled != "ack"
        assert (await target.stats()).waiting == 1
        await (await take(target)).ack()
        await soon(moving)
        assert await drain(target) == [3, 4]

    async def test_transaction_counts_its_own_acks_while_it_waits(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue = broker.queue("q", max_messages=2)
        await queue.put_many([1, 2])
        mine, other = await queue.get_many(1), await queue.get_many(1)

        async def split() -> None:
            async with broker.transaction() as tx:
                tx.ack(mine[0])
                tx.put(queue, "1a")
                tx.put(queue, "1b")

        splitting = asyncio.create_task(split())
        await turns()
        assert not splitting.done()
        await other[0].ack()
        await soon(splitting)
        assert await drain(queue) == ["1a", "1b"]

    async def test_transaction_whose_lease_runs_out_in_line(self, broker: Broker) -> None:
        need(broker, "transactions", "fenced")
        queue = broker.queue("q", max_messages=2)
        await queue.put_many([1, 2])
        mine = await queue.get(visibility_timeout=SHORT_S)
        with pytest.raises(LeaseExpired):
            async with asyncio.timeout(PATIENCE_S), broker.transaction() as tx:
                tx.ack(mine)
                tx.put(queue, "1a")
                tx.put(queue, "1b")
        assert sorted([(await take(queue)).body for _ in range(2)]) == [1, 2]
        assert await waits(queue) == 0

    async def test_transaction_gives_up_on_room(self, broker: Broker) -> None:
        need(broker, "transactions")
        full = broker.queue("full", max_messages=1)
        rejecting = broker.queue("rejecting", max_messages=1, overflow="reject")
        free = broker.queue("free")
        await full.put(1)
        await rejecting.put(1)
        with pytest.raises(TimeoutError):
            async with broker.transaction(timeout=0.01) as tx:
                tx.put(free, 1)
                tx.put(full, 2)
        with pytest.raises(QueueFull):
            async with broker.transaction() as tx:
                tx.put(free, 1)
                tx.put(rejecting, 2)
        with pytest.raises(QueueFull):
            async with broker.transaction() as tx:
                tx.put(free, 1)
                tx.put(full, 2)
                tx.put(full, 3)
        assert await waits(free) == 0
        assert await drain(full) == [1]
        assert await drain(rejecting) == [1]

    async def test_transaction_lets_who_waits_for_room_go_on(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue = broker.queue("q", max_messages=1)
        await queue.put(1)
        message = await take(queue)
        putting = asyncio.create_task(queue.put(2))
        await turns()
        async with broker.transaction() as tx:
            tx.ack(message)
        await soon(putting)

    async def test_transaction_is_used_once_and_in_its_block(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue = broker.queue("q")
        await queue.put(1)
        message = await take(queue)
        tx = broker.transaction()
        with pytest.raises(BadArgument):
            tx.put(queue, 1)
        with pytest.raises(BadArgument):
            tx.ack(message)
        async with tx:
            tx.put(queue, 2)
        with pytest.raises(BadArgument):
            tx.put(queue, 3)
        with pytest.raises(BadArgument):
            async with tx:
                pass
        assert message.settled is None
        assert await drain(queue) == [2]

    async def test_transaction_settles_a_message_once(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue = broker.queue("q")
        await queue.put(1)
        message = await take(queue)
        async with broker.transaction() as tx:
            tx.ack(message)
            with pytest.raises(AlreadySettled):
                tx.nack(message)
            with pytest.raises(AlreadySettled):
                await message.nack()
        assert message.settled == "ack"
        with pytest.raises(AlreadySettled):
            async with broker.transaction() as tx:
                tx.nack(message)

    async def test_transaction_inside_a_message_block(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue, target = broker.queue("q"), broker.queue("target")
        await queue.put(1)
        async with await take(queue) as message, broker.transaction() as tx:
            tx.ack(message)
            tx.put(target, 2)
        assert await drain(target) == [2]
        await soon(queue.join())

    async def test_transaction_around_a_message_block(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue, target = broker.queue("q"), broker.queue("target")
        await queue.put(1)
        async with broker.transaction() as tx, await take(queue) as message:
            tx.ack(message)
            tx.put(target, 2)
        assert message.settled == "ack"
        assert await drain(target) == [2]
        await soon(queue.join())

    async def test_transaction_that_fails_lets_its_message_block_nack(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue = broker.queue("q", retry=Retry(backoff=(0.0,), jitter=False))
        await queue.put(1)
        with pytest.raises(RuntimeError):
            async with await take(queue) as message, broker.transaction() as tx:
                tx.ack(message)
                raise RuntimeError
        assert message.settled == "nack"
        with pytest.raises(RuntimeError):
            async with broker.transaction() as tx, await take(queue) as message:
                tx.ack(message)
                raise RuntimeError
        assert (await take(queue)).attempts == 3

    async def test_transaction_on_another_brokers_queue(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue, inner = broker.queue("q"), broker.queue("inner")
        await queue.put(1)
        message = await take(queue)
        async with posthouse.open("memory:") as other:
            foreign = other.queue("q")
            with pytest.raises(BadArgument):
                async with other.transaction() as tx:
                    tx.ack(message)
            with pytest.raises(BadArgument):
                async with broker.transaction() as tx:
                    tx.put(inner, 1)
                    tx.put(foreign, 2)
            assert await waits(foreign) == 0
        assert await waits(inner) == 0
        assert message.settled is None
        await message.ack()

    async def test_transaction_checks_sizes_before_anything(self, broker: Broker) -> None:
        need(broker, "transactions")
        queue = broker.queue("q")
        with pytest.raises(MessageTooLarge):
            async with broker.transaction() as tx:
                tx.put(queue, 1)
                tx.put(queue, b"x" * (16 * 1024 * 1024 + 1))
        body = b"x" * (16 * 1024 * 1024)
        with pytest.raises(MessageTooLarge):
            async with broker.transaction() as tx:
                for _ in range(5):
                    tx.put(queue, body)
        assert await waits(queue) == 0

    @pytest.mark.parametrize("delay", [-1, float("nan"), float("inf"), 2**63, "x"])
    async def test_transaction_checks_delays(self, broker: Broker, delay: float) -> None:
        need(broker, "transactions")
        queue = broker.queue("q")
        await queue.put(1)
        message = await take(queue)
        with pytest.raises(ValueError):
            async with broker.transaction() as tx:
                tx.put(queue, 1, delay=delay)
        with pytest.raises(ValueError):
            async with broker.transaction() as tx:
                tx.nack(message, delay=delay)
        assert await waits(queue) == 0
        assert message.settled is None
