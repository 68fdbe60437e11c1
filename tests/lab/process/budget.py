"""Seeds until the time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Protocol


class LabLike(Protocol):
    """What of the fixture ``lab`` is used here (see ``tests/lab/conftest.py``)."""

    seed_base: int

    def seconds(self, name: str) -> float:
        """How long a part may take."""
        ...

    def count(self, name: str, more: int, unit: str = "states") -> None:
        """A part tried so many more."""
        ...


def seeds(first: int, seconds: float) -> Iterator[int]:
    """Seeds from ``first`` on, at least one, until so many seconds have gone by."""
    end = time.monotonic() + seconds
    yield first
    while time.monotonic() < end:
        first += 1
        yield first


def run_seeds(lab: LabLike, name: str, unit: str, step: Callable[[int], int]) -> None:
    """Run ``step(seed)`` for seed after seed in a part's time, and count what it says it tried."""
    for seed in seeds(lab.seed_base, lab.seconds(name)):
        lab.count(name, step(seed), unit)
