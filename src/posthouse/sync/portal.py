"""The portal: from any thread onto the broker's loop, and back with the answer."""

from __future__ import annotations

import asyncio
import os
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from threading import Lock
from typing import Any, Final, NoReturn, TypeVar

from posthouse.errors import BadArgument, BrokerClosed, ForkedProcess, WrongLoop
from posthouse.sync.calls import FACE_CLOSED, LOOP_ENDED, Box, Call, Calls
from posthouse.sync.home import Home

R = TypeVar("R")
V = TypeVar("V")

# How often a waiting thread looks whether the loop still runs: one that ends without a word (it
# was stopped, and never ran again) has nobody left to answer.
LOOK_S: Final = 0.5


class Portal:
    """What every handle of a face holds: passes calls to the loop and waits for the answers.

    The loop's thread does not hold it, so that a face which nobody has any more is noticed.

    Attributes:
        calls: what is under way on the loop.
        home: the loop's own thread; None: the loop is somebody else's.
    """

    def __init__(self, calls: Calls, home: Home | None = None) -> None:
        self.calls = calls
        self.home = home
        self._pid = os.getpid()

    def check_open(self) -> None:
        """Raise ForkedProcess in a child of the handle's process, BrokerClosed after the end."""
        if self.forked():
            raise ForkedProcess(
                "this handle was opened before the process forked; open the broker in the "
                "child, or start children with the 'spawn' method"
            )
        if self.calls.closed is not None:
            raise BrokerClosed(self.calls.closed)
        if not self.calls.loop.is_running():
            raise BrokerClosed(LOOP_ENDED)

    def check(self) -> None:
        """`check_open`, and refuse a call that would wait for itself.

        Raises:
            WrongLoop: this is the thread of the broker's own loop, on the loop.
        """
        self.check_open()
        if self.on_loop():
            raise WrongLoop(
                "a call for threads was made on the broker's own event loop, which would wait "
                "for itself for ever; await the asyncio handle there (its 'aio'), or call from "
                "another thread (asyncio.to_thread)"
            )

    def on_loop(self) -> bool:
        """Whether the caller is in the loop's thread, on the loop."""
        return asyncio._get_running_loop() is self.calls.loop

    def forked(self) -> bool:
        """Whether this is a child of the process that the handle belongs to."""
        return os.getpid() != self._pid

    def call(
        self,
        work: Callable[[], Awaitable[R]],
        *,
        undo: Callable[[R], Awaitable[None]] | None = None,
        finish: bool = False,
    ) -> R:
        """Await ``work()`` on the loop; returns or raises what it does.

        A thread that is interrupted while it waits (KeyboardInterrupt) cancels the call, waits
        for its end, undoes what it did nevertheless, and goes on with the interruption. A second
        interruption ends that waiting; the loop does the rest by itself.

        Args:
            work: makes the awaitable; called on the loop.
            undo: what to do with a result that nobody gets any more.
            finish: an interruption lets the call come to its end and does not cancel it: for
                what takes no longer than a write to disk, and half of it would be worse.

        Raises:
            BrokerClosed: the face, the broker or the loop ended meanwhile.
        """
        return self._do(Call(self.calls, work, None, undo), finish)  # type: ignore[no-any-return]

    def take(
        self,
        work: Callable[[], Awaitable[R]],
        make: Callable[[R], V],
        undo: Callable[[R], Awaitable[None]] | None,
    ) -> V:
        """`call`, with ``make`` of the result: done on the loop, so that from a result to the
        caller there is no step at which an interruption could lose it.
        """
        return self._do(Call(self.calls, work, make, undo), False)  # type: ignore[no-any-return]

    def run(self, function: Callable[[], R]) -> R:
        """Call ``function`` on the loop; returns or raises what it does. It must not block."""

        async def work() -> R:
            return function()

        return self.call(work, finish=True)

    def handle(self, make: Callable[[], R]) -> R:
        """`run`, and on the loop itself too: a handle is made at once and waits for nothing."""
        if self.on_loop():
            self.check_open()
            return make()
        return self.run(make)

    def box(self, box: Box[Any]) -> Box[Any]:
        """Keep account of an iterator; on the loop."""
        self.calls.boxes.add(box)
        return box

    def drop(self, box: Box[Any]) -> None:
        """Let an iterator go, soon, on the loop. Blocks nobody; for ``__del__`` too."""
        if not self.forked():
            self._tell(box.clear)

    def close(self) -> None:
        """Close the face: its home with it, or only these handles on somebody else's broker."""
        if self.forked():
            return  # what there is to close is the parent's
        calls = self.calls
        if self.home is not None:
            if self.on_loop():
                self.check()
            self.home.close()
        elif calls.closed is None:
            calls.refuse(FACE_CLOSED)
            if self.on_loop():
                calls.cancel()
            elif calls.loop.is_running():
                self._tell(calls.cancel)

    def _do(self, call: Call, finish: bool) -> Any:
        self.check()
        try:
            self._send(call)
            self._wait(call.done)
        except BaseException:
            self._leave(call, finish)
            raise
        # Nothing is called from here on, so that no signal's handler runs in between.
        if call.error is None:
            answer = call.answer
            # The loop may hold the call for a moment longer; it must not hold the face with it.
            call.answer = call.result = call.make = call.undo = None
            return answer
        try:
            raise call.error
        finally:
            # The error's traceback has this frame, and this frame must not have the error.
            del call

    def _send(self, call: Call) -> None:
        if not self._tell(call.begin):
            raise BrokerClosed(LOOP_ENDED)

    def _tell(self, callback: Callable[[], object]) -> bool:
        try:
            self.calls.loop.call_soon_threadsafe(callback)
        except RuntimeError:
            return False  # it is closed
        return True

    def _wait(self, lock: Lock) -> None:
        while not lock.acquire(timeout=LOOK_S):
            if not self.calls.loop.is_running():
                raise BrokerClosed(self.calls.closed or LOOP_ENDED)

    def _leave(self, call: Call, finish: bool) -> None:
        over = Lock()
        over.acquire()
        told = self._tell(partial(call.left if finish else call.abandon, over))
        if told and self.calls.loop.is_running():
            self._wait(over)

    def __del__(self) -> None:
        home = getattr(self, "home", None)
        if home is None or self.forked() or not home.alive():
            return
        warnings.warn(
            f"posthouse.sync: {home.url!r} was not closed; use 'with posthouse.sync.open(...)' "
            "or close()",
            ResourceWarning,
            stacklevel=2,
            source=self,
        )
        home.stop()


def refuse_copies(handle: object) -> NoReturn:
    """What ``__reduce__`` of every handle does: raise BadArgument."""
    raise BadArgument(
        f"a {type(handle).__name__} of posthouse.sync stays in its process and cannot be pickled "
        "or copied; pass the URL (or a message's body) instead, and open it in the child"
    )
