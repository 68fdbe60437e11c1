"""Where the blocking work is done: off the loop, one job at a time, in order."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Writer(Protocol):
    """Runs jobs one at a time, in order."""

    def submit(
        self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """Run ``job`` off the loop, then ``done(result, error)`` on the loop."""

    def close(self, deadline_s: float) -> None:
        """Finish what was submitted, waiting at most so many seconds, and stop."""


class ThreadWriter:
    """One thread of its own.

    A daemon: a program that never closes its broker can still end. Jobs that are under way when
    the loop is closed are still finished; only nobody is told.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[..., None]] | None] = (
            SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="posthouse-writer", daemon=True)
        self._thread.start()

    def submit(
        self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """Run ``job`` in the thread, then ``done(result, error)`` on the loop."""
        self._jobs.put((job, done))

    def close(self, deadline_s: float) -> None:
        """Finish what was submitted, waiting at most so many seconds, and stop."""
        self._jobs.put(None)
        self._thread.join(deadline_s)

    def _run(self) -> None:
        take = self._jobs.get
        tell = self._loop.call_soon_threadsafe
        while (item := take()) is not None:
            job, done = item
            result, error = None, None
            try:
                result = job()
            except BaseException as caught:
                error = caught
            # RuntimeError: the loop is closed, nobody is left to tell.
            with contextlib.suppress(RuntimeError):
                tell(done, result, error)
            # Nothing of a group is kept while waiting for the next one.
            del item, job, done, result, error
