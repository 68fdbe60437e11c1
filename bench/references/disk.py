"""The bare disk: appending as fast as it goes, and one write with its fdatasync.

A thread that writes beside a loop which computes in slices of less than the switch interval
(5 ms) can starve for many seconds: it asks for the GIL only when it has waited a whole interval
without being woken, and every turn of the loop wakes it, a little too late to get it. Seen here:
12 to 59 s for one write of 1 KiB; with `sys.setswitchinterval(0.0005)` it takes 3 ms.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.busy import Busy
from bench.flow import pump_inline, wait_us
from bench.model import Contender, Job

PREWRITTEN_BYTES = 64 * 1024 * 1024


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        yield fd
    finally:
        os.close(fd)


async def _ceiling(job: Job) -> float:
    body = job.body
    with _opened(job.directory / "records") as fd:

        def cycle() -> int:
            for _ in range(1_000):
                os.write(fd, body)
            os.fdatasync(fd)
            return 1_000

        return pump_inline(job.seconds, cycle)


class _Appender:
    """Writes one body after the other and syncs each."""

    def __init__(self, fd: int, body: bytes, wrap_bytes: int = 0) -> None:
        self._fd = fd
        self._body = body
        self._at = 0
        self._wrap = wrap_bytes

    def step(self) -> None:
        os.pwrite(self._fd, self._body, self._at)
        os.fdatasync(self._fd)
        self._at += len(self._body)
        if self._wrap and self._at + len(self._body) > self._wrap:
            self._at = 0


async def _inline(job: Job, share: float = 0.5, wrap_bytes: int = 0) -> float:
    with _opened(job.directory / "records") as fd:
        if wrap_bytes:
            os.write(fd, b"\xff" * wrap_bytes)
            os.fsync(fd)
        appender = _Appender(fd, job.body, wrap_bytes)

        async def step() -> None:
            appender.step()
            # Whoever writes inline owes the loop a turn.
            await asyncio.sleep(0)

        return await wait_us(job.seconds, step, share)


async def _threaded(job: Job, share: float = 0.5) -> float:
    loop = asyncio.get_running_loop()
    with _opened(job.directory / "records") as fd:
        appender = _Appender(fd, job.body)
        with ThreadPoolExecutor(1) as pool:
            return await wait_us(
                job.seconds, lambda: loop.run_in_executor(pool, appender.step), share
            )


EACH = "fdatasync each"
CEILING = Contender(
    "append, one write each, fdatasync every 1,000", "fdatasync every 1,000", _ceiling
)
THREADED = Contender("write + fdatasync in a thread, growing file", EACH, _threaded)
INLINE = Contender("write + fdatasync inline, growing file", EACH, _inline)
PREWRITTEN = Contender(
    "write + fdatasync inline, prewritten file",
    EACH,
    partial(_inline, wrap_bytes=PREWRITTEN_BYTES),
)


def beside(busy: Busy, share: float) -> tuple[Contender, Contender]:
    """The bare write in a thread and inline, beside somebody who computes; that percentile."""

    async def threaded(job: Job) -> float:
        async with busy():
            return await _threaded(job, share)

    async def inline(job: Job) -> float:
        async with busy():
            return await _inline(job, share)

    return (
        Contender("write + fdatasync in a thread, so too", EACH, threaded),
        Contender("write + fdatasync inline, so too", EACH, inline),
    )
