"""``python -m tests.lab.process --seed N [--count M] [--part kills|faults|clocks]``."""

from __future__ import annotations

import argparse
import time

from tests.lab.process import kills
from tests.lab.process.nursery import Nursery


def main() -> None:
    """Run so many seeds from one on, and say how many deaths that were."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.process")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--count", type=int, default=1)
    arguments = parser.parse_args()
    started = time.perf_counter()
    with Nursery() as nursery:
        count = kills.run_seeds(nursery, arguments.seed, arguments.count)
    print(f"{count:,} kills in {time.perf_counter() - started:.1f} s, all promises held")


if __name__ == "__main__":
    main()
