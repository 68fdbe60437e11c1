"""An event loop without time or chance of its own: a seed decides all that the real ones may do.

Time is virtual: it goes by when nothing is ready to run, at once, up to the next timer. A loop
that waits for nothing at all is a deadlock, found at once (`Deadlock` names who waits for what).

The order of callbacks is asyncio's promise and is kept. What real loops do differ in is drawn
from the seed: timers that are due together fire in any order, a turn of the loop takes some time,
and now and then the process stands still for long.
"""

from __future__ import annotations

import asyncio
import random
import selectors
from collections.abc import Callable, Coroutine, Mapping
from contextvars import Context
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple, Unpack

from posthouse.model import NANOSECONDS
from posthouse.testing.clock import START_NS

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

TIMER_SLACK_S: Final = 1e-6
"""Timers fire up to this much late, seconds: so those due together come in any order."""

MOST_TURNS: Final = 200_000
"""A run of more turns than this goes round in circles."""


class Deadlock(RuntimeError):
    """Nothing is ready, no timer is set: whoever waits, waits for ever."""


class SimLoop(asyncio.SelectorEventLoop):
    """An event loop in virtual time. It is a `posthouse.clock.Clock` too.

    Attributes:
        complaints: what asyncio reported: exceptions never retrieved, tasks destroyed while
            pending, callbacks that raised.
        turns: how many turns it has made.
        before_ns: the time of the turn before this one.
    """

    def __init__(
        self,
        seed: int = 0,
        *,
        start_ns: int = START_NS,
        turn_s: float = 0.0,
        stall_s: float = 0.0,
        stall_chance: float = 0.0,
    ) -> None:
        """A loop whose clock starts at ``start_ns``.

        ``turn_s``: a turn takes up to so long, seconds. ``stall_s``: and now and then, with
        ``stall_chance`` in each turn, up to so long.
        """
        self._chance = random.Random(seed)
        self._start_ns = start_ns
        self._now_ns = start_ns
        self._turn_s = turn_s
        self._stall_s = stall_s
        self._stall_chance = stall_chance
        self.turns = 0
        self.before_ns = start_ns
        self.complaints: list[str] = []
        super().__init__(_NoSelector(self._pass_time))
        self.set_exception_handler(self._complain)
        self.set_task_factory(self._make_task)
        self._tasks = 0

    def now_ns(self) -> int:
        """The virtual time, nanoseconds since the epoch. It stands still within a turn."""
        return self._now_ns

    def time(self) -> float:
        """The virtual time, seconds since the loop was made."""
        return (self._now_ns - self._start_ns) / NANOSECONDS

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As every loop's; a bit late."""
        late = self._chance.random() * TIMER_SLACK_S
        return super().call_at(when + late, callback, *args, context=context)

    def run_in_executor(
        self, executor: Any, func: Callable[[Unpack[Ts]], Any], *args: *Ts
    ) -> NoReturn:
        """Threads cannot be simulated."""
        raise RuntimeError("a simulated loop runs no threads")

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end; tasks it leaves behind are cancelled, as `asyncio.run` does.

        Raises:
            Deadlock: it, or a task it leaves behind, waits for ever.
        """
        try:
            return self.run_until_complete(main)
        finally:
            self.end_tasks()

    def end_tasks(self) -> None:
        """Cancel all tasks and let them end."""
        # In the order in which they were made: all_tasks is a set.
        tasks = sorted(asyncio.all_tasks(self), key=asyncio.Task.get_name)
        for task in tasks:
            task.cancel()
        if tasks:
            self.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))

    def _make_task(
        self, loop: asyncio.AbstractEventLoop, coroutine: Any, **more: Any
    ) -> asyncio.Task[Any]:
        # asyncio counts names over the whole process: no two runs would be the same.
        self._tasks += 1
        return asyncio.Task(coroutine, loop=loop, name=f"task {self._tasks:05}", **more)

    def _pass_time(self, timeout_s: float | None) -> None:
        self.turns += 1
        self.before_ns = self._now_ns
        if self.turns > MOST_TURNS:
            raise Deadlock(f"{self.turns:,} turns without an end; {self._waiting()}")
        if timeout_s is None:
            raise Deadlock(f"nothing will ever happen; {self._waiting()}")
        if timeout_s > 0:
            # Rounded up, so that the timer is due then.
            self._now_ns += int(timeout_s * NANOSECONDS) + 1
        if self._stall_chance and self._chance.random() < self._stall_chance:
            self._now_ns += int(self._chance.random() * self._stall_s * NANOSECONDS)
        elif self._turn_s:
            self._now_ns += int(self._chance.random() * self._turn_s * NANOSECONDS)

    def _waiting(self) -> str:
        tasks = [task for task in asyncio.all_tasks(self) if not task.done()]
        lines = sorted(f"  {task.get_name()}: {_place(task)}" for task in tasks)
        return f"{len(tasks)} tasks wait:\n" + "\n".join(lines)

    def _complain(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        error = context.get("exception")
        text = str(context.get("message"))
        self.complaints.append(text if error is None else f"{text}: {error!r}")


def _place(task: asyncio.Task[Any]) -> str:
    """Where a task stands: the innermost line that it waits in, and how it came there."""
    frames = []
    awaited: Any = task.get_coro()
    while awaited is not None:
        frame = getattr(awaited, "cr_frame", None) or getattr(awaited, "gi_frame", None)
        if frame is not None:
            frames.append(f"{frame.f_code.co_name}:{frame.f_lineno}")
        awaited = getattr(awaited, "cr_await", None) or getattr(awaited, "gi_yieldfrom", None)
    return " > ".join(frames) or "not begun"


class _NoSelector(selectors.BaseSelector):
    """Nothing from outside ever becomes ready; waiting is passing the time."""

    def __init__(self, pass_time: Callable[[float | None], None]) -> None:
        self._pass_time = pass_time
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        fd = fileobj if isinstance(fileobj, int) else fileobj.fileno()
        key = self._keys[fd] = selectors.SelectorKey(fileobj, fd, events, data)
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj if isinstance(fileobj, int) else fileobj.fileno())

    def get_key(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys[fileobj if isinstance(fileobj, int) else fileobj.fileno()]

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._pass_time(timeout)
        return []
