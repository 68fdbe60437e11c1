"""Deliveries survive the process, once each, and only where the log has nothing newer to say."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthouse.errors import StorageFailed
from posthouse.journal.ring import SLOT_BYTES, RingReplay, pack_slot, position_of
from posthouse.records import Delivered, Moved, Record, Returned, Settled, Traits
from posthouse.testing.files import FaultyFiles
from tests.journal.logs import DIRECTORY, Bench, open_records, salts, small_options
from tests.journal.memory import MemoryFiles

RING = f"{DIRECTORY}/attempts.ring"


def attempts_of(records: list[Record]) -> dict[int, int]:
    found: dict[int, int] = {}
    for record in records:
        if isinstance(record, Delivered):
            for message_id, attempt in zip(record.ids, record.attempts, strict=True):
                found[message_id] = max(attempt, found.get(message_id, 0))
    return found


def reopened(files: MemoryFiles) -> tuple[dict[int, int], bool]:
    log, records = open_records(files, small_options(salt=salts(77)))
    log.abandon()
    return attempts_of(records), log.report.clean


async def test_deliveries_survive_the_process() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    ids = await bench.put_many(20)
    await bench.journal.flush()
    bench.journal.delivered(1, ids[:5], 1)
    bench.journal.delivered(1, [ids[7]], 3)
    bench.journal.delivered(1, [ids[12], ids[10], ids[9]], [2, 1, 1])
    bench.crash()
    expected = dict.fromkeys(ids[:5], 1) | {ids[7]: 3, ids[12]: 2, ids[10]: 1, ids[9]: 1}
    assert reopened(files) == (expected, False)
    # The first reopening put them into the log: they are there again, from the log alone.
    del files.names[RING]
    assert reopened(files) == (expected, False)


async def test_one_write_for_a_batch() -> None:
    files = FaultyFiles(10**6, errno.EIO, inner=MemoryFiles(), names=frozenset({"pwrite"}))
    bench = Bench(files)
    for ids, attempts in (([5, 6, 7], 1), ([1], 2), ([9, 3], [4, 5])):
        before = files.calls
        bench.journal.delivered(1, ids, attempts)
        assert files.calls == before + 1
    bench.crash()


async def test_what_came_back_uncounted_stays_uncounted() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    ids = await bench.put_many(4)
    await bench.journal.flush()
    bench.journal.delivered(1, ids, 1)
    bench.journal.append(Returned(1, [ids[0]], [0], [0]))
    bench.journal.append(Returned(1, [ids[1]], [0], [0]))
    bench.journal.delivered(1, [ids[1]], 1)  # in the same group, after it came back
    bench.journal.settle(1, ids[2])
    await bench.journal.flush()
    bench.crash()
    assert reopened(files)[0] == {ids[1]: 1, ids[3]: 1}


async def test_a_moved_message_is_known_by_its_rank() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    ids = await bench.put_many(2)
    await bench.journal.flush()
    bench.journal.append(
        Moved(1, 2, ids[0], Traits(rank=900)), Moved(1, 2, ids[1], Traits(rank=901))
    )
    bench.journal.delivered(2, [900, 901], 1)
    bench.journal.append(Returned(2, [ids[0]], [0], [0]))
    await bench.journal.flush()
    bench.crash()
    assert reopened(files)[0] == {901: 1}


async def test_a_clean_close_makes_the_ring_void() -> None:
    files = MemoryFiles()
    bench = Bench(files, snapshot=lambda: [Delivered(1, [2], [1])])
    ids = await bench.put_many(4)
    await bench.journal.flush()
    bench.journal.delivered(1, ids, 1)
    bench.journal.append(Returned(1, [ids[0]], [0], [0]))
    await bench.journal.close()
    assert reopened(files) == ({2: 1}, True)
    # A crash of the next opening does not bring the ring of this one back.
    assert reopened(files) == ({2: 1}, False)


async def test_slots_of_an_earlier_opening_are_not_counted() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    await bench.put_many(4)
    await bench.journal.flush()
    bench.journal.delivered(1, [1, 2], 1)
    await bench.journal.close()
    bench = Bench(files)
    bench.journal.delivered(1, [3], 1)
    bench.crash()
    assert reopened(files)[0] == {3: 1}


async def test_a_full_bank_takes_a_snapshot_and_the_other_is_used() -> None:
    files = MemoryFiles()
    told: list[list[Delivered]] = []
    counts: dict[int, int] = {}

    def snapshot() -> list[Delivered]:
        told.append([Delivered(1, sorted(counts), [counts[key] for key in sorted(counts)])])
        return told[-1]

    bench = Bench(files, small_options(ring_slots=16), snapshot)
    ids = await bench.put_many(200)
    await bench.journal.flush()
    for index, message_id in enumerate(ids):
        attempt = index % 3 + 1
        bench.journal.delivered(1, [message_id], attempt)
        counts[message_id] = attempt
        if index % 7 == 0:
            await bench.journal.flush()
    assert len(told) == (200 - 1) // 16
    assert len(files.names[RING].data) == 2 * 16 * SLOT_BYTES
    bench.crash()
    assert reopened(files)[0] == counts


async def test_a_bank_is_not_written_over_before_its_snapshot_is_durable() -> None:
    files = MemoryFiles()
    counts: dict[int, int] = {}
    bench = Bench(
        files,
        small_options(ring_slots=16),
        lambda: [Delivered(1, list(counts), list(counts.values()))],
    )
    ids = await bench.put_many(100)
    await bench.journal.flush()
    for message_id in ids:  # no commit in between: the snapshot stays on its way
        bench.journal.delivered(1, [message_id], 1)
        counts[message_id] = 1
    # Two banks, and what came after behind them: a process that dies now loses no attempt.
    copy = files.copy()
    assert reopened(copy)[0] == counts
    await bench.journal.flush()
    bench.crash()
    assert reopened(files)[0] == counts


async def test_a_batch_larger_than_a_bank_goes_into_the_log() -> None:
    files = MemoryFiles()
    bench = Bench(files, small_options(ring_slots=16))
    ids = list(range(1, 101, 2))
    await bench.put_many(100)
    await bench.journal.flush()
    bench.journal.delivered(1, ids, 1)
    await bench.journal.flush()
    bench.crash()
    assert reopened(files)[0] == dict.fromkeys(ids, 1)


async def test_damaged_slots_are_skipped() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    await bench.put_many(9)
    await bench.journal.flush()
    for message_id in (1, 2, 3):
        bench.journal.delivered(1, [message_id], 1)
    bench.crash()
    for at in range(SLOT_BYTES):
        damaged = files.copy()
        damaged.names[RING].data[SLOT_BYTES + at] ^= 0x10
        assert reopened(damaged)[0] == {1: 1, 3: 1}


async def test_a_failing_ring_stops_the_journal() -> None:
    ring_writes = 0

    class RingFails(FaultyFiles):
        def passing(self, operation: object) -> None:
            nonlocal ring_writes
            if getattr(operation, "name", "") == "pwrite" and "ring" in operation.path:  # type: ignore[attr-defined]
                ring_writes += 1
                if ring_writes == 3:
                    raise OSError(errno.EIO, "the ring's sector is gone")

    bench = Bench(RingFails(10**6, errno.EIO, inner=MemoryFiles()))
    bench.journal.delivered(1, [1], 1)
    with pytest.raises(StorageFailed, match="sector"):
        bench.journal.delivered(1, [2], 1)
    assert bench.journal.room == -1
    assert len(bench.failures) == 1
    bench.crash()


def test_a_ring_of_another_size_is_read_and_resized() -> None:
    files = MemoryFiles()
    for slots in (32, 16, 64):
        log, _ = open_records(files, small_options(ring_slots=slots, salt=salts(slots)))
        assert len(files.names[RING].data) == 2 * slots * SLOT_BYTES
        log.abandon()


@given(st.binary(max_size=300), st.integers(0, 2**32))
def test_garbage_says_nothing(data: bytes, epoch: int) -> None:
    assert RingReplay(data).deliveries(epoch) == []


def test_the_newest_slot_of_a_message_counts() -> None:
    slots = [
        pack_slot(3, 1, 2, 1, position_of(5, 0), 10),
        pack_slot(3, 1, 1, 2, position_of(6, 1), 10),
        pack_slot(2, 1, 9, 1, position_of(4, 0), 10),
    ]
    replay = RingReplay(b"".join(slots))
    assert replay.deliveries(3) == [Delivered(1, [10, 11], [1, 1])]
    replay.forget([10], 6, 0)
    assert replay.deliveries(3) == [Delivered(1, [10, 11], [1, 1])]
    replay.forget([10], 6, 1)
    assert replay.deliveries(3) == [Delivered(1, [11], [1])]


def test_settlements_of_others_change_nothing() -> None:
    replay = RingReplay(pack_slot(1, 1, 1, 3, position_of(2, 0), 10))
    replay.forget(Settled(1, [1, 2, 99]).ids, 9, 0)
    assert replay.deliveries(1) == [Delivered(1, [10, 11, 12], [1, 1, 1])]
