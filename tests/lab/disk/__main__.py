"""`python -m tests.lab.disk --seed N`: crash states on a simulated disk, from a seed."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterable
from random import Random

from tests.lab.disk.damage import bad_sectors, bit_flips, subject
from tests.lab.disk.explore import Story
from tests.lab.disk.saga import saga
from tests.lab.disk.tails import torn_tails


def main() -> int:
    """Explore seeds until the budget is spent or a problem is found; 1 if one was."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.disk", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell one seed's story")
    parser.add_argument("--base", type=int, default=int(time.time()), help="first seed of many")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--saga", type=int, help="follow one way through several lives")
    parser.add_argument("--sagas", action="store_true", help="ways through several lives")
    parser.add_argument("--damage", type=int, help="flip bits and spoil sectors of a seed's logs")
    parser.add_argument("--faults", action="store_true", help="a sync fails in every story")
    parser.add_argument("--kills", action="store_true", help="killed processes, used again")
    parser.add_argument("--churn", action="store_true", help="programs that keep nothing")
    parser.add_argument("--sync", choices=["commit", "interval", "os"], help="in every story")
    parser.add_argument("--tail", type=int, help="tear a tail of so many bytes everywhere")
    options = parser.parse_args()
    # Every other opening finds an unclean end, and says so.
    logging.getLogger("posthouse.log").setLevel(logging.ERROR)
    until = time.monotonic() + options.seconds
    if options.tail is not None:
        replay = f"python -m tests.lab.disk --tail {options.tail}"
        return _judged("tails", torn_tails(options.tail), replay)
    if options.damage is not None:
        return max(_damage(options.damage, closed, options.seconds / 2) for closed in (True, False))
    if options.saga is not None:
        return _sagas([options.saga], 0.0)
    if options.sagas:
        return _sagas(range(options.base, 1 << 62), until)
    if options.seed is not None:
        return _stories([options.seed], 0.0, options)
    return _stories(range(options.base, 1 << 62), until, options)


def _stories(seeds: Iterable[int], until: float, options: argparse.Namespace) -> int:
    started = time.monotonic()
    states = recoveries = lives = 0
    for seed in seeds:
        story = Story(seed, lambda _: 0 < until < time.monotonic())
        story.faults, story.kills, story.churn = options.faults, options.kills, options.churn
        story.sync = options.sync
        story.tell()
        states += story.states
        recoveries += story.recoveries
        lives += story.lives
        if story.problems:
            print("\n".join(story.problems[:10]))
            more = " --faults" * options.faults + " --kills" * options.kills
            more += " --churn" * options.churn
            more += f" --sync {options.sync}" if options.sync else ""
            print(f"replay: python -m tests.lab.disk --seed {seed}{more}")
            return 1
        if time.monotonic() > until:
            break
    spent_s = time.monotonic() - started
    print(
        f"lab disk: {states:,} states ({recoveries:,} in a recovery) of {lives:,} lives "
        f"in {spent_s:.1f} s, {states / spent_s:,.0f} a second"
    )
    return 0


def _sagas(seeds: Iterable[int], until: float) -> int:
    started = time.monotonic()
    total = 0
    for seed in seeds:
        problems, history, lives = saga(seed)
        total += lives
        if problems:
            print(history.to_text() + "\n".join(problems[:10]))
            print(f"replay: python -m tests.lab.disk --saga {seed}")
            return 1
        if time.monotonic() > until:
            break
    print(f"lab disk lives: {total:,} in {time.monotonic() - started:.1f} s")
    return 0


def _damage(seed: int, closed: bool, seconds: float) -> int:
    until = time.monotonic() + seconds
    damaged = subject(seed, closed=closed, least_bytes=3000)
    flips = bit_flips(damaged, lambda: time.monotonic() > until, Random(seed))
    sectors = bad_sectors(damaged, Random(seed))
    replay = f"python -m tests.lab.disk --damage {seed}"
    return max(_judged("sectors", sectors, replay), _judged("flips", flips, replay))


def _judged(name: str, judged: Iterable[tuple[str, list[str]]], replay: str) -> int:
    started, count = time.monotonic(), 0
    for what, problems in judged:
        count += 1
        if problems:
            print(f"{what}: {problems}")
            print(f"replay: {replay}")
            return 1
    print(f"lab disk {name}: {count:,} in {time.monotonic() - started:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
