"""The loop side: what goes into which group, in which order, and who is told when."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable

import pytest

from posthouse.errors import (
    BrokerBug,
    BrokerClosed,
    PosthouseError,
    StorageFailed,
    StorageFull,
    UnknownOutcome,
)
from posthouse.journal.codec import traits_bound
from posthouse.journal.format import FLAG_MARKER, PUT_OVERHEAD_BYTES, SETTLE_BYTES
from posthouse.journal.group import Group
from posthouse.journal.null import NullJournal
from posthouse.model import QueuePolicy
from posthouse.records import Closed, Declared, Delivered, Moved, Opened, Put, Settled, Traits
from posthouse.testing.files import FaultyFiles
from tests.journal.logs import (
    Bench,
    declared,
    entries,
    entry,
    live_messages,
    open_records,
    small_options,
)
from tests.journal.memory import MemoryFiles


async def test_puts_of_a_turn_are_one_record_in_one_group() -> None:
    bench = Bench(MemoryFiles())
    groups = [bench.journal.put(1, 7, n, entry(n + 1)) for n in range(5)]
    assert len({id(group) for group in groups}) == 1
    await bench.journal.flush()
    [group] = bench.committed
    assert group.records == [Put(1, 7, 0, entries(1, 5))]


@pytest.mark.parametrize(
    ("queue", "producer", "sequence", "message_id"),
    [(2, 7, 1, 2), (1, 8, 1, 2), (1, 7, 2, 2), (1, 7, 1, 3)],
    ids=["other queue", "other producer", "sequence skipped", "id skipped"],
)
async def test_a_put_that_does_not_continue_is_a_record_of_its_own(
    queue: int, producer: int, sequence: int, message_id: int
) -> None:
    bench = Bench(MemoryFiles())
    bench.journal.put(1, 7, 0, entry(1))
    bench.journal.put(queue, producer, sequence, entry(message_id))
    await bench.journal.flush()
    [group] = bench.committed
    assert group.records == [
        Put(1, 7, 0, [entry(1)]),
        Put(queue, producer, sequence, [entry(message_id)]),
    ]


async def test_puts_and_settlements_that_alternate_are_two_records() -> None:
    bench = Bench(MemoryFiles())
    await bench.put_many(10)
    await bench.journal.flush()
    for n in range(5):
        bench.journal.settle(1, n + 1)
        bench.journal.put(1, 7, 100 + n, entry(11 + n))
    await bench.journal.flush()
    assert bench.committed[-1].records == [
        Settled(1, [1, 2, 3, 4, 5]),
        Put(1, 7, 100, entries(11, 5)),
    ]


async def test_a_settlement_never_passes_the_put_of_its_message() -> None:
    bench = Bench(MemoryFiles())
    await bench.put_many(3)
    await bench.journal.flush()
    bench.journal.settle(1, 1)
    bench.journal.put(1, 7, 100, entry(4))
    bench.journal.settle(1, 4)
    bench.journal.settle(1, 2)
    await bench.journal.flush()
    assert live_messages(bench.committed[-1].records) == {}
    records = bench.committed[-1].records
    assert records.index(Put(1, 7, 100, [entry(4)])) < next(
        at for at, record in enumerate(records) if isinstance(record, Settled) and 4 in record.ids
    )


async def test_other_records_keep_their_place() -> None:
    bench = Bench(MemoryFiles())
    await bench.put_many(3)
    await bench.journal.flush()
    moved = Moved(1, 2, 2, Traits(rank=9))
    bench.journal.put(1, 7, 100, entry(4))
    bench.journal.settle(1, 1)
    bench.journal.append(moved)
    bench.journal.put(1, 7, 101, entry(5))
    bench.journal.settle(1, 2)
    await bench.journal.flush()
    assert bench.committed[-1].records == [
        Put(1, 7, 100, [entry(4)]),
        Settled(1, [1]),
        moved,
        Put(1, 7, 101, [entry(5)]),
        Settled(1, [2]),
    ]


async def test_batches_are_kept_without_copying() -> None:
    bench = Bench(MemoryFiles())
    batch, ids = entries(1, 4), [1, 2]
    bench.journal.put_many(1, 7, 0, batch)
    await bench.journal.flush()
    bench.journal.settle_many(1, ids)
    await bench.journal.flush()
    put, settled = bench.committed[0].records[0], bench.committed[1].records[0]
    assert isinstance(put, Put)
    assert isinstance(settled, Settled)
    assert put.entries is batch
    assert settled.ids is ids


async def test_empty_batches_change_nothing() -> None:
    bench = Bench(MemoryFiles())
    assert bench.journal.put_many(1, 7, 0, []) is None
    assert bench.journal.settle_many(1, []) is None
    assert bench.journal.append() is None
    bench.journal.delivered(1, [], 1)


async def test_the_calls_of_one_append_are_in_one_group() -> None:
    bench = Bench(MemoryFiles(), small_options(group_operations=4))
    for n in range(3):
        bench.journal.put(1, 7, n, entry(n + 1))
    together = (Put(1, 7, 9, entries(10, 3)), Settled(1, [1]), declared(2, "other"))
    group = bench.journal.append(*together)
    await bench.journal.flush()
    assert group is not None
    assert [record for record in group.records if record in together] == list(together)


async def test_ids_must_grow() -> None:
    bench = Bench(MemoryFiles())
    bench.journal.put(1, 7, 0, entry(5))
    calls: list[Callable[[], object]] = [
        lambda: bench.journal.put(1, 7, 1, entry(5)),
        lambda: bench.journal.put_many(1, 7, 1, entries(3, 2)),
        lambda: bench.journal.append(Put(1, 7, 1, [entry(4)])),
    ]
    for refused in calls:
        with pytest.raises(BrokerBug, match="not higher"):
            refused()


async def test_group_limits_seal() -> None:
    bench = Bench(MemoryFiles(), small_options(group_operations=3))
    bench.writer.hold()
    groups = [bench.journal.put(1, 7, n, entry(n + 1)) for n in range(7)]
    assert [groups.index(group) for group in groups] == [0, 0, 0, 3, 3, 3, 6]
    bench.writer.release()
    await bench.journal.flush()
    assert [group.operations for group in bench.committed] == [3, 3, 1]


async def test_a_busy_writer_makes_the_next_group_grow() -> None:
    bench = Bench(MemoryFiles())
    bench.writer.hold()
    await bench.put()
    await bench.turn(3)
    for _ in range(4):
        await bench.put()
        await bench.turn(3)
    bench.writer.release()
    await bench.journal.flush()
    assert [group.operations for group in bench.committed] == [1, 4]


async def test_effects_come_before_waiters_and_in_order() -> None:
    bench = Bench(MemoryFiles())
    seen: list[str] = []
    group = bench.journal.put(1, 7, 0, entry(1))
    assert group is not None
    group.effects.append(lambda: seen.append("effect"))
    waiter = asyncio.get_running_loop().create_future()
    waiter.add_done_callback(lambda _: seen.append(f"woken after {len(bench.committed)}"))
    group.waiters.append(waiter)
    await waiter
    await bench.turn()
    assert seen == ["woken after 1"]
    assert bench.committed[0].effects  # the engine runs them, in its on_commit


async def test_cancelling_one_waiter_cancels_nobody_else() -> None:
    bench = Bench(MemoryFiles())
    await bench.put()
    first = asyncio.create_task(bench.journal.flush())
    second = asyncio.create_task(bench.journal.flush())
    await bench.turn()
    first.cancel()
    await second
    with pytest.raises(asyncio.CancelledError):
        await first


async def test_last_group() -> None:
    bench = Bench(MemoryFiles())
    assert bench.journal.last_group() is None
    bench.writer.hold()
    group = bench.journal.put(1, 7, 0, entry(1))
    assert bench.journal.last_group() is group
    await bench.turn(2)
    assert bench.journal.last_group() is group
    later = bench.journal.settle(1, 1)
    assert bench.journal.last_group() is later is not group
    bench.writer.release()
    await bench.journal.flush()
    assert bench.journal.last_group() is None


async def test_what_was_flushed_is_there_after_a_crash() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    bench.journal.append(declared())
    ids = await bench.put_many(10, b"x" * 100)
    await bench.journal.flush()
    bench.journal.settle_many(1, ids[:4])
    await bench.journal.flush()
    bench.crash()
    log, records = open_records(files)
    assert sorted(live_messages(records)) == ids[4:]
    assert declared() in records
    assert not log.report.clean
    assert log.report.truncated_at is not None
    log.abandon()


async def test_a_clean_close_goes_on_in_the_same_segment() -> None:
    files = MemoryFiles()
    for epoch in (1, 2, 3):
        bench = Bench(files)
        assert bench.log.epoch == epoch
        assert bench.log.report.clean
        assert bench.log.live.total == epoch - 1
        await bench.put()
        await bench.journal.close()
        assert bench.writer.closed
    assert [name for name in files.listdir("data") if name.endswith(".seg")] == ["00000001.seg"]
    log, records = open_records(files)
    assert [record.epoch for record in records if isinstance(record, Opened)] == [1, 2, 3]
    assert sum(isinstance(record, Closed) for record in records) == 3
    log.abandon()


async def test_nothing_works_after_close() -> None:
    bench = Bench(MemoryFiles())
    await bench.journal.close()
    assert bench.journal.room == bench.journal.settle_room == -1
    await bench.journal.close()
    await _refuses(bench, BrokerClosed)


async def _refuses(bench: Bench, error: type[PosthouseError]) -> None:
    journal = bench.journal
    calls: list[Callable[[], object]] = [
        lambda: journal.put(1, 7, 0, entry(10**6)),
        lambda: journal.put_many(1, 7, 0, entries(10**6, 2)),
        lambda: journal.settle(1, 1),
        lambda: journal.settle_many(1, [1]),
        lambda: journal.append(declared()),
        journal.last_group,
        lambda: journal.delivered(1, [1], 1),
    ]
    for call in calls:
        with pytest.raises(error):
            call()
    with pytest.raises(error):
        await journal.make_room(1)
    with pytest.raises(error):
        await journal.flush()


async def test_a_marker_when_the_log_falls_idle() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    await bench.put()
    await bench.journal.flush()
    [timer] = bench.timers.pending
    assert timer.delay_s == bench.log.options.marker_idle_s
    await bench.put()
    await bench.journal.flush()
    before = bench.log.disk.position
    bench.timers.fire()
    assert bench.log.disk.position == before  # there was a commit since: not idle
    bench.timers.fire()
    assert bench.log.disk.position > before
    await bench.turn(2)
    assert bench.timers.pending == []
    assert all(group.flags != FLAG_MARKER for group in bench.committed)
    bench.crash()


async def test_rolls_and_reclaims() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    live: list[int] = []
    for _ in range(40):
        live += await bench.put_many(20, b"x" * 500)
        await bench.journal.flush()
        bench.journal.settle_many(1, live[:15])
        del live[:15]
        if len(live) > 60:
            bench.journal.settle_many(1, live[:50])
            del live[:50]
    await bench.journal.flush()
    await bench.turn(6)
    names = files.listdir("data")
    segments = [name for name in names if name.endswith(".seg")]
    spares = [name for name in names if name.startswith("spare-")]
    assert segments[0] > "00000005.seg"
    assert len(segments) <= 3
    assert 1 <= len(spares) <= 4
    assert bench.log.live.total == len(live)
    bench.crash()
    log, records = open_records(files)
    assert sorted(live_messages(records)) == live
    log.abandon()


async def test_the_catalog_goes_with_every_segment() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    bench.journal.append(declared(1, "orders"), declared(2, "mail"))
    other = Declared(2, "mail", QueuePolicy(max_messages=5))
    bench.journal.append(other)
    for _ in range(12):
        ids = await bench.put_many(20, b"x" * 500)
        await bench.journal.flush()
        bench.journal.settle_many(1, ids)
    await bench.journal.flush()
    await bench.turn(6)
    assert "00000001.seg" not in files.listdir("data")
    await bench.journal.close()
    log, records = open_records(files)
    assert [record for record in records if isinstance(record, Declared)] == [declared(), other]
    assert log.epoch == 2
    log.abandon()


async def test_a_catalog_larger_than_a_segment() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    for queue in range(1, 2001):
        record = declared(queue, f"queue-number-{queue}")
        if bench.journal.settle_room < 400:
            await bench.journal.make_room(4000)
        bench.journal.append(record)
    await bench.journal.flush()
    for _ in range(30):
        await bench.put(b"x" * 10_000)
    await bench.journal.close()
    log, records = open_records(files)
    assert sum(isinstance(record, Declared) for record in records) == 2000
    assert len(live_messages(records)) == 30
    log.abandon()


async def test_a_group_larger_than_a_segment() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    await bench.put(b"a" * 300_000)
    await bench.put_many(50, b"b" * 10_000)
    await bench.put(b"c")
    await bench.journal.flush()
    bench.crash()
    log, records = open_records(files)
    bodies = [item[2] for item in live_messages(records).values()]
    assert [len(body) for body in bodies] == [300_000, *[10_000] * 50, 1]
    log.abandon()


async def test_a_full_disk_can_be_drained_and_works_again() -> None:
    files = MemoryFiles(capacity_bytes=300_000)
    bench = Bench(files)
    ids: list[int] = []
    with pytest.raises(StorageFull):
        await _fill(bench, ids)
    assert len(ids) > 100
    before = files.used_bytes()
    with pytest.raises(StorageFull):
        await bench.put(b"x" * 1000)
    assert files.used_bytes() == before
    assert bench.journal.failure is None
    for message_id in ids:  # one commit each: the dearest way
        assert bench.journal.settle_room >= SETTLE_BYTES
        bench.journal.settle(1, message_id)
        await bench.journal.flush()
    await bench.turn(6)
    again = [await bench.put(b"x" * 1000) for _ in range(50)]
    await bench.journal.close()
    log, records = open_records(files)
    assert sorted(live_messages(records)) == again
    log.abandon()


async def _fill(bench: Bench, ids: list[int]) -> None:
    while True:
        ids.append(await bench.put(b"x" * 1000))
        await bench.journal.flush()


async def test_room_that_comes_back_is_found() -> None:
    files = MemoryFiles(capacity_bytes=300_000)
    bench = Bench(files)
    with pytest.raises(StorageFull):
        await bench.journal.make_room(500_000)
    files.capacity_bytes = 1_000_000
    await bench.journal.make_room(500_000)
    assert bench.journal.room >= 500_000
    bench.crash()


async def test_put_takes_no_more_room_than_was_checked() -> None:
    bench = Bench(MemoryFiles())
    bench.journal.put(1, 7, 0, entry(1))
    for record in (
        entry(2, b"x" * 100),
        entry(3, b"x", headers=b"h" * 10, traits=Traits(due_ns=1 << 62, rank=1, death=b"d" * 9)),
    ):
        before = bench.journal.room
        traits = 0 if record[4] is None else traits_bound(record[4])
        bench.journal.put(1, 7, 1, record)
        needed = PUT_OVERHEAD_BYTES + len(record[2]) + len(record[3]) + traits
        assert 0 < before - bench.journal.room <= needed
    await bench.journal.flush()
    assert bench.log.disk.position <= bench.log.disk.size_bytes
    bench.crash()


async def test_too_much_pending_makes_puts_wait() -> None:
    bench = Bench(MemoryFiles(), small_options(segment_bytes=1 << 20, pending_bytes=50_000))
    bench.writer.hold()
    await bench.put(b"x" * 30_000)
    await bench.turn(2)
    assert bench.journal.room < 30_000
    waiting = asyncio.create_task(bench.put(b"x" * 30_000))
    await bench.turn(3)
    assert not waiting.done()
    bench.writer.release()
    await waiting
    bench.crash()


async def test_a_failed_write_latches() -> None:
    names = frozenset({"pwritev_sync"})
    bench = Bench(FaultyFiles(1, errno.EIO, inner=MemoryFiles(), names=names))
    bench.writer.hold()
    first = asyncio.create_task(_put_and_flush(bench))
    await bench.turn(3)
    second = asyncio.create_task(_put_and_flush(bench))
    await bench.turn(3)
    bench.writer.release()
    results = await asyncio.gather(first, second, return_exceptions=True)
    assert [type(result) for result in results] == [UnknownOutcome, StorageFailed]
    assert bench.committed == []
    assert len(bench.failures) == 1
    assert bench.journal.room == bench.journal.settle_room == -1
    await _refuses(bench, StorageFailed)
    with pytest.raises(StorageFailed) as told:
        bench.journal.settle(1, 1)
    assert told.value is not bench.journal.failure
    assert told.value.__cause__ is bench.journal.failure
    with pytest.raises(StorageFailed):
        await bench.journal.close()
    assert bench.writer.closed


async def _put_and_flush(bench: Bench) -> None:
    await bench.put()
    await bench.journal.flush()


async def test_a_bug_in_on_commit_stops_the_journal() -> None:
    bench = Bench(MemoryFiles(), on_commit=_broken)
    told: list[object] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: told.append(context["exception"])
    )
    with pytest.raises(UnknownOutcome):
        await _put_and_flush(bench)
    assert [str(error) for error in told] == ["a bug"]
    await _refuses(bench, StorageFailed)
    bench.crash()


def _broken(group: Group) -> None:
    raise RuntimeError("a bug")


async def test_the_null_journal_keeps_nothing() -> None:
    journal = NullJournal()
    assert journal.room == journal.settle_room == 1 << 62
    assert journal.put(1, 1, 1, entry(1)) is None
    assert journal.put_many(1, 1, 1, entries(1, 2)) is None
    assert journal.settle(1, 1) is None
    assert journal.settle_many(1, [1]) is None
    assert journal.append(Delivered(1, [1], [1])) is None
    assert journal.last_group() is None
    journal.delivered(1, [1], 1)
    await journal.make_room(1 << 60)
    await journal.flush()
    await journal.close()
