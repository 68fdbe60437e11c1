"""How ids and times are written in what the tools print."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from posthouse.model import NANOSECONDS


def id_text(number: int) -> str:
    """A message id as programs see it: 16 hex digits."""
    return f"{number:016x}"


def ids_text(ids: Sequence[int]) -> str:
    """Ids, sorted; those that follow one another as ``first..last``."""
    runs: list[tuple[int, int]] = []
    for number in sorted(ids):
        if runs and runs[-1][1] == number - 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    shown = [id_text(a) if a == b else f"{id_text(a)}..{id_text(b)}" for a, b in runs]
    return ", ".join(shown)


def time_text(at_ns: int) -> str:
    """A time in nanoseconds since 1970 as ISO 8601 in UTC, to the microsecond; "-" for 0."""
    if not at_ns:
        return "-"
    try:
        moment = datetime.fromtimestamp(at_ns // NANOSECONDS, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{at_ns} ns"
    micros = at_ns % NANOSECONDS // 1000
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{micros:06d}Z"


def counted(count: int, noun: str) -> str:
    """``1 group``, ``2,000 groups``."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")
