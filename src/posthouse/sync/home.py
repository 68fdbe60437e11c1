"""A broker's home: an event loop in a daemon thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Final
from weakref import WeakSet

from posthouse import broker as aio
from posthouse.errors import PosthouseError
from posthouse.sync.calls import FACE_CLOSED, Calls

# A process that leaves with its broker open waits so long, at most, for it to close.
EXIT_WAIT_S: Final = 5.0
# An opening whose thread was interrupted gets so long to end by itself before it is cancelled.
OPENING_WAIT_S: Final = 5.0

logger = logging.getLogger("posthouse.sync")

_homes: WeakSet[Home] = WeakSet()


class Home:
    """A loop in a thread of its own, on which a broker is open from `open` to `close`.

    Attributes:
        url: what the broker opens.
    """

    def __init__(self, broker: aio.Broker) -> None:
        self.url = broker.url
        self._broker = broker
        self._pid = os.getpid()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._leaving: asyncio.Event | None = None
        self._stopped = False
        self._begun = False
        self._ended = threading.Event()
        self._opened: Future[Calls] = Future()
        self._closed: Future[None] = Future()
        # A daemon: a program that never closes its broker can still end.
        self._thread = threading.Thread(target=self._live, name="posthouse-sync", daemon=True)

    def open(self) -> Calls:
        """Start the thread and open the broker on its loop. Raises: what opening raises."""
        try:
            _homes.add(self)
            self._thread.start()
            return self._opened.result()
        except BaseException:
            # A thread that has not begun yet (its start was interrupted) will find this, and end.
            self.stop()
            if self._begun:
                self._ended.wait()
            raise

    def alive(self) -> bool:
        """Whether it is open, and nobody has asked it to close."""
        return not self._stopped and not self._ended.is_set()

    def stop(self) -> None:
        """Ask it to close, and wait for nothing. May be called from anywhere."""
        self._stopped = True
        if self._loop is not None:
            with contextlib.suppress(RuntimeError):  # it has ended
                self._loop.call_soon_threadsafe(self._leave)

    def close(self, timeout_s: float | None = None) -> None:
        """Close the broker, end the loop and the thread; wait for that, at most ``timeout_s``.

        Raises: what closing the broker raises, to the first who closes.
        """
        if os.getpid() != self._pid:
            return  # the thread, and the broker, are the parent's
        first = not self._stopped
        self.stop()
        # Not by `Thread.join` alone: once interrupted, CPython 3.11 takes the thread for ended.
        if not self._begun or not self._ended.wait(timeout_s):
            return
        self._thread.join(timeout_s)
        if first and self._closed.done():
            self._closed.result()

    def _live(self) -> None:
        self._begun = True
        try:
            with asyncio.Runner(loop_factory=_loop_factory()) as runner:
                runner.run(self._serve())
        except BaseException as error:
            if not self._opened.done():
                self._opened.set_exception(error)
            elif not self._closed.done():
                self._closed.set_exception(error)
            else:
                logger.exception("the loop of %s has ended badly", self.url)
        finally:
            self._ended.set()

    async def _serve(self) -> None:
        self._leaving = asyncio.Event()
        self._main = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        if self._stopped:  # before the loop was there to be told
            raise asyncio.CancelledError
        broker = await self._broker
        self._main = None
        calls = Calls(self._loop)
        self._opened.set_result(calls)
        try:
            await self._leaving.wait()
        finally:
            calls.refuse(FACE_CLOSED)
            try:
                await broker.close()
            finally:
                await calls.end()
        self._closed.set_result(None)

    def _leave(self) -> None:
        if self._leaving is not None:
            self._leaving.set()
        if self._main is not None:
            # It is still opening. A directory that is being read cannot be let go half-way, and
            # it would stay locked if the loop ended before its reader: so it gets some time.
            asyncio.get_running_loop().call_later(OPENING_WAIT_S, self._give_up)

    def _give_up(self) -> None:
        if self._main is not None:
            self._main.cancel()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory


@atexit.register
def _close_all() -> None:
    for home in list(_homes):
        try:
            home.close(EXIT_WAIT_S)
        except PosthouseError:
            logger.exception("%s could not be closed at exit", home.url)
