"""One connection of a link: bytes in, messages up; messages down, bytes out."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from typing import Any, cast

from posthouse.access.client import NOBODY, Access, Login
from posthouse.errors import (
    AuthenticationFailed,
    BrokerUnreachable,
    PosthouseError,
    ProtocolError,
)
from posthouse.link.options import Place
from posthouse.link.scratch import scratch
from posthouse.wire.answers import Refused, Welcome
from posthouse.wire.connection import ClientSide, encode, encode_all
from posthouse.wire.format import VERSION
from posthouse.wire.requests import Hello

WRITE_HIGH_BYTES = 64 * 1024
"""uvloop writes at once when more than this is to be said, else at the end of the loop's turn."""


class Line(asyncio.BufferedProtocol):
    """A socket to a server, from its hello on.

    Attributes:
        welcomed: done with the server's welcome, or with why there was none.
        lost: done when the connection is over, with why.
        paused: the server takes nothing at the moment.
        heard_s, said_s: when bytes last came, and went.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, hello: Hello, hear: Callable[[list[Any], int], None]
    ) -> None:
        self.welcomed: asyncio.Future[Welcome] = loop.create_future()
        self.lost: asyncio.Future[PosthouseError] = loop.create_future()
        self.paused = False
        self.heard_s = self.said_s = loop.time()
        self.began_ns = 0
        self.resumed: Callable[[], None] = lambda: None
        self._loop = loop
        self._hello = hello
        self._hear = hear
        self._pending = 0
        self._side = ClientSide(scratch=scratch())
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        transport = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        self._transport = transport
        transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        transport.write(encode(self._hello))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where bytes are to be put."""
        return self._side.space()

    def buffer_updated(self, nbytes: int) -> None:
        """Bytes came."""
        if self.lost.done():
            return
        self.heard_s = self._loop.time()
        self._pending += nbytes
        try:
            messages = self._side.received(nbytes)
        except ProtocolError as error:
            self.abort(error)
            return
        if not self.welcomed.done():
            messages = self._first(messages)
        if messages:
            self._hear(messages, self._pending)
            self._pending = 0

    def _first(self, messages: list[Any]) -> list[Any]:
        for at, message in enumerate(messages):
            if isinstance(message, Welcome):
                self.welcomed.set_result(message)
                return messages[at + 1 :]
            if isinstance(message, Refused):
                if message.code == AuthenticationFailed.__name__:
                    self.abort(AuthenticationFailed(message.text, message.retry_after_s))
                    return []
                kind = ProtocolError if message.final else BrokerUnreachable
                self.abort(kind(f"the server refuses: {message.text}"))
                return []
        return []

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is closed, by whomever."""
        why = "the server closed the connection" if exc is None else f"the connection broke: {exc}"
        self._end(BrokerUnreachable(why))

    def pause_writing(self) -> None:
        """The server does not take what was sent."""
        self.paused = True

    def resume_writing(self) -> None:
        """It takes it again."""
        self.paused = False
        self.resumed()

    def say(self, messages: list[Any]) -> None:
        """Send messages. Raises ValueError, OverflowError: one cannot be said; none was."""
        if self._transport is not None and not self.lost.done():
            data = encode_all(messages)
            self.said_s = self._loop.time()
            self._transport.write(data)

    def abort(self, error: PosthouseError) -> None:
        """Close at once."""
        self._end(error)
        if self._transport is not None:
            self._transport.abort()

    def close(self) -> None:
        """Close when what was said is on its way."""
        if self._transport is not None:
            self._transport.close()

    def _end(self, error: PosthouseError) -> None:
        if not self.welcomed.done():
            self.welcomed.set_exception(error)
            self.welcomed.exception()
        if not self.lost.done():
            self.lost.set_result(error)


async def connect(
    loop: asyncio.AbstractEventLoop,
    place: Place,
    hello: Hello,
    hear: Callable[[list[Any], int], None],
    timeout_s: float,
    access: Access = NOBODY,
) -> tuple[Line, Welcome]:
    """A line on which both sides have agreed.

    Raises:
        BrokerUnreachable: nobody is there, or answers in time.
        ProtocolError: the server does not speak this version, or TLS as it should.
        AuthenticationFailed: the server refuses the login.
    """
    line = Line(loop, hello, hear)
    try:
        async with asyncio.timeout(timeout_s):
            if place.path:
                await loop.create_unix_connection(lambda: line, place.path)
            else:
                await loop.create_connection(
                    lambda: line,
                    place.host,
                    place.port,
                    ssl=access.context,
                    server_hostname=access.name_at(place.host),
                )
            return line, await line.welcomed
    except TimeoutError:
        line.abort(BrokerUnreachable("no answer"))
        raise BrokerUnreachable(f"{place}: no answer within {timeout_s:g} s") from None
    except ssl.SSLError as error:
        raise ProtocolError(f"{place}: no TLS with this server: {error}") from error
    except OSError as error:
        raise BrokerUnreachable(f"{place}: {error.strerror or error}") from error
    except BaseException:
        line.abort(BrokerUnreachable("given up"))
        raise


def hello(
    session: bytes,
    producer: int,
    role: str,
    name: str,
    heartbeat_s: float,
    frame_bytes: int,
    login: Login,
) -> Hello:
    """What a client begins with."""
    return Hello(
        VERSION,
        VERSION,
        session,
        role,
        name,
        heartbeat_s,
        frame_bytes,
        producer,
        login.mechanism,
        login.user,
        "" if login.secret is None else login.secret.reveal(),
    )
