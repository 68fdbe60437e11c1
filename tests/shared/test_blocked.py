"""A program that blocks its loop holds up nobody, and keeps its leases."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.shared.places import share

LEASE_S = 1.0


async def test_a_blocked_program_holds_up_nobody_and_keeps_its_lease(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with asyncio.timeout(60), share(data) as broker:
        queue = broker.queue("q")
        await queue.put("held")
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.shared.blocked",
            str(data),
            str(LEASE_S),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdin is not None
        assert await process.stdout.readline() == b"taken held\n"
        # Three leases long, by the broker's own clock, nobody else is given the message, ...
        with pytest.raises(TimeoutError):
            await queue.get(timeout=3 * LEASE_S)
        # ... and everything else goes on.
        await queue.put("other")
        message = await queue.get(timeout=30)
        assert message.body == "other"
        await message.ack()
        process.stdin.write(b"\n")
        await process.stdin.drain()
        assert await process.stdout.readline() == b"acked\n"
        process.stdin.close()
        assert await process.wait() == 0
        assert (await queue.stats()).waiting == 0
