"""All of the laboratory for an hour: ``python -m tests.lab.soak [--minutes 60] [--jobs 2]``.

Each part's tests run again and again, with other seeds each time, until the part's share of the
time is used up; what they reached is added up and shown beside what the hour should reach. The
first failure of a part ends that part; its output has the seed and the command that replays it.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Final

REACHED: Final = re.compile(
    r"^lab (?P<name>.+?): (?P<count>[\d,]+) (?P<unit>.+?) in (?P<seconds>[\d.]+) s \(seed base",
    re.MULTILINE,
)


@dataclass(frozen=True, slots=True)
class Part:
    """What is run together.

    Attributes:
        name: for the command line.
        paths: given to pytest.
        share: of the time, relative to the others'.
        budgets: how many times over its tests use ``LAB_SECONDS``, about.
        environment: more than the usual.
    """

    name: str
    paths: tuple[str, ...]
    share: float
    budgets: float
    environment: tuple[tuple[str, str], ...] = ()


PARTS: Final = (
    Part("kills", ("tests/lab/process/test_kills.py",), 5, 2),
    Part("disk", ("tests/lab/disk",), 6, 14),
    Part("faults", ("tests/lab/process/test_faults.py",), 4, 6),
    Part("schedule", ("tests/lab/schedule", "tests/lab/history"), 4, 3),
    Part("fuzz", ("tests/lab/fuzz",), 4, 9),
    Part("server", ("tests/lab/process/test_server_kills.py",), 5, 2),
    Part("clocks", ("tests/lab/process/test_clocks.py",), 2, 1),
    Part(
        "others",
        (
            "tests/lab/process/test_ownership.py",
            "tests/lab/process/test_disk_full.py",
            "tests/lab/process/test_slow_disk.py",
            "tests/lab/process/test_descriptors.py",
        ),
        1,
        0.1,
    ),
    Part("planted", ("tests/lab/planted",), 3, 1, (("LAB_ALL", "1"),)),
)

GOALS: Final[Mapping[str, int]] = {
    "disk": 2_000_000,
    "disk flips": 1_000_000,
    "kills": 20_000,
    "faults": 200_000,
    "clocks": 100_000,
    "schedule": 100_000,
    "ownership": 1_000,
    "fuzz": 200_000_000,
    "fuzz live": 1_000_000,
    "server kills": 3_000,
}
"""What an hour should reach, by the name that a part counts under."""

RUN_SECONDS: Final = 120.0
"""About how long one run of pytest takes before the next begins with other seeds, at most."""


@dataclass(slots=True)
class Count:
    """What was reached under one name."""

    count: int = 0
    unit: str = ""
    seconds: float = 0.0


@dataclass(slots=True)
class Soak:
    """Everything that was reached so far, and what failed. Shared by the threads that run parts."""

    counts: dict[str, Count] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, output: str) -> None:
        """Add what one run of pytest printed."""
        with self.lock:
            for found in REACHED.finditer(output):
                entry = self.counts.setdefault(found["name"], Count())
                entry.count += int(found["count"].replace(",", ""))
                entry.unit = found["unit"]
                entry.seconds += float(found["seconds"])

    def fail(self, name: str, output: str) -> None:
        """A part failed."""
        with self.lock:
            self.failures.append(name)
            print(f"\n=== {name} failed\n{output}", flush=True)

    def run_part(self, part: Part, seconds: float) -> None:
        """Run a part until its time is up, or it fails."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            budget_s = max(1.0, min(left, RUN_SECONDS) / max(part.budgets, 1.0))
            done = subprocess.run(
                [sys.executable, "-m", "pytest", "-q", "--timeout", "0", *part.paths],
                env={**os.environ, "LAB_SECONDS": f"{budget_s:.1f}", **dict(part.environment)},
                capture_output=True,
                text=True,
                check=False,
            )
            self.add(done.stdout)
            if done.returncode:
                self.fail(part.name, done.stdout + done.stderr)
                return
            print(f"{part.name}: {max(0.0, end - time.monotonic()):.0f} s left", flush=True)


def table(counts: Mapping[str, Count]) -> str:
    """What was reached, as the Markdown that ``docs/reliability.md`` shows."""
    lines = ["| part | reached | goal of an hour | per second |", "|---|---|---|---|"]
    for name, entry in sorted(counts.items()):
        goal = GOALS.get(name)
        rate = entry.count / entry.seconds if entry.seconds else 0.0
        shown = "" if goal is None else f"{goal:,}"
        lines.append(f"| {name} | {entry.count:,} {entry.unit} | {shown} | {rate:,.0f} |")
    return "\n".join(lines)


def chosen(names: Iterable[str]) -> list[Part]:
    """The parts of these names; all, if there are none."""
    wanted = set(names)
    return [part for part in PARTS if not wanted or part.name in wanted]


def main() -> int:
    """Run the parts side by side and print the table; 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.lab.soak")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--part", action="append", choices=[p.name for p in PARTS], default=[])
    arguments = parser.parse_args()
    parts = chosen(arguments.part)
    jobs = min(arguments.jobs, len(parts))
    total_s = arguments.minutes * 60 * jobs
    shares = sum(part.share for part in parts)
    soak = Soak()
    started = time.monotonic()
    with ThreadPoolExecutor(jobs) as pool:
        for part in parts:
            pool.submit(soak.run_part, part, total_s * part.share / shares)
    print(f"\n{(time.monotonic() - started) / 60:.1f} minutes, {jobs} at a time\n")
    print(table(soak.counts))
    if soak.failures:
        print(f"\nfailed: {', '.join(soak.failures)}")
    return 1 if soak.failures else 0


if __name__ == "__main__":
    sys.exit(main())
