"""Cancel every call at every await: ``python -m tests.lab.schedule.cancel --scene get --at 1``."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tests.lab.schedule.broker_scenes import SCENES
from tests.lab.schedule.cancelling import ENDINGS, WHENS, Ending, Outcome, attack
from tests.lab.schedule.suspend import When
from tests.lab.schedule.world import Kind

MOST_SUSPENSIONS = 100


@dataclass(frozen=True)
class Shot:
    """One cancellation."""

    scene: str
    kind: Kind
    at: int
    when: When
    ending: Ending
    seed: int

    def fire(self) -> Outcome:
        """Play it."""
        return attack(SCENES[self.scene], self.kind, self.at, self.when, self.ending, self.seed)

    def command(self) -> str:
        """What replays it."""
        return (
            f"python -m tests.lab.schedule.cancel --scene {self.scene} --backend {self.kind} "
            f"--at {self.at} --when {self.when} --ending {self.ending} --seed {self.seed} --trace"
        )


def shots(scene: str, kind: Kind, seed: int) -> Iterator[tuple[Shot, Outcome]]:
    """Every cancellation of a scene, played: until the call has no more suspensions."""
    endings = ENDINGS if kind == "log" else ENDINGS[:1]
    for when in WHENS:
        for ending in endings:
            for at in range(1, MOST_SUSPENSIONS):
                shot = Shot(scene, kind, at, when, ending, seed)
                outcome = shot.fire()
                yield shot, outcome
                if not outcome.hit:
                    break


def main(arguments: list[str] | None = None) -> int:
    """0 if nothing broke."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.lab.schedule.cancel", description=__doc__
    )
    parser.add_argument("--scene", choices=sorted(SCENES), action="append")
    parser.add_argument("--backend", choices=["memory", "log"], action="append")
    parser.add_argument("--at", type=int)
    parser.add_argument("--when", choices=WHENS, default="waiting")
    parser.add_argument("--ending", choices=ENDINGS, default="stay")
    parser.add_argument("--seed", type=int, default=1, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds")
    parser.add_argument("--trace", action="store_true")
    given = parser.parse_args(arguments)
    started_s = time.monotonic()
    count = failures = 0
    for shot, outcome in _chosen(given):
        count += outcome.hit
        if given.trace:
            sys.stdout.write(outcome.history)
        if outcome.problems:
            failures += 1
            sys.stdout.write("\n  ".join([shot.command(), *outcome.problems]) + "\n")
    took_s = time.monotonic() - started_s
    sys.stdout.write(
        f"lab cancel: {count:,} cancellations in {took_s:.1f} s, {failures} failed "
        f"(seed base {given.seed})\n"
    )
    return 1 if failures else 0


def _chosen(given: argparse.Namespace) -> Iterator[tuple[Shot, Outcome]]:
    for seed in range(given.seed, given.seed + given.seeds):
        for scene in given.scene or sorted(SCENES):
            for kind in given.backend or ["memory", "log"]:
                if given.at is None:
                    yield from shots(scene, kind, seed)
                    continue
                shot = Shot(scene, kind, given.at, given.when, given.ending, seed)
                yield shot, shot.fire()


if __name__ == "__main__":
    sys.exit(main())
