"""Settlements and puts that happen together or not at all."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self, Unpack

from posthouse.backends.contract import Backend
from posthouse.errors import AlreadySettled, BadArgument
from posthouse.message import IN_TRANSACTION, Message, id_text
from posthouse.model import check_seconds
from posthouse.options import PublishOptions, PutOptions, encode, pack
from posthouse.queue import Queue
from posthouse.topic import Topic


class Transaction:
    """Collects steps; the end of its ``async with`` block commits them, durably, in one frame.

    An exception in the block commits nothing: the messages stay leased and can be settled
    otherwise. So does a lease that ran out before the commit (`LeaseExpired`), or a queue with
    no room (`QueueFull`; a queue whose policy is to wait is waited for).

    Where the backend has to ask somebody (no capability ``nowait``), what a step alone can be
    refused for may be raised at the commit.

    Attributes:
        ids: after the commit, the ids of the puts, in order.
    """

    def __init__(self, backend: Backend, timeout: float | None = None) -> None:
        if timeout is not None:
            check_seconds("timeout", timeout)
        self._backend = backend
        self._timeout = timeout
        self._steps: list[Any] = []
        self._settles: list[tuple[Message[Any], str]] = []
        self._open = False
        self.ids: list[str] = []

    def put(
        self,
        queue: Queue[Any],
        body: Any,
        **options: Unpack[PutOptions],
    ) -> None:
        """Put a message when the transaction commits. As `Queue.put`."""
        self._check_open()
        kind, data = encode(queue.encoder, body, options)
        packed, traits = pack(options, queue.port.now_ns())
        self._steps.append(queue.port.put_step(kind, data, packed, traits))

    def publish(
        self,
        topic: Topic,
        body: Any,
        *,
        key: str = "",
        unroutable: bool = False,
        **options: Unpack[PublishOptions],
    ) -> None:
        """Publish a message when the transaction commits. As `Topic.publish`.

        Where it goes is decided now; its ids are among `ids`, one for each queue.
        """
        self._check_open()
        self._steps += topic.steps(body, key, unroutable=unroutable, **options)

    def ack(self, message: Message[Any]) -> None:
        """Ack a message when the transaction commits."""
        self._check_settle(message)
        step = message.source.port.ack_step(message.token, message.number)
        self._settle(message, "ack", step)

    def nack(
        self, message: Message[Any], delay: float | None = None, error: str | None = None
    ) -> None:
        """Nack a message when the transaction commits. As `Message.nack`."""
        delay_ns = None if delay is None else check_seconds("delay", delay)
        self._check_settle(message)
        port = message.source.port
        self._settle(
            message, "nack", port.nack_step(message.token, message.number, delay_ns, error)
        )

    def reject(
        self, message: Message[Any], reason: str = "rejected", error: str | None = None
    ) -> None:
        """Reject a message when the transaction commits. As `Message.reject`."""
        self._check_settle(message)
        port = message.source.port
        self._settle(
            message, "reject", port.reject_step(message.token, message.number, reason, error)
        )

    def _check_settle(self, message: Message[Any]) -> None:
        self._check_open()
        if message.settled is not None:
            raise AlreadySettled(f"message {message.id} was settled by {message.settled}")

    def _settle(self, message: Message[Any], verb: str, step: object) -> None:
        self._steps.append(step)
        self._settles.append((message, verb))
        message.settled = IN_TRANSACTION

    def _check_open(self) -> None:
        if not self._open:
            raise BadArgument("the transaction is not open: use it inside its 'async with' block")

    async def __aenter__(self) -> Self:
        if self._open or self._steps:
            raise BadArgument("a transaction is used once; make a new one")
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        try:
            if error is None and self._steps:
                committed = await self._backend.commit(self._steps, self._timeout, self._mark)
                self.ids = [id_text(number) for number in committed]
        finally:
            for message, _ in self._settles:
                if message.settled == IN_TRANSACTION:
                    message.settled = None

    def _mark(self) -> None:
        # Called in the step that commits, before the wait for the disk: a cancellation during
        # that wait must not let the messages be settled a second time.
        for message, verb in self._settles:
            message.settled = verb
