"""What a portal has on its loop: calls under way, and what is open for threads.

Everything here runs on the loop, except where a method says otherwise. A call is begun, ended,
abandoned and undone on the loop alone, so that a thread that is interrupted at any moment races
with nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from threading import Lock
from typing import Any, Final, Generic, TypeVar
from weakref import WeakSet

from posthouse.errors import BrokerClosed, PosthouseError

R = TypeVar("R")
T = TypeVar("T")

FACE_CLOSED: Final = "the broker is closed for threads; open it again"
LOOP_ENDED: Final = "the broker's event loop has ended, and the broker with it; open it again"


class Call:
    """One call: begun by a thread, which waits for `done`, and carried out on the loop.

    Attributes:
        work: makes the awaitable, on the loop.
        make: turns its result into what the thread gets; None: that is it.
        undo: undoes the result of a call whose thread has been interrupted; None: it stays done.
        done: released when ``answer`` or ``error`` is there.
        over: released when an abandoned call has ended and is undone.
    """

    __slots__ = (
        "abandoned",
        "answer",
        "calls",
        "done",
        "ended",
        "error",
        "make",
        "over",
        "result",
        "task",
        "undo",
        "work",
    )

    def __init__(
        self,
        calls: Calls,
        work: Callable[[], Awaitable[Any]],
        make: Callable[[Any], Any] | None,
        undo: Callable[[Any], Awaitable[None]] | None,
    ) -> None:
        self.calls = calls
        self.work = work
        self.make = make
        self.undo = undo
        self.done = Lock()
        self.done.acquire()
        self.over: Lock | None = None
        self.task: asyncio.Task[None] | None = None
        self.ended = self.abandoned = False
        self.result: Any = None
        self.answer: Any = None
        self.error: BaseException | None = None

    def begin(self) -> None:
        """Start it, unless nobody waits or the face is closed."""
        if self.ended:
            return
        if self.calls.closed is not None:
            self._end(None, BrokerClosed(self.calls.closed))
            return
        self.calls.active.add(self)
        # An eager task may be through before it is known here.
        task = asyncio.get_running_loop().create_task(self._run())
        if not self.ended:
            self.task = task
            task.add_done_callback(self._never_ran)

    async def _run(self) -> None:
        try:
            result = await self.work()
        except (Exception, asyncio.CancelledError) as error:
            self._end(None, error)
        except BaseException as error:
            # The loop's own: a signal, or somebody's exit. It goes on to the loop's runner.
            self._end(None, asyncio.CancelledError(*error.args))
            raise
        else:
            if self.abandoned:
                await self._take_back(result)
            self._end(result, None)

    def _never_ran(self, _: asyncio.Task[None]) -> None:
        # A task that is cancelled before its first step runs nothing of its own.
        self._end(None, asyncio.CancelledError())

    def _end(self, result: Any, error: BaseException | None) -> None:
        if self.ended:
            return
        self.ended = True
        self.task = None  # it dies on the loop, and not in the thread
        self.calls.active.discard(self)
        if error is None:
            self.result = result
            self.answer = result if self.make is None else self.make(result)
        elif isinstance(error, asyncio.CancelledError):
            # Not the thread's doing (it would not be told): the loop, or the face, is closing.
            self.error = BrokerClosed(self.calls.closed or LOOP_ENDED)
        else:
            self.error = error
        self.done.release()
        if self.over is not None:
            self.over.release()

    def abandon(self, over: Lock) -> None:
        """Its thread was interrupted: cancel it, or undo it if it has ended well."""
        self.abandoned = True
        if not self.ended:
            self.over = over
            if self.task is None:
                self._end(None, asyncio.CancelledError())
            else:
                self.task.cancel()
        elif self.error is None and self.undo is not None:
            self.over = over
            self.task = asyncio.get_running_loop().create_task(self._undone())
        else:
            over.release()

    def left(self, over: Lock) -> None:
        """Its thread was interrupted, and wants to know its end only."""
        if self.ended:
            over.release()
        else:
            self.over = over

    async def _undone(self) -> None:
        try:
            await self._take_back(self.result)
        finally:
            self.task = None
            if self.over is not None:
                self.over.release()

    async def _take_back(self, result: Any) -> None:
        if self.undo is not None:
            # A lease that ran out or a broker that closed has given it back already.
            with contextlib.suppress(PosthouseError):
                await self.undo(result)


class Box(Generic[T]):
    """Holds an async iterator, which is used and let go on the loop only."""

    __slots__ = ("__weakref__", "iterator")

    def __init__(self, iterator: AsyncIterator[T]) -> None:
        self.iterator: AsyncIterator[T] | None = iterator

    async def pull(self, most: int) -> list[T]:
        """The next ``most`` of it, fewer (or none) at its end."""
        pulled: list[T] = []
        if self.iterator is not None:
            async for each in self.iterator:
                pulled.append(each)
                if len(pulled) == most:
                    break
        return pulled

    def clear(self) -> None:
        """Let the iterator go; it puts back what it has set aside."""
        self.iterator = None


class Calls:
    """The calls that threads have under way on one loop.

    Attributes:
        loop: the loop.
        closed: why there are to be no more calls; None: there may be.
        active: the calls that have begun and not ended.
        boxes: the iterators that threads have.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.closed: str | None = None
        self.active: set[Call] = set()
        self.boxes: WeakSet[Box[Any]] = WeakSet()

    def refuse(self, why: str) -> None:
        """From now on calls raise BrokerClosed. May be called from any thread."""
        if self.closed is None:
            self.closed = why

    def cancel(self) -> list[asyncio.Task[None]]:
        """Cancel what is under way, and let the iterators go."""
        tasks = [call.task for call in self.active if call.task is not None]
        for task in tasks:
            task.cancel()
        for box in list(self.boxes):
            box.clear()
        return tasks

    async def end(self) -> None:
        """`cancel`, and return when all has ended."""
        tasks = self.cancel()
        if tasks:
            await asyncio.wait(tasks)
