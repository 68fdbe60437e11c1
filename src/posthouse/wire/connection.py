"""What each side of a connection may say when. No I/O: bytes in, messages out, and back.

Both sides begin with short frames; Hello and Welcome agree on the version and on how long
frames may be. A side that hears what may not be said raises ProtocolError, and is finished.
"""

from __future__ import annotations

from collections.abc import Iterable
from struct import Struct
from typing import Any, Final, Generic, TypeVar

import msgspec

from posthouse.errors import ProtocolError
from posthouse.wire.answers import FromServer, Refused, Welcome
from posthouse.wire.format import (
    FRAME_BYTES,
    HELLO_BYTES,
    LEAST_FRAME_BYTES,
    LENGTH_BYTES,
    VERSION,
)
from posthouse.wire.frames import FrameReader
from posthouse.wire.requests import FromClient, Hello

M = TypeVar("M")

_encoder: Final = msgspec.msgpack.Encoder()
_from_client: Final = msgspec.msgpack.Decoder(FromClient)
_from_server: Final = msgspec.msgpack.Decoder(FromServer)
_GAP: Final = bytes(LENGTH_BYTES)
_put_length: Final = Struct(">I").pack_into


def encode(message: object) -> bytearray:
    """A message as a frame."""
    buffer = bytearray(_GAP)
    _encoder.encode_into(message, buffer, LENGTH_BYTES)
    _put_length(buffer, 0, len(buffer) - LENGTH_BYTES)
    return buffer


def encode_all(messages: Iterable[object]) -> bytearray:
    """Messages as frames, one after the other."""
    buffer = bytearray()
    for message in messages:
        start = len(buffer)
        buffer += _GAP
        _encoder.encode_into(message, buffer, start + LENGTH_BYTES)
        _put_length(buffer, start, len(buffer) - start - LENGTH_BYTES)
    return buffer


class _Side(Generic[M]):
    """What both sides share. After an error nothing more is taken in."""

    __slots__ = ("_broken", "_decode", "_reader", "begun")

    def __init__(
        self,
        decoder: msgspec.msgpack.Decoder[M],
        limit_bytes: int,
        scratch: bytearray | None = None,
    ) -> None:
        self._decode = decoder.decode
        self._reader = FrameReader(limit_bytes, scratch)
        self._broken = False
        self.begun = False

    @property
    def pending_bytes(self) -> int:
        """Bytes of a message that is not whole yet."""
        return self._reader.pending_bytes

    def receive(self, data: bytes | bytearray | memoryview) -> list[M]:
        """The messages that are whole with ``data``.

        Raises:
            ProtocolError: these bytes are none that the other side may send. What came whole
                before them is lost with it; close the connection.
        """
        return self._messages(self._reader.feed(data))

    def space(self) -> memoryview:
        """Where the next bytes are to be put, from its beginning; then call `received`."""
        return self._reader.space()

    def received(self, count: int) -> list[M]:
        """The messages that are whole with ``count`` bytes in `space`. Raises: as `receive`."""
        sole = self._reader.sole(count)
        return self._messages(self._reader.filled(count) if sole is None else (sole,))

    def _messages(self, frames: Iterable[memoryview]) -> list[M]:
        if self._broken:
            raise ProtocolError("this connection broke the protocol before")
        messages: list[M] = []
        decode = self._decode
        try:
            for frame in frames:
                message = decode(frame)
                if not self.begun:
                    self._begin(message)
                elif isinstance(message, (Hello, Welcome)):
                    raise ProtocolError("a connection begins once")
                messages.append(message)
        except ProtocolError:
            self._broken = True
            raise
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, OverflowError) as error:
            self._broken = True
            raise ProtocolError(f"a frame is no message of this protocol: {error}") from error
        return messages

    def _begin(self, message: Any) -> None:
        raise NotImplementedError


class ServerSide(_Side[FromClient]):
    """The server's side of one connection. For ``scratch`` see `FrameReader`.

    Attributes:
        hello: what the client began with, once it has.
    """

    __slots__ = ("hello", "limit_bytes")

    def __init__(self, limit_bytes: int = FRAME_BYTES, scratch: bytearray | None = None) -> None:
        super().__init__(_from_client, HELLO_BYTES, scratch)
        self.limit_bytes = max(limit_bytes, LEAST_FRAME_BYTES)
        self.hello: Hello | None = None

    def _begin(self, message: Any) -> None:
        if not isinstance(message, Hello):
            raise ProtocolError("a connection begins with a hello")
        if not message.lowest <= VERSION <= message.highest:
            raise ProtocolError(
                f"this server speaks version {VERSION} of the protocol, the client "
                f"{message.lowest} to {message.highest}"
            )
        if not 0.1 <= message.heartbeat_s <= 3600:
            raise ProtocolError("heartbeat_s is from 0.1 to 3600 seconds")
        self.hello = message
        self.begun = True
        self._reader.limit_bytes = self.limit_bytes


class ClientSide(_Side[FromServer]):
    """The client's side of one connection. For ``scratch`` see `FrameReader`.

    Attributes:
        welcome: what the server answered, once it has.
    """

    __slots__ = ("limit_bytes", "welcome")

    def __init__(self, limit_bytes: int = FRAME_BYTES, scratch: bytearray | None = None) -> None:
        super().__init__(_from_server, HELLO_BYTES, scratch)
        self.limit_bytes = max(limit_bytes, LEAST_FRAME_BYTES)
        self.welcome: Welcome | None = None

    def _begin(self, message: Any) -> None:
        if isinstance(message, Refused):
            return
        if not isinstance(message, Welcome):
            raise ProtocolError("a server begins with a welcome")
        if message.version != VERSION:
            raise ProtocolError(f"the server chose version {message.version} of the protocol")
        self.welcome = message
        self.begun = True
        self._reader.limit_bytes = self.limit_bytes
