"""Kill the process that has the broker, again and again, and see what is left in the end."""

from __future__ import annotations

import tempfile
from pathlib import Path
from random import Random
from typing import Final

from posthouse.testing.failpoints import KINDS, FailPoint
from tests.lab.process.job import Job
from tests.lab.process.ledger import Ledger
from tests.lab.process.nursery import Nursery
from tests.lab.process.queues import draw_rich

MOST_LIVES: Final = 6
_OFTEN: Final = ("write", "sync", "ring", "read")
_SELDOM: Final = tuple(kind for kind in KINDS if kind not in _OFTEN)
DRAIN_SHIFT_S: Final = 3600.0
"""The last life's clock is so far ahead that nothing is delayed any more, seconds."""


def draw_job(random: Random, directory: str, life: int, rich: tuple[str, ...]) -> Job:
    """One life and its death."""
    job = Job(
        directory=directory,
        seed=random.getrandbits(32),
        name=str(life),
        operations=random.choice([3, 30, 60, 150]),
        rich=rich,
    )
    death = random.random()
    if death < 0.05:
        return job
    if death < 0.65:
        job.fail_at = draw_fail_point(random)
        if "roll" in job.fail_at or "reclaim" in job.fail_at:
            job.operations = 500
    if death > 0.55:
        job.kill_after_s = random.random() ** 2 * 0.03
    return job


def draw_fail_point(random: Random) -> str:
    """A fail point that is likely to be reached."""
    phase = random.choices(["open", "run", "close", ""], [4, 4, 1, 1])[0]
    kind = random.choice(_OFTEN if phase in ("run", "") else (*_OFTEN, *_SELDOM))
    if phase in ("run", "") and random.random() < 0.4:
        kind = random.choice(_SELDOM)
    mean = 2.0 if kind in _SELDOM or phase == "close" else 4.0 if phase == "open" else 12.0
    number = 1 + int(random.expovariate(1.0 / mean))
    when = random.choice(["before", "in", "after"])
    return str(FailPoint(when, kind, number, phase))


def replay_command(seed: int) -> str:
    """What a failure tells the reader to run."""
    return f"python -m tests.lab.process --seed {seed}"


def run_seed(nursery: Nursery, seed: int, directory: Path) -> int:
    """A few lives on one log, most of them cut off, then what is left; how many were killed.

    Raises:
        AssertionError: a promise was broken; the text has the seed and the trace.
    """
    random = Random(seed)
    rich = draw_rich(random)
    ledger = Ledger(rich)
    kills = 0
    jobs: list[Job] = []
    try:
        for life in range(random.randint(1, MOST_LIVES)):
            jobs.append(draw_job(random, str(directory), life, rich))
            end = nursery.raise_child(jobs[-1], ledger.take)
            ledger.life_over(end != "closed")
            kills += end != "closed"
        jobs.append(
            Job(
                directory=str(directory),
                seed=seed,
                work="drain",
                wall_shift_s=DRAIN_SHIFT_S,
                rich=rich,
            )
        )
        nursery.raise_child(jobs[-1], ledger.take)
        problems = ledger.problems()
    except Exception as error:
        raise failure(seed, [f"{type(error).__name__}: {error}"], jobs, ledger) from error
    if problems:
        raise failure(seed, problems, jobs, ledger)
    return kills


def failure(seed: int, problems: list[str], jobs: list[Job], ledger: Ledger) -> AssertionError:
    """All that is needed to look into it."""
    lines = [f"seed {seed}: to replay: {replay_command(seed)}"]
    lines += problems[:20]
    lines += [f"life {number}: {job}" for number, job in enumerate(jobs)]
    lines += ["trace:", ledger.history.to_text()]
    return AssertionError("\n".join(lines))


def run_seeds(nursery: Nursery, first: int, count: int) -> int:
    """`run_seed` for so many seeds, each in a fresh directory; how many lives were killed."""
    kills = 0
    for seed in range(first, first + count):
        with tempfile.TemporaryDirectory(prefix="posthouse-lab-") as directory:
            kills += run_seed(nursery, seed, Path(directory))
    return kills
