"""Groups, refusals, locks, a full disk, and what a call that fails does to the others."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posthouse.backends.sqlite import opening, place, whole, writer
from posthouse.errors import BrokerBug, QueueFull, StorageFailed, StorageFull, UnknownOutcome
from posthouse.testing.cases.base import drain, soon, take, waits
from tests.backends.sqlite.places import opened


def count_begun(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list that grows with each transaction: it begins and commits patiently."""
    begun: list[str] = []

    def counting(call: Callable[[], Any], path: str, timeout_s: float, *rest: Any) -> Any:
        begun.append(path)
        return opening.patiently(call, path, timeout_s, *rest)

    monkeypatch.setattr(writer, "patiently", counting)
    return begun


async def test_calls_that_wait_share_a_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "q.db") as broker:
        queue = broker.queue("q")
        await queue.put("first")
        begun = count_begun(monkeypatch)
        ids = await asyncio.gather(*(queue.put(number) for number in range(500)))
    assert ids == sorted(set(ids))
    assert len(begun) < 50, "each transaction begins and commits patiently"


async def test_one_refused_call_does_not_fail_the_others(tmp_path: Path) -> None:
    async with opened(tmp_path / "q.db") as broker:
        full = broker.queue("full", max_messages=3, overflow="reject")
        free = broker.queue("free")
        puts = [full.put(n) for n in range(10)] + [free.put(n) for n in range(10)]
        ends = await asyncio.gather(*puts, return_exceptions=True)
        assert [isinstance(end, QueueFull) for end in ends] == [False] * 3 + [True] * 7 + [
            False
        ] * 10
        assert await drain(full) == [0, 1, 2]
        assert await drain(free) == list(range(10))


async def test_a_call_that_fails_in_an_unknown_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> int:
        raise ZeroDivisionError("planted")

    async with opened(tmp_path / "q.db") as broker:
        queue = broker.queue("q")
        await queue.put_many(range(5))
        held = await queue.get_many(3)
        monkeypatch.setattr(whole, "purge", broken)
        ends = await asyncio.gather(
            queue.put("before"), queue.purge(), queue.put("after"), return_exceptions=True
        )
        assert [type(end) for end in ends] == [str, BrokerBug, str]
        await queue.ack_many(held)
        assert await drain(queue) == [3, 4, "before", "after"]


async def test_a_lock_of_another_process_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path) as broker:
        queue = broker.queue("q")
        await queue.put(1)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        putting = asyncio.create_task(queue.put(2))
        await asyncio.sleep(0.05)
        assert not putting.done()
        other.execute("ROLLBACK")
        await soon(putting)
        other.close()
        assert await drain(queue) == [1, 2]


async def test_a_lock_that_stays_is_told_and_survived(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path, lock_timeout_s=0.05) as broker:
        queue = broker.queue("q")
        await queue.put(1)
        message = await take(queue)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        for call in (queue.put(2), message.ack()):
            with pytest.raises(StorageFailed, match="locked for 0.05 seconds"):
                await soon(call)
        other.execute("ROLLBACK")
        other.close()
        message.settled = None
        await message.ack()
        assert await drain(queue) == []


async def test_closing_ends_even_if_nothing_can_be_given_back(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    broker = await opened(path, lock_timeout_s=0.05)
    queue = broker.queue("q", visibility_timeout=3600)
    await queue.put(1)
    await take(queue)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    await soon(broker.close())
    other.execute("ROLLBACK")
    other.close()
    async with opened(path) as again:
        message = await take(again.queue("q"))
        assert message.attempts == 2, "as if its process had died"


async def test_a_failed_write_stops_the_broker_and_tells_everybody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "q.db"
    broker = await opened(path)
    queue = broker.queue("q")
    await queue.put("stored")
    waiting = asyncio.create_task(broker.queue("empty").get())
    await waits(queue)
    patiently = opening.patiently
    calls = 0

    def failing(call: Callable[[], Any], where: str, timeout_s: float, *rest: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:  # the first is BEGIN
            error = sqlite3.OperationalError("disk I/O error")
            error.sqlite_errorcode = sqlite3.SQLITE_IOERR
            raise error
        return patiently(call, where, timeout_s, *rest)

    monkeypatch.setattr(writer, "patiently", failing)
    ends = await asyncio.gather(queue.put(1), queue.put(2), return_exceptions=True)
    assert {type(end) for end in ends} <= {UnknownOutcome, StorageFailed}
    assert UnknownOutcome in {type(end) for end in ends}
    with pytest.raises(StorageFailed):
        await soon(waiting)
    with pytest.raises(StorageFailed):
        await queue.put(3)
    await soon(broker.close())
    monkeypatch.undo()
    async with opened(path) as again:
        assert await drain(again.queue("q")) == ["stored"]


async def test_a_full_disk_changes_nothing_and_passes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connections: list[sqlite3.Connection] = []
    real = opening.open_database

    def small(path: str, timeout_s: float) -> sqlite3.Connection:
        connections.append(real(path, timeout_s))
        connections[-1].execute("PRAGMA max_page_count=200")
        return connections[-1]

    monkeypatch.setattr(place, "open_database", small)
    async with opened(tmp_path / "q.db") as broker:
        queue = broker.queue("q")
        stored = 0
        with pytest.raises(StorageFull):
            for _ in range(100):
                await queue.put_many([b"x" * 1000] * 20)
                stored += 20
        assert stored > 0
        ends = await asyncio.gather(
            queue.put_many([b"y" * 1000] * 200), queue.put(b"z"), return_exceptions=True
        )
        assert isinstance(ends[0], StorageFull)
        stored += isinstance(ends[1], str)
        assert await waits(queue) == stored
        # What is there can be taken and settled, and makes room.
        await queue.ack_many(await queue.get_many(60))
        await queue.put_many([b"x" * 1000] * 20)
        assert await waits(queue) == stored - 40


async def test_the_wal_stays_small(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    body = b"x" * 10_000
    async with opened(path) as broker:
        queue = broker.queue("q")
        iterator = aiter(queue)  # and somebody who reads
        for _ in range(40):
            await queue.put_many([body] * 100)
            await (await anext(iterator)).ack()
            await queue.find("priority == 1")
            await queue.purge()
        most = 2 * opening.CHECKPOINT_PAGES * 4096
        assert (tmp_path / "q.db-wal").stat().st_size < most, "40 MB went through it"
        assert path.stat().st_size < most, "and what they left was used again"


async def test_a_put_and_who_waits_for_it_are_one_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with opened(tmp_path / "q.db") as broker:
        queue = broker.queue("q")
        waiting = [asyncio.create_task(queue.get()) for _ in range(50)]
        await waits(queue)  # they wait in the writer by now
        begun = count_begun(monkeypatch)
        await queue.put_many(range(50))
        found = [(await soon(task)).body for task in waiting]
    assert found == list(range(50))
    assert len(begun) <= 6, "BEGIN and COMMIT of the put, and of the end"


async def test_a_call_cancelled_before_it_began_is_not_done(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    async with opened(path) as broker:
        queue = broker.queue("q")
        await queue.put(1)
        other = sqlite3.connect(path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        first = asyncio.create_task(queue.put("under way"))
        await asyncio.sleep(0.05)
        second = asyncio.create_task(queue.put("never"))
        await asyncio.sleep(0)
        second.cancel()
        await asyncio.wait([second])
        other.execute("ROLLBACK")
        other.close()
        await soon(first)
        assert await drain(queue) == [1, "under way"]
