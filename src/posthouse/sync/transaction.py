"""Settlements and puts that happen together or not at all, for threads."""

from __future__ import annotations

from functools import partial
from types import TracebackType
from typing import Any, NoReturn, Self, Unpack

from posthouse import transaction as aio
from posthouse.options import PublishOptions, PutOptions
from posthouse.sync.message import Message
from posthouse.sync.portal import Portal, refuse_copies
from posthouse.sync.queue import Queue
from posthouse.sync.topic import Topic


class Transaction:
    """Collects steps; the end of its ``with`` block commits them. As `posthouse.Transaction`.

    Attributes:
        aio: the same for coroutines on the broker's loop.
    """

    def __init__(self, transaction: aio.Transaction, portal: Portal) -> None:
        self.aio = transaction
        self._portal = portal

    @property
    def ids(self) -> list[str]:
        """After the commit, the ids of the puts, in order."""
        return self.aio.ids

    def put(
        self,
        queue: Queue[Any],
        body: Any,
        **options: Unpack[PutOptions],
    ) -> None:
        """Put a message when the transaction commits. As `posthouse.Transaction.put`."""
        self._portal.run(partial(self.aio.put, queue.aio, body, **options))

    def publish(
        self,
        topic: Topic,
        body: Any,
        *,
        key: str = "",
        unroutable: bool = False,
        **options: Unpack[PublishOptions],
    ) -> None:
        """Publish a message when it commits. As `posthouse.Transaction.publish`."""
        self._portal.run(
            partial(self.aio.publish, topic.aio, body, key=key, unroutable=unroutable, **options)
        )

    def ack(self, message: Message[Any]) -> None:
        """Ack a message when the transaction commits."""
        self._portal.run(partial(self.aio.ack, message.aio))

    def nack(
        self, message: Message[Any], delay: float | None = None, error: str | None = None
    ) -> None:
        """Nack a message when it commits. As `posthouse.Transaction.nack`."""
        self._portal.run(partial(self.aio.nack, message.aio, delay, error))

    def reject(
        self, message: Message[Any], reason: str = "rejected", error: str | None = None
    ) -> None:
        """Reject a message when it commits. As `posthouse.Transaction.reject`."""
        self._portal.run(partial(self.aio.reject, message.aio, reason, error))

    def __enter__(self) -> Self:
        self._portal.call(self.aio.__aenter__)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._portal.call(partial(self.aio.__aexit__, kind, error, traceback))

    def __reduce__(self) -> NoReturn:
        refuse_copies(self)
