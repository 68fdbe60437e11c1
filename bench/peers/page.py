"""From results to ``docs/benchmarks-peers.md``."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median

from bench.peers.flushes import countable, flushes
from bench.peers.harness import Results
from bench.peers.model import Contender, Measured, Row, Settings
from bench.peers.rows import ROWS

PREFACE = """\
Written by `make bench-peers`; do not edit. In every row the producer, the server and the consumer
are three processes on one machine, talking over loopback TCP. The contenders took turns:
{rounds} rounds of {seconds:g} s each, medians, the spread in brackets; each turn on a fresh server
with an empty directory. Bodies have {size:,} bytes. A ratio is ours divided by the peer's. Compare
ratios, not machines.

What is true of a message when its put is acknowledged is named for each; a mode that does not sync
loses acknowledged messages when the power fails. What says that it syncs must be seen to flush the
device when one message is put at a time, or it does not count as such. Device flushes are counted
by the kernel for the whole device while the row ran, those for taking and settling too, and what
others did on it: the least of the rounds is shown.

The clients are Python, each the fastest that is known: hiredis with a protocol that pipelines what
tasks send in one turn of the loop, nats-py, asyncpg, aio-pika, a pipelining client of beanstalkd.
Choices favour the peers: acked entries stay in the streams of Valkey and NATS, one ack settles all
before it in NATS and RabbitMQ, Valkey's file is not rewritten during the run, PostgreSQL is asked
again every millisecond (woken by NOTIFY in the row about delivery), and one message at a time is
asked for in that row. posthouse leases each message, counts the attempt, and acks each.
"""
HEADER = (
    "| contender | on acknowledgement | {unit} | flushes per 1,000 | ours / theirs |\n"
    "|---|---|---|---|---|"
)
NEEDLESS_FACTS = ("warning", "SQLite", "others", "posthouse")
IDLE_S = 0.5
LEAST_FLUSHES_PER_1000 = 500.0


def idle_fact(directory: Path) -> dict[str, str]:
    """How often the device is flushed when nothing is measured."""
    device = countable(directory)
    before = flushes(device)
    time.sleep(IDLE_S)
    after = flushes(device)
    if before is None or after is None:
        return {"device flushes": "not counted: this device does not tell"}
    return {"device flushes before the run, by others": f"{(after - before) / IDLE_S:,.0f}/s"}


def syncs(contender: Contender, results: Results) -> bool | None:
    """Whether it syncs before it acknowledges; None when it says so and it was not seen.

    Seen is a flush for at least every second message when one is put at a time.
    """
    if not contender.mode.syncs:
        return False
    for row in ROWS:
        if row.produce != "singly":
            continue
        for turn in results.values.get((row.name, contender.name), []):
            counted = turn.flushes_per_1000
            if counted is not None and counted < LEAST_FLUSHES_PER_1000:
                return None
    return True


def best_of(row: Row, results: Results) -> tuple[Contender, float] | None:
    """The peer that ours is held against, and its median; None where there is no result."""
    found = [
        (contender, value)
        for contender in results.contenders
        if not contender.ours and (syncs(contender, results) or not row.among_syncing)
        if (value := value_of(row, contender, results)) is not None
    ]
    if not found:
        return None
    pick = min if row.unit == "us" else max
    return pick(found, key=lambda pair: pair[1])


def value_of(row: Row, contender: Contender, results: Results) -> float | None:
    """The median of its turns; None if one failed or there was none."""
    key = row.name, contender.name
    turns = results.values.get(key)
    if not turns or key in results.errors:
        return None
    return median(turn.value for turn in turns)


def verdict(row: Row, results: Results) -> tuple[str, str]:
    """The ratio to the best peer, and ``met``, ``missed`` or ``no result``."""
    ours = next((c for c in results.contenders if c.ours), None)
    value = value_of(row, ours, results) if ours else None
    best = best_of(row, results)
    if value is None or best is None:
        return "-", "no result"
    ratio = value / best[1]
    met = ratio <= row.goal if row.unit == "us" else ratio >= row.goal
    return f"{ratio:.2f}", "met" if met else "missed"


def markdown(
    rows: Sequence[Row], results: Results, facts: Mapping[str, str], settings: Settings
) -> str:
    """The whole page."""
    warning = [f"**{facts['warning']}**", ""] if "warning" in facts else []
    preface = PREFACE.format(
        rounds=settings.rounds, seconds=settings.seconds, size=settings.size_bytes
    )
    lines = ["# Benchmarks beside other servers", "", *warning, preface, *_goals(rows, results)]
    for row in rows:
        lines += ["", f"## {row.name}", "", f"{row.work[0].upper()}{row.work[1:]}.", ""]
        lines.append(HEADER.format(unit=row.unit))
        lines += [_line(row, contender, results) for contender in results.contenders]
    lines += ["", "## Not measured", ""]
    gone = [f"- {name}: {reason}" for name, reason in results.missing.items()]
    failed = [f"- {row}, {name}: {text}" for (row, name), text in results.errors.items()]
    lines += [*gone, *failed] or ["Nothing: everybody was."]
    lines += ["", "## The machine", "", "| what | value |", "|---|---|"]
    lines += [f"| {name} | {facts[name]} |" for name in facts if name not in NEEDLESS_FACTS]
    lines += [f"| {name} | {version} |" for name, version in results.versions.items()]
    return "\n".join([*lines, ""])


def _goals(rows: Sequence[Row], results: Results) -> list[str]:
    lines = [
        "| row | goal | ours | best peer | ratio | result | ratio to the best that syncs |",
        "|---|---|---|---|---|---|---|",
    ]
    ours = next((c for c in results.contenders if c.ours), None)
    for row in rows:
        whom = "best peer that syncs" if row.among_syncing else "best peer in any mode"
        sign = "<=" if row.unit == "us" else ">="
        best = best_of(row, results)
        value = value_of(row, ours, results) if ours else None
        shown = "no result" if value is None else f"{value:,.0f} {row.unit}"
        peer = "none" if best is None else f"{best[0].name}: {best[1]:,.0f} {row.unit}"
        ratio, result = verdict(row, results)
        goal = f"{sign} {row.goal:g} x the {whom}"
        alike = best_of(replace(row, among_syncing=True), results)
        like = (
            "-" if value is None or alike is None else f"{value / alike[1]:.2f} ({alike[0].name})"
        )
        lines.append(f"| {row.name} | {goal} | {shown} | {peer} | {ratio} | {result} | {like} |")
    return lines


def _line(row: Row, contender: Contender, results: Results) -> str:
    key = row.name, contender.name
    turns = results.values.get(key, [])
    value = value_of(row, contender, results)
    ours = next((c for c in results.contenders if c.ours), None)
    our_value = value_of(row, ours, results) if ours else None
    ratio = "-"
    if value and our_value is not None and not contender.ours:
        ratio = f"{our_value / value:.2f}"
    shown = "failed" if key in results.errors else _shown(turns)
    name = f"**{contender.name}**" if contender.ours else contender.name
    durability = contender.mode.durability
    if syncs(contender, results) is None:
        durability += " (it says; NOT SEEN on the device)"
    return f"| {name} | {durability} | {shown} | {_flushed(turns)} | {ratio} |"


def _shown(turns: Sequence[Measured]) -> str:
    if not turns:
        return "not run"
    values = [turn.value for turn in turns]
    spread = f" ({min(values):,.0f} to {max(values):,.0f})" if len(values) > 1 else ""
    return f"{median(values):,.0f}{spread}"


def _flushed(turns: Sequence[Measured]) -> str:
    counted = [turn.flushes_per_1000 for turn in turns]
    known = [count for count in counted if count is not None]
    # What others did in the meantime only adds to it.
    return f"{min(known):,.1f}" if known else "-"
