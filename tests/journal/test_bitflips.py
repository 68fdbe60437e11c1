"""Every single bit of a small log, flipped: refused, or the last group cut off and reported."""

from __future__ import annotations

import pytest

from posthouse.errors import LogDamaged, LogUnreadable
from posthouse.journal.directory import check_format, check_segments, list_directory
from posthouse.journal.recovery import Recovered, Recovery, RecoveryReport
from posthouse.journal.ring import RingReplay
from posthouse.records import Closed, Record
from tests.journal.logs import DIRECTORY, Bench
from tests.journal.memory import MemoryFiles


def _read(files: MemoryFiles) -> tuple[list[Record], RecoveryReport, Recovered]:
    """The part of opening that reads; nothing is written before it is over."""
    listing = list_directory(files, DIRECTORY)
    check_format(files, DIRECTORY)
    check_segments(listing, DIRECTORY)
    records: list[Record] = []
    report = RecoveryReport()
    recovery = Recovery(files, DIRECTORY, listing, RingReplay(b""), records.append, report, None)
    return records, report, recovery.run()


async def _log_of_8_kib(ending: str) -> tuple[MemoryFiles, int]:
    """A log in two segments, without void space; where its last group begins in the second."""
    files = MemoryFiles()
    bench = Bench(files)
    for size in (300, 700, 900):
        await bench.put(b"m" * size)
        await bench.journal.flush()
    # A put that the first segment has no room for begins the second.
    await bench.journal.make_room(70_000)
    await bench.turn(4)
    assert bench.log.disk.number == 2
    for size in (400, 1200, 1500):
        last = await bench.put(b"n" * size)
        await bench.journal.flush()
    bench.journal.settle(1, last - 1)
    start = bench.log.disk.position
    await bench.journal.flush()
    if ending == "marked":
        start = bench.log.disk.position
        bench.timers.fire()
        await bench.turn(2)
    elif ending == "closed":
        start = bench.log.disk.position
        await bench.journal.close()
    if ending != "closed":
        bench.crash()
    used = {1: None, 2: bench.log.disk.position}
    first, second = (f"{DIRECTORY}/0000000{number}.seg" for number in used)
    files.truncate(files.open(second), bench.log.disk.position)
    end = _read(files)  # the whole log is sound
    assert end[1].segments == 2
    header_end = int.from_bytes(files.names[second].data[40:48], "little")
    files.truncate(files.open(first), header_end)
    for name in [*files.names]:
        # A checkpoint is believed only where it is whole: see `test_checkpoints`.
        if "spare" in name or "ring" in name or "LOCK" in name or name.endswith(".ckp"):
            files.unlink(name)
    return files, start


@pytest.mark.parametrize("ending", ["crashed", "marked", "closed"])
async def test_every_bit(ending: str) -> None:
    files, last_group = await _log_of_8_kib(ending)
    sound, report, _ = _read(files)
    assert report.clean == (ending == "closed")
    used = sum(len(node.data) for node in files.names.values())
    assert 6_000 < used < 10_000
    second = f"{DIRECTORY}/00000002.seg"
    refused = cut = 0
    # Every bit of the log that crashed; of the other two every bit behind the same bytes.
    for path, node in files.names.items():
        begin = 0 if ending == "crashed" else (last_group if path == second else len(node.data))
        data = node.data
        for at in range(begin, len(data)):
            for bit in range(8):
                data[at] ^= 1 << bit
                try:
                    records, report, recovered = _read(files)
                except (LogDamaged, LogUnreadable):
                    refused += 1
                    assert not (path == second and at >= last_group)
                else:
                    cut += 1
                    assert path == second
                    assert at >= last_group
                    assert not report.clean
                    assert report.truncated_bytes > 0
                    assert report.truncated_at == (path, last_group)
                    assert recovered.cut_at <= last_group
                    assert records == sound[: len(records)]
                    lost = sound[len(records) :]
                    assert len(lost) == {"crashed": 1, "marked": 0, "closed": 1}[ending]
                    assert ending != "closed" or isinstance(lost[0], Closed)
                data[at] ^= 1 << bit
    assert cut == 8 * (len(files.names[second].data) - last_group)
    assert ending != "crashed" or refused == 8 * used - cut
    assert _read(files)[0] == sound
