"""The server: one broker, its listeners, its clients."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import logging
import os
import secrets
import ssl
from collections.abc import Iterable

from posthouse.access.rights import Rights
from posthouse.backends.hosted import Hosted
from posthouse.core.producers import FIRST_PRODUCER
from posthouse.errors import BadArgument, PosthouseError
from posthouse.server.address import Address, listen_unix, parse_address
from posthouse.server.admission import Admission
from posthouse.server.connection import Connection
from posthouse.server.limits import Limits
from posthouse.server.listener import stop_listening
from posthouse.server.member import Member
from posthouse.server.subscription import Subscription, Subscriptions
from posthouse.session import Session
from posthouse.wire.answers import Leaving, Refused, Welcome
from posthouse.wire.format import SESSION_BYTES, VERSION
from posthouse.wire.requests import Hello

logger = logging.getLogger("posthouse.server")

TICK_S = 1.0
BACKLOG = 1024
RECALL_S = 1.0
INLINE_BYTES = 128 * 1024
"""Larger commits are written beside the loop: it has other clients to serve meanwhile."""
LEAVING = "the server is shutting down; try again later"


class Server:
    """Serves one backend's engine to clients.

    Args:
        backend: a started backend that hosts an engine; `close` closes it.
        limits: see `Limits`.
        admission: who may come, and the certificates of listeners with TLS; the server closes it.
            None: whoever can connect, and only from this machine.
        unsafe: let it listen where anybody on the network may come in.

    Attributes:
        addresses: where it listens, with the ports that it got.
        failure: what stopped it by itself, or None.
    """

    def __init__(
        self,
        backend: Hosted,
        limits: Limits | None = None,
        admission: Admission | None = None,
        *,
        unsafe: bool = False,
    ) -> None:
        self.admission = admission
        self._unsafe = unsafe
        self.limits = limits or Limits()
        self.addresses: list[Address] = []
        self.short_of_memory = False
        self._short_since_s = 0.0
        self.leaving = False
        self.failed = asyncio.Event()
        self._empty = asyncio.Event()
        self._backend = backend
        backend.session.engine.journal.inline_bytes = INLINE_BYTES
        self._loop = asyncio.get_running_loop()
        self._listeners: list[asyncio.Server] = []
        self._sockets: dict[str, tuple[int, int]] = {}
        self._connections: set[Connection] = set()
        self._members: dict[bytes, Member] = {}
        self._subscriptions: dict[str, set[Subscription]] = {}
        self._count = 0
        self._tick: asyncio.TimerHandle | None = None

    @property
    def failure(self) -> PosthouseError | None:
        """What stopped the engine, or None."""
        return self._backend.session.engine.journal.failure

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def held_bytes(self) -> int:
        """What clients hold of memory: unfinished frames, unanswered puts, answers not taken."""
        return sum(connection.held_bytes() for connection in self._connections)

    def members(self) -> list[Member]:
        """The clients' sessions, those that are away included."""
        return list(self._members.values())

    # listening

    async def listen(self, addresses: Iterable[str]) -> None:
        """Begin to listen, at all of them or none.

        Raises:
            BadArgument: an address is none, or can be reached from other machines.
            OSError: it is in use, or may not be used.
        """
        parsed = [parse_address(text) for text in addresses]
        if not parsed:
            raise BadArgument("give at least one address to listen at")
        contexts = [self._context(address) for address in parsed]
        try:
            for address, context in zip(parsed, contexts, strict=True):
                await self._bind(address, context)
            for listener in self._listeners:
                await listener.start_serving()
        except BaseException:
            await self._stop_listening()
            raise
        self._tick = self._loop.call_later(TICK_S, self._look)

    def _context(self, address: Address) -> ssl.SSLContext | None:
        """What to listen there with. Raises BadArgument: that may not be."""
        if address.path:
            return None
        admission = self.admission or Admission(None, None, None)
        return admission.check_listen(address.host, tls=address.tls, unsafe=self._unsafe)

    async def _bind(self, address: Address, context: ssl.SSLContext | None) -> None:
        # Begun later: who is cancelled while asyncio begins has no listener to close.
        if address.path:
            bound = listen_unix(address.path)
            try:
                found = os.stat(address.path)
                self._sockets[address.path] = (found.st_dev, found.st_ino)
                listener = await self._loop.create_unix_server(
                    self._come, sock=bound, backlog=BACKLOG, start_serving=False
                )
            except BaseException:
                bound.close()
                raise
            self._listeners.append(listener)
            self.addresses.append(address)
            return
        timeout_s = None if context is None else self.limits.handshake_s
        listener = await self._loop.create_server(
            self._come,
            address.host,
            address.port,
            backlog=BACKLOG,
            ssl=context,
            ssl_handshake_timeout=timeout_s,
            start_serving=False,
        )
        self._listeners.append(listener)
        port = listener.sockets[0].getsockname()[1]
        self.addresses.append(Address(host=address.host, port=port, tls=address.tls))

    def _come(self) -> Connection:
        self._count += 1
        connection = Connection(self, self._loop, self._count)
        self._connections.add(connection)
        return connection

    def closed_because(self) -> str:
        """Why nobody else may come; empty: they may."""
        if self.leaving:
            return LEAVING
        if self.short_of_memory:
            return "the server is short of memory; try again later"
        if len(self._connections) > self.limits.connections:
            return "the server has as many connections as it may have; try again later"
        return ""

    # clients

    def joined(
        self, connection: Connection, hello: Hello, rights: Rights | None
    ) -> Welcome | Refused:
        """A connection said hello, and has these rights (None: all): give it its member."""
        if self.leaving:
            return Refused(LEAVING)
        member = self._find(hello.session, rights) if hello.session else None
        resumed = member is not None
        if hello.role == "keeper":
            if member is None:
                return Refused("there is no such session", final=True)
            connection.keeper = True
            connection.member = member
            return self._welcome(member, resumed=True)
        if hello.role != "client":
            return Refused(f"there is no role {hello.role[:50]!r}", final=True)
        if member is None:
            member = self._new_member(hello, rights)
        elif rights is not None:
            member.session.rights = rights  # the new login's: the old one's may have ended
        old = member.line
        if isinstance(old, Connection):
            # A connection that its client gave up, and this side has not heard of that.
            old.member = None
            old.close()
            self._paused(member)
        member.line = connection
        member.subscriptions = Subscriptions(member, self._subscriptions, self.starved)
        connection.member = member
        logger.info(
            "client %d (%s) at %s, session %d%s",
            connection.number,
            member.name,
            connection.peer,
            member.number,
            ", again" if resumed else "",
        )
        return self._welcome(member, resumed=resumed)

    def _find(self, secret: bytes, rights: Rights | None) -> Member | None:
        member = self._members.get(secret)
        if member is None or not hmac.compare_digest(member.secret, secret):
            return None
        # A session is its user's: its id alone does not open it.
        if _user_of(member.session.rights) != _user_of(rights):
            logger.warning("session %d was asked for by another user", member.number)
            return None
        return member

    def _new_member(self, hello: Hello, rights: Rights | None) -> Member:
        session = Session(self._backend.session.engine, rights)
        secret = secrets.token_bytes(SESSION_BYTES)
        producer = FIRST_PRODUCER + secrets.randbelow((1 << 62) - FIRST_PRODUCER)
        if len(hello.session) == SESSION_BYTES and hello.producer >= FIRST_PRODUCER:
            # It was here before this server's life: its puts are known by that.
            producer = hello.producer
        name = "".join(c if c.isprintable() else "?" for c in hello.name)[:100]
        self._forget_some()
        member = Member(self._count, session, secret, producer, name, self.limits, self)
        self._members[secret] = member
        return member

    def _forget_some(self) -> None:
        """No more sessions wait for clients that are away than there may be connections."""
        if len(self._members) < 2 * self.limits.connections:
            return
        away = [member for member in self._members.values() if member.line is None]
        for member in sorted(away, key=lambda each: each.left_at_s)[: len(away) // 2 + 1]:
            del self._members[member.secret]
            member.end(release=False)

    def _welcome(self, member: Member, *, resumed: bool) -> Welcome:
        return Welcome(
            VERSION,
            member.secret,
            resumed,
            member.producer,
            self._backend.now_ns(),
            self.limits.heartbeat_s,
            self.limits.frame_bytes,
            self.limits.flight_bytes,
            self.limits.requests,
            sorted(self._backend.capabilities - {"nowait"} | {"processes"}),
        )

    def left(self, connection: Connection, *, goodbye: bool) -> None:
        """A connection is gone, or its client has said goodbye."""
        if not goodbye:
            self._connections.discard(connection)
            if not self._connections:
                self._empty.set()
        member, connection.member = connection.member, None
        if member is None or connection.keeper:
            return
        member.line = None
        if goodbye:
            logger.info("session %d (%s) said goodbye", member.number, member.name)
            self._members.pop(member.secret, None)
            member.end(release=True)
            member.session.engine.state.producers.forget(member.producer)
        else:
            logger.info("session %d (%s) is away", member.number, member.name)
            member.left_at_s = self._loop.time()
            self._paused(member)

    @staticmethod
    def _paused(member: Member) -> None:
        if member.subscriptions is not None:
            member.subscriptions.pause()

    def starved(self, queue: str, member: Member) -> None:
        """A consumer finds nothing: ask for half of what lies unseen with somebody."""
        found = self._subscriptions.get(queue)
        if not found:
            return
        fullest = max(found, key=lambda each: 0 if each.recalled else each.unseen)
        fullest.recall()

    async def put_back(self, queue: str, *, every: bool) -> None:
        """Have back what lies unseen with clients: half of the most, or all there is.

        Who does not answer in time keeps it: it is leased to that one.
        """
        found = sorted(self._subscriptions.get(queue, ()), key=lambda each: -each.unseen)
        answers = [each.recall(every=every) for each in (found if every else found[:1])]
        waits = [answer for answer in answers if answer is not None]
        if waits:
            await asyncio.wait(waits, timeout=RECALL_S)

    def unseen(self, queue: str) -> int:
        """How many messages are leased to clients that have not looked at them."""
        return sum(each.unseen for each in self._subscriptions.get(queue, ()))

    # time

    def _look(self) -> None:
        """Once a second: who is late, who is gone, how much memory there is."""
        self._tick = self._loop.call_later(TICK_S, self._look)
        now_s = self._loop.time()
        limits = self.limits
        for connection in list(self._connections):
            if connection.member is None and not connection.closing:
                if now_s - connection.begun_s > limits.handshake_s:
                    connection.abort(f"no hello within {limits.handshake_s:g} s")
                continue
            if connection.stuck_s and now_s - connection.stuck_s > limits.write_s:
                connection.abort(f"it took none of its answers for {limits.write_s:g} s")
            elif connection.reading and now_s - connection.heard_s > 2 * limits.heartbeat_s:
                connection.abort(f"it was silent for {2 * limits.heartbeat_s:g} s")
            elif connection.closing and now_s - connection.heard_s > limits.write_s:
                connection.abort("it did not close")
        self._check_memory(self.held_bytes(), now_s)
        for member in list(self._members.values()):
            if member.line is None and now_s - member.left_at_s > limits.linger_s:
                # Its leases run out by themselves.
                del self._members[member.secret]
                member.end(release=False)
        if self.failure is not None and not self.leaving:
            self.failed.set()

    def _check_memory(self, held_bytes: int, now_s: float) -> None:
        short = held_bytes > self.limits.memory_bytes
        if short and self.short_of_memory and now_s - self._short_since_s > self.limits.write_s:
            # Frames that are not whole stay so while nobody is read from: one goes at each look.
            largest = max(self._connections, key=Connection.held_bytes)
            largest.abort("the server is short of memory, and it holds the most")
        if short != self.short_of_memory:
            self.short_of_memory = short
            self._short_since_s = now_s
            logger.warning(
                "clients hold %d bytes: %s",
                held_bytes,
                "those with unfinished frames wait" if short else "all go on",
            )
            for connection in list(self._connections):
                connection.check_flow()

    # the end

    async def close(self) -> None:
        """Finish what is under way, tell everybody, give back what is out, close the backend.

        Raises:
            StorageFailed: the disk failed while finishing; what was acknowledged is safe.
        """
        if self.leaving:
            return
        self.leaving = True
        if self._tick is not None:
            self._tick.cancel()
        await self._stop_listening()
        if self.admission is not None:
            await self.admission.close()
        for connection in list(self._connections):
            if connection.member is not None and not connection.keeper:
                connection.send(Leaving())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.limits.drain_s):
                while any(member.busy() for member in self._members.values()):
                    await self._turn()
        for connection in list(self._connections):
            connection.member = None
            connection.close()
        for member in self._members.values():
            member.line = None
            member.end(release=False)
        self._members.clear()
        if self._connections:
            self._empty.clear()
        else:
            self._empty.set()
        await self._wait_empty()
        for connection in list(self._connections):
            connection.abort("the server has ended")
        await self._wait_empty()  # a socket is closed a turn after it is aborted
        await self._backend.close()

    async def _wait_empty(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(min(self.limits.drain_s, 2.0)):
                await self._empty.wait()

    async def _turn(self) -> None:
        """Wait until something that is under way is on disk."""
        journal = self._backend.session.engine.journal
        group = journal.last_group()
        if group is None:
            await asyncio.sleep(0)
            return
        future = self._loop.create_future()
        group.waiters.append(future)
        journal.hurry()
        with contextlib.suppress(PosthouseError):
            await future

    async def _stop_listening(self) -> None:
        listeners, self._listeners = self._listeners, []
        await stop_listening(*listeners)
        for path, identity in self._sockets.items():
            with contextlib.suppress(OSError):
                found = os.lstat(path)
                if (found.st_dev, found.st_ino) == identity:
                    os.unlink(path)
        self._sockets.clear()


def _user_of(rights: Rights | None) -> str | None:
    return None if rights is None else rights.user
