"""One socket of the server's: bytes in, requests done, answers out.

Reading stops while the client has too much unanswered, takes none of its answers, is faster than
it may be, or the server as a whole is short of memory. There is no task and no timer of its own:
the server looks at all connections once a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

from posthouse.access.rights import Rights
from posthouse.errors import AuthenticationFailed, BadArgument, PosthouseError, ProtocolError
from posthouse.link.scratch import scratch
from posthouse.server import asks, puts, settles, takes
from posthouse.server.admission import Admission
from posthouse.server.limits import Limits
from posthouse.server.member import Member
from posthouse.server.subscription import Subscriptions
from posthouse.wire import requests as wire
from posthouse.wire.answers import Answer, Farewell, Pong, Refused, Welcome
from posthouse.wire.connection import ServerSide, encode_all

logger = logging.getLogger("posthouse.server")


class House(Protocol):
    """What a connection needs of its server."""

    limits: Limits
    short_of_memory: bool
    admission: Admission | None

    def joined(
        self, connection: Connection, hello: wire.Hello, rights: Rights | None
    ) -> Welcome | Refused: ...
    def left(self, connection: Connection, *, goodbye: bool) -> None: ...
    def starved(self, queue: str, member: Member) -> None: ...
    def closed_because(self) -> str: ...


class Connection(asyncio.BufferedProtocol):
    """A client's socket. For `Line` see `member`.

    Attributes:
        member: whose it is, after the hello.
        keeper: it is the member's second one, which renews leases and does nothing else.
        heard_s, stuck_s: when bytes last came; since when none of ours went (0: they go).
        number: in the order of coming, for logs.
    """

    __slots__ = (
        "_admitting",
        "_house",
        "_loop",
        "_out",
        "_out_soon",
        "_reading",
        "_side",
        "_tokens",
        "_tokens_s",
        "_transport",
        "begun_s",
        "closing",
        "heard_s",
        "keeper",
        "member",
        "number",
        "peer",
        "stuck_s",
    )

    def __init__(self, house: House, loop: asyncio.AbstractEventLoop, number: int) -> None:
        self.number = number
        self.member: Member | None = None
        self.keeper = False
        self.peer = ""
        self.begun_s = self.heard_s = loop.time()
        self.stuck_s = 0.0
        self.closing = False
        self._admitting: asyncio.Task[None] | None = None
        self._house = house
        self._loop = loop
        self._side = ServerSide(house.limits.frame_bytes, scratch())
        self._transport: asyncio.Transport | None = None
        self._out: list[object] = []
        self._out_soon = False
        self._reading = True
        self._tokens = house.limits.requests_per_s or 0.0
        self._tokens_s = self.begun_s

    # asyncio's

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._transport = transport
        if self.closing:  # the server ended meanwhile
            transport.close()
            return
        limit = self._house.limits.output_bytes
        transport.set_write_buffer_limits(high=limit, low=limit // 4)
        name = transport.get_extra_info("peername")
        self.peer = f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "unix"
        if why := self._house.closed_because():
            self.refuse(why)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where bytes are to be put."""
        return self._side.space()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self.closing:
            return
        self.heard_s = self._loop.time()
        self._out_soon = True  # what is said below goes out in one write
        try:
            messages = self._side.received(nbytes)
            for message in messages:
                self._handle(message)
            if self._house.limits.requests_per_s is not None:
                self._pay(len(messages))
        except ProtocolError as error:
            logger.warning("client %d at %s: %s", self.number, self.peer, error)
            self.refuse(str(error), final=True)
        except PosthouseError as error:
            # Of something that has no answer, so that this is the only one.
            logger.warning("client %d at %s: %s", self.number, self.peer, error)
            self.refuse(str(error), final=isinstance(error, BadArgument))
        finally:
            self._out_soon = False
            self.flush()
        self.check_flow()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by whomever."""
        self.closing = True
        self._transport = None
        self._out.clear()
        if self._admitting is not None:
            self._admitting.cancel()
        self._house.left(self, goodbye=False)

    def pause_writing(self) -> None:
        """The client does not take what was sent."""
        self.stuck_s = self._loop.time()
        self.check_flow()

    def resume_writing(self) -> None:
        """It takes it again."""
        self.stuck_s = 0.0
        member = self.member
        if member is not None and isinstance(member.subscriptions, Subscriptions):
            member.subscriptions.stir()
        self.check_flow()

    # out

    def send(self, message: object) -> None:
        """Say something, at the latest in the loop's next turn."""
        self._out.append(message)
        if not self._out_soon:
            self._out_soon = True
            self._loop.call_soon(self._flush_soon)

    def _flush_soon(self) -> None:
        self._out_soon = False
        self.flush()

    def flush(self) -> None:
        """Write what is to be said."""
        out = self._out
        if out and self._transport is not None:
            self._transport.write(encode_all(out))
            if self._transport.get_write_buffer_size() > 2 * self._house.limits.frame_bytes:
                self.abort("it takes none of very many answers")
        out.clear()

    def refuse(self, text: str, *, final: bool = False) -> None:
        """Say why, and close."""
        self.send(Refused(text[:1000], final))
        self.close()

    def close(self) -> None:
        """Write what is to be said, and close."""
        self.closing = True
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self, why: str) -> None:
        """Close at once."""
        logger.warning("client %d at %s: %s", self.number, self.peer, why)
        self.closing = True
        if self._transport is not None:
            self._transport.abort()
        else:
            # Its TLS handshake never ended: nobody will say that it is lost.
            self._house.left(self, goodbye=False)

    # flow

    def held_bytes(self) -> int:
        """What it holds of the server's memory, as far as that is known."""
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        flight = 0 if self.member is None or self.keeper else self.member.flight_bytes
        return self._side.pending_bytes + unsent + flight

    def check_flow(self) -> None:
        """Read on, or stop reading."""
        transport = self._transport
        if transport is None or self.closing:
            return
        member = self.member
        may = not self.stuck_s and self._tokens >= 0 and self._admitting is None
        if member is not None and member.flight_bytes > self._house.limits.flight_bytes:
            may = False
        if self._house.short_of_memory and self.held_bytes():
            may = False
        if may != self._reading:
            self._reading = may
            if may:
                self.heard_s = self._loop.time()
                transport.resume_reading()
            else:
                transport.pause_reading()

    @property
    def takes(self) -> bool:
        """Whether the client takes what it is sent."""
        return not self.stuck_s

    @property
    def reading(self) -> bool:
        """Whether it is read from: silence of one that is not says nothing."""
        return self._reading

    def _pay(self, count: int) -> None:
        rate = self._house.limits.requests_per_s
        assert rate is not None
        now_s = self._loop.time()
        self._tokens = min(rate, self._tokens + (now_s - self._tokens_s) * rate) - count
        self._tokens_s = now_s
        if self._tokens < 0:
            self._loop.call_later(-self._tokens / rate, self._paid)

    def _paid(self) -> None:
        self._tokens = max(self._tokens, 0.0)
        self._tokens_s = self._loop.time()
        self.check_flow()

    # in

    def _handle(self, message: Any) -> None:
        if self.closing:
            return
        if isinstance(message, wire.Hello):
            self._greet(message)
            return
        member = self.member
        if member is None:
            raise ProtocolError("a client says nothing before the welcome")
        handler = _HANDLERS.get(type(message))
        if handler is None:
            self._manage(member, message)
            return
        if self.keeper and not isinstance(message, wire.Renew):
            raise ProtocolError("a keeper renews leases, ends subscriptions and does nothing else")
        if self.keeper:
            self.send(Answer(message.id, settles.renewed(member, message)))
            return
        if not member.begin(message.id):
            return
        try:
            handler(self, member, message)
        except (PosthouseError, TimeoutError) as error:
            self._failed(member, message, error)
        except Exception as error:
            logger.exception("request %s failed", type(message).__name__)
            self._failed(member, message, error)

    def _greet(self, hello: wire.Hello) -> None:
        admission = self._house.admission
        if admission is None:
            self._join(hello, None)
        else:
            # Nothing is read meanwhile. The handshake's deadline, or the peer, may end it.
            self._admitting = self._loop.create_task(self._admit(admission, hello))

    async def _admit(self, admission: Admission, hello: wire.Hello) -> None:
        assert self._transport is not None
        name = self._transport.get_extra_info("peername")
        try:
            rights = await admission.admit(
                hello.mechanism,
                hello.user,
                hello.secret,
                peer=name[0] if isinstance(name, tuple) else "unix",
                certificate=self._transport.get_extra_info("peercert"),
            )
        except AuthenticationFailed as error:
            code, retry_after_s = type(error).__name__, error.retry_after_s
            self.send(Refused(str(error), not retry_after_s, code, retry_after_s))
            self.close()
            return
        except Exception:
            logger.exception(
                "client %d at %s: its login could not be checked", self.number, self.peer
            )
            self.refuse("the server could not check the login; try again later")
            return
        finally:
            self._admitting = None
        self._join(hello, rights)
        self.check_flow()
        if rights is not None and self.member is not None and not self.keeper:
            rights.on_end(lambda why: self._logged_out(rights, why))

    def _logged_out(self, rights: Rights, why: str) -> None:
        member = self.member
        if member is not None and member.session.rights is rights:
            self.abort(f"its login has ended: {why}")

    def _join(self, hello: wire.Hello, rights: Rights | None) -> None:
        answer = self._house.joined(self, hello, rights)
        self.send(answer)
        if isinstance(answer, Refused):
            self.close()

    @staticmethod
    def _failed(member: Member, message: Any, error: Exception) -> None:
        count = len(getattr(message, "bodies", ())) if isinstance(message, wire.PutEach) else 1
        if isinstance(message, wire.AckEach):
            count = len(message.ids)
        for part in range(max(count, 1)):
            member.failed(message.id, part, error)

    def _manage(self, member: Member, message: Any) -> None:
        """What is about the connection itself, or about subscriptions' credit."""
        subscriptions = member.subscriptions
        if isinstance(message, wire.Ping):
            self.send(Pong(message.number))
        elif isinstance(message, wire.Goodbye):
            if not self.keeper:
                self._house.left(self, goodbye=True)
            self.send(Farewell())
            self.close()
        elif self.keeper and not isinstance(message, wire.Unsubscribe):
            raise ProtocolError("a keeper renews leases, ends subscriptions and does nothing else")
        elif isinstance(message, wire.Seen):
            member.seen(message)
        elif isinstance(message, wire.Cancel):
            member.cancel(message)
        elif isinstance(subscriptions, Subscriptions):
            if isinstance(message, wire.Credit):
                subscriptions.credit(message)
            elif isinstance(message, wire.Unsubscribe):
                subscriptions.end(message)
            elif isinstance(message, wire.Returned):
                subscriptions.returned(message)

    def get(self, member: Member, message: wire.Get) -> None:
        """A get, which may starve and then asks for what lies unseen elsewhere."""
        takes.get(member, message, lambda queue: self._house.starved(queue, member))

    def subscribe(self, member: Member, message: wire.Subscribe) -> None:
        """Begin a subscription."""
        assert isinstance(member.subscriptions, Subscriptions)
        member.subscriptions.open(message)


def _of(work: Callable[[Member, Any], None]) -> Callable[[Connection, Member, Any], None]:
    return lambda _, member, message: work(member, message)


_HANDLERS: Final[dict[type, Callable[[Connection, Member, Any], None]]] = {
    wire.Declare: _of(asks.declare),
    wire.PutEach: _of(puts.put_each),
    wire.PutMany: _of(puts.put_many),
    wire.PutOne: _of(puts.put_one),
    wire.Get: Connection.get,
    wire.Subscribe: Connection.subscribe,
    wire.AckEach: _of(settles.ack_each),
    wire.AckMany: _of(settles.ack_many),
    wire.Nack: _of(settles.nack),
    wire.Reject: _of(settles.reject),
    wire.GiveBack: _of(settles.give_back),
    wire.Renew: _of(settles.renew),
    wire.Commit: _of(puts.commit),
    wire.Publish: _of(puts.publish),
    wire.Ask: _of(asks.ask),
}
