"""SIGTERM and SIGINT on a real worker process over a real directory."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

import posthouse

PROGRAM = """
import asyncio, sys
import posthouse

worker = posthouse.Worker(sys.argv[1], drain_timeout=float(sys.argv[2]))

@worker.task("orders", concurrency=1)
async def ship(order: str) -> None:
    print("started", order, flush=True)
    if order == "waits for a line":
        await asyncio.to_thread(sys.stdin.readline)
    elif order == "ignores its cancellation":
        while True:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                print("cancelled", flush=True)
    else:
        await asyncio.Event().wait()
    print("finished", order, flush=True)

worker.run_forever()
print("left", flush=True)
"""


@contextlib.asynccontextmanager
async def worker_on(
    directory: Path, *bodies: str, drain_timeout_s: float = 60
) -> AsyncIterator[asyncio.subprocess.Process]:
    """A worker process that has started on the first of the bodies."""
    async with posthouse.open(str(directory)) as broker:
        await broker.queue("orders").put_many(bodies)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM,
        str(directory),
        str(drain_timeout_s),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        assert await process.stdout.readline() == f"started {bodies[0]}\n".encode()
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def attempts_of_what_waits(directory: Path) -> dict[str, int]:
    """Body to attempt number of the next delivery, for every message that is left."""
    async with posthouse.open(str(directory)) as broker:
        orders = broker.queue("orders", str)
        waiting = (await orders.stats()).waiting
        if not waiting:
            return {}
        return {m.body: m.attempts for m in await orders.get_many(waiting, timeout=0)}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_first_signal_drains(tmp_path: Path, number: signal.Signals) -> None:
    directory = tmp_path / "data"
    async with worker_on(directory, "waits for a line", "is next") as process:
        process.send_signal(number)
        out, err = await process.communicate(b"go on\n")
    assert out == b"finished waits for a line\nleft\n"
    assert process.returncode == 0, err
    assert await attempts_of_what_waits(directory) == {"is next": 1}


async def test_after_the_drain_timeout_it_is_given_back(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with worker_on(directory, "never ends", drain_timeout_s=0) as process:
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
    assert out == b"left\n"
    assert process.returncode == 0, err
    assert await attempts_of_what_waits(directory) == {"never ends": 1}


async def test_the_second_signal_stops_hard(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with worker_on(directory, "never ends", drain_timeout_s=3600) as process:
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        out, err = await process.communicate()
    assert out == b"left\n"
    assert process.returncode == 0, err
    assert await attempts_of_what_waits(directory) == {"never ends": 1}


async def test_one_more_signal_ends_the_process(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    async with worker_on(directory, "ignores its cancellation", drain_timeout_s=0) as process:
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        assert await process.stdout.readline() == b"cancelled\n"
        process.send_signal(signal.SIGTERM)
        await process.communicate()
    assert process.returncode == -signal.SIGTERM
    # It died with the message in hand: that delivery counts.
    assert await attempts_of_what_waits(directory) == {"ignores its cancellation": 2}


async def test_a_handler_that_ignores_its_cancellation_does_not_keep_the_process(
    tmp_path: Path,
) -> None:
    directory = tmp_path / "data"
    async with worker_on(directory, "ignores its cancellation", drain_timeout_s=0) as process:
        process.send_signal(signal.SIGTERM)
        out, err = await process.communicate()
    assert out == b"cancelled\nleft\n"
    assert b"ignores its cancellation at" in err
    assert process.returncode == 0, err
    assert await attempts_of_what_waits(directory) == {"ignores its cancellation": 1}
