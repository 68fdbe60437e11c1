"""Run seeded schedules: ``python -m tests.lab.schedule --seed 7 --backend log --trace``."""

from __future__ import annotations

import argparse
import sys
import time

from tests.lab.schedule.run import run_seed
from tests.lab.schedule.world import Kind


def main(arguments: list[str] | None = None) -> int:
    """0 if every seed held its promises."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.schedule", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--seconds", type=float, help="run for so long instead")
    parser.add_argument("--backend", choices=["memory", "log", "both"], default="both")
    parser.add_argument("--trace", action="store_true", help="print the history")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at a failure")
    given = parser.parse_args(arguments)
    kinds: list[Kind] = ["memory", "log"] if given.backend == "both" else [given.backend]
    started_s = time.monotonic()
    count = failures = turns = 0
    seed = given.seed
    while True:
        for kind in kinds:
            result = run_seed(seed, kind)
            count += 1
            turns += result.turns
            if given.trace:
                sys.stdout.write(result.history)
            if result.problems:
                failures += 1
                sys.stdout.write(result.report() + "\n")
                if not given.keep_going:
                    return 1
        seed += 1
        took_s = time.monotonic() - started_s
        done = (
            took_s >= given.seconds
            if given.seconds is not None
            else seed >= given.seed + given.seeds
        )
        if done:
            break
    sys.stdout.write(
        f"lab schedule: {count:,} schedules ({turns:,} turns) in {took_s:.1f} s, "
        f"{failures} failed (seed base {given.seed})\n"
    )
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
