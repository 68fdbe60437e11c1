"""Where the time goes on our side of a row."""

from __future__ import annotations

import cProfile
import pstats
from pathlib import Path

from bench.measure import LoopFactory, run_once
from bench.model import Row

SHOWN = 30


def run(row: Row, seconds: float, base: Path, factory: LoopFactory) -> None:
    """Run it under cProfile and print the functions that took most, each without its callees.

    cProfile sees the loop's thread only (a writer thread's time shows as waiting), and makes
    small Python functions look dearer than they are: compare shares, not seconds.
    """
    profiler = cProfile.Profile()
    with profiler:
        value = run_once(row.ours, 1024, seconds, base, factory)
    print(f"{row.name}: {value:,.0f} {row.unit} while profiled")
    stats = pstats.Stats(profiler)
    stats.strip_dirs().sort_stats("tottime").print_stats(SHOWN)
