"""What a backend is: about a dozen verbs, and the capabilities it says it has.

The asyncio face speaks to these protocols only. A hot verb is synchronous and does everything in
one step, or does nothing and returns None: then the face takes the waiting form. What a verb
returns to be waited for (a group) is opaque to the face: it hands it to ``durable``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from posthouse.core.leases import BatchLease
from posthouse.core.transaction import PutStep, SettleStep, Step
from posthouse.model import QueuePolicy, QueueStats
from posthouse.records import Entry, Traits


class QueuePort(Protocol):
    """One queue of a backend. See `posthouse.session.Port` for what each verb means and raises."""

    def put_plain(self, kind: int, body: bytes) -> tuple[int, Any] | None: ...
    def put_one(
        self, kind: int, body: bytes, headers: bytes = b"", traits: Traits | None = None
    ) -> tuple[int, Any] | None: ...
    def put_many(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes = b"",
        traits: Traits | None = None,
    ) -> tuple[int, Any] | None: ...
    async def put_waiting(
        self,
        attempt: Callable[[], tuple[int, Any] | None],
        bodies: Sequence[bytes],
        headers: bytes,
        timeout_s: float | None,
    ) -> tuple[int, Any]: ...
    def check_may_wait(self, count: int, size_bytes: int) -> None: ...
    def full(self) -> Exception: ...
    def durable(self, group: Any) -> asyncio.Future[None]: ...
    def take_one(self, timeout_ns: int) -> tuple[int, Entry, int] | None: ...
    def take_many(
        self, most: int, most_bytes: int, timeout_ns: int
    ) -> tuple[int, BatchLease] | None: ...
    def reserve(self, most: int, most_bytes: int) -> list[Entry]: ...
    def lease_reserved(self, entry: Entry) -> tuple[int, Entry, int]: ...
    def restore(self, entries: list[Entry]) -> None: ...
    def check_open(self) -> None: ...
    async def readable(self) -> None: ...
    def ack_one(self, token: int, message_id: int) -> Any: ...
    def ack_batch(self, token: int, ids: list[int]) -> Any: ...
    def nack(self, token: int, message_id: int, delay_ns: int | None, error: str | None) -> Any: ...
    def reject(self, token: int, message_id: int, reason: str, error: str | None) -> Any: ...
    def give_back(self, token: int, message_id: int) -> Any: ...
    def holds(self, token: int, message_id: int) -> bool: ...
    def extend(self, token: int, timeout_ns: int) -> None: ...
    def put_step(
        self, kind: int, body: bytes, headers: bytes, traits: Traits | None
    ) -> PutStep: ...
    def ack_step(self, token: int, message_id: int) -> SettleStep: ...
    def nack_step(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> SettleStep: ...
    def reject_step(
        self, token: int, message_id: int, reason: str, error: str | None
    ) -> SettleStep: ...
    def due_ns(self, delay_ns: int) -> int: ...
    def last_group(self) -> Any: ...
    def live(self) -> int: ...
    def waiting(self) -> int: ...
    def is_full(self) -> bool: ...
    def stats(self) -> QueueStats: ...
    def peek(self, most: int) -> list[tuple[Entry, int]]: ...
    def purge(self) -> tuple[int, Any]: ...
    def redrive(self, most: int) -> tuple[int, Any]: ...
    def bind(self, topic: str, pattern: str) -> Any: ...
    def unbind(self, topic: str, pattern: str) -> Any: ...
    async def joined(self) -> None: ...
    def shut_down(self, *, immediate: bool) -> None: ...


class Backend(Protocol):
    """A place where messages live."""

    capabilities: frozenset[str]

    async def start(self) -> None:
        """Open it on the running loop; called once, before anything else."""

    async def close(self) -> None:
        """Give back what is out and release it; may be called again."""

    def port(self, name: str, policy: QueuePolicy | None) -> QueuePort:
        """The queue of that name, declared with the policy (None: whatever it has)."""

    def policy(self, name: str) -> QueuePolicy | None:
        """The policy of the queue of that name; None if there is no such queue."""

    def queue_names(self) -> list[str]:
        """The names of all queues, sorted."""

    def stats(self) -> list[QueueStats]:
        """All queues' figures, by name."""

    def publish_steps(
        self, topic: str, key: str, kind: int, body: bytes, headers: bytes, traits: Traits | None
    ) -> list[Step]:
        """The puts that a message published to a topic comes to; none if it goes nowhere."""

    def queue_name(self, step: Step) -> str:
        """The name of the queue that a step is about."""

    def bindings(self, topic: str | None = None) -> list[tuple[str, str, str]]:
        """All bindings (of one topic): (topic, queue's name, pattern)."""

    def now_ns(self) -> int:
        """The broker's time, nanoseconds since the epoch."""

    async def commit(
        self, steps: list[Step], timeout_s: float | None, done: Callable[[], None]
    ) -> list[int]:
        """Do all steps together, durably: the ids of the puts.

        ``done`` is called in the step that decides, before the wait for the disk.
        """
