"""Every call to the disk fails once: nothing acknowledged is lost, whoever waits is told."""

from __future__ import annotations

import errno
from typing import Any

import pytest

from posthouse.errors import (
    LogUnreadable,
    StorageFailed,
    StorageFull,
    UnknownOutcome,
)
from posthouse.testing.files import WRITES, FaultyFiles, RecordingFiles
from tests.journal.logs import DIRECTORY, live_messages, open_records, salts, small_options
from tests.journal.memory import MemoryFiles
from tests.journal.script import Ledger, run

FAULTS: dict[str, dict[str, Any]] = {
    "EIO": {"error": errno.EIO},
    "ENOSPC": {"error": errno.ENOSPC},
    "EIO for good": {"error": errno.EIO, "sticky": True},
    "ENOSPC for good": {"error": errno.ENOSPC, "sticky": True},
    "half a write": {"error": errno.EIO, "short": True},
    "half a write, full": {"error": errno.ENOSPC, "short": True, "sticky": True},
    "done, and failed": {"error": errno.EIO, "late": True},
}


def _reopened(disk: MemoryFiles, ledger: Ledger) -> None:
    """What the log holds when the fault is over, twice."""
    for start in (1000, 2000):
        log, records = open_records(disk, small_options(salt=salts(start)))
        ledger.check(set(live_messages(records)))
        assert log.epoch > max(ledger.epochs, default=0)
        ledger.epochs.append(log.epoch)
        log.abandon()


@pytest.mark.parametrize("on_loop", [False, True], ids=["thread", "loop"])
async def test_the_script_itself(on_loop: bool) -> None:
    disk = MemoryFiles()
    recording = RecordingFiles(disk)
    ledger = Ledger()
    await run(recording, ledger, on_loop=on_loop)
    await run(recording, ledger, 1, on_loop=on_loop)
    assert ledger.errors == []
    _reopened(disk, ledger)
    done = {operation.name for operation in recording.operations}
    assert done == WRITES
    renamed = [op for op in recording.operations if op.name == "rename"]
    assert any(op.path.endswith(".seg") for op in renamed), "no segment was used again"
    assert any(op.target.endswith("00000004.seg") for op in renamed), "it did not roll"


@pytest.mark.parametrize("on_loop", [False, True], ids=["thread", "loop"])
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("when", ["making the log", "using it again", "after a crash"])
async def test_every_call_fails_once(fault: str, when: str, on_loop: bool) -> None:
    before, told = MemoryFiles(), Ledger()
    if when != "making the log":
        await run(before, told, on_loop=on_loop)
        assert told.errors == []
    if when == "after a crash":
        half = FaultyFiles(20, errno.EIO, inner=before, names=frozenset({"pwritev_sync"}))
        await run(half, told, 1, on_loop=on_loop)
        assert told.errors
    # The seven faults together go through every call; the shortest run has all of each.
    step = 1 if when == "making the log" and not on_loop else 4
    fail_at, failed = list(FAULTS).index(fault) % step, 0
    while True:
        fail_at += step
        disk, ledger = before.copy(), _copy(told)
        faulty = FaultyFiles(fail_at, inner=disk, **FAULTS[fault])
        await run(faulty, ledger, 2, on_loop=on_loop)
        if faulty.failed is None:
            break
        if ledger.errors[len(told.errors) :]:
            failed += 1
            assert isinstance(
                ledger.errors[-1], (StorageFailed, StorageFull, UnknownOutcome, LogUnreadable)
            )
        assert not disk.open_files, "a descriptor was left open"
        _reopened(disk, ledger)
    assert fail_at > 200
    assert failed > 100 // step


def _copy(ledger: Ledger) -> Ledger:
    return Ledger(
        set(ledger.attempted),
        set(ledger.acknowledged),
        set(ledger.settling),
        set(ledger.settled),
        list(ledger.pairs),
        list(ledger.epochs),
        list(ledger.errors),
    )


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (errno.EIO, StorageFailed),
        (errno.ENOSPC, StorageFull),
        (errno.EDQUOT, StorageFull),
        (errno.EACCES, LogUnreadable),
        (errno.EROFS, LogUnreadable),
        (errno.ELOOP, LogUnreadable),
    ],
)
def test_errors_while_opening_say_who_is_to_blame(error: int, expected: type[Exception]) -> None:
    files = FaultyFiles(2, error, inner=MemoryFiles())
    with pytest.raises(expected, match=DIRECTORY):
        open_records(files)


@pytest.mark.parametrize("on_loop", [False, True], ids=["thread", "loop"])
async def test_nothing_is_written_after_a_failed_sync(on_loop: bool) -> None:
    disk = MemoryFiles()
    recording = RecordingFiles(disk)
    ledger = Ledger()
    faulty = FaultyFiles(
        5, errno.EIO, inner=recording, names=frozenset({"pwritev_sync"}), late=True
    )
    await run(faulty, ledger, on_loop=on_loop)
    assert isinstance(ledger.errors[0], UnknownOutcome)
    last = recording.operations[-1]
    assert last.name == "pwritev_sync"
