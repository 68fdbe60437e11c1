"""Columns of numbers, packed and unpacked at C speed."""

from __future__ import annotations

import sys
from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate, pairwise
from typing import TypeGuard

_SWAP = sys.byteorder == "big"


class BadRecord(Exception):
    """Bytes that are not a record. They passed a checksum, so this is damage or a bug."""


def _is(values: Iterable[int], typecode: str) -> TypeGuard[array[int]]:
    """Whether they are packed as they are to be; swapped they are in a copy only."""
    return not _SWAP and isinstance(values, array) and values.typecode == typecode


def u32s(values: Iterable[int]) -> bytes:
    """Pack as u32."""
    column = values if _is(values, "I") else array("I", values)
    if _SWAP:
        column.byteswap()
    return column.tobytes()


def u64s(values: Iterable[int]) -> bytes:
    """Pack as u64."""
    column = values if _is(values, "Q") else array("Q", values)
    if _SWAP:
        column.byteswap()
    return column.tobytes()


def read_u32s(data: bytes, start: int, count: int, end: int) -> tuple[Sequence[int], int]:
    """``count`` numbers from ``start``, and where they end.

    Raises:
        BadRecord: they would end beyond ``end``.
    """
    stop = start + 4 * count
    if stop > end:
        raise BadRecord("a column is cut short")
    column = array("I")
    column.frombytes(memoryview(data)[start:stop])
    if _SWAP:
        column.byteswap()
    return column, stop


def read_u64s(data: bytes, start: int, count: int, end: int) -> tuple[list[int], int]:
    """``count`` numbers from ``start``, and where they end.

    Raises:
        BadRecord: they would end beyond ``end``.
    """
    stop = start + 8 * count
    if stop > end:
        raise BadRecord("a column is cut short")
    column = array("Q")
    column.frombytes(memoryview(data)[start:stop])
    if _SWAP:
        column.byteswap()
    return column.tolist(), stop


def u64_column(data: bytes) -> array[int]:
    """All of it as u64 numbers, without a Python object for each.

    Raises:
        BadRecord: it is not a whole number of them.
    """
    return _column("Q", data)


def u32_column(data: bytes) -> array[int]:
    """The same of u32 numbers. Raises: as `u64_column`."""
    return _column("I", data)


def _column(typecode: str, data: bytes) -> array[int]:
    column = array(typecode)
    if len(data) % column.itemsize:
        raise BadRecord("a column is cut short")
    column.frombytes(data)
    if _SWAP:
        column.byteswap()
    return column


_WIDTHS = {"B": (1,), "I": (4,), "Q": (4, 8)}
_BASE_BYTES = 8


def packed(column: array[int]) -> bytes:
    """A column of u8, u32 or u64 in as few bytes as cost nothing to find.

    The width of its rows (1 byte), a number (8 bytes), and what each row has more than that: of
    width 0 all rows are the number; of a u64 column whose upper halves are all the same the number
    is that half, and the rows are 4 bytes wide.
    """
    if column[0] == column[-1] and column == array(column.typecode, [column[0]]) * len(column):
        return bytes([0]) + column[0].to_bytes(_BASE_BYTES, "little")
    base, width = 0, column.itemsize
    if column.typecode == "Q" and column[0] >> 32 == column[-1] >> 32:
        low, high = _halves(column)
        if high == array("I", [high[0]]) * len(high):
            base, width, column = high[0] << 32, 4, low
    if _SWAP:
        column = column[:]
        column.byteswap()
    return bytes([width]) + base.to_bytes(_BASE_BYTES, "little") + column.tobytes()


def unpacked(data: bytes, typecode: str, rows: int) -> array[int]:
    """The column of so many rows that `packed` made of one of this kind.

    Raises:
        BadRecord: it is not that.
    """
    width, base = data[0] if data else 0, int.from_bytes(data[1 : 1 + _BASE_BYTES], "little")
    if len(data) != 1 + _BASE_BYTES + width * rows or rows < 1:
        raise BadRecord("columns of unequal length")
    if not width:
        try:
            return array(typecode, [base]) * rows
        except OverflowError as error:
            raise BadRecord("a column with a number that it cannot have") from error
    if width not in _WIDTHS[typecode]:
        raise BadRecord("a column of another width")
    column = _column({1: "B", 4: "I", 8: "Q"}[width], data[1 + _BASE_BYTES :])
    if column.typecode == typecode:
        return column
    halves = array("I", [base >> 32]) * (2 * rows)
    halves[1 if _SWAP else 0 :: 2] = column
    return array("Q", halves.tobytes())


def _halves(column: array[int]) -> tuple[array[int], array[int]]:
    """The lower and the upper halves of a u64 column."""
    halves = array("I", column.tobytes())
    return (halves[1::2], halves[0::2]) if _SWAP else (halves[0::2], halves[1::2])


def read_blobs(data: bytes, start: int, sizes: Sequence[int], end: int) -> tuple[list[bytes], int]:
    """Pieces of the given sizes from ``start``, and where they end.

    Raises:
        BadRecord: they would end beyond ``end``.
    """
    ends = list(accumulate(sizes, initial=start))
    stop = ends[-1]
    if stop > end:
        raise BadRecord("the messages are cut short")
    return [data[a:b] for a, b in pairwise(ends)], stop


def is_run(ids: Sequence[int]) -> bool:
    """Whether the ids are consecutive and growing."""
    if isinstance(ids, range):
        return ids.step == 1
    first = ids[0]
    if ids[-1] - first != len(ids) - 1:
        return False
    return len(ids) == 1 or list(ids) == list(range(first, first + len(ids)))
