"""A program that blocks its loop holds up nobody, and keeps its leases."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.shared.places import share

LEASE_S = 1.0


@contextlib.asynccontextmanager
async def blocked(data: Path, how: str, lease_s: float) -> AsyncIterator[None]:
    """A program that holds a message, and its loop up; at the end it settles it well."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "tests.shared.blocked",
        str(data),
        how,
        str(lease_s),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert await process.stdout.readline() == b"taken held\n"
    yield
    process.stdin.write(b"\n")
    await process.stdin.drain()
    assert await process.stdout.readline() == b"acked\n"
    process.stdin.close()
    assert await process.wait() == 0


async def test_a_blocked_program_keeps_its_lease(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with asyncio.timeout(60), share(data) as broker:
        queue = broker.queue("q")
        await queue.put("held")
        async with blocked(data, "get", LEASE_S):
            # Three leases long, by the broker's own clock, nobody else is given the message, ...
            with pytest.raises(TimeoutError):
                await queue.get(timeout=3 * LEASE_S)
            # ... and everything else goes on.
            await queue.put("other")
            message = await queue.get(timeout=30)
            assert message.body == "other"
            await message.ack()
        assert (await queue.stats()).waiting == 0


async def test_what_lies_unseen_with_a_blocked_program_goes_to_others(tmp_path: Path) -> None:
    data = tmp_path / "data"
    others = [str(number) for number in range(30)]
    async with asyncio.timeout(60), share(data) as broker:
        queue = broker.queue("q")
        await queue.put_many(["held", *others])
        async with blocked(data, "iterate", 600.0):
            found = []
            while len(found) < len(others):
                message = await queue.get()
                found.append(message.body)
                assert message.attempts == 1
                await message.ack()
            # What comes now might be pushed to the one that stands still: others get it.
            await queue.put("late")
            message = await queue.get()
            assert message.body == "late"
            await message.ack()
        assert sorted(found) == sorted(others)
        figures = await queue.stats()
        assert (figures.waiting, figures.in_flight) == (0, 0)
