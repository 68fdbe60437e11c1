"""What a backend is: about a dozen verbs, and the capabilities it says it has.

The asyncio face speaks to these protocols only. Three rules make one face fit an engine in this
process, a database and a server:

1. **Now or waiting.** A hot verb comes in two forms. The one for now is synchronous: it does
   everything in one step, or changes nothing and returns None. The face then awaits the waiting
   form. A backend that has to ask somebody always returns None from the first.
2. **What to wait for.** What a verb returns as a *wait* is opaque to the face, which hands it to
   `QueuePort.durable`; None: there is nothing to wait for. Where ``answers`` is false the face
   waits for a settlement only if the caller asked for durability (or the message moves); where it
   is true the settlement is not decided before the answer, and the face always waits.
3. **Cancelled is not taken.** A waiting form that is cancelled, or runs into its timeout, has
   taken nothing: what came nevertheless is given back, its attempt not counted. A put that is
   cancelled in line for room stores nothing; one whose answer is outstanding may be stored.

Times are nanoseconds since the epoch by the broker's clock (``_ns``) or seconds (``_s``); leases
are named by their fencing token, messages by their id, both as numbers.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol, TypeAlias

from posthouse.core.filters import Filter
from posthouse.core.leases import BatchLease
from posthouse.model import QueuePolicy, QueueStats
from posthouse.records import Entry, Publication, Traits

Placed: TypeAlias = tuple[int, Any]
"""A put's answer: (id, wait); a batch's: (the first of its consecutive ids, wait)."""

Taken: TypeAlias = tuple[int, Entry, int]
"""A delivery: (token, entry, attempts)."""


class Feed(Protocol):
    """What ``async for`` draws from: messages set aside for one iterator."""

    def next(self) -> Taken | None:
        """Deliver the next message now; None: none is there.

        Raises:
            QueueShutDown: the handle was shut down (and nothing waits).
        """

    async def wait(self) -> None:
        """Return when `next` is worth another try. Raises: as `next`."""

    def close(self) -> None:
        """Put back what is set aside; may be called from anywhere, and again."""


class QueuePort(Protocol):
    """One queue of a backend, as one holder uses it. Errors are those of the face's verbs.

    Attributes:
        broker: what the ports of one broker share, and no others.
        answers: settlements are decided elsewhere: what they return is always waited for.
    """

    broker: object
    answers: bool

    def durable(self, wait: Any) -> Awaitable[None]:
        """Wait for what a verb returned; raises what became of it. Cancelling it undoes nothing.

        Called in the very step in which the verb returned it, before anything else is awaited.
        """

    def last_wait(self) -> Any:
        """What must be durable for all that was done so far to be; None: it is."""

    # put

    def put_plain(self, kind: int, body: bytes) -> Placed | None:
        """`put_one` for a message without headers or traits."""

    def put_one(
        self, kind: int, body: bytes, headers: bytes = b"", traits: Traits | None = None
    ) -> Placed | None:
        """Accept one message now; None if that has to wait.

        Raises:
            MessageTooLarge, BadArgument, QueueShutDown, WrongLoop: nothing was done.
        """

    def put_many(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes = b"",
        traits: Traits | None = None,
    ) -> Placed | None:
        """Accept all of a batch now; None if that has to wait. Raises: as `put_one`."""

    async def put_one_waiting(
        self,
        kind: int,
        body: bytes,
        headers: bytes,
        traits: Traits | None,
        timeout_s: float | None,
    ) -> Placed:
        """Accept one message, waiting for room, in line, up to ``timeout_s`` (None: for ever).

        Raises: as `put_one`, and QueueFull, TimeoutError, StorageFull, StorageFailed,
        BrokerClosed.
        """

    async def put_many_waiting(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes,
        traits: Traits | None,
        timeout_s: float | None,
    ) -> Placed:
        """The same for a batch, all of it or nothing."""

    def put_refusal(self, count: int, size_bytes: int) -> Exception:
        """What a put that may not wait should raise, when one for now returned None."""

    # take

    def take_one(self, lease_ns: int) -> Taken | None:
        """Lease the next message now; None: none is there. ``lease_ns`` 0: the queue's timeout."""

    def take_one_from_disk(self, lease_ns: int) -> Taken | None:
        """`take_one` for who may not wait: what is on disk only is read here and now. Blocks."""

    def take_many(self, most: int, most_bytes: int, lease_ns: int) -> tuple[int, BatchLease] | None:
        """Lease up to ``most`` messages under one token now; None: none is there."""

    async def take_one_waiting(self, lease_ns: int, timeout_s: float | None) -> Taken:
        """Lease the next message, waiting for one; with a timeout of 0, one that is there.

        Raises:
            TimeoutError: none came. QueueShutDown, StorageFailed, BrokerClosed.
        """

    async def take_many_waiting(
        self, most: int, most_bytes: int, lease_ns: int, timeout_s: float | None
    ) -> tuple[int, BatchLease]:
        """The same for up to ``most`` messages; waits for the first only."""

    def take_refusal(self) -> Exception:
        """What a get that may not wait should raise, when one for now returned None."""

    def feed(self, most: int, most_bytes: int) -> Feed:
        """What an iterator draws from; sets aside up to so much."""

    async def select(
        self,
        where: Filter,
        most: int,
        most_bytes: int,
        lease_ns: int,
        timeout_s: float | None,
    ) -> tuple[int, BatchLease]:
        """`take_many_waiting` for messages that match a filter."""

    # settle

    def ack_one(self, token: int, message_id: int) -> Any:
        """Settle a delivery for good; a wait.

        Raises (or, where ``answers``, the wait does):
            LeaseExpired: it is not held (any more); nothing was done.
            StorageFull: there is no room to write that down; nothing was done.
        """

    def ack_durably(self, token: int, message_id: int) -> Any:
        """The same; what it returns is done when the settlement is durable."""

    def ack_batch(self, token: int, ids: list[int], *, durable: bool) -> Any:
        """Settle messages of one delivery; LeaseExpired: the others were settled."""

    def nack(self, token: int, message_id: int, delay_ns: int | None, error: str | None) -> Any:
        """Give a message back as failed; ``delay_ns`` None: the policy's backoff."""

    def reject(self, token: int, message_id: int, reason: str, error: str | None) -> Any:
        """Send a message to the dead-letter queue."""

    def give_back(self, token: int, message_id: int) -> Any:
        """Undo the delivery: available at once, the attempt not counted."""

    def holds(self, token: int, message_id: int) -> bool:
        """Whether, as far as is known here, the delivery still holds the message."""

    async def extend(self, token: int, timeout_ns: int) -> None:
        """Let the lease run ``timeout_ns`` from now. Raises LeaseExpired."""

    # steps of a transaction; `Backend.commit` does them

    def put_step(self, kind: int, body: bytes, headers: bytes, traits: Traits | None) -> Any:
        """A put. Raises MessageTooLarge, BadArgument, QueueShutDown."""

    def ack_step(self, token: int, message_id: int) -> Any:
        """An ack."""

    def nack_step(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> Any:
        """A nack; the backoff is drawn here."""

    def reject_step(self, token: int, message_id: int, reason: str, error: str | None) -> Any:
        """A reject."""

    # the queue as a whole

    def now_ns(self) -> int:
        """The broker's time, as well as it is known here."""

    def live(self) -> int:
        """Messages waiting, delayed and in flight; where ``answers``, the last number seen."""

    def waiting(self) -> int:
        """Messages that may be delivered now; where ``answers``, the last number seen."""

    def is_full(self) -> bool:
        """Whether a put of an empty message would have to wait, as far as is known here."""

    def policy(self) -> QueuePolicy:
        """The queue's settings, as far as they are known here."""

    async def stats(self) -> QueueStats:
        """The queue's figures, exact."""

    async def peek(self, most: int) -> list[tuple[Entry, int]]:
        """The next messages in order, untouched: (entry, attempts so far)."""

    async def find(
        self, where: Filter | None, order: str, most: int, after: tuple[int, ...] | None
    ) -> tuple[list[tuple[Entry, int]], tuple[int, ...] | None]:
        """A page of what waits or is delayed: (entry, attempts), and where to go on (None: end).

        ``order`` is "id", "-id", "priority" or "-priority"; ``after`` what the last page returned.
        """

    async def delete(self, where: Filter | None) -> int:
        """Settle, durably, all that waits or is delayed and matches; how many."""

    async def delay(self, where: Filter | None, delay_ns: int) -> int:
        """Let it wait so long from now on (0: no longer), durably; how many."""

    async def move(self, where: Filter | None, target: str) -> int:
        """Move it to the end of another queue, durably; how many."""

    async def redrive_found(self, where: Filter | None) -> int:
        """Put those dead letters back where they died, durably; how many. Others stay."""

    async def purge(self) -> int:
        """Settle all that waits or is delayed, durably; how many."""

    async def redrive(self, most: int) -> int:
        """Put up to ``most`` dead letters back where they died, durably; how many."""

    async def bind(self, topic: str, pattern: str) -> None:
        """Let a topic's messages come here, durably."""

    async def unbind(self, topic: str, pattern: str) -> None:
        """End a binding, durably."""

    async def joined(self) -> None:
        """Return when the queue holds nothing."""

    def shut_down(self, *, immediate: bool) -> None:
        """Refuse puts from now on; gets too when ``immediate``, else once nothing waits."""


class Backend(Protocol):
    """A place where messages live."""

    capabilities: frozenset[str]

    async def start(self) -> None:
        """Open it on the running loop; called once, before anything else."""

    async def close(self) -> None:
        """Give back what is out and release it; may be called again."""

    def port(self, name: str, given: Mapping[str, Any]) -> QueuePort:
        """The queue of that name, declared (at the latest on first use) with these settings.

        ``given`` are fields of `posthouse.model.QueuePolicy`, each valid by itself; the others
        stay as they are stored.
        """

    async def queue_names(self) -> list[str]:
        """The names of all queues, sorted."""

    async def stats(self) -> list[QueueStats]:
        """All queues' figures, by name."""

    async def bindings(self, topic: str | None = None) -> list[tuple[str, str, str]]:
        """All bindings (of one topic): (topic, queue's name, pattern)."""

    def now_ns(self) -> int:
        """The broker's time, as well as it is known here."""

    def publish_steps(self, what: Publication) -> list[Any]:
        """A publish as a transaction's steps.

        Raises (or, where the routes are elsewhere, `commit` does):
            Unroutable: no queue is bound for the key, and that is not allowed.
        """

    async def publish(self, what: Publication, timeout_s: float | None) -> dict[str, int]:
        """Put it on every queue that is bound, all or none, durably: ids by queue.

        Raises: as `publish_steps` and `commit`.
        """

    async def commit(
        self, steps: list[Any], timeout_s: float | None, done: Callable[[], None]
    ) -> list[int]:
        """Do all steps together, durably: the ids of the puts, in order.

        ``done`` is called when the settlements are decided, before anything that may be cancelled
        afterwards; where that is decided elsewhere, also when it is not known whether they are.

        Raises:
            LeaseExpired, QueueFull, TimeoutError, StorageFull, BadArgument: nothing was done.
        """
