"""Checking a log: what is sound, what a crash left, and what is damage and where."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import posthouse
from posthouse.errors import LogDamaged, LogUnreadable
from posthouse.journal.files import RealFiles
from posthouse.journal.format import SegmentHeader
from posthouse.journal.tools.check import check_log
from posthouse.journal.tools.faults import Kind
from posthouse.testing.files import PassingFiles
from tests.journal.logs import copy_live
from tests.journal.tools.made import OPTIONS, READING, Group, Harm, content, living, segments

Made = tuple[Path, list[str], list[Group]]


def test_a_sound_log(made: Made) -> None:
    before = content(made[0])
    told: list[tuple[int, int]] = []
    report = check_log(READING, str(made[0]), lambda done, total: told.append((done, total)))
    assert report.sound
    assert report.closed
    assert report.notes == []
    assert report.segments == len(segments(made[0])) >= 3
    assert report.groups == sum(not group.catalog for group in made[2])
    assert report.end == (made[2][-1].segment, made[2][-1].end)
    assert told[-1] == (report.segments, report.segments)
    assert content(made[0]) == before


async def test_a_live_log_is_sound_and_nothing_is_disturbed(tmp_path: Path) -> None:
    async with posthouse.open(str(tmp_path / "log"), **OPTIONS) as broker:
        orders = broker.queue("orders")
        for _ in range(30):
            await orders.put_many(["x" * 500] * 10)
            report = check_log(READING, str(tmp_path / "log"))
            assert report.sound
            assert not report.closed
        assert await orders.put("still works")


async def test_a_torn_tail_is_no_damage(tmp_path: Path) -> None:
    async with posthouse.open(str(tmp_path / "log"), **OPTIONS) as broker:
        orders = broker.queue("orders")
        await orders.put("one")
        before = check_log(READING, str(tmp_path / "log"))
        await orders.put("two" * 100)
        copy_live(tmp_path / "log", tmp_path / "crashed")
    assert before.end is not None
    name, end = before.end
    Harm(tmp_path / "crashed").blank(name, end + 100, end + 400)
    report = check_log(READING, str(tmp_path / "crashed"))
    assert report.sound
    assert report.end == (name, end)
    assert report.torn_bytes > 100
    assert len(await living(tmp_path / "crashed")) == 1


@pytest.mark.parametrize("seed", range(4))
async def test_each_flipped_bit_is_named_and_refused_alike(
    made: Made, harm: Callable[[], Harm], seed: int
) -> None:
    random = Random(seed)
    # All but the last group, which a crash could have damaged (here it was closed cleanly).
    for group in random.sample(made[2][:-1], 8):
        damaged = harm()
        offset = random.randrange(group.start, group.end)
        damaged.flip(group.segment, offset, random.randrange(8))
        report = check_log(READING, str(damaged.directory))
        assert not report.sound, (group, offset)
        fault = report.faults[0]
        assert (fault.file, fault.offset) == (group.segment, group.start)
        assert len(report.faults) == 1
        assert fault.first_group == group.sequence
        if not group.catalog:
            assert fault.last_group == group.sequence
        assert fault.kind.value
        assert fault.kind.remedy
        with pytest.raises(LogDamaged) as refused:
            await living(damaged.directory)
        assert Path(refused.value.path).name == group.segment


def test_two_places_are_two_faults(made: Made, harm: Callable[[], Harm]) -> None:
    damaged = harm()
    inner = [group for group in made[2] if not group.catalog and group.segment == "00000002.seg"]
    for group in (inner[3], inner[9], inner[10]):
        damaged.flip(group.segment, group.start + 60)
    report = check_log(READING, str(damaged.directory))
    assert [(fault.offset, fault.groups) for fault in report.faults] == [
        (inner[3].start, f"group {inner[3].sequence}"),
        (inner[9].start, f"groups {inner[9].sequence} to {inner[10].sequence}"),
    ]


@pytest.mark.parametrize(
    ("damage", "kind", "file"),
    [
        (lambda harm: harm.remove("00000002.seg"), Kind.SEGMENT_MISSING, "00000002.seg"),
        (lambda harm: harm.remove("00000001.seg"), Kind.SEGMENT_MISSING, "00000001.seg"),
        (lambda harm: harm.cut("00000002.seg", 20_000), Kind.SHORT, "00000002.seg"),
        (lambda harm: harm.blank("00000002.seg", 0, 72, 0xA5), Kind.HEADER, "00000002.seg"),
        (lambda harm: (harm.directory / "FORMAT").unlink(), Kind.FORMAT_MISSING, "FORMAT"),
        (
            lambda harm: (harm.directory / "FORMAT").write_text("something else\n"),
            Kind.FORMAT_FOREIGN,
            "FORMAT",
        ),
        (
            lambda harm: os.replace(
                harm.directory / "00000001.seg", harm.directory / "00000002.seg"
            ),
            Kind.HEADER,
            "00000002.seg",
        ),
    ],
)
def test_what_is_wrong_and_where(
    harm: Callable[[], Harm], damage: Callable[[Harm], object], kind: Kind, file: str
) -> None:
    damaged = harm()
    damage(damaged)
    report = check_log(READING, str(damaged.directory))
    assert (kind, file) in [(fault.kind, fault.file) for fault in report.faults]


def test_a_segment_of_another_log(made: Made, harm: Callable[[], Harm]) -> None:
    damaged = harm()
    data = bytearray((damaged.directory / "00000002.seg").read_bytes())
    header = foreign_header(bytes(data))
    data[:72] = header
    (damaged.directory / "00000002.seg").write_bytes(data)
    report = check_log(READING, str(damaged.directory))
    assert Kind.CHAIN in [fault.kind for fault in report.faults]


def foreign_header(data: bytes) -> bytes:
    """The header with another segment's salt as that of the one before it."""
    header = SegmentHeader.unpack(data)
    assert header is not None
    return dataclasses.replace(header, previous_salt=12345).pack()


