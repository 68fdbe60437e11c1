"""The simulated disk: what a crash may leave, and what damage may do."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from random import Random

import pytest

from posthouse.testing.crashes import build, crash_states, pending_of
from posthouse.testing.simdisk import SimDisk
from tests.lab.conftest import Lab
from tests.lab.disk.damage import bad_sectors, bit_flips, subject
from tests.lab.disk.explore import Story
from tests.lab.disk.saga import saga
from tests.lab.disk.tails import torn_tails

LEAST_STATES = 300


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    # Every other opening finds an unclean end, and says so.
    logger = logging.getLogger("posthouse.log")
    level = logger.level
    logger.setLevel(logging.ERROR)
    yield
    logger.setLevel(level)


@pytest.mark.timeout(4000)
def test_every_crash_state_keeps_the_promises(lab: Lab) -> None:
    until = time.monotonic() + lab.seconds("disk")
    seed, states = lab.seed_base, 0

    def spent(more: int) -> bool:
        return time.monotonic() > until and states + more >= LEAST_STATES

    while not spent(0):
        story = Story(seed, spent)
        story.tell()
        lab.count("disk", story.states, "crash states")
        lab.count("disk recovery", story.recoveries, "crashes in a recovery")
        states += story.states
        replay = f"replay: python -m tests.lab.disk --seed {seed}"
        assert not story.problems, "\n".join([replay, *story.problems[:10]])
        seed += 1


@pytest.mark.timeout(4000)
def test_a_history_over_several_lives_holds(lab: Lab) -> None:
    until = time.monotonic() + lab.seconds("disk lives")
    seed = lab.seed_base
    while seed == lab.seed_base or time.monotonic() < until:
        problems, history, lives = saga(seed)
        lab.count("disk lives", lives, "lives")
        replay = f"replay: python -m tests.lab.disk --saga {seed}"
        assert not problems, "\n".join([replay, *problems[:10], history.to_text()])
        seed += 1


@pytest.mark.timeout(4000)
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "crashed"])
def test_a_flipped_bit_is_never_silently_wrong(lab: Lab, closed: bool) -> None:
    until = time.monotonic() + lab.seconds("disk flips")
    seed = lab.seed_base
    while seed == lab.seed_base or time.monotonic() < until:
        damaged = subject(seed, closed=closed, least_bytes=1500)
        for what, problems in bit_flips(damaged, lambda: time.monotonic() > until, Random(seed)):
            lab.count("disk flips", 1, "bit flips")
            replay = f"replay: python -m tests.lab.disk --damage {seed}"
            assert not problems, "\n".join([replay, what, *problems])
        seed += 1


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "crashed"])
def test_a_bad_sector_is_never_silently_wrong(lab: Lab, closed: bool) -> None:
    damaged = subject(lab.seed_base, closed=closed, least_bytes=3000)
    for what, problems in bad_sectors(damaged, Random(lab.seed_base)):
        lab.count("disk sectors", 1, "bad sectors")
        replay = f"replay: python -m tests.lab.disk --damage {lab.seed_base}"
        assert not problems, "\n".join([replay, what, *problems])


@pytest.mark.timeout(4000)
def test_a_tail_torn_anywhere_is_left_out(lab: Lab) -> None:
    budget_s = lab.seconds("disk tails")
    size = 400 if budget_s < 1 else 3950 if budget_s < 200 else 65_000
    for what, problems in torn_tails(size):
        lab.count("disk tails", 1, "torn tails")
        replay = f"replay: python -m tests.lab.disk --tail {size}"
        assert not problems, "\n".join([replay, what, *problems])


# The disk itself


def write(disk: SimDisk, path: str, data: bytes, *, sync: bool = False) -> int:
    fd = disk.open(path, create=True)
    disk.pwrite(fd, data, 0)
    if sync:
        disk.fsync(fd)
    return fd


def left(disk: SimDisk) -> list[dict[str, bytes]]:
    """All that a crash now may leave."""
    return [state.image for state in crash_states(disk.cut(), Random(1), tears=99)]


def test_what_was_synced_with_its_name_is_always_there() -> None:
    disk = SimDisk(record=True)
    write(disk, "data/a", b"whole", sync=True)
    disk.fsync_dir("data")
    assert left(disk) == [{"data/a": b"whole"}]


def test_a_synced_file_without_its_directory_may_have_no_name() -> None:
    disk = SimDisk(record=True)
    write(disk, "data/a", b"whole", sync=True)
    assert {} in left(disk)
    assert {"data/a": b"whole"} in left(disk)


def test_an_unsynced_write_may_be_there_in_part_or_not() -> None:
    disk = SimDisk(record=True)
    fd = write(disk, "data/a", b"", sync=True)
    disk.fsync_dir("data")
    disk.pwrite(fd, b"abcd", 0)
    contents = {image["data/a"] for state in [disk.cuts[-1]] for image in _images(state)}
    assert {b"", b"abcd", b"a", b"ab", b"abc", b"\0\0\0\0"} <= contents


def _images(cut: object) -> list[dict[str, bytes]]:
    return [state.image for state in crash_states(cut, Random(1), tears=99)]  # type: ignore[arg-type]


def test_a_rename_may_be_lost_until_the_directory_is_synced() -> None:
    disk = SimDisk(record=True)
    write(disk, "data/a", b"x", sync=True)
    disk.fsync_dir("data")
    disk.rename("data/a", "data/b")
    assert {"data/a": b"x"} in left(disk)
    assert {"data/b": b"x"} in left(disk)
    disk.fsync_dir("data")
    assert left(disk) == [{"data/b": b"x"}]


def test_unsynced_changes_are_lost_in_any_combination() -> None:
    disk = SimDisk(record=True)
    one = write(disk, "data/a", b"0", sync=True)
    two = write(disk, "data/b", b"0", sync=True)
    disk.fsync_dir("data")
    disk.pwrite(one, b"1", 0)
    disk.pwrite(two, b"1", 0)
    found = {(image["data/a"], image["data/b"]) for image in left(disk)}
    assert found == {(a, b) for a in (b"0", b"1") for b in (b"0", b"1")}


def test_a_synced_write_does_not_sync_what_was_written_before_it() -> None:
    disk = SimDisk(record=True)
    fd = write(disk, "data/a", b"....", sync=True)
    disk.fsync_dir("data")
    disk.pwrite(fd, b"1", 0)
    disk.pwritev_sync(fd, [b"2"], 1)
    assert {image["data/a"] for image in left(disk)} == {b".2..", b"12.."}


def test_what_a_failed_sync_lost_is_in_memory_only_and_a_second_sync_does_not_help() -> None:
    disk = SimDisk(record=True)
    fd = write(disk, "data/a", b"old", sync=True)
    disk.fsync_dir("data")
    disk.pwrite(fd, b"new", 0)
    disk.fail_at = 1
    with pytest.raises(OSError, match="Input/output"):
        disk.fsync(fd)
    disk.fsync(fd)
    assert disk.image() == {"data/a": b"new"}
    assert left(disk) == [{"data/a": b"old"}]
    assert SimDisk.after_kill(disk.cut()).image() == {"data/a": b"new"}


def test_a_kill_leaves_what_programs_saw_and_power_may_take_it_later() -> None:
    disk = SimDisk(record=True)
    fd = write(disk, "data/a", b"old", sync=True)
    disk.fsync_dir("data")
    disk.pwrite(fd, b"new", 0)
    after = SimDisk.after_kill(disk.cut())
    assert after.image() == {"data/a": b"new"}
    assert {image["data/a"] for image in left(after)} >= {b"old", b"new"}
    assert build(after.cut(), frozenset(pending_of(after.cut()))) == {"data/a": b"new"}
