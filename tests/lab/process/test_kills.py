"""kill -9, at any time and at named points, with the witness outside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from posthouse.errors import BadArgument
from posthouse.testing.failpoints import KINDS, FailPoint, KillingFiles
from posthouse.testing.files import Operation
from tests.lab.process import kills
from tests.lab.process.bodies import body_of, key_of
from tests.lab.process.budget import LabLike, run_seeds
from tests.lab.process.job import Job
from tests.lab.process.ledger import Ledger
from tests.lab.process.nursery import ChildFailed, Nursery
from tests.lab.process.poison import run_poison
from tests.lab.process.queues import MAX_ATTEMPTS


@pytest.fixture(scope="module")
def nursery() -> Iterator[Nursery]:
    with Nursery() as found:
        yield found


def test_kills(lab: LabLike, nursery: Nursery, tmp_path: Path) -> None:
    def step(seed: int) -> int:
        return kills.run_seed(nursery, seed, tmp_path / str(seed))

    run_seeds(lab, "kills", "kills", step)


@pytest.mark.parametrize(
    "point",
    [
        "after_write:17",
        "in_write:17",
        "before_sync:3",
        "before_write:1@open",
        "before_rename:1@open",
        "after_rename:1@open",
        "before_dirsync:1@open",
        "after_roll:1@run",
        "before_reclaim:1@run",
        "after_reclaim:1@run",
        "in_ring:5@run",
        "after_ring:5@run",
        "in_commit:1@close",
    ],
)
def test_named_points_are_reached_and_survived(
    nursery: Nursery, tmp_path: Path, point: str
) -> None:
    ledger = Ledger()
    directory = str(tmp_path / "log")
    # A first life that is cut off, so that there is something to recover in the next.
    cut = "after_write:10@run"
    before = Job(directory=directory, seed=94, name="0", operations=300, fail_at=cut)
    assert nursery.raise_child(before, ledger.take) == "point"
    ledger.life_over(killed=True)
    # Seed 94 draws the smallest segments, few ring slots, a sync for each commit, and empties.
    job = Job(directory=directory, seed=94, name="1", operations=900, fail_at=point)
    assert nursery.raise_child(job, ledger.take) == "point"
    ledger.life_over(killed=True)
    drain = Job(directory=directory, seed=1, work="drain", wall_shift_s=kills.DRAIN_SHIFT_S)
    assert nursery.raise_child(drain, ledger.take) == "closed"
    assert ledger.problems() == [], ledger.history.to_text()


def test_a_message_that_kills_its_process_is_dead_lettered(
    nursery: Nursery, tmp_path: Path
) -> None:
    attempts = range(1, MAX_ATTEMPTS["a"] + 1)
    for seed in range(3):
        taken = run_poison(nursery, seed, tmp_path / str(seed))
        assert taken == [("a", attempt) for attempt in attempts]


def test_a_child_whose_program_fails_is_told_from_one_that_was_killed(
    nursery: Nursery, tmp_path: Path
) -> None:
    job = Job(directory=str(tmp_path), seed=1, fail_at="no such point")
    with pytest.raises(ChildFailed, match="no fail point"):
        nursery.raise_child(job, Ledger().take)


def test_drawn_fail_points_are_fail_points() -> None:
    random = Random(1)
    drawn = {kills.draw_fail_point(random) for _ in range(500)}
    assert {FailPoint.parse(text).what for text in drawn} == set(KINDS)
    assert {str(FailPoint.parse(text)) for text in drawn} == drawn


@pytest.mark.parametrize("text", ["", "after_write", "after_lunch:1", "in_write:1@lunch", "x:1"])
def test_a_wrong_fail_point_is_refused(text: str) -> None:
    with pytest.raises(BadArgument, match="fail point"):
        FailPoint.parse(text)


@pytest.mark.parametrize(
    ("point", "kept"),
    [("before_write:2", b"one"), ("in_write:2", b"one-t"), ("after_write:2", b"one-two")],
)
def test_killing_files_ends_where_it_says(tmp_path: Path, point: str, kept: bytes) -> None:
    class Ended(Exception):
        pass

    def end() -> None:
        raise Ended

    files = KillingFiles(FailPoint.parse(point), end=end)
    path = tmp_path / "file"
    fd = files.open(str(path), create=True)
    files.pwrite(fd, b"one", 0)
    with pytest.raises(Ended):
        files.pwrite(fd, b"-two", 3)
    assert path.read_bytes() == kept
    files.close(fd)


def test_fail_points_count_only_their_kind_and_phase() -> None:
    ends: list[int] = []
    files = KillingFiles(FailPoint.parse("before_roll:1@run"), end=lambda: ends.append(1))
    roll = Operation("rename", "spare-1", target="00000002.seg")
    files.passing(roll)
    files.phase = "run"
    files.passing(Operation("rename", "spare-1.tmp", target="spare-1"))
    files.passing(Operation("rename", "00000001.seg", target="spare-1"))
    assert ends == []
    files.passing(roll)
    assert ends == [1]


def test_the_witness_notices_a_message_that_is_gone() -> None:
    ledger = Ledger()
    ledger.take("put", 1, "a", ["0.0", "0.1"], None)
    ledger.take("done", 1, ["0000000000000001", "0000000000000002"])
    ledger.life_over(killed=True)
    for queue in ("a.dead", "b", "c"):
        ledger.take("left", queue, [])
    ledger.take("left", "a", [["0000000000000001", "0.0", 0]])
    assert len(ledger.problems()) == 1
    assert "'0.1'" in ledger.problems()[0]


def test_a_body_that_is_not_whole_has_another_key() -> None:
    assert key_of(body_of("3.17")) == "3.17"
    assert key_of(body_of("3.17") + "x").startswith("not whole")
    assert key_of(b"\0\0").startswith("not whole")
