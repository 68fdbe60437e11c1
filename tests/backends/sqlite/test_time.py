"""The database's time: it goes on from where it was, for all who share it."""

from __future__ import annotations

from pathlib import Path

import pytest

from posthouse.testing.cases.base import drain, take
from posthouse.testing.clock import START_NS, ManualClock
from tests.backends.sqlite.places import opened

DAY_NS = 24 * 3600 * 10**9


@pytest.mark.parametrize("back_ns", [0, 10**9, 400 * DAY_NS])
async def test_a_clock_that_was_set_back_brings_no_old_times(tmp_path: Path, back_ns: int) -> None:
    path = tmp_path / "q.db"
    async with opened(path, clock=ManualClock()) as broker:
        first = await broker.queue("q").put("first")
        await broker.queue("q").put("later", delay=10)
    clock = ManualClock(START_NS - back_ns)
    async with opened(path, clock=clock) as broker:
        queue = broker.queue("q")
        assert await queue.put("second") > first
        assert await drain(queue) == ["first", "second"]
        clock.advance(9)
        assert (await queue.stats()).delayed == 1
        clock.advance(2)
        assert await drain(queue) == ["later"]


async def test_two_who_disagree_share_the_later_time(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    slow, fast = ManualClock(START_NS - DAY_NS), ManualClock()
    async with opened(path, clock=fast) as ahead, opened(path, clock=slow) as behind:
        one = await ahead.queue("q").put(1)
        two = await behind.queue("q").put(2)
        three = await ahead.queue("q").put(3)
        assert one < two < three
        assert [message.body for message in await behind.queue("q").get_many(9)] == [1, 2, 3]


async def test_a_little_back_is_a_standstill(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    behind = ManualClock(START_NS - 10**6)
    async with opened(path, clock=ManualClock()) as one, opened(path, clock=behind) as two:
        await one.queue("q").put("later", delay=1)
        for _ in range(50):
            await two.queue("other").put(1)
            await one.queue("other").put(1)
        behind.advance(1)
        # Had the difference been added each time, this would have been due long ago.
        assert await drain(two.queue("q")) == []
        behind.advance(0.002)
        assert await drain(two.queue("q")) == ["later"]


async def test_a_clock_set_ahead_ends_leases_and_delays(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    clock = ManualClock()
    async with opened(path, clock=clock) as broker:
        queue = broker.queue("q", visibility_timeout=30)
        await queue.put(1)
        await queue.put(2, delay=3600)
        stale = await take(queue)
        clock.advance(3601)
        found = await queue.get_many(9)
        assert [(m.body, m.attempts) for m in found] == [(1, 2), (2, 1)]
        port = queue.port
        assert not port.holds(stale.token, stale.number)
        assert port.holds(found[0].token, found[0].number)


async def test_rates_outlive_who_took(tmp_path: Path) -> None:
    path = tmp_path / "q.db"
    clock = ManualClock()
    async with opened(path, clock=clock) as broker:
        await broker.queue("q", rate="1/h").put_many([1, 2, 3])
        assert await drain(broker.queue("q")) == [1]
    async with opened(path, clock=clock) as broker:
        assert await drain(broker.queue("q")) == []
        clock.advance(3600)
        assert await drain(broker.queue("q")) == [2]
        await broker.queue("k", rate_per_key="1/h").put_many([1, 2], key="k")
        assert await drain(broker.queue("k")) == [1]
    async with opened(path, clock=clock) as broker:
        assert await drain(broker.queue("k")) == []
        clock.advance(3600)
        assert await drain(broker.queue("k")) == [2]
