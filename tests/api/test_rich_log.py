"""Keys, times, dedup ids and topics on the log: what only its files and its clock can show."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.testing.cases.again import churn
from posthouse.testing.cases.base import drain, take
from posthouse.testing.clock import START_NS, ManualClock

DAY_S = 24 * 3600
SMALL = {"segment_bytes": 65536}


def segments(directory: Path) -> set[str]:
    return {path.name for path in directory.glob("*.seg")}


def opened(directory: Path, at_s: float = 0.0, **options: Any) -> tuple[Any, ManualClock]:
    clock = ManualClock(START_NS + int(at_s * 10**9))
    return posthouse.open(str(directory), clock=clock, **options), clock


async def test_a_body_that_goes_to_many_queues_is_stored_once(tmp_path: Path) -> None:
    marker = b"only-once" + b"x" * 20_000
    async with posthouse.open(str(tmp_path / "data")) as broker:
        topic = broker.topic("t")
        for number in range(50):
            await broker.queue(f"q{number}").bind(topic)
        assert len(await topic.publish(marker)) == 50
    data = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir() if path.is_file())
    assert data.count(b"only-once") == 1
    async with posthouse.open(str(tmp_path / "data")) as broker:
        for number in range(50):
            assert await drain(broker.queue(f"q{number}")) == [marker]


async def test_dedup_ids_and_bindings_outlive_their_segments(tmp_path: Path) -> None:
    place = tmp_path / "data"
    async with posthouse.open(str(place), **SMALL) as broker:
        queue = broker.queue("q")
        await queue.bind(broker.topic("t"), "a.#")
        first = await queue.put("body", dedup="x")
        await (await take(queue)).ack(durable=True)
        before = segments(place)
        await churn(broker)
        assert before
        assert not before & segments(place), "the segments of that time are gone"
    for _ in range(3):
        async with posthouse.open(str(place), **SMALL) as broker:
            assert await broker.queue("q").put("again", dedup="x") == first
            assert await broker.topic("t").bindings() == [("q", "a.#")]
            before = segments(place)
            await churn(broker)
            assert before
            assert not before & segments(place)


async def test_copies_keep_their_segment_until_the_last_is_settled(tmp_path: Path) -> None:
    place = tmp_path / "data"
    async with posthouse.open(str(place), **SMALL) as broker:
        one, two = broker.queue("one"), broker.queue("two")
        for queue in (one, two):
            await queue.bind(broker.topic("t"))
        await broker.topic("t").publish("body")
        await (await take(one)).ack(durable=True)
        await churn(broker)
    async with posthouse.open(str(place), **SMALL) as broker:
        assert await drain(broker.queue("two")) == ["body"], "its body is in the other's put"
        before = segments(place)
        await churn(broker)
        assert before
        assert not before & segments(place)


@pytest.mark.parametrize("jump_s", [-3650 * DAY_S, -1000.0, -1.0, 1.0, 100.0])
async def test_a_clock_that_jumps_while_closed(tmp_path: Path, jump_s: float) -> None:
    """Early by no more than the jump; nothing is lost, stalls or expires in masses."""
    broker, clock = opened(tmp_path / "data")
    async with broker:
        queue = broker.queue("q", dedup_window=600)
        first = await queue.put("plain", dedup="x", ttl=3000)
        await queue.put_many(range(20), ttl=3000)
        await queue.put("later", delay=2000)
    broker, clock = opened(tmp_path / "data", jump_s)
    async with broker:
        queue = broker.queue("q")
        assert await queue.put("again", dedup="x") == first
        await asyncio.sleep(0)
        assert await drain(queue) == ["plain", *range(20)]
        stats = await queue.stats()
        assert (stats.delayed, stats.expired) == (1, 0)
        # Of its 2,000 seconds those of a jump forward are over, and none of a jump back.
        clock.advance(2000 - max(jump_s, 0) - 1)
    broker, clock = opened(tmp_path / "data", jump_s + 2000 - max(jump_s, 0) - 1)
    async with broker:
        if jump_s > 0:
            assert await drain(broker.queue("q")) == []
        assert (await broker.queue("q").stats()).delayed == 1
        clock.advance(2)
        await broker.queue("q").put("first of another turn")
        # The engine's own timers sleep in real time; a reopening looks at once.
    broker, clock = opened(tmp_path / "data", max(jump_s, 0) + 2001 + 10)
    async with broker:
        assert sorted(await drain(broker.queue("q"))) == ["first of another turn", "later"]


async def test_a_jump_forward_expires_what_it_covers(tmp_path: Path) -> None:
    broker, _ = opened(tmp_path / "data")
    async with broker:
        queue = broker.queue("q")
        await queue.put("short", ttl=10)
        await queue.put("long", ttl=100)
        await queue.put("held back", key="k", delay=5)
        await queue.put("behind it", key="k")
    broker, _ = opened(tmp_path / "data", 50)
    async with broker:
        assert await drain(broker.queue("q")) == ["long", "held back", "behind it"]
        dead = await take(broker.queue("q.dead"))
        assert (dead.body, dead.headers["posthouse-reason"]) == ("short", "expired")


async def test_room_for_settlements_is_kept_for_copies(tmp_path: Path) -> None:
    """So many copies that their acks need more room than a segment has beside."""
    async with posthouse.open(str(tmp_path / "data"), **SMALL) as broker:
        topic = broker.topic("t")
        queues = [broker.queue(f"q{number}") for number in range(40)]
        for queue in queues:
            await queue.bind(topic)
        for _ in range(3):
            for _ in range(100):
                await topic.publish(b"x" * 100)
            for queue in queues:
                for message in await queue.get_many(100):
                    await message.ack()
        assert all(stats.waiting == 0 for stats in await broker.stats())
    async with posthouse.open(str(tmp_path / "data"), **SMALL) as broker:
        assert all(stats.waiting == 0 for stats in await broker.stats())
