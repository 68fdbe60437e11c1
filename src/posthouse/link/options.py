"""Where a server is, and how patient a client is with it."""

from __future__ import annotations

import msgspec

from posthouse.errors import BadArgument


class Place(msgspec.Struct, frozen=True):
    """A host and a port, with TLS or without; or a Unix socket's path.

    ``shown`` is what messages call it, where that is something else.
    """

    host: str = ""
    port: int = 0
    path: str = ""
    tls: bool = False
    shown: str = ""

    def __str__(self) -> str:
        if self.shown:
            return self.shown
        if self.path:
            return f"unix:{self.path}"
        return f"{'tls' if self.tls else 'tcp'}://{self.host}:{self.port}"


class LinkOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The options of ``posthouse.open("tcp://...")``.

    Attributes:
        name: the client's own, shown in the server's logs.
        connect_timeout_s: how long opening tries to reach the server, seconds.
        give_up_after_s: when the server is away for so long, calls that wait for it are told
            `BrokerUnreachable` (or `UnknownOutcome`), and new ones at once; until it is back.
        heartbeat_s: a connection that is silent for twice as long is taken for dead.
        first_pause_s, most_pause_s: between attempts to connect again, doubling, with jitter.
        keep_leases_s: when the program holds its event loop up, leases are kept for it by a
            thread, so long at the most; 0: never.
    """

    name: str = ""
    connect_timeout_s: float = 10.0
    give_up_after_s: float = 60.0
    heartbeat_s: float = 10.0
    first_pause_s: float = 0.05
    most_pause_s: float = 2.0
    keep_leases_s: float = 600.0

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise BadArgument(f"name is a str, not {type(self.name).__name__}")
        for field in self.__struct_fields__[1:]:
            value = getattr(self, field)
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise BadArgument(f"{field} is a number of seconds, not {type(value).__name__}")
            least = 0.0 if field == "keep_leases_s" else 0.001
            if not least <= value < 1e6:
                raise BadArgument(f"{field} is {value!r}; give it in seconds, at least {least:g}")
        if self.heartbeat_s < 0.1:
            raise BadArgument(f"heartbeat_s is {self.heartbeat_s!r}; it must be at least 0.1")
