"""A wall clock that is set back and forward, by a second or by ten years, at any time.

Within a life of the broker nothing may notice. Across lives ids and tokens grow all the same, no
lease or attempt is lost by it, and what is delayed is delivered in the end: it never waits for a
date that a wrong clock once showed.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from posthouse.journal.files import Files, RealFiles
from posthouse.model import NANOSECONDS
from tests.lab.process.faults import Fault, one_life
from tests.lab.process.ledger import Ledger
from tests.lab.process.queues import draw_rich
from tests.lab.process.scratch import scratch

YEAR_S: Final = 365.25 * 24 * 3600
JUMPS_S: Final = (1.0, 60.0, 3600.0, 24 * 3600.0, YEAR_S, 10 * YEAR_S)
MOST_LIVES: Final = 4
LONGEST_S: Final = 0.005
"""The longest delay, seconds: whatever the clock shows, the last life must see it end."""


class JumpyWall:
    """A wall clock that shows ``shift_s`` too much at first, and jumps whenever it is read.

    Attributes:
        jumps: how often it did.
    """

    def __init__(self, random: Random, shift_s: float) -> None:
        self._random = random
        self._shift_s = shift_s
        self.jumps = 0

    def __call__(self) -> int:
        """Nanoseconds since the epoch, by this clock."""
        now_ns = time.time_ns() + int(self._shift_s * NANOSECONDS)
        self._shift_s = draw_shift_s(self._random)
        self.jumps += 1
        return now_ns


def draw_shift_s(random: Random) -> float:
    """How wrong a clock is, seconds: from a second to ten years, fast or slow."""
    return random.choice(JUMPS_S) * random.choice((-1, 1)) * random.uniform(0.5, 1.0)


def run_clocks(seed: int) -> int:
    """A few lives on one log, each with a clock of its own; how many jumps that were.

    Raises:
        AssertionError: a promise was broken; the text has the seed and the trace.
    """
    random = Random(seed)
    ledger = Ledger(draw_rich(random))
    shifts: list[float] = []
    problems: list[str] = []
    with scratch() as directory:
        path = Path(directory) / "log"

        def live(name: str, shift_s: float, files: Files, last: bool = False) -> None:
            wall: Callable[[], int] = JumpyWall(random, shift_s)
            life_seed = random.getrandbits(32)
            found = one_life(
                path,
                life_seed,
                name,
                ledger,
                files,
                last=last,
                wall_ns=wall,
                longest_s=LONGEST_S,
                scope=name,
            )
            problems.extend(found)

        try:
            for life in range(random.randint(2, MOST_LIVES)):
                shifts.append(draw_shift_s(random))
                live(str(life), shifts[-1], draw_end(random))
            shifts.append(draw_shift_s(random))
            live("last", shifts[-1], RealFiles(), last=True)
            problems += ledger.problems()
        except Exception as error:
            problems.append(f"{type(error).__name__}: {error}")
    if problems:
        command = f"python -m tests.lab.process --part clocks --seed {seed}"
        lines = [f"seed {seed}: to replay: {command}", f"clocks off by {shifts} s"]
        raise AssertionError("\n".join([*lines, *problems, "trace:", ledger.history.to_text()]))
    return len(shifts)


def draw_end(random: Random) -> Files:
    """A disk on which the life ends well, or one that dies under it."""
    if random.random() < 0.5:
        return RealFiles()
    return Fault(random.randint(30, 90), errno.EIO, sticky=True).files()
