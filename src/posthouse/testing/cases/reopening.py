"""What a durable backend still has after it was closed and opened again."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from posthouse.broker import Broker
from posthouse.errors import QueueFull
from posthouse.model import Retry
from posthouse.testing.cases.base import Cases, drain, need, soon, take


class ReopeningCases(Cases):
    """Everything that was acknowledged, as it was."""

    @asynccontextmanager
    async def reopened(self, broker: Broker) -> AsyncIterator[Broker]:
        """The same place, open again."""
        need(broker, "durable")
        again = await self.reopen(broker)
        try:
            yield again
        finally:
            await again.close()

    async def test_reopening_keeps_messages_and_order(self, broker: Broker) -> None:
        queue = broker.queue("q")
        ids = list(await queue.put_many(range(500), headers={"a": "b"}))
        ids += [await queue.put({"n": 1}), await queue.put("text"), await queue.put(b"\0raw")]
        async with self.reopened(broker) as again:
            messages = await again.queue("q").get_many(1000)
            assert [message.id for message in messages] == ids
            assert [message.body for message in messages] == [
                *range(500),
                {"n": 1},
                "text",
                b"\0raw",
            ]
            assert messages[0].headers == {"a": "b"}
            assert {message.attempts for message in messages} == {1}
            later = await again.queue("q").put("later")
            assert later > ids[-1]

    async def test_reopening_forgets_what_was_settled(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="dead")
        await queue.put_many(range(10))
        await (await take(queue)).ack()
        await queue.ack_many(await queue.get_many(3))
        await (await take(queue)).ack(durable=True)
        await (await take(queue)).reject("why")
        async with self.reopened(broker) as again:
            assert await drain(again.queue("q")) == [6, 7, 8, 9]
            dead = await take(again.queue("dead"))
            assert (dead.body, dead.headers["posthouse-reason"]) == (5, "why")

    async def test_reopening_gives_back_what_was_out_uncounted(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1))
        await queue.put_many(range(5))
        await take(queue)
        await queue.get_many(2)
        iterator = aiter(queue)
        await anext(iterator)
        async with self.reopened(broker) as again:
            messages = await again.queue("q").get_many(9)
            found = [(message.body, message.attempts) for message in messages]
            assert found == [(number, 1) for number in range(5)]
            assert "q.dead" not in await again.queue_names()

    async def test_reopening_keeps_attempts(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=3, backoff=(0.0,), jitter=False))
        await queue.put_many([1, 2, 3])
        await (await take(queue)).nack()
        await (await take(queue)).nack()
        held = await take(queue)
        assert (held.body, held.attempts) == (1, 3)
        await held.give_back()
        async with self.reopened(broker) as again:
            messages = await again.queue("q").get_many(9)
            assert [(each.body, each.attempts) for each in messages] == [(1, 3), (2, 1), (3, 1)]
            await messages[0].nack()
            assert await drain(again.queue("q.dead")) == [1]

    async def test_reopening_keeps_attempts_of_a_dead_letter(self, broker: Broker) -> None:
        queue = broker.queue("q", dead_letter="dead")
        await queue.put_many([1, 2, 3])
        for _ in range(3):
            await (await take(queue)).reject()
        dead = broker.queue("dead")
        messages = await dead.get_many(3)
        await messages[0].nack(delay=0)
        await messages[1].give_back()
        async with self.reopened(broker) as again:
            found = await again.queue("dead").get_many(9)
            assert [(each.body, each.attempts) for each in found] == [(1, 2), (2, 1), (3, 1)]
            assert [each.id for each in found] == [each.id for each in messages]

    async def test_reopening_keeps_delays(self, broker: Broker) -> None:
        need(broker, "delay")
        queue = broker.queue("q", retry=Retry(backoff=(3600.0,), jitter=False))
        await queue.put("soon", delay=0.02)
        await queue.put("later", delay=3600)
        await queue.put("nacked")
        await (await queue.get(timeout=20)).nack()
        async with self.reopened(broker) as again:
            queue = again.queue("q")
            assert (await take(queue)).body in ("soon", "nacked")
            stats = await queue.stats()
            assert stats.waiting + stats.delayed == 2
            assert stats.delayed >= 1

    async def test_reopening_keeps_policies(self, broker: Broker) -> None:
        broker.queue(
            "q",
            max_messages=1,
            overflow="reject",
            retry=Retry(max_attempts=1),
            dead_letter="graves",
        )
        async with self.reopened(broker) as again:
            assert "q" in await again.queue_names()
            queue = again.queue("q")
            await queue.put(1)
            with pytest.raises(QueueFull):
                await queue.put(2)
            await (await take(queue)).nack()
            assert await drain(again.queue("graves")) == [1]

    async def test_reopening_keeps_transactions_whole(self, broker: Broker) -> None:
        need(broker, "durable", "transactions")
        source, target = broker.queue("source"), broker.queue("target")
        await source.put_many([1, 2])
        message, held = await take(source), await take(source)
        async with broker.transaction() as tx:
            tx.ack(message)
            tx.put(target, "a")
            tx.put(target, "b")
        with pytest.raises(RuntimeError):
            async with broker.transaction() as tx:
                tx.ack(held)
                tx.put(target, "c")
                raise RuntimeError
        async with self.reopened(broker) as again:
            assert await drain(again.queue("source")) == [2]
            assert await drain(again.queue("target")) == ["a", "b"]

    async def test_reopening_again_and_again(self, broker: Broker) -> None:
        need(broker, "durable")
        tokens: list[int] = []
        await broker.queue("q").put("stays")
        for number in range(5):
            broker = await self.reopen(broker)
            queue = broker.queue("q")
            message = await take(queue)
            assert (message.body, message.attempts) == ("stays", 1)
            tokens.append(message.token)
            await message.give_back()
            await queue.put(number)
            if number:
                await queue.purge()
                await queue.put("stays")
        await broker.close()
        assert tokens == sorted(set(tokens)), "tokens grow for ever"

    async def test_reopening_keeps_figures_of_what_is_there(self, broker: Broker) -> None:
        queue = broker.queue("q", retry=Retry(max_attempts=1))
        await queue.put_many([b"xx", b"yyy"])
        await (await take(queue)).nack()
        async with self.reopened(broker) as again:
            stats = await again.queue("q").stats()
            assert (stats.waiting, stats.size_bytes, stats.put, stats.acked) == (1, 3, 0, 0)
            dead = await again.queue("q.dead").stats()
            assert (dead.waiting, dead.size_bytes, dead.put) == (1, 2, 0)
            await soon(again.queue("empty").join())
