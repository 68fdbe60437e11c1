"""What the contract's tests share: how they get a broker, and how they wait."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Final, TypeVar

import pytest

from posthouse.broker import Broker
from posthouse.errors import LeaseExpired
from posthouse.message import Message
from posthouse.queue import Queue

T = TypeVar("T")

PATIENCE_S: Final = 20.0
"""How long a test waits for what must happen, seconds; only a failing test waits so long."""

SHORT_S: Final = 0.05
"""A lease that a test lets run out, seconds."""

TRIES: Final = 8
"""How often `in_time` tries; the last has 128 times as long as the first."""


ASKED: Final[set[str]] = set()
"""The capabilities that the running test has asked for, by `need`: what it is about.

A run that makes a table of capabilities empties it before each test and reads it after.
"""


class Cases(ABC):
    """A part of the contract. See `posthouse.testing.contract.BackendContract`."""

    @abstractmethod
    async def open_broker(self, **options: Any) -> Broker:
        """A new broker, already open; called again in one test, the same place again."""

    async def reopen(self, broker: Broker) -> Broker:
        """Close the broker and open the same place again."""
        await broker.close()
        return await self.open_broker()

    @pytest.fixture
    async def broker(self) -> AsyncIterator[Broker]:
        """An open broker, closed after the test."""
        broker = await self.open_broker()
        yield broker
        await broker.close()


def need(broker: Broker, *capabilities: str) -> None:
    """Skip the test unless the backend declares the capabilities."""
    ASKED.update(capabilities)
    missing = set(capabilities) - broker.capabilities
    if missing:
        pytest.skip(f"{broker.url} does not declare: {', '.join(sorted(missing))}")


async def soon(awaitable: Awaitable[T]) -> T:
    """The result, which must come within the suite's patience."""
    async with asyncio.timeout(PATIENCE_S):
        return await awaitable


async def turns(count: int = 5) -> None:
    """Let other tasks run for a few turns of the loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def take(queue: Queue[Any]) -> Message[Any]:
    """The next message, which must come."""
    return await queue.get(timeout=PATIENCE_S)


async def redelivered(queue: Queue[Any]) -> Message[Any]:
    """The next message, under a lease so long that it cannot run out in a test."""
    return await queue.get(timeout=PATIENCE_S, visibility_timeout=3600)


async def waits(queue: Queue[Any]) -> int:
    """How many messages wait now: exact, whatever the backend has to ask for it."""
    return (await queue.stats()).waiting


async def none_now(queue: Queue[Any]) -> None:
    """Nothing can be had now, however much waits."""
    with pytest.raises(TimeoutError):
        await queue.get(timeout=0)


class Late(Exception):
    """The machine took longer than it may; see `within`."""


@contextmanager
def within(most_s: float) -> Iterator[None]:
    """A block to be done in so many seconds: before a lease runs out, or a delay is over.

    Raises:
        Late: something was wrong in it, and it took longer.
    """
    began_s = time.monotonic()
    try:
        yield
    except (AssertionError, LeaseExpired, TimeoutError) as error:
        if time.monotonic() - began_s < most_s:
            raise
        raise Late from error


async def in_time(test: Callable[[str, float], Coroutine[Any, Any, None]]) -> None:
    """Run ``test(queue, most_s)``, and after `Late` again, on another queue with twice the time.

    So a slow machine takes longer, and what fails is the broker's fault.
    """
    for number in range(TRIES):
        try:
            await test(f"q{number}", SHORT_S * 2**number)
        except Late as late:
            reason: BaseException | None = late.__cause__
        else:
            return
    raise AssertionError("however much time there is, this machine is slower") from reason


def is_now(broker: Broker) -> bool:
    """Whether the backend can do things without asking anybody: capability ``nowait``."""
    return "nowait" in broker.capabilities


async def drain(queue: Queue[Any]) -> list[Any]:
    """Ack all that waits: the bodies, in order."""
    found: list[Any] = []
    while True:
        try:
            message = await queue.get(timeout=0)
        except TimeoutError:
            return found
        found.append(message.body)
        await message.ack()


async def outcome(task: asyncio.Task[T]) -> T | None:
    """What the task returned, or None if it was cancelled."""
    try:
        return await soon(task)
    except asyncio.CancelledError:
        return None
