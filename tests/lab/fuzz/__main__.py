"""``python -m tests.lab.fuzz --seed N [--target NAME] [--count M | --seconds S]``."""

from __future__ import annotations

import argparse
import time

from tests.lab.fuzz.live import run_live
from tests.lab.fuzz.run import run_target
from tests.lab.fuzz.targets import TARGETS

LIVE = "live"
"""The server on real sockets; ``--count`` is of connections."""


def main() -> None:
    """Fuzz the targets (or one) from a seed, and say how many inputs that were."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.fuzz")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--target", choices=[*sorted(TARGETS), LIVE])
    parser.add_argument("--count", type=int, default=1 << 62)
    parser.add_argument("--seconds", type=float, default=10.0)
    arguments = parser.parse_args()
    for name in [arguments.target] if arguments.target else [*TARGETS, LIVE]:
        started = time.perf_counter()
        if name == LIVE:
            live = run_live(arguments.seed, arguments.seconds, arguments.count)
            print(
                f"{name}: {live.messages:,} messages in {time.perf_counter() - started:.1f} s; of "
                f"the connections {live.answered:,} were answered to the end, {live.refused:,} "
                "refused"
            )
            continue
        count = run_target(name, arguments.seed, arguments.seconds, arguments.count)
        print(f"{name}: {count:,} inputs in {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
