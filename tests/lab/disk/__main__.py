"""`python -m tests.lab.disk --seed N`: crash states on a simulated disk, from a seed."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.lab.disk.explore import Story


def main() -> int:
    """Explore seeds until the budget is spent or a problem is found."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.disk", description=__doc__)
    parser.add_argument("--seed", type=int, default=None, help="tell one seed's story")
    parser.add_argument("--base", type=int, default=int(time.time()), help="first seed of many")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--states", type=int, default=0, help="stop after so many (0: none)")
    options = parser.parse_args()
    # Every other open finds an unclean end, and says so.
    logging.getLogger("posthouse.log").setLevel(logging.ERROR)
    start = time.monotonic()
    until = start + options.seconds
    total = lives = recoveries = 0
    seed = options.base if options.seed is None else options.seed
    while True:
        story = Story(seed, spent=lambda states: time.monotonic() > until and options.seed is None)
        story.tell()
        total += story.states
        lives += story.lives
        recoveries += story.recoveries
        if story.problems:
            print(f"seed {seed}: {len(story.problems)} problems in state {story.states}")
            print("\n".join(story.problems[:10]))
            print(f"replay: python -m tests.lab.disk --seed {seed}")
            return 1
        seed += 1
        spent_s = time.monotonic() - start
        if options.seed is not None or spent_s > options.seconds:
            break
        if options.states and total >= options.states:
            break
    rate = total / spent_s
    print(
        f"lab disk: {total:,} states ({recoveries:,} in recovery) of {lives:,} lives "
        f"in {spent_s:.1f} s, {rate:,.0f} a second"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
