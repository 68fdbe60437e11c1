"""Reading a log back after a crash, a cut, stale bytes, loss and misuse."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from posthouse.errors import LogDamaged, LogUnreadable
from posthouse.journal.files import RealFiles
from posthouse.journal.format import SEGMENT_HEADER, SegmentHeader, format_text
from posthouse.journal.log import open_log
from posthouse.records import Opened
from tests.journal.logs import (
    DIRECTORY,
    NOW_NS,
    Bench,
    live_messages,
    open_records,
    salts,
    small_options,
)
from tests.journal.memory import MemoryFiles

FIRST = f"{DIRECTORY}/00000001.seg"


async def _crashed_log(last_body: bytes = b"z" * 40) -> tuple[MemoryFiles, list[int], int, int]:
    """A log that crashed behind a last group: files, ids before it, where it begins and ends."""
    files = MemoryFiles()
    bench = Bench(files)
    ids = await bench.put_many(5, b"x" * 30)
    await bench.journal.flush()
    start = bench.log.disk.position
    ids.append(await bench.put(last_body))
    await bench.journal.flush()
    end = bench.log.disk.position
    bench.crash()
    return files, ids, start, end


def _recovered_ids(files: MemoryFiles) -> list[int]:
    log, records = open_records(files, small_options(salt=salts(99)))
    assert not log.report.clean
    assert log.report.truncated_at is not None
    log.abandon()
    return sorted(live_messages(records))


@pytest.mark.parametrize("left_by_the_crash", ["cut", "zeros", "stale"])
async def test_a_torn_last_group_at_every_byte(left_by_the_crash: str) -> None:
    files, ids, start, end = await _crashed_log()
    whole = bytes(files.names[FIRST].data)
    if left_by_the_crash == "stale":
        # What a file that was a segment before holds there: frames, older and of another salt.
        before, *_ = await _crashed_log(b"y" * 40)
        stale = bytes(before.names[FIRST].data)
        assert stale != whole
    else:
        stale = bytes(len(whole))
    for at in range(start, end + 1):
        torn = files.copy()
        data = bytearray(whole[:at])
        if left_by_the_crash != "cut":
            data += stale[at:]
        torn.names[FIRST].data = data
        expected = ids if at == end or bytes(data) == whole else ids[:-1]
        if left_by_the_crash == "stale" and data[start:end] == whole[start:end]:
            expected = ids
        found = _recovered_ids(torn)
        assert found in (expected, ids) if left_by_the_crash == "stale" else found == expected, at
        assert found[:5] == ids[:5]
        # Once recovered it stays so.
        assert _recovered_ids(torn) == found


async def test_stale_frames_of_a_reused_file_are_not_read() -> None:
    """The file's old frames lie exactly where the new ones end."""
    files = MemoryFiles()
    bench = Bench(files)
    for _ in range(60):
        ids = await bench.put_many(10, b"x" * 500)
        await bench.journal.flush()
        bench.journal.settle_many(1, ids)
        await bench.journal.flush()
        await bench.turn(4)
        copy = files.copy()
        log, records = open_records(copy, small_options(salt=salts(7)))
        assert live_messages(records) == {}
        log.abandon()
    headers = [
        SegmentHeader.unpack(bytes(node.data[: SEGMENT_HEADER.size]))
        for name, node in files.names.items()
        if name.endswith(".seg")
    ]
    assert any(header is not None and header.reused for header in headers)
    bench.crash()


async def test_a_reused_file_torn_at_every_byte() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    while True:
        ids = await bench.put_many(8, b"x" * 700)
        await bench.journal.flush()
        bench.journal.settle_many(1, ids)
        await bench.journal.flush()
        await bench.turn(4)
        path = f"{DIRECTORY}/{bench.log.disk.number:08d}.seg"
        header = SegmentHeader.unpack(bytes(files.names[path].data[: SEGMENT_HEADER.size]))
        if header is not None and header.reused:
            break
    crashed = files.copy()
    before = bytes(files.names[path].data)
    start = bench.log.disk.position
    message_id = await bench.put(b"n" * 64)
    await bench.journal.flush()
    end = bench.log.disk.position
    after = bytes(files.names[path].data)
    bench.crash()
    for at in range(start, end):
        torn = crashed.copy()
        torn.names[path].data = bytearray(after[:at] + before[at:])
        whole = torn.names[path].data == after
        assert _recovered_ids(torn) == ([message_id] if whole else [])


