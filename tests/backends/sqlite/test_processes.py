"""Many processes on one database: they wake each other, and outlive each other."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from posthouse.backends.sqlite import bell, writer
from posthouse.errors import LeaseExpired
from posthouse.testing.cases.base import drain, soon, take, waits
from tests.backends.sqlite.places import Other, opened

HOUR_S = 3600

_PUT = """
async def main():
    async with posthouse.open(URL) as broker:
        queue = broker.queue("q")
        say("open")
        sys.stdin.readline()
        await queue.put("from another process")
        await broker.queue("end").get()
"""
_WORK = """
async def main():
    async with posthouse.open(URL) as broker:
        queue, done = broker.queue("q"), broker.queue("done")
        try:
            while True:
                message = await queue.get(timeout=2)
                async with broker.transaction() as tx:
                    tx.ack(message)
                    tx.put(done, message.body)
        except TimeoutError:
            pass
"""
_HOLD = """
async def main():
    async with posthouse.open(URL) as broker:
        queue = broker.queue("q", visibility_timeout=3600)
        one = await queue.get()
        some = await queue.get_many(2)
        found = []
        async for message in queue:
            found.append(message)
            if len(found) == 3:
                say("holds")
                await asyncio.Event().wait()
"""
_ITERATE = """
async def main():
    async with posthouse.open(URL) as broker:
        async for message in broker.queue("q"):
            say(message.body)
            await asyncio.Event().wait()
"""


async def test_a_put_wakes_who_waits_in_another_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "POLL_S", HOUR_S)  # only a ring can wake it
    path = tmp_path / "q.db"
    async with opened(path) as broker:
        waiting = asyncio.create_task(broker.queue("q").get())
        other = await Other.start(path, _PUT)
        assert await other.hear() == "open"
        assert other.process.stdin is not None
        other.process.stdin.write(b"go\n")
        assert (await soon(waiting)).body == "from another process"
        await broker.queue("end").put("thank you")
        await other.end()


async def test_a_ring_that_is_lost_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "POLL_S", 0.05)
    monkeypatch.setattr(bell.Bell, "ring", lambda *_: [])
    async with opened(tmp_path / "q.db") as one, opened(tmp_path / "q.db") as two:
        waiting = asyncio.create_task(one.queue("q").get())
        await waits(one.queue("q"))
        await two.queue("q").put(1)
        assert (await soon(waiting)).body == 1


async def test_acks_make_room_for_producers_elsewhere(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as one, opened(tmp_path / "q.db") as two:
        queue = one.queue("q", max_messages=2)
        await queue.put_many([1, 2])
        waiting = [asyncio.create_task(queue.put(number)) for number in (3, 4)]
        await waits(queue)
        there = two.queue("q")
        for _ in range(2):
            await (await take(there)).ack()
        await soon(asyncio.gather(*waiting))
        joining = asyncio.create_task(queue.join())
        assert await drain(there) == [3, 4]
        await soon(joining)


async def test_many_workers_do_each_thing_once(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path) as broker:
        await broker.queue("q").put_many(range(300))
        workers = [await Other.start(path, _WORK) for _ in range(3)]
        for worker in workers:
            await worker.end()
        done = await drain(broker.queue("done"))
        assert sorted(done) == list(range(300))
        assert await waits(broker.queue("q")) == 0


async def test_what_a_killed_process_held_comes_back_at_once(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path) as broker:
        queue = broker.queue("q", visibility_timeout=HOUR_S)
        await queue.put_many(range(10))
        other = await Other.start(path, _HOLD)
        assert await other.hear() == "holds"
        await other.kill()
        await broker.queue("any").put("whoever writes next rings, and finds nobody")
        found: dict[int, int] = {}
        while len(found) < 10:
            message = await take(queue)
            found[message.body] = message.attempts
        # One, a batch of two, and three of an iterator's: those were begun.
        assert found == {n: 2 if n < 6 else 1 for n in range(10)}


async def test_who_opens_finds_what_a_killed_process_held(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path) as broker:
        await broker.queue("q").put_many(range(10))
    other = await Other.start(path, _HOLD)
    assert await other.hear() == "holds"
    await other.kill()
    async with opened(path) as broker:
        messages = await soon(broker.queue("q").get_many(10))
        assert [m.attempts for m in messages] == [2] * 6 + [1] * 4
        left = {each.name for each in (tmp_path / "q.db-posthouse").iterdir()}
        assert len({name.partition(".")[0] for name in left}) == 1, "only this broker's own files"


async def test_what_an_iterator_elsewhere_has_set_aside_can_be_had(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path) as broker:
        queue = broker.queue("q", visibility_timeout=HOUR_S)
        await queue.put_many(range(5))
        other = await Other.start(path, _ITERATE)
        assert await other.hear() == "0"
        assert sorted([(await take(queue)).body for _ in range(4)]) == [1, 2, 3, 4]
        await other.kill()


async def test_a_policy_is_seen_by_all(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as one, opened(tmp_path / "q.db") as two:
        queue = one.queue("q", max_messages=1)
        await queue.put(1)
        waiting = asyncio.create_task(queue.put(2))
        await waits(queue)
        await waits(two.queue("q", max_messages=5, order="lifo"))
        await soon(waiting)
        assert [message.body for message in await queue.peek(9)] == [2, 1]
        await queue.stats()
        assert one.queue("q").policy.order == "lifo"


async def test_a_lease_cannot_be_settled_by_another_holder(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as one, opened(tmp_path / "q.db") as two:
        await one.queue("q").put(1)
        message = await take(one.queue("q"))
        port = two.queue("q").port
        with pytest.raises(LeaseExpired):
            await port.durable(port.ack_one(message.token, message.number))
        await message.ack()


async def test_closing_gives_back_to_others(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as one:
        two = await opened(tmp_path / "q.db")
        await two.queue("q", visibility_timeout=HOUR_S).put(1)
        await take(two.queue("q"))
        waiting = asyncio.create_task(one.queue("q").get())
        await waits(one.queue("q"))
        await two.close()
        assert (await soon(waiting)).attempts == 1