def test_what_is_not_a_log(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "empty").mkdir()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "letter.txt").write_text("x")
    for name, text in (
        ("nothing", "no such directory"),
        ("file", "no such directory"),
        ("empty", "it is empty"),
        ("other", "letter.txt"),
    ):
        with pytest.raises(LogUnreadable, match=text):
            check_log(READING, str(tmp_path / name))


def test_files_that_are_not_the_logs_are_noted(harm: Callable[[], Harm]) -> None:
    damaged = harm()
    (damaged.directory / "notes.txt").write_text("x")
    (damaged.directory / "spare-9.tmp").write_text("x")
    (damaged.directory / "1.ckp").write_text("not a name that the log gives")
    report = check_log(READING, str(damaged.directory))
    assert report.sound
    assert len(report.notes) == 2
    assert "notes.txt" in report.notes[1]
    assert "1.ckp" in report.notes[1]


def test_reading_files_cannot_write(tmp_path: Path) -> None:
    path = str(tmp_path / "file")
    files = RealFiles()
    files.close(files.open(path, create=True))
    fd = READING.open(path)
    with pytest.raises(OSError):
        READING.pwrite(fd, b"x", 0)
    READING.close(fd)


async def test_a_frame_that_was_written_while_it_was_read(tmp_path: Path) -> None:
    """A reading that missed one frame and saw the next, which says "damaged"."""
    directory = tmp_path / "log"
    async with posthouse.open(str(directory), **OPTIONS) as broker:
        orders = broker.queue("orders")
        await orders.put("one")
        before = check_log(READING, str(directory)).end
        for text in ("two", "three"):
            await orders.put(text)
        copy_live(directory, tmp_path / "then")

    class Late(PassingFiles):
        """The first time, the second message's frame is not there yet."""

        def __init__(self) -> None:
            super().__init__(READING)
            self.readings = 0

        def pread(self, fd: int, size: int, offset: int) -> bytes:
            data = super().pread(fd, size, offset)
            if self.paths[fd].endswith(".seg") and size > 1000:
                self.readings += 1
                if self.readings == 1:
                    assert before is not None
                    end = before[1]
                    return data[:end] + bytes(40) + data[end + 40 :]
            return data

    late = Late()
    report = check_log(late, str(tmp_path / "then"))
    assert report.sound
    assert late.readings == 2
    assert before is not None
    Harm(tmp_path / "then").blank("00000001.seg", before[1], before[1] + 40)
    assert not check_log(READING, str(tmp_path / "then")).sound


async def test_what_an_opening_would_leave_out_is_not_counted(tmp_path: Path) -> None:
    """Written and not synced, a power cut may take one group and leave the next."""
    directory = tmp_path / "log"
    async with posthouse.open(str(directory), sync="os", **OPTIONS) as broker:
        orders = broker.queue("orders")
        await orders.put("one")
        before = check_log(READING, str(directory))
        assert before.end is not None
        await orders.put("two")
        await orders.put("three")
        copy_live(directory, tmp_path / "cut")
    Harm(tmp_path / "cut").blank(before.end[0], before.end[1], before.end[1] + 60)
    report = check_log(READING, str(tmp_path / "cut"))
    assert report.sound
    assert (report.groups, report.end) == (before.groups, before.end)
    assert len(await living(tmp_path / "cut")) == 1
