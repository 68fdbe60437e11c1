"""The words of a benchmark: a row compares one contender of ours with its references."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

Unit = Literal["messages/s", "us"]


@dataclass(frozen=True)
class Job:
    """What a contender is asked to do once.

    Attributes:
        size_bytes: the length of each body.
        seconds: how long to keep going.
        directory: an empty directory of its own on the disk that is measured.
    """

    size_bytes: int
    seconds: float
    directory: Path

    @property
    def body(self) -> bytes:
        """One body; every message has the same."""
        return b"x" * self.size_bytes


@dataclass(frozen=True)
class Contender:
    """Somebody who does a row's work.

    Attributes:
        name: as shown.
        durability: when a message is on disk, in a few words.
        work: does it once, on a fresh event loop, and returns a number in the row's unit.
        slow: its number settles quickly or it is far behind: one second a round is enough.
    """

    name: str
    durability: str
    work: Callable[[Job], Awaitable[float]]
    slow: bool = False


@dataclass(frozen=True)
class Target:
    """What ours is held against.

    Attributes:
        reference: whom to compare with; ``None`` for a limit in the row's own unit.
        goal: the ratio ours / reference (or the limit itself) to reach; ``None`` to report only.
        floor: under it the work stops until it is understood.
    """

    reference: Contender | None
    goal: float | None = None
    floor: float | None = None


@dataclass(frozen=True)
class Row:
    """One line of the table of goals.

    Attributes:
        name: ``D2``, with what tells it from its siblings: ``D2 (100)``.
        work: what is done, for the reader.
        unit: ``messages/s`` (more is better) or ``us`` (the median wait; less is better).
    """

    name: str
    work: str
    unit: Unit
    ours: Contender
    targets: tuple[Target, ...]

    @property
    def family(self) -> str:
        """``D2`` of ``D2 (100)``: what ``--rows`` names."""
        return self.name.split()[0]

    def contenders(self) -> list[Contender]:
        """Ours first, then each reference once."""
        found = [self.ours]
        for target in self.targets:
            if target.reference is not None and target.reference not in found:
                found.append(target.reference)
        return found


@dataclass
class Outcome:
    """What a row gave: the values of every round by contender's name, and what went wrong."""

    row: Row
    size_bytes: int
    values: dict[str, list[float]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
