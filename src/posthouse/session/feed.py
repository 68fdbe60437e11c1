"""What an iterator over an engine's queue draws from."""

from __future__ import annotations

from typing import Protocol

from posthouse.records import Entry


class Reserving(Protocol):
    """The port's part that sets messages aside."""

    def reserve(self, most: int, most_bytes: int) -> list[Entry]: ...
    def lease_reserved(self, entry: Entry) -> tuple[int, Entry, int]: ...
    def restore(self, entries: list[Entry]) -> None: ...
    async def readable(self) -> None: ...


class EngineFeed:
    """Reservations, in memory only: lease and attempt begin when a message is delivered.

    For the verbs see `posthouse.backends.contract.Feed`.
    """

    __slots__ = ("_most", "_most_bytes", "_port", "_reserved")

    def __init__(self, port: Reserving, most: int, most_bytes: int) -> None:
        self._port = port
        self._most = most
        self._most_bytes = most_bytes
        self._reserved: list[Entry] = []  # the next one last

    def next(self) -> tuple[int, Entry, int] | None:
        """Deliver the next message now; None: none is there. Raises QueueShutDown."""
        reserved = self._reserved
        if not reserved:
            reserved = self._port.reserve(self._most, self._most_bytes)
            if not reserved:
                return None
            reserved.reverse()
            self._reserved = reserved
        taken = self._port.lease_reserved(reserved[-1])
        reserved.pop()
        return taken

    async def wait(self) -> None:
        """Return when a message may be there. Raises: as `readable`."""
        await self._port.readable()

    def close(self) -> None:
        """Put back what is set aside."""
        reserved, self._reserved = self._reserved, []
        if reserved:
            self._port.restore(reserved)