async def test_damage_before_the_last_group_is_refused_and_touches_nothing() -> None:
    files, _, start, _ = await _crashed_log()
    files.names[FIRST].data[start - 5] ^= 1
    before = {name: bytes(node.data) for name, node in files.copy().names.items()}
    with pytest.raises(LogDamaged) as refused:
        open_records(files)
    assert refused.value.path == FIRST
    assert 0 < refused.value.offset < start
    after = {name: bytes(node.data) for name, node in files.names.items()}
    lock = f"{DIRECTORY}/LOCK"
    assert {**after, lock: b""} == {**before, lock: b""}


async def test_a_marker_makes_damage_of_the_last_group_show() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    await bench.put()
    await bench.journal.flush()
    inside = bench.log.disk.position - 3
    bench.timers.fire()
    await bench.turn(2)
    bench.crash()
    files.names[FIRST].data[inside] ^= 1
    with pytest.raises(LogDamaged, match="known to have been on disk"):
        open_records(files)


async def test_the_tail_of_a_crash_is_written_again_elsewhere() -> None:
    files, ids, start, _ = await _crashed_log()
    for epoch in (2, 3, 4):
        log, records = open_records(files, small_options(salt=salts(epoch)))
        assert sorted(live_messages(records)) == ids
        assert log.epoch == epoch
        log.abandon()
    header = SegmentHeader.unpack(bytes(files.names[f"{DIRECTORY}/00000002.seg"].data[:72]))
    assert header is not None
    assert header.previous_end == start
    assert files.listdir(DIRECTORY)[:4] == [f"0000000{n}.seg" for n in (1, 2, 3, 4)]
    # What the first crash left behind is void now: damage there is none.
    files.names[FIRST].data[start + 3] ^= 255
    _, records = open_records(files)
    assert sorted(live_messages(records)) == ids


async def test_a_missing_segment_is_named() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    for _ in range(20):
        await bench.put_many(10, b"x" * 1000)
    await bench.journal.close()
    segments = [name for name in files.listdir(DIRECTORY) if name.endswith(".seg")]
    assert len(segments) >= 4
    for name in segments[:-1]:
        broken = files.copy()
        broken.unlink(f"{DIRECTORY}/{name}")
        with pytest.raises(LogDamaged, match="missing") as refused:
            open_records(broken)
        assert refused.value.path == f"{DIRECTORY}/{name}"
    for name in segments:
        files.unlink(f"{DIRECTORY}/{name}")
    with pytest.raises(LogDamaged, match="missing"):
        open_records(files)


async def test_rot_of_the_group_that_let_a_segment_go_is_refused_by_name() -> None:
    """No crash leads there: the segment goes only when that group is on disk."""
    files = MemoryFiles()
    bench = Bench(files)
    while bench.log.disk.number < 3:
        await bench.put(b"x" * 5000)
        await bench.journal.flush()
    bench.journal.settle_many(1, list(range(1, bench.next_id)))
    await bench.journal.flush()
    start = bench.log.disk.position
    # The frame that says so is the next one; then the segments go.
    await bench.put()
    await bench.journal.flush()
    await bench.turn(9)
    path = f"{DIRECTORY}/{bench.log.disk.number:08d}.seg"
    bench.crash()
    assert not {"00000001.seg"} & set(files.listdir(DIRECTORY))
    sound = files.copy()
    files.names[path].data[start + 60] ^= 1
    with pytest.raises(LogDamaged, match=r"00000001\.seg could go") as refused:
        open_records(files)
    assert (refused.value.path, refused.value.offset) == (path, start)
    assert len(live_messages(open_records(sound)[1])) == 1


async def test_a_foreign_segment_is_refused() -> None:
    logs = []
    for start in (1, 2):
        files = MemoryFiles()
        bench = Bench(files, small_options(salt=salts(start)))
        for _ in range(20):
            await bench.put_many(10, b"x" * 1000)
        await bench.journal.close()
        logs.append(files)
    mine, other = logs
    for number in (1, 2, 3):
        mixed = mine.copy()
        name = f"{DIRECTORY}/{number:08d}.seg"
        mixed.names[name] = other.copy().names[name]
        with pytest.raises(LogDamaged):
            open_records(mixed)
        swapped = mine.copy()
        swapped.names[name] = mine.copy().names[f"{DIRECTORY}/{number + 1:08d}.seg"]
        with pytest.raises(LogDamaged):
            open_records(swapped)


