"""Somebody else computing in the same process."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from time import perf_counter

Busy = Callable[[], AbstractAsyncContextManager[None]]

SLICE_S = 0.001


async def _compute() -> None:
    while True:
        until = perf_counter() + SLICE_S
        while perf_counter() < until:
            sum(range(100))
        await asyncio.sleep(0)


@asynccontextmanager
async def computing_task() -> AsyncIterator[None]:
    """A task of the same loop that computes 1 ms, lets the loop turn once, and so on."""
    task = asyncio.ensure_future(_compute())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


@asynccontextmanager
async def computing_thread() -> AsyncIterator[None]:
    """A second thread that computes without a pause, in Python code that holds the GIL."""
    stop = threading.Event()

    def compute() -> None:
        while not stop.is_set():
            sum(range(1_000))

    thread = threading.Thread(target=compute, name="computing", daemon=True)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
