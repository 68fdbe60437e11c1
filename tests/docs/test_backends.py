"""docs/backends.md is current: its table says what the backends declare and what the suite has."""

from __future__ import annotations

import subprocess
import sys

import pytest

from posthouse.model import CAPABILITIES
from tests.docs import backends


@pytest.fixture(scope="module")
def page() -> str:
    return backends.PAGE.read_text()


def test_every_capability_has_a_row(page: str) -> None:
    assert backends.rows_of(page).keys() == CAPABILITIES | {"the whole suite"}


@pytest.mark.parametrize("column", backends.COLUMNS, ids=lambda column: column.name)
def test_cells_agree_with_what_is_declared(page: str, column: backends.Column) -> None:
    rows = backends.rows_of(page)
    at = backends.COLUMNS.index(column)
    shown = {name for name in CAPABILITIES if rows[name][at].startswith("yes")}
    assert shown == backends.declared(column), "run `make backends`"
    assert not shown & column.cannot.keys()
    assert shown | column.cannot.keys() == CAPABILITIES, "a capability it could have is missing"


def test_no_cell_fails(page: str) -> None:
    for name, cells in backends.rows_of(page).items():
        assert not any("**" in cell for cell in cells), f"{name}: {cells}"


@pytest.mark.parametrize("column", backends.COLUMNS, ids=lambda column: column.name)
def test_the_suite_is_the_one_that_was_run(page: str, column: backends.Column) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", column.node],
        cwd=backends.ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    count = sum(line.startswith("tests/") for line in listed.stdout.splitlines())
    cell = backends.rows_of(page)["the whole suite"][backends.COLUMNS.index(column)]
    numbers = [int(part.split()[0]) for part in cell.split(", ")]
    assert sum(numbers) == count, "the contract has other tests by now: run `make backends`"
    assert numbers[1] == 0


def test_cells_can_fail() -> None:
    memory = backends.COLUMNS[0]
    notes: backends.Notes = [("one", "passed", ["keys"]), ("two", "failed", ["keys", "ttl"])]
    assert backends.cell(memory, "keys", notes) == "**1 of 2 fail**"
    assert backends.cell(memory, "delay", [("three", "passed", ["delay"])]) == "yes (1)"
    assert backends.cell(memory, "durable", notes) == "no: gone with its process"
    lacking = backends.Column("m", "memory:", "", {})
    assert backends.cell(lacking, "durable", notes) == "**missing**"
