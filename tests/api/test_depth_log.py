"""The contract on a log that keeps nothing in memory that it can read back."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.errors import QueueShutDown
from posthouse.testing.cases.base import soon
from tests.api.test_log import TestLog as _OnLog


class TestLogOutOfMemory(_OnLog):
    async def open_broker(self, **options: Any) -> posthouse.Broker:
        return await posthouse.open(str(self.directory), cache_bytes=0, **options)

    async def test_what_is_there_is_taken_without_waiting_after_a_reopen(self) -> None:
        broker = await self.open_broker()
        await broker.queue("q").put_many([b"1", b"2"])
        broker = await self.reopen(broker)
        queue = broker.queue("q")
        assert [m.body for m in await queue.get_many(2, timeout=0)] == [b"1", b"2"]
        await broker.close()

    @pytest.mark.parametrize(
        "options",
        [{}, {"ttl": 1000}, {"delay": 500}, {"priority": 7}, {"key": "a"}],
        ids=lambda options: "".join(options) or "plain",
    )
    async def test_what_was_on_disk_at_an_opening_is_counted_out_with_its_headers(
        self, options: dict[str, Any]
    ) -> None:
        broker = await self.open_broker()
        queue = broker.queue("q", order="priority")
        for _ in range(20):
            await queue.put(b"body", headers={"name": "value"}, **options)
        broker = await self.reopen(broker)
        queue = broker.queue("q", order="priority")
        assert await queue.find("headers.name == 'value'").delete() == 20
        assert (await queue.stats()).size_bytes == 0
        await broker.close()

    async def test_keys_are_in_order_one_at_a_time_after_a_reopen(self) -> None:
        broker = await self.open_broker()
        queue = broker.queue("q")
        for number in range(300):
            await queue.put(b"%d" % number, key="abc"[number % 3], headers={"n": str(number)})
        broker = await self.reopen(broker)
        queue = broker.queue("q")
        first = await queue.get()
        assert [message.body for message in await queue.peek(2)] == [b"1", b"2"]
        found = await queue.find("headers.n == '7'").delete()
        assert found == 1
        second = await queue.get_many(10, timeout=1)
        assert [message.body for message in second] == [b"1", b"2"]
        await queue.ack_many(second)
        bodies = []
        for _ in range(196):
            message = await queue.get()
            bodies.append(int(message.body))
            await message.ack()
        assert bodies == [n for n in range(3, 300) if n % 3 and n != 7][: len(bodies)]
        await first.ack()
        assert (await queue.get()).body == b"3"
        await broker.close()

    async def test_a_fair_queue_takes_turns_with_its_bodies_on_disk_and_after_a_reopen(
        self,
    ) -> None:
        broker = await self.open_broker()
        queue = broker.queue("q", fair=True)
        for number in range(400):
            key = ("a", "b", "c", None)[number // 100]
            await queue.put(b"%d" % number, key=key, headers={"n": str(number)})
        assert await queue.find("headers.n == '399'").delete() == 1
        bodies = []
        for taken in (200, 199):
            for _ in range(taken):
                message = await queue.get()
                bodies.append(int(message.body))
                await message.ack()
            broker = await self.reopen(broker)
            queue = broker.queue("q", fair=True)
        assert bodies == [n + 100 * turn for n in range(100) for turn in range(4)][:399]
        assert (await queue.stats()).size_bytes == 0
        await broker.close()

    async def test_what_has_a_key_and_a_time_to_live_dies_whole_with_its_body_on_disk(self) -> None:
        broker = await self.open_broker()
        queue = broker.queue("q")
        for number in range(200):
            ttl = 0.2 if number % 2 else 1000
            await queue.put(b"%d" % number, key="ab"[number % 3 == 0], ttl=ttl)
        broker = await self.reopen(broker)
        queue, dead = broker.queue("q"), broker.queue("q.dead")
        died = []
        for _ in range(100):
            message = await soon(dead.get())
            died.append(int(message.body))
            await message.ack()
        assert sorted(died) == list(range(1, 200, 2))
        bodies = []
        for _ in range(100):
            message = await queue.get()
            bodies.append(int(message.body))
            await message.ack()
        assert bodies == list(range(0, 200, 2))
        assert (await queue.stats()).size_bytes == 0
        await broker.close()

    async def test_what_has_a_key_and_a_delay_is_due_with_its_body_on_disk(self) -> None:
        broker = await self.open_broker()
        queue = broker.queue("q", fair=True)
        for number in range(100):
            await queue.put(b"%d" % number, key=("a", None)[number % 2], delay=3600)
        broker = await self.reopen(broker)
        queue = broker.queue("q", fair=True)
        assert (await queue.stats()).delayed == 51  # of those with a key only the first
        found = await queue.find("id > 0")
        assert sorted(int(message.body) for message in found) == list(range(100))
        assert await queue.find("id > 0").delay(0) == 100
        taken = []
        for _ in range(100):
            message = await queue.get()
            taken.append(int(message.body))
            await message.ack()
        assert sorted(taken) == list(range(100))
        assert (await queue.stats()).size_bytes == 0
        await broker.close()


@pytest.mark.parametrize("most", [1, 4])
async def test_a_shutdown_tells_everybody_when_the_last_page_is_taken(
    tmp_path: Path, most: int
) -> None:
    """Who waited for what is read, and got none of it, waits for nothing any more."""
    async with posthouse.open(str(tmp_path / "data"), cache_bytes=0) as broker:
        queue = broker.queue("q")
        await queue.put_many([b"%04d" % n * 300 for n in range(3)])
        await queue.put_many([b"%04d" % n * 300 for n in range(3, 5)])
        stats = await queue.stats()
        assert stats.waiting == 5

        async def take() -> int:
            if most == 1:
                await queue.get()
                return 1
            return len(await queue.get_many(most))

        takers = [asyncio.ensure_future(take()) for _ in range(9)]
        await asyncio.sleep(0)
        queue.shutdown()
        found = await soon(asyncio.gather(*takers, return_exceptions=True))
        assert sum(each for each in found if isinstance(each, int)) == 5
        assert {type(each) for each in found} == {int, QueueShutDown}
