"""A life of a broker on a simulated disk: a seeded program runs, and every operation is kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

import posthouse
from posthouse.broker import Broker
from posthouse.errors import PosthouseError
from posthouse.journal.log import LogOptions
from posthouse.testing.simdisk import SimDisk
from posthouse.testing.simloop import SimLoop
from posthouse.testing.simwriter import SimWriter
from posthouse.testing.trace import Event
from tests.lab.disk.bodies import NAME_LENGTH, named_in
from tests.lab.disk.facts import NEVER, Facts, Held, StampedHistory
from tests.lab.disk.judge import DIRECTORY, Opening, salts
from tests.lab.disk.program import Program
from tests.lab.disk.queues import DROPS, LIMITS, LOSES, Names
from tests.lab.disk.timeline import Timeline


@dataclass
class Base:
    """Where a life begins: what the one before it left for certain."""

    found: Opening | None = None

    def facts(self) -> Facts:
        """What is known before the first event."""
        facts = Facts(drops={DROPS: LIMITS[DROPS]}, loses=LOSES)
        if self.found is not None:
            for queue, kept in self.found.found.values():
                body = named_in(kept.body[:NAME_LENGTH].decode(), queue)
                facts.attempted[body] = queue
                facts.stored.add(body)
                facts.held[body] = Held(queue, kept.attempts)
                facts.most[body, queue] = kept.attempts
                if queue in LOSES or (kept.expires_ns and queue in facts.drops):
                    facts.leaving[body] = {0}
            facts.bindings = {name: {True} for name in self.found.bindings}
        return facts


def draw_options(rng: Random) -> LogOptions:
    """Small segments and rings, so that all that turns over does."""
    options = LogOptions(
        segment_bytes=64 * 1024,
        ring_slots=16,
        group_operations=rng.choice((3, 20, 10_000)),
        marker_idle_s=0.1,
        spares=rng.choice((0, 1, 2)),
        sync=rng.choices(("commit", "interval", "os"), (8, 1, 1))[0],
    )
    salt = rng.getrandbits(32)
    # In every other life nothing stays in memory that can be read back.
    return replace(options, salt=salts(salt), cache_bytes=0 if salt % 2 else options.cache_bytes)


@dataclass
class Life:
    """One life, and what it wrote down.

    Attributes:
        starts_ns, ended_ns: by the clock, nanoseconds.
        earlier: the history of the lives before it.
        opened_at: disk operations when the opening returned; NEVER if it did not.
        closing_at: when the closing began.
        closed: the closing returned.
        failed: the disk failed (on purpose) in it.
        churn: what kind of program it is.
        watch: whether to read what is written into the timeline.
    """

    disk: SimDisk
    options: LogOptions
    timeline: Timeline
    base: Base
    starts_ns: int
    earlier: Sequence[Event] = ()
    ended_ns: int = 0
    opened_at: int = NEVER
    closing_at: int = NEVER
    failed: bool = False
    closed: bool = False
    watch: bool = True
    churn: bool = False

    def live(self, rng: Random, names: Names, steps: int) -> None:
        """Run a program on the disk until it is dropped, as in a crash, or has closed."""
        loop = SimLoop(rng.getrandbits(32), start_ns=self.starts_ns)
        self.history = StampedHistory(self.disk, loop.now_ns, self.earlier)
        self.disk.on_write = self.timeline.on_write if self.watch else None
        try:
            loop.run(self._main(loop, rng, names, steps))
        finally:
            loop.close()
            self.disk.on_write = None
            self.ended_ns = loop.now_ns() + 1_000_000

    async def _main(self, loop: SimLoop, rng: Random, names: Names, steps: int) -> None:
        closes = rng.random() < 0.4
        try:
            broker = await open_broker(self.disk, self.options, loop, rng)
            self.opened_at = self.disk.count
            program = Program(
                broker,
                self.history,
                rng,
                names,
                loop.now_ns,
                lambda: loop.before_ns,
                churn=self.churn,
            )
            await program.declare()
            await program.run(steps)
            if closes:
                if rng.random() < 0.5:
                    await program.finish()
                self.closing_at = self.disk.count
                await broker.close()
                self.closed = True
        except PosthouseError:
            if not self.disk.fail_at:
                raise
            self.failed = True


def open_broker(disk: SimDisk, options: LogOptions, loop: SimLoop, rng: Random) -> Broker:
    """A broker on the disk, to be awaited."""
    return posthouse.open(
        f"log:{DIRECTORY}",
        clock=loop,
        files=disk,
        make_writer=lambda loop: SimWriter(loop, rng),
        chance=rng.random,
        **{field.name: getattr(options, field.name) for field in dataclasses.fields(options)},
    )
