"""The engine's time: ticks, stalls, and what happens when."""

from __future__ import annotations

import asyncio

from posthouse.core.state import BrokerState, deadline_of
from posthouse.engine import Engine
from posthouse.journal.null import NullJournal
from posthouse.model import NANOSECONDS
from posthouse.session import Session
from posthouse.testing.clock import ManualClock


def make() -> tuple[Engine, ManualClock]:
    clock = ManualClock()
    engine = Engine(
        BrokerState(), NullJournal(), clock, asyncio.get_running_loop(), chance=lambda: 0.5
    )
    return engine, clock


def deadlines(engine: Engine) -> list[int]:
    return [
        deadline_of(lease)
        for queue in engine.state.queues.values()
        for lease in queue.leases.values()
    ]


async def test_a_program_that_holds_the_loop_has_its_leases_whole() -> None:
    engine, clock = make()
    port = Session(engine).port("q", {"visibility_timeout_s": 30.0})
    port.put_many(2, [b"1", b"2", b"3"])
    await asyncio.sleep(0)
    port.take_one(0)
    clock.advance(20.0)  # in the same turn of the loop
    port.take_one(0)
    port.take_many(1, 100, 0)
    clock.advance(1.0)
    await asyncio.sleep(0)
    assert len(deadlines(engine)) == 3
    assert all(deadline >= clock.now_ns() + 30 * NANOSECONDS - 1 for deadline in deadlines(engine))


async def test_a_quick_turn_leaves_deadlines_alone() -> None:
    engine, clock = make()
    port = Session(engine).port("q", {"visibility_timeout_s": 30.0})
    port.put_plain(2, b"1")
    port.take_one(0)
    begun_ns = clock.now_ns()
    clock.advance(0.005)
    await asyncio.sleep(0)
    assert deadlines(engine) == [begun_ns + 30 * NANOSECONDS]


async def test_the_time_is_read_once_in_a_turn() -> None:
    engine, clock = make()
    before = engine.tick()
    clock.advance(1.0)
    assert engine.tick_ns == before
    await asyncio.sleep(0)
    assert engine.tick_ns == 0
    assert engine.tick() == before + NANOSECONDS


async def test_a_manual_clock_does_not_go_back() -> None:
    clock = ManualClock()
    before = clock.now_ns()
    clock.advance(0)
    assert clock.now_ns() == before
    try:
        clock.advance(-1)
    except ValueError:
        pass
    else:
        raise AssertionError("it went back")
