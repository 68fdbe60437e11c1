"""A failing disk under a whole broker: at every call, in every way, once and for good."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Sequence

import pytest

from posthouse.journal.files import Buffer
from posthouse.testing.files import FaultyFiles
from tests.lab.process import faults
from tests.lab.process.budget import LabLike, seeds
from tests.lab.process.faults import Fault


@pytest.fixture(autouse=True)
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Every second life recovers a log, and warns of it."""
    caplog.set_level("ERROR", logger="posthouse")


def test_faults_at_every_call(lab: LabLike) -> None:
    time = seeds(lab.seed_base, lab.seconds("faults"))
    for fault, seed in cases(lab.seed_base):
        faults.run_fault(seed, fault)
        lab.count("faults", 1, "faults")
        if next(time, None) is None:
            return


def cases(seed: int) -> Iterator[tuple[Fault, int]]:
    """Fault after fault, of seed after seed, for ever."""
    while True:
        for fault in faults.cases(seed):
            yield fault, seed
        seed += 1


@pytest.mark.parametrize("call", [3, 5, 20, 30, 40, 50])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_some_calls_in_every_way(seed: int, call: int) -> None:
    for fault in faults.ways(call):
        faults.run_fault(seed, fault)


class LyingFiles(FaultyFiles):
    """A disk that says it wrote, from one call on, and does not."""

    def __init__(self, lie_from: int) -> None:
        super().__init__(faults.NEVER, errno.EIO)
        self._lie_from = lie_from
        self._writes = 0

    def pwritev_sync(self, fd: int, parts: Sequence[Buffer], offset: int) -> None:
        """Maybe."""
        self._writes += 1
        if self._writes < self._lie_from:
            super().pwritev_sync(fd, parts, offset)


def test_a_disk_that_lies_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    # Seed 94 draws a sync for each commit, and its life before ends well.
    monkeypatch.setattr(Fault, "files", lambda fault: LyingFiles(lie_from=6))
    with pytest.raises(AssertionError, match="to replay: python -m tests.lab.process .* --seed 94"):
        faults.run_fault(94, Fault(1))
