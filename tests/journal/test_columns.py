"""Columns in a checkpoint: as they were, and refused when they are not what they should be."""

from __future__ import annotations

from array import array

import pytest

from posthouse.journal.columns import BadRecord, packed, unpacked

ID = 1_800_000_000_000_000_000
COLUMNS = [
    array("Q", [7] * 9),
    array("Q", [ID + 3 * at for at in range(500)]),
    array("Q", [ID, ID + (1 << 40), ID + 1]),
    array("Q", [ID, 5, ID]),
    array("Q", [(1 << 64) - 1]),
    array("Q", [0, (1 << 64) - 1]),
    array("I", [5] * 100),
    array("I", [0, (1 << 32) - 1, 0]),
    array("B", [255, 0, 255]),
    array("B", [255]),
]


@pytest.mark.parametrize("column", COLUMNS, ids=str)
def test_they_come_back_and_nothing_else_does(column: array[int]) -> None:
    data, code, rows = packed(column), column.typecode, len(column)
    assert unpacked(data, code, rows) == column
    for damaged in (data[:-1], data + b"\0", b"", b"\3" + data[1:], b"\2" + data[1:]):
        with pytest.raises(BadRecord):
            unpacked(damaged, code, rows)
    with pytest.raises(BadRecord):
        unpacked(data, code, 0)
    if data[0]:
        with pytest.raises(BadRecord):
            unpacked(data, code, rows + 1)


def test_a_number_that_its_column_cannot_have_is_refused() -> None:
    with pytest.raises(BadRecord, match="cannot have"):
        unpacked(packed(array("Q", [256] * 3)), "B", 3)


def test_they_take_little_room() -> None:
    assert len(packed(array("Q", [ID] * 1_000))) == 9
    assert len(packed(array("Q", range(ID, ID + 1_000)))) < 4_100
