"""The wall clock set back and forward, within a life and across lives."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest

import posthouse
from posthouse.clock import SystemClock
from posthouse.model import NANOSECONDS
from tests.lab.process import clocks
from tests.lab.process.budget import LabLike, run_seeds

YEARS_NS = 10 * 365 * 24 * 3600 * NANOSECONDS
START_NS = 1_700_000_000 * NANOSECONDS


def test_clock_jumps(lab: LabLike, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", logger="posthouse")
    run_seeds(lab, "clocks", "clock jumps", clocks.run_clocks)


def test_the_jumps_are_far_and_both_ways() -> None:
    random = Random(1)
    drawn = [clocks.draw_shift_s(random) for _ in range(1000)]
    assert min(drawn) < -5 * clocks.YEAR_S
    assert max(drawn) > 5 * clocks.YEAR_S
    assert min(map(abs, drawn)) <= 1.0


@pytest.mark.parametrize("jump_ns", [-YEARS_NS, -NANOSECONDS, NANOSECONDS, YEARS_NS])
async def test_leases_and_order_survive_a_jump_across_a_restart(
    tmp_path: Path, jump_ns: int
) -> None:
    async def life(wall_ns: int, body: str) -> tuple[list[str], list[int], list[int], str]:
        clock = SystemClock(wall_ns=lambda: wall_ns)
        async with posthouse.open(str(tmp_path / "log"), clock=clock) as broker:
            queue = broker.queue("a", str)
            put = await queue.put(body)
            messages = await queue.get_many(10)
            found = [m.id for m in messages], [m.token for m in messages]
            attempts = [m.attempts for m in messages]
            # Nothing ran out: all can still be settled, by nobody else than by us.
            for message in messages:
                await message.extend(30.0)
                await message.nack(delay=0)
            assert queue.qsize() == len(messages)
            return *found, attempts, put

    first_ids, first_tokens, attempts, first = await life(START_NS, "one")
    assert attempts == [1]
    ids, tokens, attempts, second = await life(START_NS + jump_ns, "two")
    assert ids == [first, second]
    assert first_ids == [first]
    assert second > first
    assert min(tokens) > max(first_tokens)
    assert attempts == [2, 1]


@pytest.mark.parametrize("jump_ns", [-YEARS_NS, -NANOSECONDS, NANOSECONDS, YEARS_NS])
async def test_a_delay_does_not_wait_for_a_clock_that_was_set_back(
    tmp_path: Path, jump_ns: int
) -> None:
    """It waits as long as was asked for, at most, in the life after; not ten years."""
    directory = str(tmp_path / "log")
    async with posthouse.open(directory, clock=SystemClock(lambda: START_NS)) as broker:
        await broker.queue("a", str).put("later", delay=0.2)
        await broker.queue("a", str).put("in a year", delay=366 * 24 * 3600.0)
    clock = SystemClock(lambda: START_NS + jump_ns)
    async with posthouse.open(directory, clock=clock) as broker, asyncio.timeout(20.0):
        assert (await broker.queue("a", str).get()).body == "later"
        assert (await broker.queue("a", str).stats()).delayed == (jump_ns != YEARS_NS)
