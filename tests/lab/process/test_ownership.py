"""One directory, one owner; and what is not ours is left alone."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import posthouse
from posthouse import AlreadyOpen, LogDamaged, LogUnreadable, StorageFailed
from tests.lab.process.budget import LabLike
from tests.lab.process.race import run_race

RACES: Final = 1_000
NOBODY: Final = 65534


async def fill(directory: Path, count: int = 30) -> None:
    """A log of several segments, closed cleanly."""
    async with posthouse.open(str(directory), segment_bytes=64 * 1024) as broker:
        for number in range(count):
            await broker.queue("a", bytes).put(b"%d" % number * 4000)


async def refused(directory: Path, error: type[Exception]) -> str:
    """Opening must raise this; the text."""
    with pytest.raises(error) as caught:
        async with posthouse.open(str(directory)):
            pytest.fail("it was opened")
    return str(caught.value)


def contents(directory: Path) -> dict[str, bytes]:
    """Every file but the lock, which is taken before anything else is looked at."""
    return {
        path.name: path.read_bytes()
        for path in sorted(directory.iterdir())
        if path.is_file() and path.name != "LOCK"
    }


def test_processes_race_for_the_ownership(lab: LabLike, tmp_path: Path) -> None:
    lab.seconds("ownership")
    run_race(tmp_path, RACES)
    lab.count("ownership", RACES, "races")


async def test_two_handles_of_one_process(tmp_path: Path) -> None:
    directory = str(tmp_path / "log")
    async with posthouse.open(directory) as broker:
        with pytest.raises(AlreadyOpen) as caught:
            await posthouse.open(directory)
        assert caught.value.pid == os.getpid()
        await broker.queue("a").put(1)
    async with posthouse.open(directory) as broker:
        assert (await broker.queue("a").get()).body == 1


async def test_a_foreign_directory_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("precious")
    before = contents(tmp_path)
    assert "thesis.tex" in await refused(tmp_path, LogUnreadable)
    assert contents(tmp_path) == before


async def test_a_newer_format_is_named(tmp_path: Path) -> None:
    await fill(tmp_path)
    (tmp_path / "FORMAT").write_bytes(b"posthouse log\nformat 999\n")
    before = contents(tmp_path)
    assert "format 999 is newer" in await refused(tmp_path, LogUnreadable)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["LOCK", "FORMAT", "00000001.seg", "attempts.ring"])
async def test_a_symbolic_link_in_the_place_of_a_file_is_refused(tmp_path: Path, name: str) -> None:
    log = tmp_path / "log"
    await fill(log)
    elsewhere = tmp_path / "elsewhere"
    (log / name).rename(elsewhere)
    (log / name).symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    assert name in await refused(log, LogUnreadable)
    assert elsewhere.read_bytes() == before


async def test_a_file_in_the_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    await refused(tmp_path / "file", LogUnreadable)
    await refused(tmp_path / "file" / "log", LogUnreadable)
    assert (tmp_path / "file").read_text() == "mine"


def flip(data: bytearray) -> None:
    data[len(data) // 3] ^= 0x10


def garbage(data: bytearray) -> None:
    data[1000:1512] = os.urandom(512)


def zeros(data: bytearray) -> None:
    data[4096:8192] = bytes(4096)


def short(data: bytearray) -> None:
    del data[len(data) // 2 :]


@pytest.mark.parametrize("damage", [flip, garbage, zeros, short])
@pytest.mark.parametrize("which", [0, 1])
async def test_a_damaged_segment_is_refused_by_path_and_offset(
    tmp_path: Path, damage: Callable[[bytearray], None], which: int
) -> None:
    await fill(tmp_path)
    if damage is not short:  # which shows in the file's size
        for checkpoint in tmp_path.glob("*.ckp"):
            checkpoint.unlink()
    path = sorted(tmp_path.glob("*.seg"))[which]
    data = bytearray(path.read_bytes())
    damage(data)
    path.write_bytes(data)
    before = contents(tmp_path)
    with pytest.raises(LogDamaged) as caught:
        await posthouse.open(str(tmp_path))
    assert caught.value.path == str(path)
    assert 0 <= caught.value.offset <= len(data)
    assert contents(tmp_path) == before


async def test_damage_behind_a_checkpoint_shows_when_it_is_read(tmp_path: Path) -> None:
    # A checkpoint spares reading the segment at open; so what it tells of is looked at only then.
    await fill(tmp_path)
    path = min(tmp_path.glob("*.seg"))
    data = bytearray(path.read_bytes())
    flip(data)
    path.write_bytes(data)
    broker = await posthouse.open(str(tmp_path), cache_bytes=0)
    with pytest.raises(StorageFailed, match="00000001.seg: offset"):
        while True:
            await (await broker.queue("a").get(timeout=20)).ack()
    with contextlib.suppress(StorageFailed):
        await broker.close()


@pytest.mark.parametrize("which", [0, 1])
async def test_a_missing_segment_is_refused(tmp_path: Path, which: int) -> None:
    await fill(tmp_path)
    path = sorted(tmp_path.glob("*.seg"))[which]
    path.unlink()
    before = contents(tmp_path)
    assert path.name in await refused(tmp_path, LogDamaged)
    assert contents(tmp_path) == before


async def test_a_missing_last_segment_is_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It looks like a crash before the segment was begun, and cannot be refused: see the docs."""
    await fill(tmp_path)
    sorted(tmp_path.glob("*.seg"))[-1].unlink()
    async with posthouse.open(str(tmp_path)) as broker:
        assert 0 < broker.queue("a").qsize() < 30
    assert "clean=False" in caplog.text


def as_nobody(directory: Path) -> int:
    """Open the log there as an unprivileged user, in a process of its own; its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            from posthouse.journal.files import RealFiles
            from posthouse.journal.log import LogOptions, open_log

            try:
                open_log(str(directory), RealFiles(), LogOptions(), lambda record: None, 1)
            except LogUnreadable:
                code = 0
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become somebody else")
async def test_a_directory_of_somebody_else_is_refused(tmp_path: Path) -> None:
    log = tmp_path / "log"
    await fill(log)
    for parent in (log, *log.parents[:3]):
        parent.chmod(0o755)
    before = contents(log)
    assert as_nobody(log) == 0
    assert as_nobody(tmp_path / "new") == 0
    assert contents(log) == before
