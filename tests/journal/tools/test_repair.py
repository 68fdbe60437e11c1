"""Repair: the new log holds exactly what is readable, and what was lost is named.

The oracle is the log before it was damaged: which groups had bytes where the damage is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest

import posthouse
from posthouse.errors import AlreadyOpen, BadArgument, LogUnreadable
from posthouse.journal.files import RealFiles
from posthouse.journal.format import FLAG_CATALOG
from posthouse.journal.options import LogOptions
from posthouse.journal.tools.check import check_log
from posthouse.journal.tools.dump import Dump, DumpedFrame
from posthouse.journal.tools.repair import REPORT_NAME, repair_log
from posthouse.journal.tools.repaired import RepairReport
from posthouse.journal.tools.target import UNFINISHED_NAME
from posthouse.records import Bound, Opened
from posthouse.testing.failpoints import FailPoint, KillingFiles
from tests.journal.logs import NOW_NS, SMALL, copy_live
from tests.journal.tools.made import (
    OPTIONS,
    READING,
    Group,
    Harm,
    content,
    groups_of,
    living,
    make_log,
    readable,
    segments,
)

Made = tuple[Path, list[str], list[Group]]


def repair(source: Path, target: Path) -> RepairReport:
    return repair_log(
        RealFiles(),
        str(source),
        str(target),
        NOW_NS,
        options=LogOptions(segment_bytes=SMALL),
        reading=READING,
    )


def check_named(report: RepairReport, made: Made, lost: list[Group]) -> None:
    """Every lost group is named, but those at the end of a log that was not closed."""
    groups = {group.sequence for group in lost if not group.catalog}
    named = set[int]()
    for loss in report.losses:
        fault = loss.fault
        named |= set(range(fault.first_group, fault.last_group + 1))
        if not fault.groups:  # a file whose groups are not known: then all of it
            named |= {group.sequence for group in made[2] if group.segment == fault.file}
    if not report.closed:
        assert report.last_group == max(
            group.sequence for group in made[2] if group not in lost and not group.catalog
        )
        named |= {number for number in groups if number > report.last_group}
    assert groups <= named


async def held_to(made: Made, damaged: Harm) -> RepairReport:
    """Repair, and check all that a repair promises."""
    before = content(damaged.directory)
    target = damaged.directory.with_suffix(".repaired")
    report = repair(damaged.directory, target)
    assert content(damaged.directory) == before, "never in place"
    assert check_log(READING, str(target)).sound
    kept, lost = damaged.split(made[2])
    check_named(report, made, lost)
    assert report.groups == sum(not group.catalog for group in kept)
    expected = readable(kept)
    assert report.living == len(expected)
    assert (target / REPORT_NAME).read_text().startswith("repair of ")
    # Twice: what the first opening holds it gives back when it closes.
    assert set(await living(target)) == expected
    found = await living(target)
    assert found == sorted(found)
    assert set(found) == expected
    return report


async def test_a_sound_log_loses_nothing(made: Made, harm: Callable[[], Harm]) -> None:
    report = await held_to(made, harm())
    assert (report.faults, report.losses, report.lost_ids) == ([], [], [])
    assert report.living == len(made[1])


@pytest.mark.parametrize("seed", range(4))
async def test_flipped_bits(made: Made, harm: Callable[[], Harm], seed: int) -> None:
    random = Random(seed)
    for count in (1, 1, 3, 10):
        damaged = harm()
        for group in random.sample(made[2], count):
            damaged.flip(
                group.segment, random.randrange(group.start, group.end), random.randrange(8)
            )
        report = await held_to(made, damaged)
        assert report.faults


async def test_a_flipped_body_names_its_messages(made: Made, harm: Callable[[], Harm]) -> None:
    group = next(group for group in made[2] if group.put and group.segment == "00000002.seg")
    damaged = harm()
    damaged.flip(group.segment, group.end - 40)  # in the last body
    report = await held_to(made, damaged)
    named = {f"{a + n:016x}" for a, count in report.losses[0].put for n in range(count)}
    assert named == group.put
    assert report.losses[0].after_id < min(int(x, 16) for x in group.put)
    assert report.losses[0].before_id > max(int(x, 16) for x in group.put)


async def test_settled_in_a_lost_group_comes_back(made: Made, harm: Callable[[], Harm]) -> None:
    group = next(group for group in made[2] if len(group.settled) > 3 and not group.put)
    damaged = harm()
    damaged.flip(group.segment, group.end - 1)
    report = await held_to(made, damaged)
    target = damaged.directory.with_suffix(".repaired")
    assert group.settled <= set(await living(target))
    assert "at least once" in (target / REPORT_NAME).read_text()
    assert report.losses


@pytest.mark.parametrize("name", ["00000001.seg", "00000002.seg", "last"])
@pytest.mark.parametrize("byte", [0, 0xA5])
async def test_a_garbage_header_loses_nothing(
    made: Made, harm: Callable[[], Harm], name: str, byte: int
) -> None:
    damaged = harm()
    damaged.blank(segments(made[0])[-1] if name == "last" else name, 0, 72, byte)
    report = await held_to(made, damaged)
    assert len(report.faults) == 1
    assert report.losses == []
    assert report.living == len(made[1])


async def test_garbage_headers_in_a_row(made: Made, harm: Callable[[], Harm]) -> None:
    damaged = harm()
    for name in segments(made[0]):
        damaged.blank(name, 0, 72)
    assert (await held_to(made, damaged)).living == len(made[1])


@pytest.mark.parametrize("name", ["00000001.seg", "00000002.seg", "last"])
@pytest.mark.parametrize("size", [0, 50, 100, 9_000, 9_008, 30_001])
async def test_a_truncated_segment(
    made: Made, harm: Callable[[], Harm], name: str, size: int
) -> None:
    name = segments(made[0])[-1] if name == "last" else name
    damaged = harm()
    damaged.cut(name, min(size, (damaged.directory / name).stat().st_size - 1))
    await held_to(made, damaged)


@pytest.mark.parametrize("name", ["00000001.seg", "00000002.seg", "last"])
async def test_a_missing_segment(made: Made, harm: Callable[[], Harm], name: str) -> None:
    damaged = harm()
    damaged.remove(segments(made[0])[-1] if name == "last" else name)
    await held_to(made, damaged)


async def test_a_missing_segment_names_its_groups(made: Made, harm: Callable[[], Harm]) -> None:
    damaged = harm()
    damaged.remove("00000002.seg")
    report = await held_to(made, damaged)
    gone = [group.sequence for group in made[2] if group.segment == "00000002.seg"]
    assert [(x.fault.first_group, x.fault.last_group) for x in report.losses] == [
        (min(gone), max(gone))
    ]


@pytest.mark.parametrize("byte", [0, 0xFF])
async def test_a_stretch_of_garbage(made: Made, harm: Callable[[], Harm], byte: int) -> None:
    damaged = harm()
    damaged.blank("00000002.seg", 10_000, 26_000, byte)
    await held_to(made, damaged)
    damaged = harm()
    damaged.blank("00000001.seg", 72, 30_000, byte)
    await held_to(made, damaged)


async def test_a_missing_format_file(made: Made, harm: Callable[[], Harm]) -> None:
    damaged = harm()
    (damaged.directory / "FORMAT").unlink()
    report = await held_to(made, damaged)
    assert [fault.file for fault in report.faults] == ["FORMAT"]
    assert report.losses == []


async def test_a_declaration_that_is_lost(tmp_path: Path) -> None:
    source, target = tmp_path / "log", tmp_path / "new"
    async with posthouse.open(str(source), **OPTIONS) as broker:
        for number in range(3):
            await broker.queue("orders").put(number)
    first = next(group for group in groups_of(source) if group.put)
    Harm(source).flip(first.segment, first.start)
    report = repair(source, target)
    assert report.invented == ["recovered.1"]
    assert "recovered.1" in (target / REPORT_NAME).read_text()
    assert len(await living(target, "recovered.1")) == 2


async def test_a_declaration_that_a_later_catalog_repeats(
    made: Made, harm: Callable[[], Harm]
) -> None:
    damaged = harm()
    first = next(group for group in made[2] if group.put)
    damaged.flip(first.segment, first.start)
    report = await held_to(made, damaged)
    assert report.invented == []


async def test_bindings_of_a_lost_part_come_from_the_next_catalog(tmp_path: Path) -> None:
    source, target = tmp_path / "log", tmp_path / "new"
    async with posthouse.open(str(source), **OPTIONS) as broker:
        sales = broker.topic("sales")
        await broker.queue("old").bind(sales, "a.*")
        for _ in range(20):
            await broker.queue("orders").put_many(["x" * 400] * 20)
        await broker.queue("new").bind(sales, "b.*")
        await broker.queue("old").unbind(sales, "a.*")
        for _ in range(20):
            await broker.queue("orders").put_many(["x" * 400] * 20)
        expected = await sales.bindings()
    assert len(segments(source)) > 3
    frames = [item for item in Dump(READING, str(source)) if isinstance(item, DumpedFrame)]
    bound = [
        item
        for item in frames
        if any(isinstance(record, Bound) for record in item.records)
        and not item.frame.header.flags & FLAG_CATALOG
    ]
    assert len(bound) == 3
    for item in bound[1:]:
        Harm(source).flip(item.name, item.frame.offset)
    report = repair(source, target)
    assert report.losses
    async with posthouse.open(str(target)) as broker:
        assert await broker.topic("sales").bindings() == expected


async def test_attempts_that_only_the_ring_knows_are_kept(tmp_path: Path) -> None:
    source, target = tmp_path / "log", tmp_path / "new"
    async with posthouse.open(str(source), **OPTIONS) as broker:
        orders = broker.queue("orders")
        await orders.put_many([1, 2])
        held = await orders.get(timeout=5)
        assert held.attempts == 1
        copy_live(source, tmp_path / "crashed")
    repair(tmp_path / "crashed", target)
    async with posthouse.open(str(target)) as broker:
        found = await broker.queue("orders").get_many(2, timeout=5)
        assert {message.body: message.attempts for message in found} == {1: 2, 2: 1}


def epochs(directory: Path) -> list[int]:
    """The epochs of a log's openings."""
    return [
        record.epoch
        for item in Dump(READING, str(directory))
        if isinstance(item, DumpedFrame)
        for record in item.records
        if isinstance(record, Opened)
    ]


