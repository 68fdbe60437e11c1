"""The tests notice bugs: each one of a list is planted in a copy of the package, and caught.

A run plants as many as its budget allows, others each time; ``LAB_ALL=1`` plants them all. That
the detectors pass on the code as it is, the other tests of this run show; with ``LAB_ALL=1`` that
is seen here, too.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from random import Random

import pytest

from tests.lab.conftest import Lab
from tests.lab.planted.bugs import BUGS
from tests.lab.planted.plant import Bug, DoesNotApply, Edit, copy_sources, plant, run, try_bug

ALL = bool(os.environ.get("LAB_ALL"))
LEAST_BUGS = 4


def test_there_are_enough_bugs_and_each_has_its_name() -> None:
    assert len({bug.name for bug in BUGS}) == len(BUGS) >= 25


def test_every_bug_still_applies(tmp_path: Path) -> None:
    for number, bug in enumerate(BUGS):
        plant(bug, copy_sources(tmp_path / str(number)))


def test_a_bug_whose_code_has_changed_says_so(tmp_path: Path) -> None:
    sources = copy_sources(tmp_path)
    with pytest.raises(DoesNotApply, match="0 times"):
        plant(Bug("gone", (Edit("this text is nowhere in the package", ""),), ()), sources)
    with pytest.raises(DoesNotApply, match="not once"):
        plant(Bug("many", (Edit("from __future__", ""),), ()), sources)


def test_a_detector_that_breaks_has_noticed_nothing(tmp_path: Path) -> None:
    sources = copy_sources(tmp_path)
    assert not run(("-c", "raise SystemExit(1)"), sources).noticed
    assert not run(("-m", "pytest", "-q", "no such file"), sources).noticed
    assert run(("-c", "print('replay: it'); raise SystemExit(1)"), sources).noticed


@pytest.mark.timeout(3600)
def test_planted_bugs_are_noticed(lab: Lab, tmp_path: Path) -> None:
    bugs = list(BUGS)
    Random(lab.seed_base).shuffle(bugs)
    until = time.monotonic() + 4 * lab.seconds("planted bugs")
    unnoticed = []
    for number, bug in enumerate(bugs):
        if number >= LEAST_BUGS and not ALL and time.monotonic() > until:
            break
        outcome = try_bug(bug, tmp_path / str(number))
        lab.count("planted bugs", 1, f"of {len(BUGS)} caught")
        if not outcome.noticed:
            last = outcome.output[-1500:]
            unnoticed.append(f"not noticed: {bug.name} (code {outcome.code})\n{last}")
    replay = "replay: python -m tests.lab.planted"
    assert not unnoticed, "\n".join([*unnoticed, replay])


@pytest.mark.skipif(not ALL, reason="the other tests of this run are the control")
@pytest.mark.timeout(3600)
def test_the_detectors_pass_on_the_code_as_it_is(tmp_path: Path) -> None:
    sources = copy_sources(tmp_path)
    for command in dict.fromkeys(bug.detector for bug in BUGS):
        outcome = run(command, sources)
        assert outcome.code == 0, f"{' '.join(command)}\n{outcome.output[-3000:]}"
