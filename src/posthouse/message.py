"""A delivered message, as the program sees it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

import msgspec

from posthouse.backends.contract import QueuePort
from posthouse.bodies import BodyDecoder, decode_headers
from posthouse.errors import AlreadySettled, BodyError, CallerError, LeaseExpired
from posthouse.model import NANOSECONDS, check_seconds
from posthouse.records import Entry

T = TypeVar("T")

UNDECODED: Any = msgspec.UNSET
IN_TRANSACTION: Final = "transaction"


def id_text(number: int) -> str:
    """A message id as the str that users see: 16 hex digits, which sort by time."""
    return number.to_bytes(8).hex()


class Source:
    """What a queue's messages share: the port to settle them at, and how bodies are decoded."""

    __slots__ = ("decoder", "name", "port")

    def __init__(self, port: QueuePort, decoder: BodyDecoder, name: str) -> None:
        self.port = port
        self.decoder = decoder
        self.name = name


# A Struct for its speed: one is made for every delivery. It is never encoded; and the garbage
# collector need not know it, since nothing that it holds leads back to it.
class Message(msgspec.Struct, Generic[T], eq=False, gc=False):
    """One delivery of a message: settle it once, by `ack`, `nack` or `reject`.

    ``async with message:`` settles it by what happens inside: ack on success; on an exception
    nack, so that it is retried with the queue's backoff (the exception goes on); on cancellation
    it is given back at once and the attempt does not count.

    Attributes:
        attempts: which delivery this is, from 1 (for a peeked message: deliveries so far).
        settled: how this delivery was settled: "ack", "nack", "reject", "give_back", or None;
            "transaction" while one that is open will settle it.
        token: the fencing token of its lease (0 for a peeked message).
    """

    source: Source
    entry: Entry
    token: int
    attempts: int
    settled: str | None = None
    decoded: Any = UNDECODED

    @property
    def queue_name(self) -> str:
        """The queue it was taken from."""
        return self.source.name

    @property
    def id(self) -> str:
        """The id that `put` returned: 16 hex digits, sorting by time. It never changes."""
        return self.entry[0].to_bytes(8).hex()

    @property
    def number(self) -> int:
        """The id as a number."""
        return self.entry[0]

    @property
    def body(self) -> T:
        """The body, decoded at the first look.

        Raises:
            BodyError: the bytes are not what the queue's type says; see `raw`.
        """
        if self.decoded is UNDECODED:
            entry = self.entry
            try:
                self.decoded = self.source.decoder.decode(entry[1], entry[2], entry[3])
            except BodyError as error:
                error.message_id = self.id
                raise
        return self.decoded  # type: ignore[no-any-return]

    @property
    def raw(self) -> bytes:
        """The body's bytes as they are stored."""
        return self.entry[2]

    @property
    def headers(self) -> dict[str, str]:
        """The headers (a copy); a dead letter's tell why it died (``posthouse-reason``, ...)."""
        headers = decode_headers(self.entry[3])
        traits = self.entry[4]
        if traits is not None and traits.death:
            headers.update(decode_headers(traits.death))
        return headers

    @property
    def enqueued_at(self) -> datetime:
        """When it was put, by the broker's clock, in UTC."""
        return datetime.fromtimestamp(self.entry[0] / NANOSECONDS, UTC)

    async def ack(self, durable: bool = False) -> None:
        """It is done; the broker forgets it. Doing it again changes nothing.

        Accepted at once, on disk with the next commit (a crash before that delivers it again);
        ``durable`` waits for the disk.

        Raises:
            LeaseExpired: the lease ran out; the message may be delivered again.
            AlreadySettled: this delivery was nacked or rejected.
        """
        port = self.source.port
        if self.settled is not None:
            self._settled_as("ack")
            wait = port.last_wait() if durable else None
            if wait is not None:
                await port.durable(wait)
            return
        if durable:
            wait = port.ack_durably(self.token, self.entry[0])
        else:
            wait = port.ack_one(self.token, self.entry[0])
        self.settled = "ack"
        if wait is not None and (durable or port.answers):
            await self._answered(wait)

    async def nack(self, delay: float | None = None, error: str | None = None) -> None:
        """It failed; it is tried again after ``delay`` seconds (None: the queue's backoff).

        After the last attempt it goes to the dead-letter queue, with ``error`` in its headers;
        that waits for the disk.
        Raises: as `ack`, and BadArgument for the delay.
        """
        delay_ns = None if delay is None else check_seconds("delay", delay)
        if self.settled is not None:
            self._settled_as("nack")
            return
        wait = self.source.port.nack(self.token, self.entry[0], delay_ns, error)
        self.settled = "nack"
        if wait is not None:
            await self._answered(wait)

    async def reject(self, reason: str = "rejected", error: str | None = None) -> None:
        """It can never be done: to the dead-letter queue now, durably. Raises: as `ack`."""
        if self.settled is not None:
            self._settled_as("reject")
            return
        wait = self.source.port.reject(self.token, self.entry[0], reason, error)
        self.settled = "reject"
        if wait is not None:
            await self._answered(wait)

    async def give_back(self) -> None:
        """Undo the delivery: available to others at once, the attempt not counted.

        Raises: as `ack`.
        """
        if self.settled is not None:
            self._settled_as("give_back")
            return
        wait = self.source.port.give_back(self.token, self.entry[0])
        self.settled = "give_back"
        if wait is not None:
            await self._answered(wait)

    async def extend(self, seconds: float) -> None:
        """Let the lease run ``seconds`` from now; a batch's messages share one lease.

        Raises:
            LeaseExpired: it has run out already.
        """
        await self.source.port.extend(self.token, check_seconds("the lease", seconds, least=0.001))

    async def _answered(self, wait: Any) -> None:
        try:
            await self.source.port.durable(wait)
        except CallerError:
            self.settled = None  # refused: nothing was done
            raise

    def _settled_as(self, verb: str) -> None:
        if self.settled != verb:
            raise AlreadySettled(f"message {self.id} was settled by {self.settled}, not by {verb}")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self.settled == IN_TRANSACTION and error is not None:
            self.settled = None  # it failed after all; the transaction cannot have it any more
        if self.settled is not None:
            return
        if error is None:
            await self.ack()
        elif self.source.port.holds(self.token, self.entry[0]):
            # A broker elsewhere may know better. The exception matters more than the lease.
            with contextlib.suppress(LeaseExpired):
                await self._failed(error)

    async def _failed(self, error: BaseException) -> None:
        if isinstance(error, BodyError) and error.message_id == self.id:
            await self.reject("undecodable", describe(error))
        elif isinstance(error, asyncio.CancelledError) or not isinstance(error, Exception):
            await self.give_back()
        else:
            await self.nack(error=describe(error))

    def __repr__(self) -> str:
        return (
            f"<Message {self.id} of {self.queue_name!r}, attempt {self.attempts}, "
            f"{self.settled or 'not settled'}>"
        )


