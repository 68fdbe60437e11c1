"""``sync="interval"`` and ``"os"``: written at once, synced later; what that keeps and loses."""

from __future__ import annotations

import errno
import random
from collections import Counter
from pathlib import Path

import pytest

import posthouse
from posthouse.errors import BadArgument, StorageFailed
from posthouse.journal.log import LogOptions
from posthouse.testing.files import FaultyFiles, RecordingFiles
from tests.journal.crashes import Platter
from tests.journal.logs import Bench, copy_live, live_messages, open_records, salts, small_options
from tests.journal.memory import MemoryFiles
from tests.journal.script import Ledger, run


def _synced(files: RecordingFiles) -> Counter[str]:
    names = Counter(operation.name for operation in files.operations)
    return Counter({name: names[name] for name in ("fdatasync", "pwritev_sync")})


@pytest.mark.parametrize("sync", ["interval", "os"])
async def test_a_commit_does_not_wait_for_the_disk(sync: str) -> None:
    files = RecordingFiles(MemoryFiles())
    bench = Bench(files, small_options(sync=sync))
    for _ in range(5):
        group = bench.journal.put(1, 7, bench.next_id, (bench.next_id, 2, b"x", b"", None))
        bench.next_id += 1
        await bench.turn(3)
        assert bench.committed[-1] is group
    assert _synced(files) == Counter()
    bench.crash()
    # The process is gone, the machine is not.
    log, records = open_records(files)
    assert len(live_messages(records)) == 5
    log.abandon()


async def test_interval_syncs_while_there_are_commits() -> None:
    files = RecordingFiles(MemoryFiles())
    bench = Bench(files, small_options(sync="interval", interval_s=0.25))
    await bench.put()
    await bench.turn(3)
    assert [timer.delay_s for timer in bench.timers.pending] == [0.25]
    bench.timers.fire()
    assert _synced(files)["fdatasync"] == 1
    await bench.turn(3)
    while bench.timers.fire():
        await bench.turn(3)
    assert _synced(files)["fdatasync"] == 1  # nothing new, nothing synced
    bench.crash()


async def test_os_syncs_at_close_and_when_a_segment_is_full() -> None:
    files = RecordingFiles(MemoryFiles())
    bench = Bench(files, small_options(sync="os"))
    await bench.put()
    await bench.turn(3)
    assert bench.timers.pending == []
    while bench.log.disk.number == 1:
        await bench.put(b"x" * 8000)
        await bench.turn(3)
    assert _synced(files)["fdatasync"] >= 1
    await bench.journal.close()
    platter = Platter()
    for operation in files.operations:
        platter.do(operation)
    # A clean close is durable, whatever the mode: nothing that is pending is needed.
    for disk in platter.states(random.Random(1), 4):
        log, records = open_records(disk)
        assert log.report.clean
        assert len(live_messages(records)) == bench.next_id - 1
        log.abandon()


@pytest.mark.parametrize("sync", ["interval", "os"])
async def test_a_flush_reaches_the_disk(sync: str) -> None:
    files = RecordingFiles(MemoryFiles())
    bench = Bench(files, small_options(sync=sync))
    await bench.put()
    await bench.journal.flush()
    assert _synced(files)["fdatasync"] == 1
    bench.crash()


async def test_a_segment_goes_only_when_what_says_so_is_synced() -> None:
    files = RecordingFiles(MemoryFiles())
    for number in range(2):
        await run(files, Ledger(), number, sync="os")
    written: set[str] = set()
    gone = 0
    for operation in files.operations:
        if operation.name == "pwrite":
            written.add(operation.path)
        elif operation.name in ("fsync", "fdatasync"):
            written.discard(operation.path)
        elif operation.name in ("rename", "unlink") and operation.path.endswith(".seg"):
            gone += 1
            assert not any(path.endswith(".seg") for path in written)
    assert gone > 3


async def test_a_power_cut_loses_the_end_and_nothing_else() -> None:
    ledger = Ledger()
    files = RecordingFiles(MemoryFiles())
    for number in range(2):
        await run(files, ledger, number, sync="os")
    assert ledger.errors == []
    # Acknowledged is not on disk here: what is left must be whole, and open.
    whole = Ledger(ledger.attempted, settling=ledger.settling, pairs=ledger.pairs)
    draw, platter = random.Random(1), Platter()
    for done, operation in enumerate(files.operations):
        platter.do(operation)
        for disk in platter.states(draw, 2):
            for start in (1000, 2000):
                log, records = open_records(disk, small_options(salt=salts(start + done)))
                whole.check(set(live_messages(records)))
                log.abandon()


async def test_a_failed_sync_of_an_interval_stops_the_journal() -> None:
    disk = MemoryFiles()
    files = FaultyFiles(1, errno.EIO, inner=disk, names=frozenset({"fdatasync"}))
    bench = Bench(files, small_options(sync="interval"))
    await bench.put()
    await bench.turn(3)
    bench.timers.fire()
    await bench.turn(2)
    assert len(bench.failures) == 1
    with pytest.raises(StorageFailed):
        bench.journal.settle(1, 1)
    assert bench.timers.pending == []
    bench.crash()


async def test_an_interval_keeps_syncing_a_steady_stream() -> None:
    files = RecordingFiles(MemoryFiles())
    bench = Bench(files, small_options(sync="interval"))
    for number in range(1, 6):
        await bench.put()
        await bench.turn(3)
        written = bench.log.disk.position
        assert bench.log.disk.synced < written
        bench.timers.fire()
        await bench.turn(2)
        assert _synced(files)["fdatasync"] == number
        assert bench.log.disk.synced >= written
    bench.crash()


@pytest.mark.parametrize("sync", ["interval", "os"])
async def test_the_broker_in_these_modes(sync: str, tmp_path: Path) -> None:
    """A put returns without a sync; it survives the process, and a clean close the machine."""
    directory = tmp_path / "data"
    files = RecordingFiles()
    # An interval that is over long after the test.
    broker = posthouse.open(str(directory), sync=sync, interval_s=3600, files=files)
    async with broker:
        queue = broker.queue("orders")
        await queue.put(b"before")
        before = sum(_synced(files).values())
        for number in range(5):
            await queue.put(b"%d" % number)
        assert sum(_synced(files).values()) == before
        copy_live(directory, tmp_path / "killed")
    assert sum(_synced(files).values()) > before
    for name in ("killed", "data"):
        async with posthouse.open(str(tmp_path / name)) as broker:
            queue = broker.queue("orders")
            bodies = [(await queue.get(timeout=10)).body for _ in range(6)]
            assert bodies == [b"before", b"0", b"1", b"2", b"3", b"4"]
            assert (await queue.stats()).waiting == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {"sync": "never"},
        {"segment_bytes": 1000},
        {"ring_slots": 0},
        {"marker_idle_s": 0},
        {"interval_s": float("nan")},
        {"group_operations": 0},
    ],
)
def test_options_out_of_range(wrong: dict[str, object]) -> None:
    with pytest.raises(BadArgument):
        LogOptions(**wrong)  # type: ignore[arg-type]
