"""What all of a port's verbs start from."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from posthouse.core.state import EXPIRED_LEASE
from posthouse.engine import Engine
from posthouse.errors import LeaseExpired, QueueFull, QueueShutDown
from posthouse.journal.group import Group, Told
from posthouse.lane import Lane
from posthouse.model import MAX_BODY_BYTES, MAX_DEDUP_BYTES, MAX_KEY_BYTES
from posthouse.records import Traits

MOST_TRAITS_BYTES: Final = 64 + MAX_KEY_BYTES + MAX_DEDUP_BYTES
RECORD_BYTES: Final = 128
MOVE_BYTES: Final = RECORD_BYTES + MOST_TRAITS_BYTES


def traits_room(traits: Traits | None) -> int:
    """The most that a message's traits take on disk, bytes."""
    if traits is None:
        return 0
    return MOST_TRAITS_BYTES + len(traits.death)


class PortBase:
    """One queue of an engine, one holder of leases.

    Attributes:
        broker: what the ports of one broker share, and no others.
        answers: never: settlements are decided in this process, at once.
    """

    answers = False

    def __init__(self, engine: Engine, lane: Lane, holder: int) -> None:
        self.broker: object = engine
        self._engine = engine
        self._lane = lane
        self._state = lane.state
        self._loop = engine.loop
        self._thread = engine.thread
        self._holder = holder
        self._most_body = MAX_BODY_BYTES
        self._may_take = True

    def durable(self, wait: Group) -> asyncio.Future[None]:
        """Done when the group is on disk. Cancelling it cancels nothing else."""
        future = self._loop.create_future()
        waiters = wait.waiters
        if not waiters:
            self._engine.journal.hurry()
        waiters.append(future)
        return future

    def tell(self, wait: Group, told: Callable[[BaseException | None], None]) -> None:
        """Have ``told`` called in the step in which the group is on disk, or has failed.

        That is a turn of the loop earlier than `durable`. It must not raise.
        """
        waiters = wait.waiters
        if not waiters:
            self._engine.journal.hurry()
        waiters.append(Told(told))

    def last_wait(self) -> Group | None:
        """What must be durable for all that was done so far to be; None: it is."""
        return self._engine.journal.last_group()

    def _full(self) -> QueueFull:
        state = self._state
        return QueueFull(
            f"queue {state.name!r} is full: {state.live:,} messages, {state.size_bytes:,} bytes"
        )

    def _check_stopped(self) -> None:
        failure = self._engine.journal.failure
        if failure is not None:
            raise type(failure)(*failure.args) from failure

    def check_open(self) -> None:
        """Raise what a call on a stopped broker or a shut-down handle should raise."""
        self._check_stopped()
        self._engine.check_loop()
        if self._most_body < 0:
            raise shut_down_error(self._state.name)

    def expired(self, numbers: list[int]) -> LeaseExpired:
        """What to raise for messages that are not held."""
        more = f" (and {len(numbers) - 1} more)" if len(numbers) > 1 else ""
        return LeaseExpired(
            f"message {numbers[0]:016x}{more} of queue {self._state.name!r} is no longer held: "
            f"{EXPIRED_LEASE} or it was settled elsewhere; it may be delivered again",
            numbers,
        )


def shut_down_error(name: str) -> QueueShutDown:
    """What a handle that was shut down raises."""
    return QueueShutDown(f"queue {name!r} was shut down in this process")
