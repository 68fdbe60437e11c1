"""What the laboratory's tests share: a time budget, rotating seeds, and the counts they reach.

``LAB_SECONDS`` is the budget of a part in seconds (default 3, 12 in ``make test``), times the
part's share; ``LAB_SEED`` the first seed (default: drawn from the time, so that every run tries
others).
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field

import pytest

DEFAULT_SECONDS = 3.0
SEEDS_APART = 1_000_000
SHARES = {
    "disk": 6.0,
    "faults": 6.0,
    "fuzz": 8.0,
    "fuzz live": 0.5,
    "disk flips": 2.0,
    "kills": 2.0,
    "server kills": 2.0,
    "schedule": 2.0,
}
"""Parts that need more than the others for the counts that `docs/reliability.md` names."""

TIMEOUT_S = 900


@dataclass
class Part:
    """One named part's count, and the time it took."""

    started_s: float
    unit: str = "states"
    count: int = 0
    ended_s: float = 0.0


@dataclass
class Lab:
    """The budget, the seeds and the counts of one run.

    Attributes:
        seed_base: where seeds begin; count up from it.
    """

    seed_base: int
    budget_s: float
    parts: dict[str, Part] = field(default_factory=dict)

    def seconds(self, name: str) -> float:
        """How long a part may take, seconds; its clock starts now."""
        self.part(name)
        return self.budget_s * SHARES.get(name, 1.0)

    def part(self, name: str) -> Part:
        """A part's count."""
        part = self.parts.get(name)
        if part is None:
            part = self.parts[name] = Part(time.monotonic())
        return part

    def count(self, name: str, more: int, unit: str = "states") -> None:
        """A part tried so many more."""
        part = self.part(name)
        part.count += more
        part.unit = unit
        part.ended_s = time.monotonic()

    def lines(self) -> list[str]:
        """What each part reached, as sentences."""
        return [
            f"lab {name}: {part.count:,} {part.unit} in {part.ended_s - part.started_s:.1f} s "
            f"(seed base {self.seed_base})"
            for name, part in sorted(self.parts.items())
            if part.count
        ]


LAB = pytest.StashKey[Lab]()


def pytest_configure(config: pytest.Config) -> None:
    """Draw the seeds of this run."""
    given = os.environ.get("LAB_SEED")
    base = int(given) if given else time.time_ns() // 1_000_000 % 1_000_000 * SEEDS_APART
    config.stash[LAB] = Lab(base, float(os.environ.get("LAB_SECONDS", DEFAULT_SECONDS)))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A part takes its budget: the limit that other tests have is not for it."""
    for item in items:
        if "lab" in item.path.parts and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(TIMEOUT_S))


@pytest.fixture(scope="session")
def lab(pytestconfig: pytest.Config) -> Lab:
    """This run's budget, seeds and counts."""
    return pytestconfig.stash[LAB]


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Print what each part reached."""
    for line in config.stash[LAB].lines():
        terminalreporter.write_line(line)
