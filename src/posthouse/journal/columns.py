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
