"""A queue, as an asyncio program sees it.

The names are those of `asyncio.Queue`, and SQS's where it has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from itertools import repeat
from typing import Final, Generic, TypeVar, Unpack

from posthouse import bodies
from posthouse.backends.contract import QueuePort
from posthouse.core.filters import filter_of
from posthouse.core.leases import BatchLease
from posthouse.core.router import check_pattern
from posthouse.errors import (
    BadArgument,
)
from posthouse.found import PAGE_MESSAGES, Found
from posthouse.iteration import PREFETCH_MESSAGES, QueueIterator
from posthouse.message import Message, Source, ack_together, id_text
from posthouse.model import (
    KIND_BYTES,
    KIND_MSGPACK,
    MAX_BATCH_MESSAGES,
    QueuePolicy,
    QueueStats,
    check_seconds,
)
from posthouse.options import PutOptions, encode, pack
from posthouse.receipt import Ids, Receipt
from posthouse.topic import Topic

T = TypeVar("T")

GET_MANY_BYTES: Final = 64 * 1024 * 1024
REDRIVE_STEP: Final = 1000


class Queue(Generic[T]):
    """A handle on one queue of a broker; cheap, and good for any number of tasks of its loop.

    Made by `Broker.queue`.
    """

    def __init__(
        self,
        name: str,
        port: QueuePort,
        decoder: bodies.BodyDecoder,
        encoder: bodies.BodyEncoder = bodies.PLAIN,
    ) -> None:
        self.name = name
        self.port = port
        self.encoder = encoder
        self._as_is = encoder.as_is
        self._source = Source(port, decoder, name)

    # put

    async def put(
        self,
        body: T,
        *,
        timeout: float | None = None,
        **options: Unpack[PutOptions],
    ) -> str:
        """Put a message; returns its id when it is on disk (or, in memory, in the queue).

        Waits while the queue is full, if its policy says so.

        Args:
            timeout: seconds to wait for room (None: for ever).
            options: headers, delay, at, key, priority, ttl, dedup; see `PutOptions`.

        Raises:
            QueueFull, QueueShutDown, TimeoutError: nothing was stored.
            BodyError, MessageTooLarge, BadArgument: nothing was stored.
            StorageFull: the disk is full; nothing was stored.
            StorageFailed, UnknownOutcome: the disk failed; see `posthouse.errors`.
        """
        if isinstance(body, self._as_is):
            kind = KIND_BYTES
            data: bytes = body
        else:
            kind, data = encode(self.encoder, body, options)
        port = self.port
        if not options:
            placed = port.put_plain(kind, data)
            if placed is None:
                placed = await port.put_one_waiting(kind, data, b"", None, timeout)
        else:
            packed, traits = pack(options, port.now_ns())
            placed = port.put_one(kind, data, packed, traits)
            if placed is None:
                placed = await port.put_one_waiting(kind, data, packed, traits, timeout)
        number, group = placed
        if group is not None:
            await port.durable(group)
        return number.to_bytes(8).hex()

    async def put_many(
        self,
        bodies_: Iterable[T],
        /,
        *,
        timeout: float | None = None,
        **options: Unpack[PutOptions],
    ) -> Sequence[str]:
        """Put a batch, all of it or nothing; returns the ids in order. As `put` otherwise.

        At most 100,000 messages and 64 MiB. The options hold for each message; ``dedup`` is not
        one of them here.
        """
        datas = list(bodies_)
        if not datas:
            return Ids(range(0))
        kinds: list[int] | int = KIND_BYTES
        raw: list[bytes] = datas  # type: ignore[assignment]
        if set(map(type, datas)) != {self._as_is}:
            kinds, raw = self.encoder.encode_many(datas)
            if kinds[0] > KIND_MSGPACK:
                options["headers"] = self.encoder.label(kinds[0], options.get("headers"))
        port = self.port
        packed, traits = pack(options, port.now_ns()) if options else (b"", None)
        if traits is not None and traits.dedup:
            raise BadArgument("a batch has no dedup id: put its messages one by one")
        placed = port.put_many(kinds, raw, packed, traits)
        if placed is None:
            placed = await port.put_many_waiting(kinds, raw, packed, traits, timeout)
        first, group = placed
        if group is not None:
            await port.durable(group)
        return Ids(range(first, first + len(raw)))

    def put_nowait(
        self,
        body: T,
        **options: Unpack[PutOptions],
    ) -> Receipt:
        """Put without waiting: the receipt has the id; await it for the disk.

        Raises:
            QueueFull: it would have to wait (the queue is full, or others are in line).
            Unsupported: this backend has to ask somebody (capability ``nowait``).
            As `put` otherwise.
        """
        kind, data = encode(self.encoder, body, options)
        packed, traits = pack(options, self.port.now_ns())
        placed = self.port.put_one(kind, data, packed, traits)
        if placed is None:
            raise self.port.put_refusal(1, len(data) + len(packed))
        number, group = placed
        return Receipt(id_text(number), None if group is None else self.port.durable(group))

    # get

    async def get(
        self,
        *,
        where: str | None = None,
        timeout: float | None = None,
        visibility_timeout: float | None = None,
    ) -> Message[T]:
        """Take the next message, waiting for one; it is this consumer's while the lease lasts.

        Cancelled while waiting, nothing is taken.

        Args:
            where: take the next one that matches this filter; see `posthouse.core.filters`. What
                stands behind its key, or is held up by a limit, is passed over. Looking through
                what waits takes its time, which ``timeout`` does not cut short.
            timeout: seconds to wait (None: for ever).
            visibility_timeout: the lease's length in seconds (None: the queue's).

        Raises:
            TimeoutError: none came within ``timeout``.
            FilterError: ``where`` is not a filter.
            QueueShutDown: the handle was shut down (and nothing waits).
        """
        port = self.port
        lease_ns = (
            0
            if visibility_timeout is None
            else check_seconds("visibility_timeout", visibility_timeout, least=0.001)
        )
        if where is not None:
            return (await self._select(where, 1, timeout, lease_ns))[0]
        taken = port.take_one(lease_ns)
        if taken is None:
            taken = await port.take_one_waiting(lease_ns, timeout)
        token, entry, attempts = taken
        return Message(self._source, entry, token, attempts)

    async def get_many(
        self,
        most: int = PREFETCH_MESSAGES,
        *,
        where: str | None = None,
        timeout: float | None = None,
        visibility_timeout: float | None = None,
    ) -> list[Message[T]]:
        """Take from 1 to ``most`` messages (and 64 MiB), waiting for the first only.

        They share one lease. Arguments and errors as `get`.
        """
        if (
            isinstance(most, bool)
            or not isinstance(most, int)
            or not 1 <= most <= MAX_BATCH_MESSAGES
        ):
            raise BadArgument(f"get_many takes from 1 to {MAX_BATCH_MESSAGES:,}, not {most!r}")
        port = self.port
        lease_ns = (
            0
            if visibility_timeout is None
            else check_seconds("visibility_timeout", visibility_timeout, least=0.001)
        )
        if where is not None:
            return await self._select(where, most, timeout, lease_ns)
        taken = port.take_many(most, GET_MANY_BYTES, lease_ns)
        if taken is None:
            taken = await port.take_many_waiting(most, GET_MANY_BYTES, lease_ns, timeout)
        return self._delivered(*taken)

    async def _select(
        self, where: str, most: int, timeout: float | None, lease_ns: int
    ) -> list[Message[T]]:
        if timeout is not None:
            check_seconds("timeout", timeout)
        taken = await self.port.select(filter_of(where), most, GET_MANY_BYTES, lease_ns, timeout)
        return self._delivered(*taken)

    def _delivered(self, token: int, lease: BatchLease) -> list[Message[T]]:
        source = self._source
        if lease.attempts is None:
            return list(map(Message, repeat(source), lease.entries, repeat(token), repeat(1)))
        return [
            Message(source, entry, token, attempts)
            for entry, attempts in zip(lease.entries, lease.attempts, strict=True)
        ]

    def get_nowait(self, *, visibility_timeout: float | None = None) -> Message[T]:
        """Take the next message that waits now.

        Raises:
            asyncio.QueueEmpty: none does.
            Unsupported: this backend has to ask somebody (capability ``nowait``).
            QueueShutDown: the handle was shut down (and nothing waits).
        """
        lease_ns = (
            0
            if visibility_timeout is None
            else check_seconds("visibility_timeout", visibility_timeout, least=0.001)
        )
        taken = self.port.take_one_from_disk(lease_ns)
        if taken is None:
            raise self.port.take_refusal()
        return Message(self._source, taken[1], taken[0], taken[2])

    def __aiter__(self) -> AsyncIterator[Message[T]]:
        """Messages as they come, until the handle is shut down and nothing waits.

        Up to 100 (or 1 MiB) are set aside ahead, in memory only: each is leased, and its attempt
        counted, when it is yielded; what is set aside goes back when the iterator goes.
        """
        return QueueIterator(self._source)

    # settle

    async def ack_many(self, messages: Sequence[Message[T]], durable: bool = False) -> None:
        """Ack messages of this queue, whole deliveries at the cost of one.

        Raises:
            LeaseExpired: some are no longer held; the others were acked.
            AlreadySettled: some were nacked or rejected before; the others were acked.
        """
        if not messages:
            return
        trouble = await ack_together(self.port, messages, durable=durable)
        if trouble is not None:
            raise trouble

    # the queue as a whole

    def qsize(self) -> int:
        """Messages that wait to be delivered (not delayed, not in flight).

        Where the backend has to ask somebody (no capability ``nowait``), this and `empty` and
        `full` tell what was last seen; `stats` is exact.
        """
        return self.port.waiting()

    def empty(self) -> bool:
        """Whether none waits."""
        return not self.port.waiting()

    def full(self) -> bool:
        """Whether a put would have to wait for room."""
        return self.port.is_full()

    @property
    def policy(self) -> QueuePolicy:
        """The queue's settings as they are now."""
        return self.port.policy()

    async def stats(self) -> QueueStats:
        """What the queue holds, and did since the broker was opened."""
        return await self.port.stats()

    async def peek(self, most: int = 1) -> list[Message[T]]:
        """The next messages in order, left where they are; they cannot be settled."""
        if (
            isinstance(most, bool)
            or not isinstance(most, int)
            or not 1 <= most <= MAX_BATCH_MESSAGES
        ):
            raise BadArgument(f"peek takes from 1 to {MAX_BATCH_MESSAGES:,}, not {most!r}")
        return [
            Message(self._source, entry, 0, attempts)
            for entry, attempts in await self.port.peek(most)
        ]

    def find(
        self,
        where: str | None = None,
        *,
        order: str = "id",
        limit: int = PAGE_MESSAGES,
        cursor: str | None = None,
    ) -> Found[T]:
        """What waits or is delayed and matches a filter: a page of it, or all, to act on.

        ``page = await queue.find("body.amount > 100")``, or
        ``count = await queue.find("body.amount > 100").delete()``; see `Found`.

        Args:
            where: a filter (None: everything); see `posthouse.core.filters`.
            order: ``"id"`` (by age), ``"-id"``, ``"priority"`` or ``"-priority"``.
            limit: messages in a page, 1 to 100,000.
            cursor: a page's, to go on after it.

        Raises:
            FilterError: ``where`` is not a filter; the text has a caret under the fault.
            BadArgument: another argument is not allowed.
        """
        filter_ = None if where is None else filter_of(where)
        return Found(self._source, filter_, order, limit, cursor)

    async def purge(self) -> int:
        """Delete every message that waits or is delayed, durably; returns how many."""
        return await self.port.purge()

    async def redrive(self, most: int | None = None, *, per_second: float | None = None) -> int:
        """Put dead letters of this queue back where they died, durably; returns how many.

        They begin anew, with no attempts, at the end of their queue. Letters of unknown origin
        stay.

        Args:
            most: how many at the most (None: all that wait now).
            per_second: no faster than this.

        Raises:
            StorageFull: there is no room to write that down; what was done is done.
        """
        if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 0):
            raise BadArgument(f"redrive takes a number of messages, not {most!r}")
        if per_second is not None:
            check_seconds("per_second", per_second, most=1e9, least=0.001)
        left = (await self.port.stats()).waiting
        if most is not None:
            left = min(most, left)
        step = REDRIVE_STEP if per_second is None else max(1, min(int(per_second), REDRIVE_STEP))
        done = 0
        while left > 0:
            count = await self.port.redrive(min(step, left))
            done += count
            left -= count
            if count == 0:
                break
            if left and per_second is not None:
                await asyncio.sleep(count / per_second)
        return done

    async def bind(self, topic: Topic, pattern: str = "#") -> None:
        """Let a topic's messages come here, from now on and durably.

        Patterns are AMQP's: words between dots, ``*`` for exactly one word, ``#`` for any number
        of them; the default takes everything (fan-out).

        Raises:
            BadArgument: the pattern is none.
            StorageFull, StorageFailed: nothing was bound.
        """
        await self.port.bind(topic.name, check_pattern(pattern))

    async def unbind(self, topic: Topic, pattern: str = "#") -> None:
        """End a binding, durably; what came by it stays. Raises: as `bind`."""
        await self.port.unbind(topic.name, check_pattern(pattern))

    async def join(self) -> None:
        """Return when the queue holds nothing: waiting, delayed or in flight."""
        await self.port.joined()

    def shutdown(self, immediate: bool = False) -> None:
        """Close this process's handles on the queue; never deletes a message.

        From now on puts raise `QueueShutDown`; gets do when nothing waits, or at once if
        ``immediate``.
        """
        self.port.shut_down(immediate=immediate)

    def __repr__(self) -> str:
        return f"<Queue {self.name!r}>"
