"""The taking side of one task: never more in hand than the task's concurrency."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any, Final

from posthouse.errors import LeaseExpired, PosthouseError, QueueShutDown
from posthouse.message import Message
from posthouse.queue import Queue
from posthouse.worker.attempt import attempt, log
from posthouse.worker.task import Task

RENEWALS_PER_LEASE: Final = 3


class Consumer:
    """Takes messages for a task, runs its handler on each, and keeps their leases.

    Args:
        task: what to run.
        queue: where the messages come from.
    """

    def __init__(self, task: Task, queue: Queue[Any]) -> None:
        self.task = task
        self._queue = queue
        # The strong references: the loop alone would not keep a running handler.
        self._hands: dict[asyncio.Task[None], Message[Any]] = {}
        self._lost: set[asyncio.Task[None]] = set()
        self._orphans: list[Message[Any]] = []
        self._freed = asyncio.Event()
        self._fault: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def in_hand(self) -> list[asyncio.Task[None]]:
        """The handlers that are running."""
        return list(self._hands)

    async def take(self) -> None:
        """Take and start handlers until cancelled, or until the queue's handle is shut down."""
        limit = self.task.concurrency
        while True:
            while len(self._hands) >= limit:
                self._freed.clear()
                await self._freed.wait()
            try:
                # What comes back is leased: no await may stand between here and _start.
                self._start(
                    await self._queue.get_many(
                        limit - len(self._hands),
                        visibility_timeout=self.task.visibility_timeout_s,
                    )
                )
            except QueueShutDown:
                return

    async def renew(self) -> None:
        """Extend the lease of whatever is in hand, until cancelled."""
        lease_s = self.task.visibility_timeout_s
        while True:
            await asyncio.sleep(lease_s / RENEWALS_PER_LEASE)
            renewed: set[int] = set()
            for running, message in list(self._hands.items()):
                # What was taken together shares one lease.
                if message.settled or message.token in renewed or running in self._lost:
                    continue
                try:
                    await message.extend(lease_s)
                    renewed.add(message.token)
                except LeaseExpired:
                    if running in self._hands and not message.settled:
                        self._lose(running, message)

    async def fault(self) -> None:
        """Wait until a message in hand could not be settled, and raise why."""
        await asyncio.shield(self._fault)

    async def finished(self) -> None:
        """Wait until nothing is in hand."""
        while self._hands:
            self._freed.clear()
            await self._freed.wait()

    async def give_back(self) -> None:
        """Give back, attempt not counted, whatever a handler left unsettled or still holds."""
        held = [*self._orphans, *self._hands.values()]
        self._orphans.clear()
        for message in held:
            if message.settled is None:
                try:
                    await message.give_back()
                except PosthouseError as error:
                    log.warning("task %s: message %s: %s", self.task.name, message.id, error)

    def _start(self, messages: Iterable[Message[Any]]) -> None:
        for message in messages:
            running = asyncio.create_task(
                attempt(self.task, message), name=f"posthouse {self.task.name} {message.id}"
            )
            self._hands[running] = message
            running.add_done_callback(self._end)

    def _end(self, running: asyncio.Task[None]) -> None:
        message = self._hands.pop(running)
        self._freed.set()
        lost = running in self._lost
        self._lost.discard(running)
        error = None if running.cancelled() else running.exception()
        # Cancelled before its first step, or failed in settling, it did not give it back itself.
        if (running.cancelled() or error is not None) and message.settled is None and not lost:
            self._orphans.append(message)
        if error is None:
            return
        if self._fault.done():
            log.error("task %s: a message was not settled", self.task.name, exc_info=error)
        else:
            self._fault.set_exception(error)

    def _lose(self, running: asyncio.Task[None], message: Message[Any]) -> None:
        log.warning(
            "task %s: the lease on message %s ran out while the handler ran; it is cancelled, "
            "because the message may be with another consumer by now",
            self.task.name,
            message.id,
        )
        self._lost.add(running)
        running.cancel()
