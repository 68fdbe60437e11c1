"""The child: does its job on a broker of its own, reporting on standard output."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

import posthouse
import posthouse.backends.log
from posthouse.clock import SystemClock
from posthouse.model import NANOSECONDS
from posthouse.testing.failpoints import FailPoint, KillingFiles, kill_self
from tests.lab.process.bodies import body_of, key_of
from tests.lab.process.drain import drain
from tests.lab.process.job import Job, say_on
from tests.lab.process.life import Life
from tests.lab.process.queues import queues_of

OUT_FD: Final = 1


def log_options(random: Random) -> dict[str, Any]:
    """A log's options: small, so that everything that happens to a log happens often."""
    return {
        "segment_bytes": random.choice([64, 64, 96, 256]) * 1024,
        "ring_slots": random.choice([16, 16, 64, 4096]),
        "spares": random.choice([0, 1, 2]),
        "group_operations": random.choice([3, 50, 10_000]),
        "marker_idle_s": random.choice([0.001, 0.01, 3600.0]),
        "sync": random.choice(["commit", "commit", "interval", "os"]),
        "interval_s": random.choice([0.001, 0.05]),
    }


def shifted_wall(shift_s: float) -> Callable[[], int]:
    """A wall clock that is wrong by so many seconds."""
    shift_ns = int(shift_s * NANOSECONDS)
    return lambda: time.time_ns() + shift_ns


def run(job: Job) -> None:
    """Do the job; returns only if nothing killed this process on the way."""
    say: Callable[..., None] = partial(say_on, OUT_FD)
    random = Random(job.seed)
    options = log_options(random)
    options["clock"] = SystemClock(wall_ns=shifted_wall(job.wall_shift_s))
    files: KillingFiles | None = None
    if job.fail_at:
        files = options["files"] = KillingFiles(FailPoint.parse(job.fail_at))
    for number in asyncio.run(_run(job, say, random, options, files)):
        say("done", number, None)


async def _run(
    job: Job,
    say: Callable[..., None],
    random: Random,
    options: dict[str, Any],
    files: KillingFiles | None,
) -> list[int]:
    leaving: list[int] = []
    async with posthouse.open(job.directory, **options) as broker:
        if files is not None:
            files.phase = "run"
        say("opened")
        if job.work == "drain":
            await drain(broker, say, job.rich)
        elif job.work == "put":
            say("put", 1, "a", [job.name])
            say("done", 1, [await queues_of(broker)["a"].put(body_of(job.name))])
        elif job.work == "poison":
            message = await queues_of(broker)["a"].get(timeout=20.0)
            key = key_of(message.body)
            say("got", "a", message.id, key, message.token, message.attempts)
            kill_self()
        else:
            life = Life(broker, say, random, job.name, rich=job.rich)
            await life.run(job.operations)
            leaving = life.leave()
        if files is not None:
            files.phase = "close"
    return leaving
