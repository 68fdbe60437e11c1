"""Closed at every turn while calls stand in line: each must be told, whatever had just woken it."""

from __future__ import annotations

import asyncio

import pytest

from tests.lab.schedule.cancelling import Scene, new_world
from tests.lab.schedule.script import Over
from tests.lab.schedule.world import Kind

TURNS = 12


async def _close_after(on: Scene, turns: int) -> list[str]:
    """A put, a transaction and a publish in line for room; it comes, and the broker closes."""
    await on.enter()
    await on.script.bind("t", on.full, "#", True)
    await on.script.put(on.full)
    message = await on.take(on.full)
    calls = [
        await on.waiting(on.script.put(on.full)),
        await on.waiting(on.script.publish("t", "eu", timeout=None)),
        await on.waiting(on.script.transact([], [on.full], None)),
        await on.waiting(on.script.put(on.full)),
    ]
    await on.script.ack(message)
    await on.turns(turns)
    await on.broker.close()
    ends = await asyncio.gather(*calls, return_exceptions=True)
    return [repr(end) for end in ends if end is not None and not isinstance(end, Over)]


@pytest.mark.parametrize("kind", ["memory", "log"])
def test_who_stands_in_line_is_told_that_the_broker_closed(kind: Kind) -> None:
    for seed in range(20):
        for turns in range(TURNS):
            world = new_world(seed, kind)
            loop = world.new_loop()
            on = Scene(world, 0, "waiting")
            try:
                assert loop.run(_close_after(on, turns)) == []
            finally:
                world.end_loop()
            assert world.verdict() == []
