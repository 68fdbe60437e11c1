"""One queue of a database, as one open broker uses it: the contract's verbs as calls."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any

from posthouse.backends.sqlite import commit, put, settle, take, whole
from posthouse.backends.sqlite.feed import SqliteFeed
from posthouse.backends.sqlite.find_port import FindPort
from posthouse.backends.sqlite.host import Seen
from posthouse.backends.sqlite.parked import shut_down_error
from posthouse.backends.sqlite.take import Delivery
from posthouse.core.filters import Filter
from posthouse.core.leases import BatchLease
from posthouse.errors import BadArgument, MessageTooLarge, QueueShutDown, Unsupported
from posthouse.model import (
    MAX_BATCH_BYTES,
    MAX_BATCH_MESSAGES,
    MAX_BODY_BYTES,
    MAX_HEADERS_BYTES,
    QueuePolicy,
    QueueStats,
)
from posthouse.records import Entry, Traits

Taken = tuple[int, Entry, int]


class SqlitePort(FindPort):
    """See `posthouse.backends.contract.QueuePort`.

    Attributes:
        answers: a settlement is decided by the database: it is always waited for.
    """

    answers = True

    def durable(self, wait: asyncio.Future[Any]) -> Awaitable[None]:
        """Wait for a call that was handed over."""
        return asyncio.shield(wait)

    def last_wait(self) -> asyncio.Future[Any] | None:
        """The last call, if it is not answered yet."""
        return self.host.last()

    # put

    def put_plain(self, kind: int, body: bytes) -> None:
        """Always None, and raises what `put_one` does."""
        self.put_one(kind, body)

    def put_one(
        self, kind: int, body: bytes, headers: bytes = b"", traits: Traits | None = None
    ) -> None:
        """Always None: a put has to wait for the database. Raises what it can be refused for."""
        self._check_put()
        _check_size(body, headers)

    def put_many(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes = b"",
        traits: Traits | None = None,
    ) -> None:
        """Always None; see `put_one`."""
        self._check_put()
        size = sum(map(len, bodies)) + len(bodies) * len(headers)
        for body in bodies:
            _check_size(body, headers)
        if size > MAX_BATCH_BYTES:
            raise MessageTooLarge("the batch", size, MAX_BATCH_BYTES)
        if len(bodies) > MAX_BATCH_MESSAGES:
            raise BadArgument(
                f"a batch has at most {MAX_BATCH_MESSAGES:,} messages, not {len(bodies):,}"
            )

    async def put_one_waiting(
        self,
        kind: int,
        body: bytes,
        headers: bytes,
        traits: Traits | None,
        timeout_s: float | None,
    ) -> tuple[int, None]:
        """See the contract."""
        return await self.put_many_waiting(kind, [body], headers, traits, timeout_s)

    async def put_many_waiting(
        self,
        kinds: list[int] | int,
        bodies: list[bytes],
        headers: bytes,
        traits: Traits | None,
        timeout_s: float | None,
    ) -> tuple[int, None]:
        """See the contract."""
        self._check_put()
        first: int = await self.host.ask(
            lambda books, op: put.put(books, op, kinds, bodies, headers, traits),
            self.name,
            wants="room",
            timeout_s=timeout_s,
            size_bytes=sum(map(len, bodies)),
        )
        return first, None

    def put_refusal(self, count: int, size_bytes: int) -> Exception:
        """Putting without waiting is not for a database."""
        return _no_nowait("put_nowait", "put")

    def _check_put(self) -> None:
        self.host.check()
        if self.shut:
            raise shut_down_error(self.name)

    # take

    def take_one(self, lease_ns: int) -> None:
        """Always None; see `take_one_waiting`."""
        self._check_take()

    take_one_from_disk = take_one

    def take_many(self, most: int, most_bytes: int, lease_ns: int) -> None:
        """Always None; see `take_many_waiting`."""
        self._check_take()

    async def take_one_waiting(self, lease_ns: int, timeout_s: float | None) -> Taken:
        """See the contract."""
        got = await self._take(1, MAX_BATCH_BYTES, lease_ns, timeout_s)
        return got.token, got.entries[0], 1 if got.attempts is None else got.attempts[0]

    async def take_many_waiting(
        self, most: int, most_bytes: int, lease_ns: int, timeout_s: float | None
    ) -> tuple[int, BatchLease]:
        """See the contract."""
        return _batch(await self._take(most, most_bytes, lease_ns, timeout_s))

    async def select(
        self,
        where: Filter,
        most: int,
        most_bytes: int,
        lease_ns: int,
        timeout_s: float | None,
    ) -> tuple[int, BatchLease]:
        """See the contract."""
        self._check_take()
        got: Delivery = await self.host.ask(
            lambda books, op: take.select(books, op, where, most, most_bytes, lease_ns),
            self.name,
            wants="match",
            timeout_s=timeout_s,
            undo=take.undo,
        )
        return _batch(self._delivered(got))

    async def _take(
        self, most: int, most_bytes: int, lease_ns: int, timeout_s: float | None
    ) -> Delivery:
        self._check_take()
        got: Delivery = await self.host.ask(
            lambda books, op: take.take(books, op, most, most_bytes, lease_ns),
            self.name,
            wants="message",
            timeout_s=timeout_s,
            undo=take.undo,
        )
        return self._delivered(got)

    def _delivered(self, got: Delivery) -> Delivery:
        ids = {entry[0] for entry in got.entries}
        self.host.delivered(got.token, got.deadline_ns, ids)
        return got

    def _check_take(self) -> None:
        self.host.check()
        if self.shut_at_once:
            raise shut_down_error(self.name)

    def take_refusal(self) -> Exception:
        """Getting without waiting is not for a database."""
        try:
            self._check_take()
        except QueueShutDown as error:
            return error
        return _no_nowait("get_nowait", "get")

    def feed(self, most: int, most_bytes: int) -> SqliteFeed:
        """See the contract."""
        return SqliteFeed(self.host, self.name, lambda: self.shut_at_once, most, most_bytes)

    # settle

    def ack_one(self, token: int, message_id: int) -> asyncio.Future[Any]:
        """See the contract."""
        return self.ack_batch(token, [message_id], durable=False)

    def ack_durably(self, token: int, message_id: int) -> asyncio.Future[Any]:
        """The same: every answer is durable."""
        return self.ack_batch(token, [message_id], durable=True)

    def ack_batch(self, token: int, ids: list[int], *, durable: bool) -> asyncio.Future[Any]:
        """See the contract."""
        return self.host.settle(
            lambda books, op: settle.ack(books, op, token, ids),
            self.name,
            lambda _: self.host.settled(token, ids),
        )

    def nack(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> asyncio.Future[Any]:
        """See the contract."""
        return self._end("nack", token, message_id, delay_ns, "", error)

    def reject(
        self, token: int, message_id: int, reason: str, error: str | None
    ) -> asyncio.Future[Any]:
        """See the contract."""
        return self._end("reject", token, message_id, None, reason, error)

    def give_back(self, token: int, message_id: int) -> asyncio.Future[Any]:
        """See the contract."""
        return self._end("give_back", token, message_id, None, "", None)

    def _end(
        self,
        verb: settle.Verb,
        token: int,
        message_id: int,
        delay_ns: int | None,
        reason: str,
        error: str | None,
    ) -> asyncio.Future[Any]:
        return self.host.settle(
            lambda books, op: settle.end(
                books, op, verb, token, message_id, delay_ns, reason, error
            ),
            self.name,
            lambda _: self.host.settled(token, [message_id]),
        )

    def holds(self, token: int, message_id: int) -> bool:
        """See the contract."""
        return self.host.holds(token, message_id)

    async def extend(self, token: int, timeout_ns: int) -> None:
        """See the contract."""
        deadline_ns: int = await self.host.ask(
            lambda books, op: settle.extend(books, op, token, timeout_ns), self.name
        )
        lease = self.host.leases.get(token)
        if lease is not None:
            lease.deadline_ns = deadline_ns

    # steps of a transaction

    def put_step(
        self, kind: int, body: bytes, headers: bytes, traits: Traits | None
    ) -> commit.PutStep:
        """A put. Raises MessageTooLarge, QueueShutDown."""
        self._check_put()
        _check_size(body, headers)
        return commit.PutStep(self.broker, commit.QueueName(self.name), kind, body, headers, traits)

    def ack_step(self, token: int, message_id: int) -> commit.SettleStep:
        """An ack."""
        return commit.SettleStep(self.broker, commit.QueueName(self.name), "ack", token, message_id)

    def nack_step(
        self, token: int, message_id: int, delay_ns: int | None, error: str | None
    ) -> commit.SettleStep:
        """A nack."""
        return commit.SettleStep(
            self.broker, commit.QueueName(self.name), "nack", token, message_id, delay_ns, "", error
        )

    def reject_step(
        self, token: int, message_id: int, reason: str, error: str | None
    ) -> commit.SettleStep:
        """A reject."""
        return commit.SettleStep(
            self.broker,
            commit.QueueName(self.name),
            "reject",
            token,
            message_id,
            None,
            reason,
            error,
        )

    # the queue as a whole

    def now_ns(self) -> int:
        """The broker's time."""
        return self.host.now_ns()

    def live(self) -> int:
        """Messages in the queue, as last seen."""
        return self._seen().live

    def waiting(self) -> int:
        """Messages that may be delivered, as last seen."""
        return self._seen().waiting

    def is_full(self) -> bool:
        """Whether a put would have to wait, as last seen."""
        return self._seen().full

    def policy(self) -> QueuePolicy:
        """The queue's settings, as far as they are known here."""
        return self._seen().policy

    def _seen(self) -> Seen:
        return self.host.seen.get(self.name) or Seen(0, 0, False, QueuePolicy())

    async def stats(self) -> QueueStats:
        """See the contract."""
        found: QueueStats = await self.host.ask(
            lambda books, op: whole.stats(books, books.named(op.queue)), self.name
        )
        return found

    async def purge(self) -> int:
        """See the contract."""
        count: int = await self.host.ask(whole.purge, self.name)
        return count

    async def redrive(self, most: int) -> int:
        """See the contract."""
        count: int = await self.host.ask(
            lambda books, op: whole.redrive(books, op, most), self.name
        )
        return count

    async def bind(self, topic: str, pattern: str) -> None:
        """See the contract."""
        await self.host.ask(lambda books, op: whole.bind(books, op, topic, pattern), self.name)

    async def unbind(self, topic: str, pattern: str) -> None:
        """See the contract."""
        await self.host.ask(lambda books, op: whole.unbind(books, op, topic, pattern), self.name)

    async def joined(self) -> None:
        """See the contract."""
        await self.host.ask(whole.joined, self.name, wants="end")

    def shut_down(self, *, immediate: bool) -> None:
        """See the contract."""
        self.shut = True
        self.shut_at_once = self.shut_at_once or immediate
        self.host.writer.shut(self.name, immediate=immediate)


def _batch(got: Delivery) -> tuple[int, BatchLease]:
    ids = [entry[0] for entry in got.entries]
    return got.token, BatchLease(got.deadline_ns, 0, ids, got.entries, got.attempts)


def _check_size(body: bytes, headers: bytes) -> None:
    if len(headers) > MAX_HEADERS_BYTES:
        raise MessageTooLarge("the headers", len(headers), MAX_HEADERS_BYTES)
    if len(body) > MAX_BODY_BYTES:
        raise MessageTooLarge("the body", len(body), MAX_BODY_BYTES)


def _no_nowait(verb: str, instead: str) -> Unsupported:
    return Unsupported(
        f"{verb} needs the capability 'nowait', which SQLite does not have (memory: and a log "
        f"directory do): its answer has to be waited for; use 'await {instead}(...)'"
    )
