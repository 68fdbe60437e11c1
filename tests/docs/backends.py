"""Writes the table of capabilities into docs/backends.md, from runs of the contract suite.

``python -m tests.docs.backends`` (``make backends``). A cell says what the suite saw, held against
what the design expects: a capability that a backend could have and does not declare is *missing*,
one that is declared and whose tests fail *fails*.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import posthouse
from posthouse.model import CAPABILITIES

ROOT: Final = Path(__file__).resolve().parent.parent.parent
PAGE: Final = ROOT / "docs" / "backends.md"
BEGIN: Final = "<!-- capabilities: written by `make backends`; do not edit -->"
END: Final = "<!-- end of capabilities -->"

PLANNED: Final = "planned"
"""Nobody has it yet."""


@dataclass(frozen=True)
class Column:
    """A backend: its name in the table, a URL that declares, its test, and what it cannot have."""

    name: str
    url: str
    node: str
    cannot: dict[str, str]


COLUMNS: Final = (
    Column(
        "memory",
        "memory:",
        "tests/api/test_memory.py::TestMemory",
        {
            "durable": "gone with its process",
            "processes": "lives in one process",
            "cluster": "lives in one process",
            "requests": PLANNED,
        },
    ),
    Column(
        "log",
        "./data",
        "tests/api/test_log.py::TestLog",
        {
            "processes": "one process has the directory",
            "cluster": "one machine's disk",
            "requests": PLANNED,
        },
    ),
    Column(
        "sqlite",
        "sqlite:///q.db",
        "tests/api/test_contract_sqlite.py::TestSqlite",
        {
            "nowait": "every answer is a commit",
            "cluster": "one machine's file",
            "requests": PLANNED,
        },
    ),
    Column(
        "server",
        "tcp://127.0.0.1:7333",
        "tests/api/test_contract_remote.py::TestTcp",
        {
            "nowait": "every answer is the server's",
            "cluster": "one server",
            "requests": PLANNED,
        },
    ),
)

Notes = list[tuple[str, str, list[str]]]


def run(column: Column) -> Notes:
    """Run the contract on a backend."""
    with tempfile.TemporaryDirectory() as directory:
        notes = Path(directory) / "notes.json"
        environment = {**os.environ, "CAPABILITY_NOTES": str(notes)}
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "tests.docs.capabilities", column.node],
            cwd=ROOT,
            env=environment,
            check=False,
            stdout=sys.stderr,
        )
        return [(name, outcome, asked) for name, outcome, asked in json.loads(notes.read_text())]


def declared(column: Column) -> frozenset[str]:
    """What the backend says it has; nothing is opened."""
    return posthouse.open(column.url).capabilities


def cell(column: Column, capability: str, notes: Notes) -> str:
    """What the suite saw of a capability."""
    reason = column.cannot.get(capability)
    if capability not in declared(column):
        return f"no: {reason}" if reason else "**missing**"
    if reason:
        return f"**declared, though {reason}**"
    tests = [outcome for _, outcome, asked in notes if capability in asked]
    failed = tests.count("failed")
    if failed:
        return f"**{failed} of {len(tests)} fail**"
    passed = tests.count("passed")
    return f"yes ({passed})" if passed else "yes"


def table(notes: dict[str, Notes]) -> list[str]:
    """The table, and below it what holds for all tests."""
    lines = ["| capability | " + " | ".join(f"`{column.url}`" for column in COLUMNS) + " |"]
    lines.append("|---|" + "---|" * len(COLUMNS))
    for capability in sorted(CAPABILITIES):
        cells = [cell(column, capability, notes[column.name]) for column in COLUMNS]
        lines.append(f"| `{capability}` | " + " | ".join(cells) + " |")
    totals = []
    for column in COLUMNS:
        outcomes = [outcome for _, outcome, _ in notes[column.name]]
        passed, failed = outcomes.count("passed"), outcomes.count("failed")
        skipped = outcomes.count("skipped")
        totals.append(f"{passed} passed, {failed} failed, {skipped} not for it")
    lines.append("| **the whole suite** | " + " | ".join(totals) + " |")
    return lines


def written(page: str, lines: list[str]) -> str:
    """The page with its table."""
    block = "\n".join([BEGIN, "", *lines, "", END])
    pattern = re.compile(re.escape(BEGIN) + ".*?" + re.escape(END), re.DOTALL)
    return pattern.sub(lambda _: block, page)


def rows_of(page: str) -> dict[str, list[str]]:
    """The cells that a page has, by the row's name."""
    block = page.partition(BEGIN)[2].partition(END)[0]
    rows = [line.strip("| ").split(" | ") for line in block.splitlines() if line.startswith("|")]
    return {row[0].strip("`* "): row[1:] for row in rows[2:]}


def main() -> int:
    """Run everything and write the page; 1 if a cell fails."""
    notes = {column.name: run(column) for column in COLUMNS}
    lines = table(notes)
    PAGE.write_text(written(PAGE.read_text(), lines))
    bad = [line for line in lines if "**" in line and "whole suite" not in line]
    print("\n".join(bad or ["docs/backends.md is written; every cell is as expected"]))
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
