"""Backup and restore: the same log again, only what is new copied, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import posthouse
from posthouse.errors import AlreadyOpen, BadArgument, DiskError, LogDamaged, LogUnreadable
from posthouse.journal.directory import take_lock
from posthouse.journal.files import RealFiles
from posthouse.journal.tools.backup import BackupReport, backup_log
from posthouse.journal.tools.manifest import MANIFEST_NAME, read_manifest
from posthouse.journal.tools.restore import check_backup, is_backup, restore_backup
from posthouse.testing.files import Operation, PassingFiles
from tests.journal.logs import NOW_NS, copy_live
from tests.journal.tools.made import (
    OPTIONS,
    READING,
    Group,
    Harm,
    content,
    living,
    make_log,
    segments,
)

Made = tuple[Path, list[str], list[Group]]


def back_up(source: Path, target: Path, reading: PassingFiles | None = None) -> BackupReport:
    files = RealFiles()
    return backup_log(files, str(source), str(target), NOW_NS, reading=reading or READING)


def restored(backup: Path, target: Path) -> dict[str, bytes]:
    """Restore, and the segments' bytes."""
    restore_backup(RealFiles(), str(backup), str(target))
    return {name: data for name, data in content(target).items() if name.endswith(".seg")}


async def test_a_closed_log_comes_back_as_it_was(made: Made, tmp_path: Path) -> None:
    before = content(made[0])
    report = back_up(made[0], tmp_path / "backup")
    assert content(made[0]) == before
    assert report.segments == report.copied == len(segments(made[0]))
    assert report.last_group == made[2][-1].sequence
    for name, data in restored(tmp_path / "backup", tmp_path / "new").items():
        assert before[name].startswith(data)
    again = restore_backup(RealFiles(), str(tmp_path / "backup"), str(tmp_path / "other"))
    assert again.groups == sum(not group.catalog for group in made[2])
    assert await living(tmp_path / "new") == made[1]


async def test_only_what_is_new_is_copied(tmp_path: Path) -> None:
    source, backup = tmp_path / "log", tmp_path / "backup"
    await make_log(source, puts=60, acked=0)
    first = back_up(source, backup)
    idle = back_up(source, backup)
    assert (idle.copied, idle.removed) == (0, 0)
    assert idle.size_bytes == first.size_bytes
    async with posthouse.open(str(source), **OPTIONS) as broker:
        await broker.queue("orders").put("one more")
        live = back_up(source, backup)
        assert live.copied == 1, "the newest segment only"
        assert live.copied_bytes < first.size_bytes / 2
        assert live.removed >= 1, "the shorter copy of it"
    ids = await living(source)
    restored(backup, tmp_path / "new")
    assert await living(tmp_path / "new") == ids


async def test_copied_segments_are_not_even_read(tmp_path: Path) -> None:
    class Watching(PassingFiles):
        def __init__(self) -> None:
            super().__init__(READING)
            self.read = 0

        def pread(self, fd: int, size: int, offset: int) -> bytes:
            data = super().pread(fd, size, offset)
            self.read += len(data) if self.paths[fd].endswith(".seg") else 0
            return data

    source, backup = tmp_path / "log", tmp_path / "backup"
    await make_log(source, puts=250, acked=0)
    whole, again = Watching(), Watching()
    size = back_up(source, backup, whole).size_bytes
    assert whole.read >= size
    back_up(source, backup, again)
    assert again.read < size / 2, (again.read, size)


async def test_segments_that_left_the_log_leave_the_backup(tmp_path: Path) -> None:
    source, backup = tmp_path / "log", tmp_path / "backup"
    await make_log(source, puts=60, acked=0)
    back_up(source, backup)
    async with posthouse.open(str(source), **OPTIONS) as broker:
        await broker.queue("orders").purge()
        for _ in range(20):
            await broker.queue("orders").put_many(["x" * 400] * 20)
    assert "00000001.seg" not in segments(source)
    report = back_up(source, backup)
    assert report.removed
    assert len(list(backup.glob("*.part"))) == report.segments + 1
    restored(backup, tmp_path / "new")
    assert await living(tmp_path / "new") == await living(source)


