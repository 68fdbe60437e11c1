"""Compaction: what lives in old segments does not keep them, and stays what it was."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

import posthouse
from posthouse.journal.log import LogOptions
from posthouse.testing.cases.base import drain, soon
from posthouse.testing.clock import START_NS
from posthouse.testing.simdisk import SimDisk
from posthouse.testing.simloop import SimLoop
from tests.journal.rebuilding import image_of, rebuilt, replayed
from tests.lab.disk.lives import open_broker

SEGMENT = 65536
SMALL: dict[str, Any] = {"segment_bytes": SEGMENT, "spares": 0, "compact_bytes_s": 1 << 40}
MESSAGE_BYTES = 64  # with its share of records and frames


def _disk_bytes(directory: Path) -> int:
    total = 0
    for path in directory.glob("*.seg"):
        with contextlib.suppress(FileNotFoundError):  # it has just left
            total += path.stat().st_size
    return total


async def _until(what: Callable[[], bool] | Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(30):
        while True:
            answer = what()
            if (answer if isinstance(answer, bool) else await answer) is True:
                return
            await asyncio.sleep(0.01)


async def _bounded(broker: posthouse.Broker, directory: Path) -> bool:
    stats = await broker.stats()
    live = sum(each.waiting + each.delayed + each.in_flight for each in stats)
    lives = sum(each.size_bytes for each in stats) + MESSAGE_BYTES * live
    return _disk_bytes(directory) <= 2 * lives + 2 * SEGMENT


async def _churn(queue: posthouse.Queue[Any], count: int) -> None:
    for _ in range(count):
        await queue.put_many([b"x" * 200] * 50)
        await queue.ack_many(await soon(queue.get_many(50)))


@pytest.mark.parametrize("cache_bytes", [0, 1 << 26])
async def test_one_message_never_settled_pins_nothing(tmp_path: Path, cache_bytes: int) -> None:
    options = SMALL | {"cache_bytes": cache_bytes}
    directory = tmp_path / "data"
    async with posthouse.open(str(directory), **options) as broker:
        old = broker.queue("old")
        await old.put_many([b"first", b"second", b"third"], headers={"n": "1"})
        await old.put(b"delayed", delay=3600)
        await broker.queue("keyed").put(b"keyed", key="k", dedup="d")
        for ttl in (None, 7200):
            await broker.queue("later").put(b"later", key="k", delay=3600, ttl=ttl)
        await broker.queue("dead").put(b"was dead")
        await (await soon(broker.queue("dead").get())).reject("no good")
        held = await soon(old.get())
        failed = await soon(old.get())
        await failed.nack(delay=0)
        given = await soon(old.get())  # again, the same one
        await given.give_back()
        for _ in range(8):
            await _churn(broker.queue("busy"), 10)
            await _until(lambda: _bounded(broker, directory))
        assert len(list(directory.glob("*.seg"))) <= 3
        assert not (directory / "00000001.seg").exists()
        crashed = image_of(directory)
        await held.ack()
        assert await broker.queue("keyed").put(b"again", dedup="d") is not None
    async with posthouse.open(str(directory), **options) as broker:
        found = [
            (m.body, m.attempts, m.headers.get("n")) for m in await broker.queue("old").peek(9)
        ]
        assert found == [(b"second", 1, "1"), (b"third", 0, "1")]
        assert (await broker.queue("old").stats()).delayed == 1
        assert (await broker.queue("later").stats()).delayed == 1  # the other is in its line
        assert [m.body for m in await broker.queue("keyed").find("key == 'k'")] == [b"keyed"]
        assert (await broker.queue("keyed").stats()).waiting == 1
        dead = await soon(broker.queue("dead.dead").get())
        assert dead.body == b"was dead"
        assert "no good" in dead.headers.values()
    log_options = LogOptions(segment_bytes=SEGMENT)
    now = replayed(crashed, log_options, 1).state[1]
    state = rebuilt(crashed, log_options, now).state
    assert state == replayed(crashed, log_options, now).state
    (attempts,) = [row[6] for row in state[0].values() if row[0] == "old"]
    assert attempts == {int(held.id, 16): 1, int(failed.id, 16): 1}


@pytest.mark.parametrize("seed", range(4))
async def test_any_mix_stays_within_the_bound_and_is_kept(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    options = SMALL | {"cache_bytes": rng.choice([0, 1 << 26])}
    directory = tmp_path / "data"
    expected: list[bytes] = []
    async with posthouse.open(str(directory), **options) as broker:
        queue = broker.queue("q", retry=posthouse.Retry(max_attempts=100))
        for number in range(120):
            bodies = [b"%d-%d " % (number, each) + b"y" * rng.randrange(300) for each in range(20)]
            await queue.put_many(bodies)
            expected += bodies
            for message in await soon(queue.get_many(25)):
                if rng.random() < 0.8:
                    await message.ack()
                    expected.remove(message.body)
                else:
                    await message.nack(delay=0)
            if number % 40 == 39:
                await _until(lambda: _bounded(broker, directory))
    image = image_of(directory)
    log_options = LogOptions(segment_bytes=SEGMENT)
    now = replayed(image, log_options, 1).state[1]
    assert rebuilt(image, log_options, now).state == replayed(image, log_options, now).state
    async with posthouse.open(str(directory), **options) as broker:
        assert await drain(broker.queue("q")) == expected


@pytest.mark.parametrize("body_bytes", [25_000, 30_000, 31_000, 32_000, 33_000])
@pytest.mark.parametrize("count", [5, 12, 40])
def test_bodies_that_do_not_pack_are_not_copied_for_ever(body_bytes: int, count: int) -> None:
    disk, loop = SimDisk(), SimLoop(1, start_ns=START_NS)
    options = LogOptions(segment_bytes=SEGMENT, cache_bytes=0, marker_idle_s=0.01)

    async def main() -> None:
        broker = await open_broker(disk, options, loop, random.Random(1))
        for number in range(count):
            await broker.queue(f"old{number % 4}").put(b"%05d" % number + b"x" * body_bytes)
        await _churn(broker.queue("busy"), 12)
        await asyncio.sleep(60)
        before = disk.count
        await asyncio.sleep(600)
        assert disk.count == before  # and not a write each 1.5 ms
        # It rests only until there is something to gain again.
        names = [f"old{number}" for number in range(4)]
        for name in names[1:]:
            await drain(broker.queue(name))
        await _churn(broker.queue("busy"), 1)
        await asyncio.sleep(60)
        log_bytes = sum(len(data) for path, data in disk.image().items() if path.endswith(".seg"))
        lives = (await broker.queue("old0").stats()).size_bytes
        assert log_bytes <= 2 * lives + 2 * SEGMENT
        await broker.close()

    try:
        loop.run(main())
    finally:
        loop.close()


@pytest.mark.parametrize("spares", [0, 2, 8])
async def test_the_spares_are_within_the_bound(tmp_path: Path, spares: int) -> None:
    options = SMALL | {"spares": spares, "cache_bytes": 0}
    directory = tmp_path / "data"

    async def bounded(broker: posthouse.Broker) -> bool:
        stats = await broker.stats()
        lives = sum(each.size_bytes + MESSAGE_BYTES * each.waiting for each in stats)
        total = sum(_size(path) for path in directory.iterdir() if _is_of_log(path))
        return total <= 2 * lives + 3 * SEGMENT

    async with posthouse.open(str(directory), **options) as broker:
        olds = [broker.queue(f"old{number}") for number in range(10)]
        for _ in range(10):
            for old in olds:
                await old.put_many([b"z" * 500] * 10)
            await _churn(broker.queue("busy"), 10)
        await _until(lambda: bounded(broker))
        # What lived is let go: so are the files that came to be free.
        for old in olds:
            await old.ack_many(await soon(old.get_many(1000)))
        await _churn(broker.queue("busy"), 1)
        await _until(lambda: bounded(broker))


def _is_of_log(path: Path) -> bool:
    return path.suffix == ".seg" or path.name.startswith("spare-")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0  # it has just left


@pytest.mark.parametrize("cache_bytes", [0, 1 << 26])
async def test_what_is_settled_while_it_is_copied_stays_settled(
    tmp_path: Path, cache_bytes: int
) -> None:
    directory = tmp_path / "data"
    options = SMALL | {"cache_bytes": cache_bytes, "compact_share": 1.0}
    gone: set[bytes] = set()
    async with posthouse.open(str(directory), **options) as broker:
        queue, busy = broker.queue("q"), broker.queue("busy")
        for number in range(30):
            await queue.put_many([b"%d-%d " % (number, each) + b"z" * 200 for each in range(20)])

        async def consume() -> None:
            # All the time, so that there is no moment of the copying in which nothing is settled.
            for _ in range(150):
                message = await soon(queue.get())
                await message.ack(durable=True)
                gone.add(message.body)

        await asyncio.gather(consume(), consume(), _churn(busy, 60))
        crashed = image_of(directory)
    log_options = LogOptions(segment_bytes=SEGMENT)
    for image in (crashed, image_of(directory)):
        now = replayed(image, log_options, 1).state[1]
        state = rebuilt(image, log_options, now).state
        bodies = [entry[2] for row in state[0].values() if row[0] == "q" for entry in row[4]]
        assert len(bodies) == len(set(bodies)) == 600 - len(gone)
        assert not gone & set(bodies)
        assert state == replayed(image, log_options, now).state
