"""A client that says what it likes: a blocking socket and the codec."""

from __future__ import annotations

import socket
from typing import Any, Self

from posthouse.server.address import parse_address
from posthouse.wire.connection import ClientSide, encode
from posthouse.wire.requests import Hello


class Raw:
    """A connection; after `hello` messages can be said and heard."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        address = parse_address(url)
        self.socket = socket.create_connection((address.host, address.port), timeout_s)
        self.side = ClientSide()
        self.heard: list[Any] = []

    def hello(self, **fields: Any) -> Any:
        """Say hello; the answer."""
        self.say(Hello(1, 1, **fields))
        return self.hear()

    def say(self, *messages: Any) -> None:
        """Send messages."""
        for message in messages:
            self.socket.sendall(encode(message))

    def hear(self) -> Any:
        """The next message; None: the server has closed."""
        while not self.heard:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not data:
                return None
            self.heard += self.side.receive(data)
        return self.heard.pop(0)

    def closed(self) -> bool:
        """Wait until the server has closed, whatever it says before."""
        while self.hear() is not None:
            pass
        return True

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()
