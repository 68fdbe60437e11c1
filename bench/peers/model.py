"""The words of a comparison of servers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

from bench.peers.packages import Kit, Place
from bench.peers.server import Server

Unit = Literal["messages/s", "us"]
Produce = Literal["batches", "tasks", "singly", "paced"]


@dataclass(frozen=True)
class Mode:
    """One way to set a peer up.

    Attributes:
        name: as shown, beside the peer's; "" where there is only one.
        durability: what is true of a message when its put is acknowledged, in a few words.
        syncs: whether it is on disk then (fsync or fdatasync before the acknowledgement).
        settings: what the peer's own server and client modules need to know.
        client: the module to use instead of the peer's `Peer.client`; "" for that.
    """

    name: str
    durability: str
    syncs: bool
    settings: Mapping[str, str] = field(default_factory=dict)
    client: str = ""


class Peer(Protocol):
    """Somebody's server and how to get it. One module in `bench.peers.servers` each."""

    @property
    def name(self) -> str:
        """As shown, and as ``--peers`` names it."""

    @property
    def client(self) -> str:
        """The module whose ``connect`` makes a `Client`; imported in the workers only."""

    @property
    def modes(self) -> Sequence[Mode]:
        """Each is a contender."""

    def install(self, kit: Kit) -> Place:
        """Get what it needs; `bench.peers.packages.NotToBeHad` says why it cannot be measured."""

    def start(self, place: Place, mode: Mode, directory: Path) -> Server:
        """Start it with its data in ``directory`` and wait until it takes connections."""


@dataclass(frozen=True)
class Ends:
    """What a client needs to know to connect.

    Attributes:
        port: of 127.0.0.1.
        queue: the name to use; a new one in each row.
        role: a producer only puts; a consumer makes the queue, takes and settles.
        wake: a put must wake a consumer that waits (where that is extra work for the peer).
        settings: the mode's.
    """

    port: int
    queue: str
    role: Literal["producer", "consumer"]
    wake: bool
    settings: Mapping[str, str]


class Client(Protocol):
    """What the rows ask of a client. A body comes back as it was put."""

    async def put(self, body: bytes) -> None:
        """Put one; return when the server has acknowledged it."""

    async def put_many(self, bodies: Sequence[bytes]) -> None:
        """Put a batch in whatever way suits the peer best; return when all are acknowledged."""

    async def take(self, most: int) -> Sequence[bytes]:
        """Wait for one, take up to ``most``; they are held until `settle`."""

    async def settle(self) -> None:
        """Settle what the last `take` gave."""

    async def close(self) -> None:
        """Let go of the connection."""


@dataclass(frozen=True)
class Row:
    """One line of the goals.

    Attributes:
        name: ``N3 (put)``; the first word is what ``--rows`` names.
        work: what is done, for the reader.
        unit: ``messages/s`` (more is better) or ``us`` (a median wait; less is better).
        goal: ours divided by the best peer's.
        among_syncing: the best of the modes that sync before they acknowledge; else of all.
        produce: what the producer does; see `bench.peers.work`.
        together: the consumer takes while the producer puts; else when it has finished.
    """

    name: str
    work: str
    unit: Unit
    goal: float
    among_syncing: bool
    produce: Produce
    together: bool = True

    @property
    def family(self) -> str:
        """``N3`` of ``N3 (put)``."""
        return self.name.split()[0]


@dataclass(frozen=True)
class Contender:
    """A peer in one of its modes."""

    peer: Peer
    mode: Mode
    ours: bool = False

    @property
    def name(self) -> str:
        """``valkey, appendfsync always``."""
        return f"{self.peer.name}, {self.mode.name}" if self.mode.name else self.peer.name


@dataclass(frozen=True)
class Settings:
    """What holds for the whole run.

    Attributes:
        seconds: how long each producer puts.
        rounds: turns of each contender.
        size_bytes: the length of each body.
        loop: ``uvloop`` or ``asyncio``, of the workers.
        base: where data and packages go; a scratch directory in it is removed afterwards.
        patience_s: a turn that takes six times ``seconds`` and this more hangs: it fails.
    """

    seconds: float
    rounds: int
    size_bytes: int
    loop: str
    base: Path
    patience_s: float = 30.0


@dataclass(frozen=True)
class Measured:
    """What one turn gave.

    Attributes:
        value: in the row's unit.
        messages: put in the time that was measured.
        flushes: of the device in that time; None where they cannot be counted.
    """

    value: float
    messages: int
    flushes: int | None

    @property
    def flushes_per_1000(self) -> float | None:
        """Device flushes for each 1,000 messages."""
        if self.flushes is None or not self.messages:
            return None
        return self.flushes * 1_000 / self.messages