def describe(error: BaseException) -> str:
    """An exception as one line for a dead letter's header."""
    return f"{type(error).__name__}: {error}"


async def ack_together(
    port: QueuePort, messages: Sequence[Message[Any]], *, durable: bool
) -> Exception | None:
    """Ack messages of one queue, each delivery's in one call; what to raise afterwards, or None.

    What is held is acked, whatever there is to raise.
    """
    trouble: Exception | None = None
    token = messages[0].token
    held = [message for message in messages if message.token == token and message.settled is None]
    if len(held) == len(messages):
        by_token: dict[int, Sequence[Message[Any]]] = {token: held}
    else:
        by_token, trouble = _by_delivery(messages)
    waits: list[tuple[Any, Sequence[Message[Any]]]] = []
    for token, together in by_token.items():
        ids = [message.entry[0] for message in together]
        try:
            wait = port.ack_batch(token, ids, durable=durable)
        except LeaseExpired as error:
            _mark(together, error.numbers)
            trouble = error
        else:
            _mark(together, ())
            if wait is not None and (durable or port.answers):
                waits.append((wait, together))
    if durable and not waits:
        wait = port.last_wait()  # all were acked before, perhaps not durably
        if wait is not None:
            await port.durable(wait)
    if not waits:
        return trouble
    # All in this step: a wait that is over by itself would never end for who comes later.
    answers: list[BaseException | None]
    if len(waits) == 1:
        try:
            await port.durable(waits[0][0])
            answers = [None]
        except Exception as error:
            answers = [error]
    else:
        answers = await asyncio.gather(
            *(port.durable(wait) for wait, _ in waits), return_exceptions=True
        )
    for (_, together), answer in zip(waits, answers, strict=True):
        if isinstance(answer, LeaseExpired):
            _mark(together, answer.numbers)
            trouble = answer
        elif isinstance(answer, BaseException):
            raise answer
    return trouble


def _by_delivery(
    messages: Sequence[Message[Any]],
) -> tuple[dict[int, Sequence[Message[Any]]], Exception | None]:
    trouble: Exception | None = None
    by_token: dict[int, list[Message[Any]]] = {}
    for message in messages:
        if message.settled is None:
            by_token.setdefault(message.token, []).append(message)
        elif message.settled != "ack":
            trouble = AlreadySettled(
                f"message {message.id} was settled by {message.settled}, not by ack; "
                "the others were acked"
            )
    return dict(by_token), trouble


def _mark(messages: Sequence[Message[Any]], missing: Sequence[int]) -> None:
    """Acked are all but those that were not held."""
    if missing:
        for message in messages:
            message.settled = None if message.entry[0] in missing else "ack"
    else:
        for message in messages:
            message.settled = "ack"