@pytest.mark.parametrize("all_left", [False, True])
async def test_segments_reused_while_they_are_copied(tmp_path: Path, all_left: bool) -> None:
    """A purge and new puts between any two reads: the copy is one state all the same."""
    source = tmp_path / "log"
    await make_log(source, puts=200, acked=0)
    assert len(segments(source)) > 3
    async with posthouse.open(str(source), **OPTIONS) as broker:
        orders = broker.queue("orders")
        copy_live(source, tmp_path / "then")
        copy_live(source, tmp_path / "was")

        class Meddling(PassingFiles):
            """The source as it was until some read, then as it is after the turnover."""

            def __init__(self, turn: int) -> None:
                super().__init__(READING)
                self.left = turn

            def _now(self, path: str) -> str:
                self.left -= 1
                then = str(tmp_path / "then")
                return path.replace(str(source), then) if self.left >= 0 else path

            def open(self, path: str, *, create: bool = False, exclusive: bool = False) -> int:
                return super().open(self._now(path), create=create, exclusive=exclusive)

            def listdir(self, path: str) -> list[str]:
                return super().listdir(self._now(path))

        old = await living(tmp_path / "was")
        await orders.purge()
        new: list[str] = []
        for number in range(40):
            new += await orders.put_many([f"{number:04d}" * 100] * 20)
        states = [old, *(new[:count] for count in range(0, len(new) + 1, 20))]
        if all_left:
            await orders.purge()
            new = []
            for number in range(40):
                new += await orders.put_many([f"{number:04d}" * 100] * 20)
            states += [new[:count] for count in range(20, len(new) + 1, 20)]
        kept = set(segments(source)) & set(segments(tmp_path / "was"))
        assert bool(kept) != all_left
        lengths = set[int]()
        for turn in range(1 + all_left, 60, 2):
            backup, target = tmp_path / f"backup-{turn}", tmp_path / f"new-{turn}"
            back_up(source, backup, Meddling(turn))
            restored(backup, target)
            found = await living(target)
            assert found in states, turn
            lengths.add(len(found))
        assert {len(old), len(new)} <= lengths


async def test_damage_in_the_log_leaves_the_backup(
    made: Made, harm: Callable[[], Harm], tmp_path: Path
) -> None:
    damaged, backup = harm(), tmp_path / "backup"
    back_up(damaged.directory, backup)
    before = content(backup)
    (backup / before_name(backup, 2)).unlink()
    group = next(g for g in made[2] if g.segment == "00000002.seg" and g.put)
    damaged.flip("00000002.seg", group.start + 50)
    with pytest.raises(LogDamaged, match="the backup is as it was") as caught:
        back_up(damaged.directory, backup)
    assert Path(caught.value.path).name == "00000002.seg"
    assert caught.value.offset == group.start
    assert content(backup)[MANIFEST_NAME] == before[MANIFEST_NAME]


def before_name(backup: Path, number: int) -> str:
    manifest = read_manifest(READING, str(backup))
    assert manifest is not None
    return next(part.name for part in manifest.parts if part.number == number)


