"""What a client says. Each message is a msgpack array: its tag, then its fields in this order.

``id`` numbers a request within a session, growing; one that is for many messages has parts,
numbered from 0. ``again`` marks a request that may have been done by a server that is gone.
Times are nanoseconds, of the server's clock where they are points in time.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import msgspec

from posthouse.records import Traits


class Hello(msgspec.Struct, array_like=True, tag=1, gc=False):
    """The first message of a connection.

    Attributes:
        lowest, highest: the versions of the protocol that the client speaks.
        session: the secret id of the session to go on with; empty for a new one.
        role: "client", or "keeper": a second connection that only renews the session's leases.
        name: the client's own, for logs.
        heartbeat_s: the longest silence that the client means to keep.
        frame_bytes: the longest frame that it takes.
        producer: what an earlier server knew the session's puts by; 0 for none.
        mechanism: how the client says who it is: "password", "token", "certificate"; "": it is
            nobody.
        user: as whom; with a certificate it may be empty.
        secret: the password or token.
    """

    lowest: int
    highest: int
    session: bytes = b""
    role: str = "client"
    name: str = ""
    heartbeat_s: float = 20.0
    frame_bytes: int = 0
    producer: int = 0
    mechanism: str = ""
    user: str = ""
    secret: str = ""

    def __repr__(self) -> str:
        # What proves who it is, is shown nowhere.
        return f"<Hello, {self.role} {self.name!r}>"


class Seen(msgspec.Struct, array_like=True, tag=2, gc=False):
    """These requests are answered, and the answers have come: forget them.

    ``ids``, and all under ``below`` but those in ``but`` (said when a connection begins: what was
    said on the one before may not have come). No put with a sequence under ``puts`` comes again.
    """

    ids: list[int]
    below: int = 0
    but: list[int] = []
    puts: int = 0


class Ping(msgspec.Struct, array_like=True, tag=3, gc=False):
    """Answered by Pong: neither side is silent for long."""

    number: int = 0


class Goodbye(msgspec.Struct, array_like=True, tag=4, gc=False):
    """The session is over: what is held goes back, uncounted. Answered by Farewell."""


class Cancel(msgspec.Struct, array_like=True, tag=5, gc=False):
    """Give up waiting for a part of a request; if it is done already, its answer comes.

    ``queue``: of a get that nobody waits for any more: what was delivered goes back uncounted.
    """

    of: int
    part: int = 0
    queue: str = ""


class Declare(msgspec.Struct, array_like=True, tag=10, gc=False):
    """A queue is there, with these settings. Answered by Answer: its whole policy."""

    id: int
    queue: str
    given: dict[str, Any]


class PutEach(msgspec.Struct, array_like=True, tag=11, gc=False):
    """Plain messages, each for itself (part by part): Placed or Failed.

    ``sequence`` is the first one's; ``kinds`` one for all, or one for each.
    """

    id: int
    queue: str
    sequence: int
    kinds: int | list[int]
    bodies: list[bytes]
    again: bool = False


class PutMany(msgspec.Struct, array_like=True, tag=12, gc=False):
    """A batch, all of it or nothing: Placed (for all), or Failed."""

    id: int
    queue: str
    sequence: int
    kinds: int | list[int]
    bodies: list[bytes]
    headers: bytes = b""
    traits: Traits | None = None
    timeout_s: float | None = None
    again: bool = False


class PutOne(msgspec.Struct, array_like=True, tag=13, gc=False):
    """A message: Placed or Failed."""

    id: int
    queue: str
    sequence: int
    kind: int
    body: bytes
    headers: bytes = b""
    traits: Traits | None = None
    timeout_s: float | None = None
    again: bool = False


class Get(msgspec.Struct, array_like=True, tag=20, gc=False):
    """Take from 1 to ``most`` messages, waiting for the first: Delivered or Failed.

    ``lease_ns`` 0: the queue's visibility timeout. ``timeout_s`` None: wait for ever; 0: only
    what is there. ``where`` is a filter. ``drain``: QueueShutDown once nothing waits.
    """

    id: int
    queue: str
    most: int
    most_bytes: int
    lease_ns: int = 0
    timeout_s: float | None = None
    where: str | None = None
    drain: bool = False


class Subscribe(msgspec.Struct, array_like=True, tag=21, gc=False):
    """Push messages (Pushed) within so much credit. ``id`` names it; Failed ends it."""

    id: int
    queue: str
    messages: int
    size_bytes: int


class Credit(msgspec.Struct, array_like=True, tag=22, gc=False):
    """More credit for a subscription; and that so many were ``seen``, since it last said so.

    ``waits``: the program has seen everything, and waits: push what comes, too.
    """

    of: int
    messages: int
    size_bytes: int
    seen: int = 0
    waits: bool = False


class Unsubscribe(msgspec.Struct, array_like=True, tag=23, gc=False):
    """End a subscription, and give back, uncounted, what was pushed and nobody has seen.

    ``received``: how many messages have come by it in all; what was pushed beyond that is on its
    way, will not be looked at, and goes back too.
    """

    of: int
    tokens: list[int]
    ids: list[int]
    received: int


class Returned(msgspec.Struct, array_like=True, tag=24, gc=False):
    """The answer to Recall: these go back uncounted; their credit comes with the next Credit."""

    of: int
    tokens: list[int]
    ids: list[int]


class AckEach(msgspec.Struct, array_like=True, tag=30, gc=False):
    """Settle deliveries for good, each for itself (part by part): Done or Failed."""

    id: int
    queue: str
    tokens: list[int]
    ids: list[int]
    durable: bool = False


class AckMany(msgspec.Struct, array_like=True, tag=31, gc=False):
    """Settle messages of one delivery: Done, or Failed with those that were not held."""

    id: int
    queue: str
    token: int
    ids: list[int]
    durable: bool = False


class Nack(msgspec.Struct, array_like=True, tag=32, gc=False):
    """It failed; ``delay_ns`` None takes the queue's backoff: Done or Failed."""

    id: int
    queue: str
    token: int
    message: int
    delay_ns: int | None = None
    error: str | None = None


