"""The tests that are meant to notice a planted bug, with seeds that do."""

from __future__ import annotations

from typing import Final

from tests.lab.planted.plant import Command

# Only what is not caught takes so long.
_SECONDS = ("--seconds", "90")
DISK: Final[Command] = ("-m", "tests.lab.disk", "--base", "1", *_SECONDS)
KILLS: Final[Command] = ("-m", "tests.lab.disk", "--base", "1", "--kills", *_SECONDS)
CHURN: Final[Command] = ("-m", "tests.lab.disk", "--base", "1", "--churn", *_SECONDS)
BURSTS: Final[Command] = ("-m", "tests.lab.disk", "--base", "14", *_SECONDS)
FAULTS: Final[Command] = ("-m", "tests.lab.disk", "--base", "1", "--faults", *_SECONDS)
WEAK: Final[Command] = ("-m", "tests.lab.disk", "--base", "1", "--sync", "interval", *_SECONDS)
LIVES: Final[Command] = ("-m", "tests.lab.disk", "--base", "1", "--sagas", "--seconds", "10")
DAMAGE: Final[Command] = ("-m", "tests.lab.disk", "--damage", "1", "--seconds", "10")
PROCESSES: Final[Command] = ("-m", "tests.lab.process", "--seed", "1", "--count", "150")
SCHEDULE: Final[Command] = ("-m", "tests.lab.schedule", "--seed", "1", "--seconds", "10")


def by_pytest(*arguments: str) -> Command:
    """Tests of one file."""
    return ("-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *arguments)
