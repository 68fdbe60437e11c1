"""What came back or moved leaves memory too, by a copy, and nothing of it is lost or told twice."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random
from typing import Any

import pytest

import posthouse
from posthouse.errors import LeaseExpired
from posthouse.journal.log import LogOptions
from posthouse.testing.cases.base import soon
from tests.journal.rebuilding import image_of, rebuilt, replayed

SEGMENT = 64 * 1024
TINY: dict[str, Any] = {"cache_bytes": 0, "segment_bytes": SEGMENT}


async def _quiet(broker: posthouse.Broker) -> None:
    """Let what is on its way be durable, and what follows from it begin."""
    for _ in range(4):
        await broker.queue("pulse").put(b"")


async def _drained(queue: posthouse.Queue[Any]) -> list[bytes]:
    found: list[bytes] = []
    while True:
        try:
            message = await queue.get(timeout=0)
        except TimeoutError:
            return found
        found.append(message.raw)
        await message.ack()


async def test_dead_letters_are_on_disk_and_whole(tmp_path: Path) -> None:
    bodies = [b"%03d" % number for number in range(200)]
    async with posthouse.open(str(tmp_path), **TINY) as broker:
        queue, dead = broker.queue("q"), broker.queue("q.dead")
        await queue.put_many(bodies, headers={"own": "kept"})
        for message in await soon(queue.get_many(200)):
            await message.reject("no good")
        await _quiet(broker)
        assert [m.raw for m in await dead.peek(3)] == bodies[:3]
        found = [m async for m in dead.find("headers['posthouse-reason'] == 'no good'")]
        assert sorted(m.raw for m in found) == bodies
        assert await dead.redrive(150) == 150
        assert (await dead.stats()).waiting == 50
        again = await _drained(queue)
        assert sorted(again) == bodies[:150]
    async with posthouse.open(str(tmp_path), **TINY) as broker:
        left = await soon(broker.queue("q.dead").get())
        assert left.raw == bodies[150]
        assert (left.headers["own"], left.headers["posthouse-origin"]) == ("kept", "q")
        await left.ack()
        assert await _drained(broker.queue("q.dead")) == bodies[151:]


async def test_what_was_put_off_is_on_disk_and_keeps_its_attempts(tmp_path: Path) -> None:
    bodies = [b"%03d" % number for number in range(300)]
    async with posthouse.open(str(tmp_path), **TINY) as broker:
        queue = broker.queue("q")
        await queue.put_many(bodies)
        for message in await soon(queue.get_many(300)):
            await message.nack(delay=3600)
        await _quiet(broker)
        assert (await queue.stats()).delayed == 300
        assert await queue.find("attempts == 1").delay(0) == 300
        taken = await soon(queue.get_many(300))
        assert [(m.raw, m.attempts) for m in taken] == [(body, 2) for body in bodies[: len(taken)]]


@pytest.mark.parametrize("seed", range(20))
async def test_what_is_found_again_is_what_was_there(tmp_path: Path, seed: int) -> None:
    rng = Random(seed)
    order: Any = rng.choice(["fifo", "priority", "lifo", "fair", "fair"])
    keys = rng.choice([(None,), (None, None, None, "a", "b")])
    async with posthouse.open(str(tmp_path), **TINY) as broker:
        fair = order == "fair"
        queue = broker.queue("q", fair=fair, order="fifo" if fair else order)
        dead = broker.queue("q.dead")
        for _ in range(40):
            await _something(rng, queue, dead, keys)
        await _quiet(broker)
        image = image_of(tmp_path)
        options = LogOptions(segment_bytes=SEGMENT)
        now_ns = replayed(image, options, 1).state[1]
        assert rebuilt(image, options, now_ns).state == replayed(image, options, now_ns).state


async def _something(
    rng: Random,
    queue: posthouse.Queue[Any],
    dead: posthouse.Queue[Any],
    keys: tuple[str | None, ...],
) -> None:
    at = rng.random()
    if at < 0.4:
        bodies = [rng.randbytes(50)] * rng.randrange(1, 30)
        await queue.put_many(bodies, key=rng.choice(keys))
        return
    if at < 0.5:
        await dead.redrive(rng.randrange(1, 20))
        return
    try:
        held = await (queue if at < 0.85 else dead).get_many(rng.randrange(1, 30), timeout=0)
    except TimeoutError:
        return
    for message in held:
        verb = rng.randrange(4)
        try:
            if verb == 0:
                await message.ack()
            elif verb == 1:
                await message.nack(delay=rng.choice([0, 0.001, 3600]))
            elif verb == 2:
                await message.reject("no good")
            else:
                await message.give_back()
        except LeaseExpired:
            pass
    await asyncio.sleep(0)