class Reject(msgspec.Struct, array_like=True, tag=33, gc=False):
    """To the dead-letter queue: Done or Failed."""

    id: int
    queue: str
    token: int
    message: int
    reason: str = "rejected"
    error: str | None = None


class GiveBack(msgspec.Struct, array_like=True, tag=34, gc=False):
    """Undo deliveries of one token, the attempts not counted: Done, or Failed with the rest."""

    id: int
    queue: str
    token: int
    ids: list[int]


class Renew(msgspec.Struct, array_like=True, tag=35, gc=False):
    """Let leases, each (queue, token, nanoseconds), run so long from now.

    ``every``: these are all that the client has; what else the server holds for it got lost on
    the way, and goes back uncounted. Answered by Answer: the tokens that are no longer held.
    """

    id: int
    leases: list[tuple[str, int, int]]
    every: bool = False


class PutStep(msgspec.Struct, array_like=True, tag=1, gc=False):
    """A transaction's put."""

    queue: str
    kind: int
    body: bytes
    headers: bytes
    traits: Traits | None


class SettleStep(msgspec.Struct, array_like=True, tag=2, gc=False):
    """A transaction's settlement; ``verb`` is "ack", "nack" or "reject"."""

    queue: str
    verb: str
    token: int
    message: int
    delay_ns: int | None = None
    reason: str = ""
    error: str | None = None


class PublishStep(msgspec.Struct, array_like=True, tag=3, gc=False):
    """A transaction's publish: a put on every queue that is bound."""

    topic: str
    key: str
    kind: int
    body: bytes
    headers: bytes
    traits: Traits | None
    unroutable: bool = False


Step: TypeAlias = PutStep | SettleStep | PublishStep


class Commit(msgspec.Struct, array_like=True, tag=40, gc=False):
    """A transaction, all of it or nothing: Answer with the ids of its puts, or Failed.

    ``sequence`` is the first put's.
    """

    id: int
    sequence: int
    steps: list[Step]
    timeout_s: float | None = None
    again: bool = False


class Publish(msgspec.Struct, array_like=True, tag=41, gc=False):
    """Put on every queue that is bound: Answer with a map from queue to id, or Failed."""

    id: int
    topic: str
    key: str
    kind: int
    body: bytes
    headers: bytes
    traits: Traits | None
    unroutable: bool = False
    timeout_s: float | None = None


class Ask(msgspec.Struct, array_like=True, tag=50, gc=False):
    """Any other verb, by name, with its arguments: Answer or Failed. See docs/protocol.md."""

    id: int
    verb: str
    queue: str
    args: list[Any]


Put: TypeAlias = PutEach | PutMany | PutOne
Request: TypeAlias = (
    Declare
    | Put
    | Get
    | AckEach
    | AckMany
    | Nack
    | Reject
    | GiveBack
    | Renew
    | Commit
    | Publish
    | Ask
)
FromClient: TypeAlias = (
    Hello | Seen | Ping | Goodbye | Cancel | Subscribe | Credit | Unsubscribe | Returned | Request
)
