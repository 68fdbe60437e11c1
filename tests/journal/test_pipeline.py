"""Where a group is written: on the loop or in the writer, and what a failure on the loop does."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from posthouse.errors import StorageFailed, UnknownOutcome
from posthouse.journal.files import Buffer
from posthouse.testing.files import FaultyFiles
from tests.journal.logs import Bench, live_messages, open_records, salts, small_options
from tests.journal.memory import MemoryFiles

SYNCED = frozenset({"pwritev_sync"})


class SlowFiles(MemoryFiles):
    """Moves the clock by ``takes_ns`` with each synced write."""

    takes_ns = 0
    now_ns = 0

    def pwritev_sync(self, fd: int, parts: Sequence[Buffer], offset: int) -> None:
        self.now_ns += self.takes_ns
        super().pwritev_sync(fd, parts, offset)


class InterruptedFiles(MemoryFiles):
    """Ctrl-C comes in the midst of a synced write, when ``armed``."""

    armed = False

    def pwritev_sync(self, fd: int, parts: Sequence[Buffer], offset: int) -> None:
        if self.armed:
            raise KeyboardInterrupt
        super().pwritev_sync(fd, parts, offset)


async def _commit(bench: Bench, size: int = 100) -> int:
    """Commit one put; how many jobs the writer got for it."""
    before = bench.writer.submitted
    await bench.put(b"x" * size)
    await bench.journal.flush()
    await bench.turn(3)
    return bench.writer.submitted - before


async def _bench(files: MemoryFiles, *, on_loop: bool = True, **changes: Any) -> Bench:
    """A journal that has all it wants to be prewritten: the writer gets nothing but commits."""
    bench = Bench(files, small_options(segment_bytes=1 << 20, **changes), on_loop=on_loop)
    await _commit(bench)
    await bench.turn(20)
    return bench


async def test_a_small_group_is_written_on_the_loop() -> None:
    files = MemoryFiles()
    bench = await _bench(files)
    assert await _commit(bench) == 0
    bench.journal.settle(1, 1)
    await bench.journal.flush()
    bench.crash()
    log, records = open_records(files)
    assert sorted(live_messages(records)) == [2]
    log.abandon()


async def test_a_large_group_goes_to_the_writer() -> None:
    bench = await _bench(MemoryFiles())
    assert await _commit(bench, 120_000) == 0
    assert await _commit(bench, 140_000) == 1
    bench.crash()


async def test_a_writer_that_is_busy_gets_the_group_too() -> None:
    bench = await _bench(MemoryFiles())
    bench.writer.hold()
    bench.writer.submit(lambda: None, lambda result, error: None)
    before = bench.writer.submitted
    await bench.put()
    await bench.turn(3)
    assert bench.writer.submitted == before + 1
    assert len(bench.committed) == 1
    bench.writer.release()
    await bench.journal.flush()
    assert len(bench.committed) == 2
    await bench.turn(3)
    assert await _commit(bench) == 0
    bench.crash()


async def test_groups_behind_one_another_keep_their_order() -> None:
    bench = await _bench(MemoryFiles(), group_operations=1)
    before = bench.writer.submitted
    for _ in range(3):
        await bench.put()  # sealed by its size, not at the loop's top
    await bench.journal.flush()
    assert bench.writer.submitted == before + 3
    sequences = [group.sequence for group in bench.committed]
    assert sequences == sorted(sequences)
    bench.crash()


async def test_a_disk_that_became_slow_is_written_to_off_the_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = SlowFiles()
    monkeypatch.setattr("posthouse.journal.pipeline.monotonic_ns", lambda: files.now_ns)
    bench = await _bench(files)
    assert await _commit(bench) == 0
    files.takes_ns = 20_000_000
    assert await _commit(bench) == 0  # nobody knew
    assert await _commit(bench) == 1
    files.takes_ns = 100_000
    jobs = [await _commit(bench) for _ in range(60)]
    assert jobs[0] == 1
    assert jobs[-1] == 0  # and back when it is quick again
    bench.crash()


async def test_a_writer_that_is_never_idle_gets_all() -> None:
    bench = await _bench(MemoryFiles(), on_loop=False)
    assert await _commit(bench) == 1
    bench.crash()


@pytest.mark.parametrize("late", [False, True], ids=["nothing written", "written, and failed"])
async def test_a_failure_on_the_loop_latches(late: bool) -> None:
    disk = MemoryFiles()
    files = FaultyFiles(4, errno.EIO, inner=disk, names=SYNCED, late=late)
    bench = Bench(files, small_options(segment_bytes=1 << 20), on_loop=True)
    acknowledged: list[int] = []
    raised: list[BaseException] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: raised.append(context["exception"])
    )
    with pytest.raises(UnknownOutcome):
        while True:
            message_id = await bench.put()
            await bench.journal.flush()
            acknowledged.append(message_id)
    assert len(acknowledged) == len(bench.committed) == 3
    assert raised == []  # the loop itself goes on
    assert len(bench.failures) == 1
    assert bench.journal.room == bench.journal.settle_room == -1
    with pytest.raises(StorageFailed):
        bench.journal.settle(1, 1)
    with pytest.raises(StorageFailed):
        await bench.journal.close()
    bench.crash()
    log, records = open_records(disk, small_options(salt=salts(9)))
    unknown = [acknowledged[-1] + 1] if late else []
    assert sorted(live_messages(records)) == acknowledged + unknown
    log.abandon()


async def test_ctrl_c_in_the_midst_of_a_write_on_the_loop_latches() -> None:
    files = InterruptedFiles()
    kicks: list[Callable[[], None]] = []
    bench = Bench(files, on_loop=True, call_soon=kicks.append)
    await bench.put()
    files.armed = True
    group = bench.journal.last_group()
    assert group is not None
    waiter = asyncio.get_running_loop().create_future()
    group.waiters.append(waiter)
    with pytest.raises(KeyboardInterrupt):
        kicks.pop()()
    with pytest.raises(UnknownOutcome):
        await waiter
    assert isinstance(bench.journal.failure, StorageFailed)
    bench.crash()
