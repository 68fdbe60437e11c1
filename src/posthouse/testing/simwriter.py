"""A journal's writer in virtual time: jobs are done, and told of, when the seed says."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

T = TypeVar("T")

Job: TypeAlias = "tuple[Callable[[], Any], Callable[[Any, BaseException | None], None]]"


class SimWriter:
    """A `posthouse.journal.writer.Writer` on the loop itself.

    A job is under way for up to ``busy_s`` seconds before it takes effect, and the loop hears of
    it up to ``late_s`` seconds later; meanwhile the next one may be under way already. The loop
    hears of jobs in their order.

    Attributes:
        done: how many jobs have taken effect.
        idle: as a writer's, where ``inline``; else False, so that every job takes this way.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        chance: random.Random,
        *,
        busy_s: float = 0.001,
        late_s: float = 0.0005,
        inline: bool = False,
    ) -> None:
        self._loop = loop
        self._chance = chance
        self._busy_s = busy_s
        self._late_s = late_s
        self._jobs: deque[Job] = deque()
        self._told: deque[Callable[[], None]] = deque()
        self._under_way = False
        self._stopped = False
        self._inline = self.idle = inline
        self.done = 0

    def submit(
        self, job: Callable[[], T], done: Callable[[T | None, BaseException | None], None]
    ) -> None:
        """Run ``job`` later, then ``done(result, error)``."""
        self._jobs.append((job, done))
        self.idle = False
        if not self._under_way and not self._stopped:
            self._begin()

    def close(self, deadline_s: float) -> None:
        """Do what was submitted, now, and stop. The loop stands still meanwhile, as it does."""
        while self._jobs:
            self._do_next()
        self._stopped = True

    def crash(self, cut: Callable[[Callable[[], Any]], None] | None = None) -> None:
        """The process ends: what was submitted is lost, and nobody is told anything.

        The job under way, if there is one, is given to ``cut``, to do as much of it as it likes.
        """
        under_way = self._jobs[0][0] if self._under_way and self._jobs else None
        self._jobs.clear()
        self._told.clear()
        self._stopped = True
        self.idle = False
        if under_way is not None and cut is not None:
            cut(under_way)

    def _begin(self) -> None:
        self._under_way = True
        self._loop.call_later(self._chance.random() * self._busy_s, self._finish)

    def _finish(self) -> None:
        if self._stopped or not self._jobs:
            self._under_way = False
            return
        self._do_next()
        if self._jobs:
            self._begin()
        else:
            self._under_way = False

    def _do_next(self) -> None:
        job, done = self._jobs.popleft()
        result: Any = None
        error: BaseException | None = None
        try:
            result = job()
        except Exception as caught:
            error = caught
        self.done += 1
        self._told.append(lambda: done(result, error))
        # Whichever timer comes first tells of the job that was first.
        self._loop.call_later(self._chance.random() * self._late_s, self._tell)

    def _tell(self) -> None:
        if not self._told:
            return
        tell = self._told.popleft()
        self.idle = self._inline and not (self._jobs or self._told)
        tell()
