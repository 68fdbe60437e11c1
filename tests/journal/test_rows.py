"""What a log tells of messages with traits: rows are made of it, and no message is read."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.core.pages import Page
from posthouse.core.rebuild import Rebuild
from posthouse.core.state import BrokerState
from posthouse.journal.log import LogOptions, open_log
from posthouse.model import NANOSECONDS
from posthouse.records import Entry
from posthouse.testing.cases.base import soon
from posthouse.testing.simdisk import SimDisk
from tests.journal.rebuilding import DIRECTORY, Image, image_of, rebuilt, replayed

SMALL: dict[str, Any] = {"segment_bytes": 65536, "cache_bytes": 20_000}
OPTIONS = LogOptions(**SMALL)
DAY_NS = 24 * 3600 * NANOSECONDS
SEEDS = range(6)


def _options(rng: random.Random) -> dict[str, Any]:
    """Traits, of every kind and in every company."""
    found: dict[str, Any] = {}
    if rng.random() < 0.5:
        found["priority"] = rng.randrange(4)
    if rng.random() < 0.4:
        found["ttl"] = rng.choice((3_600, 90_000)) + rng.randrange(100)
    if rng.random() < 0.3:
        found["delay"] = rng.choice((3_600, 90_000)) + rng.randrange(100)
    if rng.random() < 0.15:
        found["key"] = f"k{rng.randrange(3)}"
    if rng.random() < 0.1:
        found["dedup"] = f"d{rng.randrange(1 << 40)}"
    return found


async def _settle(queue: posthouse.Queue[Any], rng: random.Random) -> None:
    """Of what may be had, some is acked, some comes back or goes, some stays in flight."""
    for message in await soon(queue.get_many(12)):
        fate = rng.randrange(6)
        if fate < 2:
            await message.ack(durable=True)
        elif fate == 2:
            await message.nack(delay=rng.choice((0, 3_600, 90_000)))
        elif fate == 3:
            await message.reject("no good")
        elif fate == 4:
            await message.give_back()


async def _lived(directory: Path, seed: int, compact_bytes_s: int = 0) -> Image:
    """The log of a few queues of every order, as a crash leaves it."""
    rng = random.Random(seed)
    options = SMALL | {"compact_bytes_s": compact_bytes_s}
    async with posthouse.open(str(directory), **options) as broker:
        orders: tuple[Any, ...] = ("fifo", "lifo", "priority")
        queues = [
            broker.queue(order, order=order, retry=posthouse.Retry(max_attempts=2))
            for order in orders
        ]
        queues.append(broker.queue("fair", fair=True))
        for _ in range(60):
            queue = rng.choice(queues)
            bodies = [b"x" * rng.randrange(300) for _ in range(rng.choice((1, 1, 7, 40)))]
            options = _options(rng)
            if queue.name != "priority":
                options.pop("priority", None)
            if "dedup" in options or len(bodies) == 1:
                await queue.put(bodies[0], **options)
            else:
                await queue.put_many(bodies, **options)
            await queue.put(b"one that may be had")
            if rng.random() < 0.5:
                await _settle(queue, rng)
        async with asyncio.timeout(20):
            while not all(
                path.with_suffix(".ckp").exists()
                for path in sorted(directory.glob("*.seg"))[:-1]
                if path.exists()
            ):
                await asyncio.sleep(0)
            await broker.queue("fifo").put(b"the last")
        return image_of(directory)


def _now(image: Image) -> int:
    return int(replayed(image, OPTIONS, 1).state[1])


def _agree(image: Image) -> None:
    bare = {path: data for path, data in image.items() if not path.endswith(".ckp")}
    some = {path: data for path, data in image.items() if not path.endswith("2.ckp")}
    now = _now(image)
    for at in (now, now + DAY_NS // 2, now + 2 * DAY_NS):
        expected = replayed(image, OPTIONS, at).state
        assert rebuilt(image, OPTIONS, at).state == expected
        assert rebuilt(bare, OPTIONS, at).state == expected
        assert rebuilt(some, OPTIONS, at).state == expected


@pytest.mark.parametrize("seed", SEEDS)
async def test_an_opening_by_rows_is_an_opening_by_all_records(tmp_path: Path, seed: int) -> None:
    image = await _lived(tmp_path / "data", seed)
    assert sum(path.endswith(".ckp") for path in image) >= 2
    _agree(image)


@pytest.mark.parametrize("seed", SEEDS)
async def test_with_what_was_carried_too(tmp_path: Path, seed: int) -> None:
    _agree(await _lived(tmp_path / "data", seed, compact_bytes_s=1 << 30))


async def test_no_message_is_read_for_its_priority_its_time_to_live_or_its_delay(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "data"
    async with posthouse.open(str(directory), compact_bytes_s=0, **SMALL) as broker:
        queue = broker.queue("q", order="priority")
        for number in range(60):
            await queue.put_many([b"x" * 100] * 20, priority=number % 7, ttl=900 + number)
            await queue.put(b"later", delay=3_600, priority=1)
            (message,) = await soon(queue.get_many(1))
            await message.ack(durable=True)
        kept = await soon(queue.get_many(3))
        await kept[0].nack(delay=5_000)
        await kept[1].nack()
        await queue.put(b"behind all that", priority=1)
        image = image_of(directory)
    now = _now(image)
    for each in (image, {path: data for path, data in image.items() if path[-4:] != ".ckp"}):
        state = BrokerState()
        rebuild = Rebuild(state)
        disk = SimDisk(each)
        log = open_log(DIRECTORY, disk, OPTIONS, rebuild.apply, now, sink=rebuild)

        def read(number: int, page: Page) -> list[Entry]:
            raise AssertionError("a message was read")

        rebuild.materialise(read, now)
        rebuild.finish(now)
        log.abandon()
        (found,) = state.queues.values()
        assert found.cold is not None
        assert (found.cold.count, found.live) == (60 * 20 + 1, 60 * 20 + 1)
        assert len(found.cold.delayed) == 60 + 2
