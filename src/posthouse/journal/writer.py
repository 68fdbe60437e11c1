"""Where the blocking work is done: off the loop, one job at a time, in order."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from time import sleep as stand_back
from typing import Any, Final, Protocol, TypeVar

T = TypeVar("T")

_LATE_S: Final = 0.003
_AGAIN_S: Final = 0.00025
_AGAIN_MOST_S: Final = 0.064
_STAND_BACK_S: Final = 0.0001


class Writer(Protocol):
    """Runs jobs one at a time, in order.

    Attributes:
        idle: nothing is submitted that is not done, and a short job may be run on the loop
            itself instead.
    """

    idle: bool

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

    Beside a loop that computes in short slices the thread could wait for the GIL for seconds: each
    time the loop looks for events it gives the GIL up and takes it back before the thread has
    woken, and CPython then starts the thread's wait anew (seen: 12 s for one write). So while a
    job is late the loop stands back for a moment, again and again until it is done.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._unfinished = 0
        self._ended = 0
        self._seen = 0
        self._again_s = _AGAIN_S
        self._nudge: asyncio.TimerHandle | None = None
        self.idle = True
        self._jobs: SimpleQueue[tuple[Callable[[], Any], Callable[..., None]] | None] = (
            SimpleQueue()
        )
        self._thread = threading.Thread(target=self._run, name="posthouse-writer", daemon=True)
        self._thread.start()

    def submit(
        self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """Run ``job`` in the thread, then ``done(result, error)`` on the loop."""
        self._unfinished += 1
        self.idle = False
        if self._nudge is None:
            self._seen = self._ended
            self._nudge = self._loop.call_later(_LATE_S, self._stand_back)
        self._jobs.put((job, done))

    def _stand_back(self) -> None:
        self._nudge = None
        if not self._unfinished:
            return
        if self._ended == self._seen:
            stand_back(_STAND_BACK_S)
            # A job that is merely long costs the loop less and less.
            self._again_s = min(2 * self._again_s, _AGAIN_MOST_S)
        else:
            self._seen = self._ended
            self._again_s = _LATE_S
        self._nudge = self._loop.call_later(self._again_s, self._stand_back)

    def _finished(
        self, done: Callable[[Any, BaseException | None], None], result: Any, error: Any
    ) -> None:
        self._unfinished -= 1
        self._ended += 1
        self._again_s = _AGAIN_S
        self.idle = not self._unfinished
        done(result, error)

    def close(self, deadline_s: float) -> None:
        """Finish what was submitted, waiting at most so many seconds, and stop."""
        if self._nudge is not None:
            self._nudge.cancel()
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
                tell(self._finished, done, result, error)
            # Nothing of a group is kept while waiting for the next one.
            del item, job, done, result, error