def test_a_newer_format_is_refused() -> None:
    files = MemoryFiles()
    open_records(files)[0].abandon()
    files.names[f"{DIRECTORY}/FORMAT"].data = bytearray(format_text(2))
    with pytest.raises(LogUnreadable, match="format 2 is newer"):
        open_records(files)
    files.names[f"{DIRECTORY}/FORMAT"].data = bytearray(b"something else")
    with pytest.raises(LogUnreadable, match="not the format file"):
        open_records(files)


def test_a_newer_segment_is_refused() -> None:
    files = MemoryFiles()
    open_records(files)[0].abandon()
    data = files.names[FIRST].data
    header = SegmentHeader.unpack(bytes(data[:72]))
    assert header is not None
    data[:72] = SegmentHeader(header.number, header.salt, 1, 0, 0, 0, 72, False, 9).pack()
    with pytest.raises(LogUnreadable, match="format 9"):
        open_records(files)


def test_a_foreign_directory_is_refused() -> None:
    files = MemoryFiles()
    files.open(f"{DIRECTORY}/thesis.txt", create=True)
    with pytest.raises(LogUnreadable, match=r"thesis\.txt"):
        open_records(files)
    assert sorted(files.listdir(DIRECTORY)) == ["LOCK", "thesis.txt"]


async def test_a_log_that_lost_its_format_file_is_refused() -> None:
    files = MemoryFiles()
    bench = Bench(files)
    await bench.put()
    await bench.journal.close()
    files.unlink(f"{DIRECTORY}/FORMAT")
    with pytest.raises(LogUnreadable, match="no FORMAT"):
        open_records(files)


def test_the_making_of_a_log_can_be_cut_short_anywhere() -> None:
    files = MemoryFiles()
    open_records(files)[0].abandon()
    files.unlink(f"{DIRECTORY}/FORMAT")
    log, records = open_records(files)
    assert log.report.fresh
    assert records == []
    log.abandon()


def test_leftovers_are_removed_and_strangers_left_alone() -> None:
    files = MemoryFiles()
    open_records(files)[0].abandon()
    ours = ("spare-7.tmp", "FORMAT.tmp", "attempts.ring.tmp")
    theirs = ("notes.tmp", "backup.tar", ".hidden")
    for name in (*ours, *theirs):
        files.open(f"{DIRECTORY}/{name}", create=True)
    open_records(files)[0].abandon()
    names = files.listdir(DIRECTORY)
    assert set(theirs) <= set(names)
    assert not set(ours) & set(names)


def test_progress_is_told() -> None:
    files = MemoryFiles()
    for _ in range(3):
        open_records(files, small_options(salt=salts(3)))[0].abandon()
    told: list[tuple[int, int]] = []
    log = open_log(
        DIRECTORY,
        files,
        small_options(),
        lambda record: None,
        NOW_NS,
        lambda done, total: told.append((done, total)),
    )
    assert told == [(1, 3), (2, 3), (3, 3)]
    log.abandon()


# On the real file system


def test_a_symbolic_link_is_refused(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious")
    directory = tmp_path / "data"
    directory.mkdir()
    (directory / "LOCK").symlink_to(elsewhere)
    with pytest.raises(LogUnreadable, match="LOCK"):
        open_records(RealFiles(), directory=str(directory))
    assert elsewhere.read_bytes() == b"precious"


def test_a_linked_segment_is_refused(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    open_records(RealFiles(), directory=directory)[0].abandon()
    os.rename(f"{directory}/00000001.seg", tmp_path / "moved")
    os.symlink(tmp_path / "moved", f"{directory}/00000001.seg")
    with pytest.raises(LogUnreadable, match=r"00000001\.seg"):
        open_records(RealFiles(), directory=directory)


def test_a_file_is_not_a_directory(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.write_text("hello")
    with pytest.raises(LogUnreadable):
        open_records(RealFiles(), directory=str(path))
    assert path.read_text() == "hello"


def test_only_the_owner_can_read_it(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    log, _ = open_records(RealFiles(), directory=str(directory))
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}
    log.abandon()


def test_reopening_on_the_real_file_system(tmp_path: Path) -> None:
    directory = str(tmp_path / "data")
    for epoch in (1, 2, 3):
        log, records = open_records(RealFiles(), small_options(salt=salts(epoch)), directory)
        assert log.epoch == epoch
        assert [record.epoch for record in records if isinstance(record, Opened)] == list(
            range(1, epoch)
        )
        log.abandon()
