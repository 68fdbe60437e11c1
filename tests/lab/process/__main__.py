"""``python -m tests.lab.process --seed N [--part NAME] [--count M] [--call C]``.

``--part``: kills (the default), faults, clocks or race. ``--count``: seeds from N on (for
``race``: rounds; for ``faults``: cases of seed N). ``--call``: only faults at this call.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import time
from pathlib import Path

from tests.lab.process import clocks, faults, kills, race
from tests.lab.process.nursery import Nursery


def run_kills(seed: int, count: int, call: int | None) -> int:
    """Kills."""
    with Nursery() as nursery:
        return kills.run_seeds(nursery, seed, count)


def run_faults(seed: int, count: int, call: int | None) -> int:
    """Faults: so many of the seed's cases, or all at one call."""
    cases = faults.cases(seed, call)
    if call is None:
        cases = cases[:count]
    for fault in cases:
        faults.run_fault(seed, fault)
    return len(cases)


def run_clocks(seed: int, count: int, call: int | None) -> int:
    """Clock jumps."""
    return sum(clocks.run_clocks(number) for number in range(seed, seed + count))


def run_race(seed: int, count: int, call: int | None) -> int:
    """Races for the ownership; the seed does not matter."""
    with tempfile.TemporaryDirectory(prefix="posthouse-lab-") as directory:
        race.run_race(Path(directory), count)
    return count


PARTS = {"kills": run_kills, "faults": run_faults, "clocks": run_clocks, "race": run_race}


def main() -> None:
    """Run a part, and say how much that was."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.process")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=1)
    parser.add_argument("--part", choices=sorted(PARTS), default="kills")
    parser.add_argument("--call", type=int)
    arguments = parser.parse_args()
    logging.getLogger("posthouse").setLevel(logging.ERROR)
    started = time.perf_counter()
    count = PARTS[arguments.part](arguments.seed, arguments.count, arguments.call)
    seconds = time.perf_counter() - started
    print(f"{arguments.part}: {count:,} in {seconds:.1f} s, every promise was held")


if __name__ == "__main__":
    main()
