"""Rows put in groups and in order, by slices and one by one: as `sorted` does it."""

from __future__ import annotations

import random

import pytest

from posthouse.core.places import Columns, Placed, columns_of, rows_of
from posthouse.core.sorting import in_groups, without

START = 1_800_000_000_000_000_000
SHAPES = ("batches", "singles", "delayed", "mixed", "ranked")
DELAYED = -1


def _level(priority: int, delayed: bool) -> int:
    return DELAYED if delayed else priority // 2


def _part(rng: random.Random, shape: str, start: int, rows: int) -> list[Placed]:
    found: list[Placed] = []
    at = start
    while len(found) < rows:
        alike = rng.randrange(20, 90) if shape in ("batches", "delayed") else 1
        priority = rng.randrange(6)
        late = shape == "delayed" or (shape == "mixed" and rng.random() < 0.5)
        due_ns = START * 2 + rng.randrange(50) if late else 0
        for _ in range(alike):
            at += rng.randrange(1, 3)
            rank = at + rng.randrange(1 << 40) if shape == "ranked" else at
            size = rng.randrange(1_000)
            found.append(Placed(due_ns or rank, rank, at, 3, at % 777, 8, size, at * 2, priority))
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("seed", range(6))
def test_groups_are_in_order_and_have_all_rows(shape: str, seed: int) -> None:
    rng = random.Random(seed)
    starts = [START + part * 1_000_000 for part in range(3)]
    if seed % 2:
        rng.shuffle(starts)
    rows = [_part(rng, shape, start, rng.randrange(1, 1_500)) for start in starts]
    expected: dict[int, list[Placed]] = {}
    for row in sorted(row for part in rows for row in part):
        expected.setdefault(_level(row.priority, row.key != row.rank), []).append(row)
    parts: list[Columns] = [columns_of(part) for part in [*rows, []]]
    found = {
        group: [row for part in each for row in rows_of(part)]
        for group, each in in_groups(parts, _level)
    }
    assert found == expected
    assert not parts


@pytest.mark.parametrize("seed", range(6))
def test_what_is_left_without_some_rows(seed: int) -> None:
    rng = random.Random(seed)
    rows = _part(rng, "mixed", START, 500)
    one_by_one = bytearray(rng.choice((0, 1)) for _ in rows)
    stretches = bytearray(len(rows))
    stretches[100:200] = b"\1" * 100
    for out in (one_by_one, stretches, bytes(len(rows)), b"\1" * len(rows)):
        left = list(rows_of(without(columns_of(rows), out)))
        assert left == [row for row, gone in zip(rows, out, strict=True) if not gone]
