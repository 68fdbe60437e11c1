"""A full disk is drained: with one old message in the way, and one settlement at a time."""

from __future__ import annotations

import pytest

from posthouse.errors import StorageFull
from posthouse.journal.format import SETTLE_BYTES, SETTLE_RESERVE_BYTES
from posthouse.records import Record, Settled
from tests.journal.logs import SMALL, Bench, live_messages, open_records, salts, small_options
from tests.journal.memory import MemoryFiles


async def _full(messages_bytes: int) -> tuple[MemoryFiles, Bench, list[int]]:
    """A log on a disk that is full, with so many bytes of small messages."""
    files = MemoryFiles(capacity_bytes=messages_bytes + 2 * SMALL)
    bench = Bench(files, small_options(segment_bytes=4 * SMALL))
    ids: list[int] = []
    try:
        while True:
            ids += await bench.put_many(10, b"x")
            await bench.journal.flush()
    except StorageFull:
        pass
    await bench.turn(6)
    return files, bench, ids


def _recovered(files: MemoryFiles) -> list[int]:
    files.capacity_bytes = 1 << 40
    log, records = open_records(files.copy(), small_options(salt=salts(77)))
    log.abandon()
    return sorted(live_messages(records))


async def test_settlements_that_nobody_waits_for_are_gathered() -> None:
    """One after the other, the oldest message last, without any end of it."""
    files, bench, ids = await _full(10 * SMALL)
    assert len(ids) * SETTLE_BYTES > 3 * bench.journal.settle_room  # not room for a frame each
    for message_id in ids[1:]:
        assert bench.journal.settle_room >= SETTLE_BYTES
        bench.journal.settle(1, message_id)
        await bench.turn(3)
        if message_id % 50 == 0:
            bench.timers.fire()
            await bench.turn(3)
    await bench.journal.flush()
    assert bench.journal.failure is None
    settled = [group for group in bench.committed if isinstance(group.records[0], Settled)]
    # Until what is left has room for a frame each.
    assert len(settled) < len(ids) // 4
    assert _recovered(files) == ids[:1]
    # The last one lets all segments go, and puts go on.
    files.capacity_bytes = 12 * SMALL
    bench.journal.settle(1, ids[0])
    await bench.journal.flush()
    await bench.turn(30)
    more = [await bench.put(b"x" * 1000) for _ in range(50)]
    await bench.journal.flush()
    bench.crash()
    assert _recovered(files) == more


async def test_who_waits_for_a_settlement_does_not_wait_for_others() -> None:
    files, bench, ids = await _full(10 * SMALL)
    bench.journal.settle(1, ids[1])
    await bench.turn(3)
    before = len(bench.committed)
    assert bench.journal.last_group() is not None  # it is being gathered
    await bench.journal.flush()
    assert len(bench.committed) == before + 1
    bench.timers.fire()
    await bench.turn(3)
    bench.crash()
    assert ids[1] not in _recovered(files)


async def test_settlements_that_nobody_waits_for_share_a_commit() -> None:
    bench = Bench(MemoryFiles(), small_options(segment_bytes=4 * SMALL))
    ids = await bench.put_many(100)
    await bench.journal.flush()
    before = len(bench.committed)
    for message_id in ids[:50]:
        bench.journal.settle(1, message_id)
        await bench.turn(3)
    assert len(bench.committed) == before
    bench.timers.fire()
    await bench.turn(3)
    assert len(bench.committed) == before + 1
    bench.crash()


async def test_a_put_ends_the_gathering() -> None:
    bench = Bench(MemoryFiles(), small_options(segment_bytes=4 * SMALL))
    ids = await bench.put_many(10)
    await bench.journal.flush()
    before = len(bench.committed)
    bench.journal.settle(1, ids[0])
    await bench.turn(3)
    assert len(bench.committed) == before
    await bench.put_many(1)
    await bench.turn(3)
    assert len(bench.committed) == before + 1
    bench.crash()


async def test_one_commit_each_behind_an_old_message_ends_cleanly() -> None:
    """The reserve is not for that: it is refused before anything changes, and nothing is lost."""
    files, bench, ids = await _full(10 * SMALL)
    settled: list[int] = []
    for message_id in ids[1:]:
        if bench.journal.settle_room < SETTLE_BYTES:  # what the engine checks: `StorageFull`
            break
        bench.journal.settle(1, message_id)
        await bench.journal.flush()
        settled.append(message_id)
        if len(settled) % 500 == 0:
            bench.timers.fire()
            bench.timers.fire()  # a marker, if there is room for it
            await bench.turn(3)
    assert 0 < len(settled) < len(ids) - 1
    # The reserve held what it is for, at the least: 16 bytes for each message.
    assert len(settled) * SETTLE_BYTES > SETTLE_RESERVE_BYTES * len(ids)
    assert bench.journal.failure is None
    for _ in range(2):
        bench.timers.fire()
        await bench.turn(3)
    assert bench.journal.failure is None, "the marker of an idle log found no room"
    assert _recovered(files) == sorted(set(ids) - set(settled))
    # Space that comes back is found by the next put; then settlements go on.
    files.capacity_bytes = 30 * SMALL
    await bench.put(b"y")
    await bench.turn(6)
    assert bench.journal.settle_room > 2 * SETTLE_BYTES
    bench.journal.settle_many(1, [key for key in ids if key not in set(settled)])
    await bench.journal.close()
    assert len(_recovered(files)) == 1


async def test_a_clean_close_of_a_log_without_any_room() -> None:
    """It cannot be marked as closed; the next opening finds all the same."""
    files, bench, ids = await _full(10 * SMALL)
    left = list(ids)
    while bench.journal.settle_room >= SETTLE_BYTES:
        bench.journal.settle(1, left.pop())
        await bench.journal.flush()
    await bench.journal.close()
    bench.crash()
    assert _recovered(files) == left


@pytest.mark.parametrize("order", ["oldest first", "newest first"])
async def test_in_order_each_segment_gives_its_space_back(order: str) -> None:
    files, bench, ids = await _full(10 * SMALL)
    if order == "newest first":
        ids.reverse()
    records: list[Record] = []
    for at in range(0, len(ids), 40):
        bench.journal.settle_many(1, ids[at : at + 40])
        await bench.journal.flush()
        await bench.turn(4)
    assert bench.journal.failure is None
    assert _recovered(files) == []
    assert records == []
    bench.crash()
