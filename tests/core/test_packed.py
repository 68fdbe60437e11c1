"""Packed columns against plain lists."""

from __future__ import annotations

import random
from array import array
from itertools import accumulate, islice

import pytest

from posthouse.core.packed import (
    each,
    halved,
    lengthened,
    narrowed,
    running,
    shortened,
    sliced,
)


@pytest.mark.parametrize("seed", range(40))
def test_a_column_says_what_its_numbers_say(seed: int) -> None:
    rng = random.Random(seed)
    rows = rng.randrange(1, 30)
    numbers = [rng.choice((0, 1, 1, 7))] * rows
    if rng.random() < 0.5:
        numbers[rng.randrange(rows)] = rng.randrange(1 << 32)
    column = shortened(array("I", numbers))
    assert isinstance(column, int) == (len(set(numbers)) == 1)
    assert list(islice(each(column), rows)) == numbers
    assert list(lengthened(column, rows)) == numbers
    assert list(running(column, rows)) == list(accumulate(numbers))
    start = rng.randrange(rows)
    end = rng.randrange(start, rows) + 1
    assert list(islice(each(sliced(column, start, end)), end - start)) == numbers[start:end]


@pytest.mark.parametrize(
    ("numbers", "typecode"),
    [
        ([5], "I"),
        ([1 << 40, (1 << 40) + 3, (1 << 40) + (1 << 32) - 1], "I"),
        ([(1 << 32) - 1, 1 << 32], "Q"),
        ([3, (1 << 64) - 1], "Q"),
        ([], "Q"),
    ],
)
def test_ids_are_kept_by_what_they_differ(numbers: list[int], typecode: str) -> None:
    base, kept = narrowed(array("Q", numbers))
    assert [base + number for number in kept] == numbers
    assert kept.typecode == typecode


@pytest.mark.parametrize(
    ("numbers", "typecode"),
    [([0, (1 << 32) - 1], "I"), ([0, 1 << 32, 0], "Q"), ([(1 << 64) - 1, 0], "Q")],
)
def test_a_column_is_halved_where_none_of_its_numbers_needs_more(
    numbers: list[int], typecode: str
) -> None:
    kept = halved(array("Q", numbers))
    assert (kept.tolist(), kept.typecode) == (numbers, typecode)
