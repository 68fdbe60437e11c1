"""The simulated loop and writer do what they say, or nothing that is built on them counts."""

from __future__ import annotations

import asyncio
import random

import pytest

from posthouse.testing.simloop import Deadlock, SimLoop
from posthouse.testing.simwriter import SimWriter
from tests.lab.schedule.suspend import Suspended


def run(main: object, seed: int = 1, **options: float) -> SimLoop:
    loop = SimLoop(seed, **options)  # type: ignore[arg-type]
    try:
        loop.run(main)  # type: ignore[arg-type]
    finally:
        loop.close()
    return loop


def test_time_goes_by_at_once() -> None:
    loop = run(asyncio.sleep(3600.0))
    assert 3600.0 <= loop.time() < 3600.1
    assert loop.turns < 10


def test_a_deadlock_is_found_and_says_who_waits() -> None:
    async def main() -> None:
        async def stuck() -> None:
            await asyncio.Event().wait()

        await asyncio.create_task(stuck())

    with pytest.raises(Deadlock, match="stuck"):
        run(main())


def test_going_round_in_circles_is_found() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    with pytest.raises(Deadlock, match="turns without an end"):
        run(main())


def test_callbacks_keep_their_order_and_timers_do_not() -> None:
    def orders(seed: int) -> tuple[list[int], list[int]]:
        called: list[int] = []
        fired: list[int] = []

        async def main() -> None:
            loop = asyncio.get_running_loop()
            for number in range(10):
                loop.call_soon(called.append, number)
                loop.call_later(1.0, fired.append, number)
            await asyncio.sleep(2.0)

        run(main(), seed)
        return called, fired

    called, fired = orders(1)
    assert called == list(range(10))
    assert sorted(fired) == list(range(10))
    assert fired == orders(1)[1]
    assert len({tuple(orders(seed)[1]) for seed in range(10)}) > 5


def test_a_standstill_lets_time_jump() -> None:
    async def main() -> None:
        for _ in range(50):
            await asyncio.sleep(0)

    assert run(main()).time() == 0.0
    assert run(main(), stall_s=1.0, stall_chance=0.5).time() > 1.0


def test_complaints_are_kept() -> None:
    async def main() -> None:
        asyncio.get_running_loop().create_future().set_exception(RuntimeError("nobody looks"))

    loop = run(main())
    assert any("nobody looks" in complaint for complaint in loop.complaints)


def test_threads_are_refused() -> None:
    async def main() -> None:
        await asyncio.to_thread(print)

    with pytest.raises(RuntimeError, match="no threads"):
        run(main())


def writes(seed: int, crash_after: int | None = None) -> tuple[list[str], SimWriter]:
    """Three jobs; the loop's side is told of them."""
    seen: list[str] = []
    writers: list[SimWriter] = []

    async def main() -> None:
        writer = SimWriter(asyncio.get_running_loop(), random.Random(seed))
        writers.append(writer)
        for name in "abc":
            writer.submit(
                lambda name=name: seen.append(f"do {name}"),  # type: ignore[misc]
                lambda result, error, name=name: seen.append(f"told {name}"),  # type: ignore[misc]
            )
        while crash_after is None or writer.done < crash_after:
            await asyncio.sleep(0.0001)
            if crash_after is None and len(seen) == 6:
                return
        writer.crash(lambda job: seen.append("cut"))
        await asyncio.sleep(1.0)

    run(main(), seed)
    return seen, writers[0]


def test_jobs_are_done_and_told_in_order() -> None:
    for seed in range(20):
        seen, _ = writes(seed)
        assert [what for what in seen if what.startswith("do")] == ["do a", "do b", "do c"]
        assert [what for what in seen if what.startswith("told")] == ["told a", "told b", "told c"]
    assert len({tuple(writes(seed)[0]) for seed in range(20)}) > 1


def test_a_crash_loses_what_was_submitted() -> None:
    seen, writer = writes(1, crash_after=1)
    assert "do b" not in seen
    assert seen.count("cut") == 1
    writer.submit(lambda: seen.append("late"), lambda result, error: None)
    assert "late" not in seen


def test_a_job_that_fails_is_told() -> None:
    told: list[object] = []

    async def main() -> None:
        writer = SimWriter(asyncio.get_running_loop(), random.Random(1))
        writer.submit(lambda: 1 / 0, lambda result, error: told.append(error))
        writer.close(1.0)
        await asyncio.sleep(1.0)

    run(main())
    assert isinstance(told[0], ZeroDivisionError)


def test_a_victim_is_cancelled_where_it_was_told() -> None:
    async def main() -> list[tuple[int, bool, int]]:
        found = []
        for at in range(1, 5):
            steps = 0

            async def call() -> None:
                nonlocal steps
                for _ in range(3):
                    await asyncio.sleep(0.01)
                    steps += 1

            suspended = Suspended(call(), at, "woken")
            task = asyncio.ensure_future(suspended.run())
            await asyncio.wait([task])
            found.append((steps, task.cancelled(), suspended.count))
        return found

    loop = SimLoop(1)
    try:
        found = loop.run(main())
    finally:
        loop.close()
    assert found == [(0, True, 1), (1, True, 2), (2, True, 3), (3, False, 3)]
