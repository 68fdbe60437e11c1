"""Columns of numbers that take no more room than they need, at C speed.

Where a record has one message, what is kept of it decides how much memory a message takes: so
a column whose numbers are all the same is that number, and ids are differences of 32 bits as long
as that is enough.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, repeat
from typing import Final, TypeAlias

Column: TypeAlias = "array[int] | int"
"""A number for each row; an int where it is the same for all."""

_LOW, _HIGH = (0, 1) if sys.byteorder == "little" else (1, 0)
_HALF_BITS: Final = 32


def shortened(column: Column) -> Column:
    """The same, as an int if that can be."""
    if isinstance(column, int) or not column or column[0] != column[-1]:
        return column
    same = array(column.typecode, [column[0]]) * len(column)
    return column[0] if same == column else column


def lengthened(column: Column, rows: int, typecode: str = "I") -> array[int]:
    """The same as an array of its own kind, which can grow; of an int so many."""
    return array(typecode, [column]) * rows if isinstance(column, int) else column


def each(column: Column) -> Iterable[int]:
    """Its numbers in order; of an int without end."""
    return repeat(column) if isinstance(column, int) else column


def sliced(column: Column, start: int, end: int) -> Column:
    """Of these rows."""
    return column if isinstance(column, int) else column[start:end]


def running(column: Column, rows: int) -> Sequence[int]:
    """For each of the rows the sum up to it, with it."""
    if isinstance(column, int):
        return range(column, column * (rows + 1), column) if column else [0] * rows
    return list(accumulate(column))


def narrowed(column: array[int]) -> tuple[int, array[int]]:
    """A base, and what is added to it for each number of a growing 64-bit column.

    That takes 32 bits where the upper halves are all the same, which costs next to nothing to see.
    """
    halves = array("I", column.tobytes())
    if not halves or halves[_HIGH] != halves[_HIGH - 2]:
        return 0, column
    return halves[_HIGH] << _HALF_BITS, halves[_LOW::2]


def halved(column: array[int]) -> array[int]:
    """A 64-bit column in 32 bits, if none of its numbers needs more."""
    halves = array("I", column.tobytes())
    return column if any(halves[_HIGH::2]) else halves[_LOW::2]
