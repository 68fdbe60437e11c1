"""Where a simulated run takes place: a loop whose time jumps, its clock, and a slow writer."""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, TypeVar

from posthouse.model import NANOSECONDS

T = TypeVar("T")

START_NS = 1_700_000_000 * NANOSECONDS


class Deadlock(Exception):
    """Everybody waits, and nothing is due ever."""


class _NoWaiting(selectors.SelectSelector):
    """A selector that lets the loop's time jump to what is due next."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Deadlock("nothing is due, and somebody waits")
        self.now_s += max(timeout, 0)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which waiting takes no time."""

    def __init__(self) -> None:
        self.waiting = _NoWaiting()
        super().__init__(self.waiting)

    def time(self) -> float:
        return self.waiting.now_s


class LoopClock:
    """The engine's clock over a virtual loop's time; lives follow one another."""

    def __init__(self, start_ns: int = START_NS) -> None:
        self.start_ns = start_ns
        self.loop: VirtualLoop | None = None

    def now_ns(self) -> int:
        if self.loop is None:
            return self.start_ns
        return self.start_ns + int(self.loop.waiting.now_s * NANOSECONDS)

    def let_go(self) -> None:
        """The loop ends; the next one goes on a little later."""
        self.start_ns = self.now_ns() + NANOSECONDS // 1000
        self.loop = None


def run(main: Coroutine[Any, Any, T], clock: LoopClock) -> T:
    """Run to the end on a loop of its own; what still runs then is dropped, as in a crash."""
    loop = VirtualLoop()
    clock.loop = loop
    # What the crash interrupts is no concern of the run's: it is never told.
    loop.set_exception_handler(lambda loop, context: None)
    try:
        return loop.run_until_complete(main)
    finally:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        clock.let_go()
        loop.close()


class SlowWriter:
    """A writer whose jobs take some time, drawn from the seed; in order, as in its thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rng: Random) -> None:
        self._loop = loop
        self._rng = rng
        self._jobs: deque[tuple[Callable[[], Any], Callable[..., None]]] = deque()
        self._told: deque[tuple[Callable[..., None], Any, BaseException | None]] = deque()
        self._running = False

    def submit(self, job: Callable[[], Any], done: Callable[..., None]) -> None:
        self._jobs.append((job, done))
        self._next()

    def _next(self) -> None:
        if self._jobs and not self._running:
            self._running = True
            self._loop.call_later(self._rng.choice((0, 0.0002, 0.003)), self._work)

    def _work(self) -> None:
        self._running = False
        if not self._jobs:
            return
        job, done = self._jobs.popleft()
        try:
            result, error = job(), None
        except BaseException as caught:
            result, error = None, caught
        self._told.append((done, result, error))
        self._loop.call_later(self._rng.choice((0, 0.0001)), self._tell)
        self._next()

    def _tell(self) -> None:
        done, result, error = self._told.popleft()
        done(result, error)

    def close(self, deadline_s: float) -> None:
        while self._jobs:
            self._work()
