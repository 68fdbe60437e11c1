"""What a server lets its clients have."""

from __future__ import annotations

import msgspec

from posthouse.errors import BadArgument
from posthouse.wire.format import FRAME_BYTES, LEAST_FRAME_BYTES


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of a `posthouse.server.Server`: of each connection, and of all together.

    Attributes:
        connections: how many may be open at a time.
        frame_bytes: the longest frame that is taken from a client.
        flight_bytes: a client's puts that are not answered yet; beyond that it is not read from.
        requests: a client's requests that are unanswered, or answered and not seen by it.
        output_bytes: answers that a client has not taken; beyond that it is not read from, and
            nothing is pushed to it.
        memory_bytes: all clients' unfinished frames and unanswered puts together; beyond that
            clients with unfinished frames are not read from, and nobody new is let in. When that
            lasts longer than ``write_s``, those that hold the most are cut off, one a second.
        requests_per_s: messages a second from one connection, up to a second's worth at once
            (None: no limit); who is faster is read from later.
        subscriptions: of one client.
        handshake_s: a connection that has not said hello after so long is closed.
        heartbeat_s: a connection that was silent for twice as long is closed.
        write_s: a client that takes none of its answers for so long is cut off.
        linger_s: a client that went away without goodbye may come back so long.
        drain_s: how long a shutdown waits for what is under way.
    """

    connections: int = 10_000
    frame_bytes: int = FRAME_BYTES
    flight_bytes: int = 128 * 1024 * 1024
    requests: int = 20_000
    output_bytes: int = 4 * 1024 * 1024
    memory_bytes: int = 1024 * 1024 * 1024
    requests_per_s: float | None = None
    subscriptions: int = 10_000
    handshake_s: float = 10.0
    heartbeat_s: float = 20.0
    write_s: float = 30.0
    linger_s: float = 120.0
    drain_s: float = 20.0

    def __post_init__(self) -> None:
        for name in ("connections", "flight_bytes", "requests", "output_bytes", "memory_bytes"):
            if getattr(self, name) < 1:
                raise BadArgument(f"{name} is {getattr(self, name)!r}; it must be at least 1")
        if self.frame_bytes < LEAST_FRAME_BYTES:
            raise BadArgument(
                f"frame_bytes is {self.frame_bytes}; it must be at least {LEAST_FRAME_BYTES}"
            )
        for name in ("handshake_s", "heartbeat_s", "write_s", "linger_s", "drain_s"):
            if not 0 < getattr(self, name) < 1e6:
                raise BadArgument(f"{name} is {getattr(self, name)!r}; give it in seconds, above 0")
        if self.requests_per_s is not None and not self.requests_per_s > 0:
            raise BadArgument(f"requests_per_s is {self.requests_per_s!r}; it must be above 0")
