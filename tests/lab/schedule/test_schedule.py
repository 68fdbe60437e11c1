"""Seeded schedules, and every call cancelled at every await, within the laboratory's budget."""

from __future__ import annotations

import time

import pytest

from tests.lab.conftest import Lab
from tests.lab.schedule.broker_scenes import SCENES
from tests.lab.schedule.cancel import shots
from tests.lab.schedule.run import run_seed
from tests.lab.schedule.world import Kind

KINDS: tuple[Kind, ...] = ("memory", "log")
LEAST_RUNS = 20


def test_seeded_schedules(lab: Lab) -> None:
    budget_s = lab.seconds("schedule")
    ends_s = time.monotonic() + budget_s
    seed = lab.seed_base
    runs = 0
    while runs < LEAST_RUNS or time.monotonic() < ends_s:
        for kind in KINDS:
            result = run_seed(seed, kind)
            assert not result.problems, result.report()
            runs += 1
        seed += 1
    lab.count("schedule", runs, "schedules")


def test_a_seed_is_always_the_same_run() -> None:
    for kind in KINDS:
        first, second = (run_seed(4, kind) for _ in range(2))
        assert first.history == second.history
        assert first.turns == second.turns
        assert first.history != run_seed(5, kind).history


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scene", sorted(SCENES))
def test_cancelled_at_every_await(scene: str, kind: Kind, lab: Lab) -> None:
    count = 0
    for shot, outcome in shots(scene, kind, lab.seed_base):
        assert not outcome.problems, "\n  ".join([shot.command(), *outcome.problems])
        count += outcome.hit
    if scene not in ("settle_without_waiting", "ack_durable", "ack_many_durable"):
        assert count or kind == "memory", "nothing was cancelled: the scene shows nothing"
    lab.count("cancel", count, "cancellations")


def test_a_rate_that_is_free_within_a_turn_does_not_hold_the_loop_up() -> None:
    """A take looked at the turn's time, and what it asked before at the time of the moment."""
    assert not run_seed(909091002, "log").problems
