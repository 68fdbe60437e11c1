"""The line for room: producers wait in order, and only the first tries."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from posthouse.lane import Lane, Putter

T = TypeVar("T")


async def in_line(lane: Lane, attempt: Callable[[], T | None]) -> T:
    """Wait in line for room until ``attempt`` gives an answer."""

    async def try_it() -> T | None:
        return attempt()

    return await in_line_async(lane, try_it)


async def in_line_async(lane: Lane, attempt: Callable[[], Awaitable[T | None]]) -> T:
    """The same with an attempt that may wait; only the first in line tries."""
    me = Putter()
    putters = lane.putters
    putters.append(me)
    lane.line = lane.watched = True
    try:
        while True:
            if putters[0] is me:
                done = await attempt()
                if done is not None:
                    return done
                lane.awake = 0
            else:
                # One before has to wait: so do those who were woken with it.
                lane.awake = min(lane.awake, 1)
            me.future = lane.loop.create_future()
            lane.watched = True
            await me.future
    finally:
        if putters.index(me) < lane.awake:
            lane.awake -= 1
        putters.remove(me)
        lane.line = bool(putters)
        if putters:
            lane.wake_putters()
        lane.watched = bool(putters or lane.joiners)
