"""Sets on a disk that is full, or nearly: all of it or a clear error, and nothing half done."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from posthouse.core.filters import Filter
from posthouse.core.state import BrokerState
from posthouse.engine import Engine
from posthouse.errors import StorageFull
from posthouse.journal.null import NullJournal
from posthouse.model import KIND_JSON, NANOSECONDS
from posthouse.session import Port, Session
from posthouse.testing.clock import ManualClock

MESSAGES = 25
WHERE = Filter("body >= 5")
Act = Callable[[Port], Awaitable[int]]
ACTS: list[Act] = [
    lambda port: port.delete(WHERE),
    lambda port: port.move(WHERE, "other"),
    lambda port: port.delay(WHERE, NANOSECONDS),
]


def make() -> tuple[NullJournal, Engine, Port]:
    journal = NullJournal()
    engine = Engine(BrokerState(), journal, ManualClock(), asyncio.get_running_loop())
    session = Session(engine)
    session.port("other", {})
    port = session.port("q", {})
    port.put_many(KIND_JSON, [b"%d" % n for n in range(MESSAGES)])
    return journal, engine, port


def held(engine: Engine) -> list[Any]:
    return [(stats.waiting, stats.delayed, stats.size_bytes) for stats in Session(engine).stats()]


@pytest.mark.parametrize("act", ACTS, ids=["delete", "move", "delay"])
async def test_a_full_disk_changes_nothing(act: Act) -> None:
    journal, engine, port = make()
    before = held(engine)
    journal.settle_room = 20
    with pytest.raises(StorageFull):
        await act(port)
    assert held(engine) == before


@pytest.mark.parametrize("act", ACTS, ids=["delete", "move", "delay"])
async def test_little_room_does_it_in_parts(act: Act) -> None:
    journal, engine, port = make()
    journal.settle_room = 3_000
    assert await act(port) == MESSAGES - 5
    assert port.waiting() == 5
    found, after = await port.find(None, "id", 100, None)
    assert after is None
    assert sum(waiting + delayed for waiting, delayed, _ in held(engine)) in (5, MESSAGES)
    assert len(found) in (5, MESSAGES)