@pytest.mark.parametrize("name", ["last", "middle"])
async def test_fencing_tokens_go_on_and_ids_too(tmp_path: Path, name: str) -> None:
    source, target = tmp_path / "log", tmp_path / "new"
    for _ in range(4):
        await make_log(source, puts=40)
    given = max(epochs(source))
    newest = max(max(group.put, default="") for group in groups_of(source))
    names = segments(source)
    (source / (names[-1] if name == "last" else names[2])).unlink()
    repair(source, target)
    assert epochs(target)[-1] > given
    assert epochs(target) == sorted(epochs(target))
    async with posthouse.open(str(target)) as broker:
        assert await broker.queue("orders").put("new") > newest


async def test_the_source_must_be_closed(tmp_path: Path) -> None:
    async with posthouse.open(str(tmp_path / "log"), **OPTIONS) as broker:
        await broker.queue("orders").put(1)
        with pytest.raises(AlreadyOpen):
            repair(tmp_path / "log", tmp_path / "new")
        assert not (tmp_path / "new").exists()


def test_the_target_is_new_and_apart(made: Made, harm: Callable[[], Harm], tmp_path: Path) -> None:
    source = harm().directory
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / UNFINISHED_NAME).write_text("x")
    (tmp_path / "link").symlink_to(source)
    for target, text in (
        (tmp_path / "full", "not empty"),
        (tmp_path / "file", "is a file"),
        (tmp_path / "begun", "interrupted"),
        (source, "the log itself"),
        (tmp_path / "link", "the log itself"),
        (source / "inner", "inside"),
        (tmp_path, "inside"),
    ):
        before = content(source)
        with pytest.raises(BadArgument, match=text):
            repair(source, target)
        assert content(source) == before
    empty = tmp_path / "empty"
    empty.mkdir()
    assert repair(source, empty).losses == []


class _Stopped(Exception):
    pass


@pytest.mark.parametrize("at", ["before_sync:1", "before_rename:3", "before_write:9"])
async def test_an_interrupted_repair_is_not_taken_for_a_log(
    harm: Callable[[], Harm], tmp_path: Path, at: str
) -> None:
    def stop() -> None:
        raise _Stopped

    source, target = harm().directory, tmp_path / "new"
    files = KillingFiles(FailPoint.parse(at), end=stop)
    with pytest.raises(_Stopped):
        repair_log(files, str(source), str(target), NOW_NS, reading=READING)
    with pytest.raises(LogUnreadable):
        await living(target)
    with pytest.raises(BadArgument, match="interrupted"):
        repair(source, target)
    assert os.listdir(target)
