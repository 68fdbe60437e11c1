"""A life of a broker on a simulated disk: a seeded program runs, and every operation is kept."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

import posthouse
from posthouse.errors import PosthouseError
from posthouse.journal.log import LogOptions
from posthouse.testing.simdisk import SimDisk
from tests.lab.disk.facts import NEVER, Facts, Held, StampedHistory
from tests.lab.disk.judge import DIRECTORY, Opening, salts
from tests.lab.disk.program import DROPS, LIMITS, Program
from tests.lab.disk.timeline import Timeline
from tests.lab.disk.world import LoopClock, SlowWriter, run


@dataclass
class Base:
    """Where a life begins: what the one before it left for certain."""

    found: Opening | None = None

    def facts(self) -> Facts:
        """What is known before the first event."""
        facts = Facts(drops={DROPS: LIMITS[DROPS]})
        if self.found is not None:
            for queue, kept in self.found.found.values():
                body = kept.body[:8].decode()
                facts.attempted[body] = queue
                facts.stored.add(body)
                facts.held[body] = Held(queue, kept.attempts)
                facts.most[body, queue] = kept.attempts
        return facts


@dataclass
class Life:
    """What one life wrote down.

    Attributes:
        opened_at: disk operations when the opening returned; NEVER if it did not.
        closing_at: when the closing began.
        epoch: what the opening was given.
        failed: the disk failed (on purpose) in it.
    """

    disk: SimDisk
    options: LogOptions
    history: StampedHistory
    timeline: Timeline
    base: Base
    opened_at: int = NEVER
    closing_at: int = NEVER
    epoch: int = 0
    failed: bool = False


def draw_options(rng: Random) -> LogOptions:
    """Small segments and rings, so that all that turns over does."""
    return LogOptions(
        segment_bytes=64 * 1024,
        ring_slots=16,
        group_operations=rng.choice((3, 20, 10_000)),
        marker_idle_s=0.1,
        spares=rng.choice((0, 1, 2)),
        sync=rng.choices(("commit", "interval", "os"), (8, 1, 1))[0],
        salt=salts(rng.getrandbits(32)),
    )


def live(
    disk: SimDisk,
    options: LogOptions,
    rng: Random,
    base: Base,
    timeline: Timeline,
    clock: LoopClock,
    names: Iterator[str],
    steps: int,
) -> Life:
    """Run a program on the disk until it crashes, or closes the broker."""
    disk.on_write = timeline.on_write
    life = Life(disk, options, StampedHistory(disk, clock.now_ns), timeline, base)
    closes = rng.random() < 0.4
    run(_main(life, rng, clock, names, steps, closes), clock)
    disk.on_write = None
    return life


async def _main(
    life: Life, rng: Random, clock: LoopClock, names: Iterator[str], steps: int, closes: bool
) -> None:
    options = life.options
    broker = posthouse.open(
        f"log:{DIRECTORY}",
        clock=clock,
        files=life.disk,
        make_writer=lambda loop: SlowWriter(loop, rng),
        chance=rng.random,
        **{name: getattr(options, name) for name in LogOptions.__slots__},
    )
    try:
        await broker
        life.opened_at = life.disk.count
        program = Program(broker, life.history, rng, names)
        program.declare()
        await program.run(steps)
        if closes:
            if rng.random() < 0.5:
                await program.finish()
            life.closing_at = life.disk.count
            await broker.close()
    except PosthouseError:
        if not life.disk.fail_at:
            raise
        life.failed = True
