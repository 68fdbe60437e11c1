"""Every crash of a life: the states it may leave are opened and judged, and used again.

One seed is one story: options, a first life, all its crash states (a crash in the recovery of
some of them, and a second life after some), each judged. `python -m tests.lab.disk --seed N`
tells it again.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from random import Random
from typing import Literal

from posthouse.journal.log import LogOptions
from posthouse.testing.clock import START_NS
from posthouse.testing.crashes import CrashState, crash_states
from posthouse.testing.simdisk import Cut, SimDisk
from tests.lab.disk.facts import NEVER, Facts, Reader
from tests.lab.disk.judge import Expected, Opening, judge, options_for
from tests.lab.disk.lives import Base, Life, draw_options
from tests.lab.disk.queues import Names
from tests.lab.disk.timeline import Timeline

RECOVERIES = 0.01
"""Of so many crash states the recovery is crashed in turn, at each of its operations."""

CHURNS = 0.1
"""In so many stories the program keeps nothing, so that segments go and are used again."""

LIGHT_STATES = 3
"""Half of the stories are long, and try so many states of each crash only."""

FAULTS = 0.2
"""In so many stories a sync fails once, and what it should have made durable is lost."""

LIVES = 0.004
"""So many crash states are used again, in a life that is crashed in turn."""


class Enough(Exception):
    """The budget is spent, or a problem was found."""


@dataclass
class Story:
    """One seed's run.

    Attributes:
        problems: what was found, each with the way to it.
        states: crash states opened so far.
        recoveries: crashes during recovery among them; lives: that were begun.
        spent: whether to stop.
        faults, kills, churn: whatever the seed says, a sync fails; what a killed process leaves
            is often used again; the program keeps nothing.
        sync: as `LogOptions.sync`.
    """

    seed: int
    spent: Callable[[int], bool]
    problems: list[str] = field(default_factory=list)
    states: int = 0
    recoveries: int = 0
    lives: int = 0
    faults: bool = False
    kills: bool = False
    churn: bool = False
    sync: Literal["commit", "interval", "os"] | None = None

    def __post_init__(self) -> None:
        self.light = False
        self.now_ns = START_NS
        self.names = Names()
        self._salts = itertools.count(self.seed % 1_000_003)

    def tell(self) -> None:
        """Run the first life, and explore it."""
        try:
            rng = Random(self.seed)
            options = draw_options(rng)
            disk = SimDisk(record=True)
            self.churn |= rng.random() < CHURNS
            self.light = self.churn or rng.random() < 0.5
            steps = rng.choice((100, 300, 600) if self.light else (20, 60, 150))
            if self.sync is not None:
                options = replace(options, sync=self.sync)
            if rng.random() < FAULTS or self.faults:
                disk.fail_at = rng.randrange(1, 30)
                disk.fail_sticky = rng.random() < 0.3
            self.explore(self.begin(disk, options, rng, Base(), Timeline(), steps), None, 0, "")
        except Enough:
            pass
        except Exception:
            # Opening or using a disk that a crash left failed: that is a finding.
            self.problems.append(traceback.format_exc())

    def begin(
        self,
        disk: SimDisk,
        options: LogOptions,
        rng: Random,
        base: Base,
        timeline: Timeline,
        steps: int,
    ) -> Life:
        """One more life."""
        self.lives += 1
        life = Life(disk, options, timeline, base, self.now_ns, churn=self.churn)
        life.live(rng, self.names, steps)
        self.now_ns = life.ended_ns
        return life

    def explore(self, life: Life, before: Expected | None, depth: int, way: str) -> None:
        """Crash a life at every operation. ``before``: what held while it was being opened."""
        low = Reader(life.history, life.base.facts(), life.closing_at)
        high = Reader(life.history, life.base.facts(), life.closing_at)
        weak = life.options.sync != "commit"
        found = life.base.found
        epoch = found.epoch if found is not None else 1
        cuts = [*life.disk.cuts, life.disk.cut("the end")]
        last: Cut | None = None
        for cut in cuts:
            opening = cut.index < life.opened_at
            least = min(cut.synced, cut.index) if weak else cut.index
            facts = low.advance(least)
            expected = Expected(
                low=facts,
                high=high.advance(cut.index) if weak else facts,
                timeline=life.timeline,
                epoch=epoch - 1 if opening else epoch,
            )
            if opening and before is not None:
                expected = before
                expected.timeline = life.timeline
            here = f"{way}operation {cut.index} ({cut.what})"
            if last is not None:
                # All that the program did since then, and not this operation.
                self.killed(life, last, expected, f"{here}: killed just before")
            self.crash(life, cut, expected, depth, here)
            last = cut

    def crash(self, life: Life, cut: Cut, expected: Expected, depth: int, way: str) -> None:
        """All that a crash at one operation may leave."""
        tears = 6 if depth == 0 else 2
        subsets = 3 if depth == 0 else 1
        rng = Random(f"{self.seed} {way}")
        states = crash_states(cut, rng, tears=tears, subsets=subsets)
        if self.light:
            some = list(states)
            states = iter(rng.sample(some, min(LIGHT_STATES, len(some))))
        for state in states:
            self.power(life, state, expected, depth, f"{way}: {state.label}")
        self.kill(life, cut, expected, depth, f"{way}: killed")

    def power(
        self, life: Life, state: CrashState, expected: Expected, depth: int, way: str
    ) -> None:
        """The machine lost its power."""
        options = self.options(life)
        opening = judge(SimDisk(state.image), options, expected, self.now_ns)
        self.count(opening, way)
        if depth >= 2:
            return
        rng = Random(f"{self.seed} {way}")
        if rng.random() < RECOVERIES:
            disk = SimDisk(state.image, record=True)
            self.recovery(life, disk, opening.sequence, expected, way)
        if rng.random() < LIVES:
            lost = replace(expected, power_lost=True)
            self.again(life, SimDisk(state.image, record=True), opening, lost, depth, way)

    def kill(self, life: Life, cut: Cut, expected: Expected, depth: int, way: str) -> None:
        """Only the process died; then, perhaps, the machine as well."""
        opening = self.killed(life, cut, expected, way)
        if depth >= 2:
            return
        rng = Random(f"{self.seed} {way}")
        if rng.random() < (0.3 if self.kills else 3 * RECOVERIES):
            self.recovery(life, SimDisk.after_kill(cut), opening.sequence, expected, way)
        if rng.random() < (0.1 if self.kills else 3 * LIVES):
            self.again(life, SimDisk.after_kill(cut), opening, expected, depth, way)

    def killed(self, life: Life, cut: Cut, expected: Expected, way: str) -> Opening:
        """Judge what the death of the process leaves: nothing is lost that was written."""
        strict = Expected(
            expected.low if expected.power_lost else expected.high,
            expected.high,
            expected.timeline,
            expected.epoch,
            attempts_kept=not expected.power_lost,
        )
        disk = SimDisk.after_kill(cut, record=False)
        opening = judge(disk, self.options(life), strict, self.now_ns)
        self.count(opening, way)
        return opening

    def recovery(
        self, life: Life, disk: SimDisk, sequence: int, expected: Expected, way: str
    ) -> None:
        """A second crash, at each operation of the recovery from the first."""
        timeline = life.timeline.fork(sequence)
        disk.on_write = timeline.on_write
        inner = Expected(expected.low, expected.high, timeline, expected.epoch)
        opening = judge(disk, self.options(life), inner, self.now_ns)
        disk.on_write = None
        self.count(opening, f"{way}; recorded")
        for cut in disk.cuts:
            rng = Random(f"{self.seed} {way} {cut.index}")
            for state in crash_states(cut, rng, tears=3, subsets=1):
                left = SimDisk(state.image)
                again = judge(left, self.options(life), inner, self.now_ns)
                self.recoveries += 1
                self.count(again, f"{way}; then in recovery at {cut.what}: {state.label}")

    def again(
        self,
        life: Life,
        disk: SimDisk,
        opening: Opening,
        expected: Expected,
        depth: int,
        way: str,
    ) -> None:
        """A second life on what was left, and its crashes."""
        timeline = life.timeline.fork(opening.sequence)
        rng = Random(f"{self.seed} {way}; then another life")
        options = self.options(life)
        after = self.begin(disk, options, rng, Base(opening), timeline, rng.choice((3, 12, 40)))
        low, high = deepcopy((expected.low, expected.high))
        before = replace(expected, low=low, high=high, timeline=timeline)
        self.explore(after, before, depth + 1, f"{way}; then another life: ")

    def options(self, life: Life) -> LogOptions:
        """The life's options, with salts of their own."""
        return options_for(life.options, next(self._salts))

    def count(self, opening: Opening, way: str) -> None:
        """One more state was judged."""
        self.states += 1
        if opening.problems:
            self.problems += [f"{way}: {problem}" for problem in opening.problems[:5]]
            raise Enough
        if self.spent(self.states):
            raise Enough


def seeds(base: int) -> Iterator[int]:
    """Seeds from a base on."""
    return itertools.count(base)


__all__ = ["NEVER", "Facts", "Story", "seeds"]
