"""The line for room: in order, whatever each one wants, and nobody passes."""

from __future__ import annotations

import asyncio
import errno

import pytest

from posthouse.errors import BrokerClosed, StorageFailed, StorageFull
from posthouse.journal.room import Room
from posthouse.testing.files import FaultyFiles
from tests.journal.logs import SMALL, Bench, small_options
from tests.journal.memory import MemoryFiles

LARGE = 120_000


def _bench(files: MemoryFiles | None = None) -> Bench:
    options = small_options(
        segment_bytes=1 << 20, first_bytes=1 << 19, pending_bytes=50_000, group_operations=5
    )
    return Bench(files or MemoryFiles(), options)


async def test_a_put_over_the_pending_limit_is_not_starved_by_small_ones() -> None:
    bench = _bench()
    stop = False
    placed: list[str] = []

    async def small(number: int) -> None:
        while not stop:
            await bench.put(b"x" * 2000)
            placed.append("small")
            await bench.turn(1 + number % 3)

    async def large() -> None:
        await bench.put(b"y" * LARGE)
        placed.append("large")

    producers = [asyncio.create_task(small(number)) for number in range(20)]
    await bench.turn(10)
    assert len(placed) > 20
    waiting = asyncio.create_task(large())
    before = len(placed)
    for _ in range(400):
        await bench.turn()
        if waiting.done():
            break
    assert waiting.done(), f"{len(placed) - before} small puts passed the large one"
    # No more than what was pending, or in line before it.
    assert placed.index("large", before) - before < 60
    after = len(placed)
    await bench.turn(50)
    assert len(placed) > after  # and then they go on
    stop = True
    await asyncio.gather(*producers)
    await bench.journal.close()


async def test_the_line_is_served_in_order() -> None:
    bench = _bench()
    bench.writer.hold()
    await bench.put(b"x" * 45_000)
    await bench.turn(2)
    order: list[int] = []

    async def put(number: int, size: int) -> None:
        await bench.put(bytes(size))
        order.append(number)

    sizes = [20_000, LARGE, 100, 30_000, LARGE, 100]
    tasks = [asyncio.create_task(put(*item)) for item in enumerate(sizes)]
    await bench.turn(3)
    assert order == []
    assert bench.journal.room == 0  # nobody passes
    bench.writer.release()
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2, 3, 4, 5]
    await bench.journal.flush()
    await bench.turn(3)
    assert bench.journal.room > 0
    bench.crash()


async def test_who_gives_up_lets_the_next_one_go() -> None:
    bench = _bench()
    bench.writer.hold()
    await bench.put(b"x" * 45_000)
    await bench.turn(2)
    first = asyncio.create_task(bench.put(bytes(LARGE)))
    second = asyncio.create_task(bench.put(bytes(1000)))
    await bench.turn(3)
    assert not second.done()
    first.cancel()
    await bench.turn(4)
    assert second.done()
    bench.writer.release()
    await bench.journal.close()


async def test_who_has_room_and_does_not_use_it_wakes_the_next() -> None:
    bench = _bench()
    bench.writer.hold()
    await bench.put(b"x" * 45_000)
    await bench.turn(2)
    first = asyncio.create_task(bench.journal.make_room(LARGE))
    second = asyncio.create_task(bench.journal.make_room(LARGE))
    await bench.turn(3)
    bench.writer.release()
    await first
    await second
    assert bench.journal.room >= LARGE
    bench.crash()


async def test_a_full_disk_refuses_the_large_one_only() -> None:
    bench = _bench(MemoryFiles(capacity_bytes=12 * SMALL))
    large = asyncio.create_task(bench.put(bytes(20 * SMALL)))
    larger = asyncio.create_task(bench.put(bytes(30 * SMALL)))
    small = asyncio.create_task(bench.put(bytes(1000)))
    results = await asyncio.gather(large, larger, small, return_exceptions=True)
    assert [type(result) for result in results] == [StorageFull, StorageFull, int]
    await bench.journal.close()


async def test_a_close_or_a_failure_is_told_to_who_is_in_line() -> None:
    bench = _bench()
    bench.writer.hold()
    await bench.put(b"x" * 45_000)
    await bench.turn(2)
    waiting = asyncio.create_task(bench.put(bytes(LARGE)))
    await bench.turn(2)
    closing = asyncio.create_task(bench.journal.close())
    with pytest.raises(BrokerClosed):
        await waiting
    bench.writer.release()
    await closing

    files = FaultyFiles(1, errno.EIO, inner=MemoryFiles(), names=frozenset({"pwritev_sync"}))
    bench = Bench(files, small_options(pending_bytes=5000))
    bench.writer.hold()
    await bench.put(b"x" * 4000)
    await bench.turn(2)
    waiting = asyncio.create_task(bench.put(b"x" * 6000))
    await bench.turn(2)
    bench.writer.release()
    with pytest.raises(StorageFailed):
        await waiting
    bench.crash()


async def test_a_long_line_is_not_looked_through_for_each_who_leaves_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bench = _bench()
    looks = 0
    real = Room.for_puts

    def counted(room: Room, opened: int, *, copies: bool = False) -> int:
        nonlocal looks
        looks += 1
        return real(room, opened, copies=copies)

    monkeypatch.setattr(Room, "for_puts", counted)
    many = 2000
    puts = [asyncio.create_task(bench.put(b"x" * 200)) for _ in range(many)]
    for _ in range(100_000):
        await bench.turn()
        if all(put.done() for put in puts):
            break
    await asyncio.gather(*puts)
    assert looks < 20 * many, looks
    await bench.journal.close()
