"""From outcomes to a table."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from bench.model import Outcome, Target

HEADER = (
    "| row | body | work | ours | reference | its durability | ratio | goal | result |\n"
    "|---|---|---|---|---|---|---|---|---|"
)
PREFACE = """\
Written by `make bench`; do not edit. All numbers of a row come from one run in which the
contenders take turns: {rounds} rounds of {seconds:g} s each (1 s for the slow ones), medians, the
spread in brackets. Rates are messages that were put, taken and settled, a second; `us` is the
median wait in microseconds. A ratio is ours divided by the reference's. Compare ratios, not
machines.

References that are not asynchronous are called in the loop's own thread with nothing between,
which favours them. `asyncio.Queue`, culsans and janus have no lease, id or ack; posthouse does all
three in every row. posthouse's own durability: in the rows with a log, a message is on disk before
`put` returns; a plain ack goes to disk with the next commit, and a crash before that delivers the
message again.
"""


@dataclass(frozen=True)
class Line:
    """One comparison, ready to be shown."""

    row: str
    size: str
    work: str
    ours: str
    reference: str
    durability: str
    ratio: str
    goal: str
    result: str

    def markdown(self) -> str:
        """As a row of the table."""
        return (
            f"| {self.row} | {self.size} | {self.work} | {self.ours} | {self.reference} "
            f"| {self.durability} | {self.ratio} | {self.goal} | {self.result} |"
        )


def lines_of(outcome: Outcome) -> list[Line]:
    """One line for each target of the row; the first one names the work."""
    row = outcome.row
    size = f"{outcome.size_bytes:,} B"
    lines = []
    for index, target in enumerate(row.targets):
        name = target.reference.name if target.reference else "a limit"
        ratio = _ratio(outcome, target)
        lines.append(
            Line(
                row=row.name,
                size=size,
                work=row.work if index == 0 else "",
                ours=_value(outcome, row.ours.name),
                reference=name if target.reference is None else f"{name}: {_value(outcome, name)}",
                durability=target.reference.durability if target.reference else "",
                ratio="-" if ratio is None or target.reference is None else f"{ratio:.2f}",
                goal=_goal(outcome, target),
                result=_result(outcome, target, ratio),
            )
        )
    return lines


def _value(outcome: Outcome, name: str) -> str:
    if name in outcome.errors:
        return "failed"
    values = outcome.values.get(name)
    if not values:
        return "not run"
    spread = f" ({min(values):,.0f} to {max(values):,.0f})" if len(values) > 1 else ""
    return f"{median(values):,.0f} {outcome.row.unit}{spread}"


def _ratio(outcome: Outcome, target: Target) -> float | None:
    ours = outcome.values.get(outcome.row.ours.name)
    if not ours or outcome.row.ours.name in outcome.errors:
        return None
    if target.reference is None:
        return median(ours)
    theirs = outcome.values.get(target.reference.name)
    if not theirs or target.reference.name in outcome.errors:
        return None
    return median(ours) / median(theirs)


def _goal(outcome: Outcome, target: Target) -> str:
    sign = "<=" if outcome.row.unit == "us" else ">="
    parts = []
    if target.goal is not None:
        unit = "x" if target.reference is not None else f" {outcome.row.unit}"
        parts.append(f"{sign} {target.goal:,g}{unit}")
    if target.floor is not None:
        parts.append(f"floor {target.floor:g}x")
    return ", ".join(parts) or "reported"


def _result(outcome: Outcome, target: Target, ratio: float | None) -> str:
    if ratio is None:
        return "no result"
    # With less-is-better, turn both around, so that more is better below.
    flip = -1.0 if outcome.row.unit == "us" else 1.0
    if target.floor is not None and flip * ratio < flip * target.floor:
        return "UNDER THE FLOOR"
    if target.goal is None:
        return "reported" if target.floor is None else "above the floor"
    return "met" if flip * ratio >= flip * target.goal else "missed"


def markdown(outcomes: list[Outcome], facts: dict[str, str], seconds: float, rounds: int) -> str:
    """The whole page."""
    table = [line.markdown() for outcome in outcomes for line in lines_of(outcome)]
    shown = [f"| {name} | {value} |" for name, value in facts.items() if name != "warning"]
    failures = [
        f"- {outcome.row.name}, {name}: {text}"
        for outcome in outcomes
        for name, text in outcome.errors.items()
    ]
    busy = [f"**{facts['warning']}**", ""] if "warning" in facts else []
    parts = [
        "# Benchmarks",
        "",
        *busy,
        PREFACE.format(rounds=rounds, seconds=seconds),
        HEADER,
        *table,
        "",
        "## The machine",
        "",
        "| what | value |",
        "|---|---|",
        *shown,
        "",
    ]
    if failures:
        parts += ["## Failures", "", *failures, ""]
    return "\n".join(parts)