async def test_a_damaged_copy_is_refused_and_named(made: Made, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(made[0], backup)
    assert check_backup(READING, str(backup)).sound
    name = before_name(backup, 2)
    Harm(backup).flip(name, 5_000)
    report = check_backup(READING, str(backup))
    assert [fault.file for fault in report.faults] == [name]
    assert 0 < report.faults[0].offset <= 5_000
    with pytest.raises(LogDamaged) as caught:
        restored(backup, tmp_path / "new")
    assert Path(caught.value.path).name == name
    with pytest.raises(LogUnreadable):
        await living(tmp_path / "new")
    (backup / name).unlink()
    assert back_up(made[0], backup).copied == 1
    restored(backup, tmp_path / "mended")
    assert await living(tmp_path / "mended") == made[1]


def test_an_unfinished_backup_is_refused(made: Made, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(made[0], backup)
    manifest = backup / MANIFEST_NAME
    data = bytearray(manifest.read_bytes())
    manifest.unlink()
    assert not is_backup(READING, str(backup))
    with pytest.raises(LogUnreadable, match="not a finished backup"):
        restored(backup, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    assert back_up(made[0], backup).copied == 0, "whole copies are read and kept"
    data[-5] ^= 1
    manifest.write_bytes(data)
    with pytest.raises(LogDamaged, match="manifest"):
        restored(backup, tmp_path / "new")
    with pytest.raises(LogDamaged, match="manifest"):
        back_up(made[0], backup)


def test_a_copy_that_was_never_finished_is_not_believed(made: Made, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(made[0], backup)
    (backup / MANIFEST_NAME).unlink()
    damaged = Harm(backup)
    damaged.flip(before_name_by_glob(backup, 1), 5_000)
    damaged.cut(before_name_by_glob(backup, 2), 5_000)
    assert back_up(made[0], backup).copied == 2
    assert check_backup(READING, str(backup)).sound


def before_name_by_glob(backup: Path, number: int) -> str:
    return next(path.name for path in backup.glob(f"{number:08d}-*.part"))


async def test_what_is_no_place_for_a_backup(
    made: Made, harm: Callable[[], Harm], tmp_path: Path
) -> None:
    other = tmp_path / "other"
    await make_log(other, puts=20)
    backup = tmp_path / "backup"
    back_up(other, backup)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").write_text("x")
    source = harm().directory
    for target, text in (
        (backup, "another log"),
        (tmp_path / "full", "letter"),
        (source, "the log itself"),
        (source / "inner", "inside"),
    ):
        before = content(target) if target.exists() else None
        with pytest.raises(BadArgument, match=text):
            back_up(source, target)
        after = content(target) if target.exists() else None
        assert (before is None) == (after is None)
        assert {**(before or {}), "LOCK": b""} == {**(after or {}), "LOCK": b""}


async def test_the_original_restored_is_another_log(tmp_path: Path) -> None:
    source, backup = tmp_path / "log", tmp_path / "backup"
    await make_log(source, puts=20)
    back_up(source, backup)
    restored(backup, tmp_path / "old")
    await make_log(source, puts=60)
    back_up(source, backup)
    with pytest.raises(BadArgument, match="another log"):
        back_up(tmp_path / "old", backup)


def test_two_backups_at_once(made: Made, tmp_path: Path) -> None:
    files, backup = RealFiles(), tmp_path / "backup"
    back_up(made[0], backup)
    lock = take_lock(files, str(backup))
    try:
        with pytest.raises(AlreadyOpen):
            back_up(made[0], backup)
        with pytest.raises(AlreadyOpen):
            restored(backup, tmp_path / "new")
    finally:
        files.close(lock)


def test_restore_needs_a_new_directory(made: Made, tmp_path: Path) -> None:
    backup = tmp_path / "backup"
    back_up(made[0], backup)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    for target, text in (
        (tmp_path / "full", "not empty"),
        (backup, "itself"),
        (backup / "inner", "inside"),
        (made[0], "not empty"),
    ):
        with pytest.raises(BadArgument, match=text):
            restored(backup, target)


async def test_it_gives_up_when_segments_leave_faster(tmp_path: Path) -> None:
    """A log whose oldest segment is gone whenever the pass comes to its end."""
    source = tmp_path / "log"
    await make_log(source, puts=60, acked=0)

    class Fleeing(PassingFiles):
        def __init__(self) -> None:
            super().__init__(READING)
            self.lists = 0

        def listdir(self, path: str) -> list[str]:
            self.lists += 1
            names = super().listdir(path)
            return names if self.lists < 3 else [n for n in names if n != "00000001.seg"]

    with pytest.raises(DiskError, match="faster"):
        back_up(source, tmp_path / "backup", Fleeing())
    assert not is_backup(READING, str(tmp_path / "backup"))


def test_the_order_of_a_run(made: Made, tmp_path: Path) -> None:
    """No copy has its name before it is synced; the manifest comes when all names are."""

    class Watching(PassingFiles):
        def __init__(self) -> None:
            super().__init__(RealFiles())
            self.done: list[tuple[str, str]] = []

        def passed(self, operation: Operation) -> None:
            target = operation.target or operation.path
            self.done.append((operation.name, Path(target).name))

    files = Watching()
    backup_log(files, str(made[0]), str(tmp_path / "backup"), NOW_NS, reading=READING)
    renamed = [name for what, name in files.done if what == "rename"]
    assert renamed[-1] == MANIFEST_NAME
    assert len(renamed) == len(segments(made[0])) + 2
    for name in renamed:
        at = files.done.index(("rename", name))
        synced = files.done.index(("fsync", f"{name}.tmp"))
        written = max(i for i, did in enumerate(files.done) if did == ("pwrite", f"{name}.tmp"))
        assert written < synced < at
    last = files.done.index(("rename", renamed[-2]))
    manifest = files.done.index(("rename", MANIFEST_NAME))
    assert ("fsync_dir", "backup") in files.done[last:manifest]
    assert ("fsync_dir", "backup") in files.done[manifest:]


def test_the_ring_is_read_before_the_newest_segment(made: Made, tmp_path: Path) -> None:
    """Else a bank of it could be written over whose snapshot is not in what was copied."""

    class Watching(PassingFiles):
        def __init__(self) -> None:
            super().__init__(READING)
            self.read: list[str] = []

        def pread(self, fd: int, size: int, offset: int) -> bytes:
            if size > 1000:
                self.read.append(Path(self.paths[fd]).name)
            return super().pread(fd, size, offset)

    reading = Watching()
    back_up(made[0], tmp_path / "backup", reading)
    assert reading.read == ["attempts.ring", *segments(made[0])]
