"""A broker whose session has rights, beside one that has all, on the same engine."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

from posthouse.access.rights import Grant, Rights
from posthouse.backends.hosted import Hosted
from posthouse.backends.memory import MemoryBackend
from posthouse.broker import Broker
from posthouse.engine import Engine
from posthouse.session import Session


class Entitled(Hosted):
    """Another session, with rights, on an engine that another backend closes."""

    def __init__(self, engine: Engine, rights: Rights) -> None:
        super().__init__()
        self._engine = engine
        self._session = Session(engine, rights)

    async def start(self) -> None:
        """It is open."""

    async def close(self) -> None:
        """The other closes it."""


def rights(*grants: tuple[str, str], user: str = "ada") -> Rights:
    """Rights from (names, rights with commas)."""
    return Rights(user, [Grant(name, tuple(each.split(","))) for name, each in grants])  # type: ignore[arg-type]


@contextlib.asynccontextmanager
async def two_brokers(entitled: Rights) -> AsyncIterator[tuple[Broker, Broker]]:
    """(who may do all, who has these rights), on one engine."""
    backend = MemoryBackend()
    async with Broker("memory:", backend) as everything:
        other = Entitled(backend.session.engine, entitled)
        async with Broker("memory:", other) as broker:
            yield everything, broker
