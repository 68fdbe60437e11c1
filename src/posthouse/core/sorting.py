"""Putting rows of `places` in order, millions at an opening: by slices wherever that can be.

What stands together in the log was mostly put together, and is alike: so rows are taken by
*stretches* of one level, or one key, and only where those are short one by one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain, compress, groupby, islice, pairwise
from operator import itemgetter, lt, ne
from typing import Final, TypeAlias

from posthouse.core.places import ID, KEY, PRIORITY, RANK, Columns

SHORT: Final = 8
"""Stretches of fewer rows than this, on average, are not worth nine slices each."""

LARGE: Final = 8 * 1024
"""Parts of fewer rows, on average, are made one."""

Stretch: TypeAlias = "tuple[int, int]"
"""Rows from the first to before the second."""

_Piece: TypeAlias = "tuple[int, int, int, int, int, int]"
"""(key, first rank, last rank, which part, and its rows from there to before there)."""

GroupOf: TypeAlias = "Callable[[int, bool], int]"
"""The group of rows with a priority that are delayed (their keys are not their ranks), or not."""


def without(columns: Columns, out: bytes | bytearray) -> Columns:
    """Those rows for which ``out`` has a 0; it has a 0 or a 1 for each."""
    if 1 not in out:
        return columns
    found: list[Stretch] = []
    at = out.find(0)
    while at >= 0 and len(found) * SHORT < len(out):
        end = out.find(1, at)
        end = len(out) if end < 0 else end
        found.append((at, end))
        at = out.find(0, end)
    if at < 0 and found:
        return _sliced(columns, found)
    stays = out.translate(_NOT)
    return tuple(array(column.typecode, compress(column, stays)) for column in columns)


_NOT: Final = bytes([1, 0, *range(2, 256)])


def in_groups(parts: list[Columns], group_of: GroupOf) -> Iterator[tuple[int, list[Columns]]]:
    """Rows by groups, and of each group parts that are one after the other in growing (key, rank).

    The list is emptied. A part in which ranks and ids are one array is in growing id.
    """
    groups: dict[int, list[Columns]] = {}
    parts.reverse()
    while parts:  # each leaves memory as its groups come
        for group, columns in _grouped(parts.pop(), group_of):
            groups.setdefault(group, []).append(columns)
    while groups:
        group, found = groups.popitem()
        yield group, _in_order(found)


def _grouped(columns: Columns, group_of: GroupOf) -> Iterator[tuple[int, Columns]]:
    """A part's rows by groups, each in the order that they have."""
    keys, ranks, priorities = columns[KEY], columns[RANK], columns[PRIORITY]
    if not keys:
        return
    delayed = bytes(len(keys))
    if keys is not ranks and keys != ranks:
        # Times that are still to come are mostly higher than all ranks, which are times.
        later = min(keys) > (ranks[-1] if ranks is columns[ID] else max(ranks))
        delayed = b"\1" * len(keys) if later else bytes(map(ne, keys, ranks))
    levels = {level: group_of(level, False) for level in set(priorities)}
    if 1 not in delayed and len(set(levels.values())) == 1:
        yield levels[priorities[0]], columns
        return
    later_group = group_of(0, True)
    if 0 not in delayed:
        yield later_group, columns
        return
    codes = [
        later_group if late else levels[at] for late, at in zip(delayed, priorities, strict=True)
    ]
    stretches: dict[int, list[Stretch]] = {}
    start = count = 0
    for group, found in groupby(codes):
        end = start + len(list(found))
        stretches.setdefault(group, []).append((start, end))
        start, count = end, count + 1
    for group, where in stretches.items():
        if count * SHORT <= len(codes):
            yield group, _sliced(columns, where)
        else:
            yield group, _picked(columns, list(chain.from_iterable(range(*each) for each in where)))


def _in_order(parts: list[Columns]) -> list[Columns]:
    if all(map(_grows, parts)):
        parts.sort(key=_first)
        if all(_last(a) < _first(b) for a, b in pairwise(parts)):
            whole = sum(len(each[KEY]) for each in parts) >= len(parts) * LARGE
            return parts if whole else [_joined(parts)]
    pieces = _pieces(parts)
    if pieces is not None:
        return [_gathered((parts[at], start, end) for _, _, _, at, start, end in pieces)]
    columns = _joined(parts)
    keys, ranks = columns[KEY], columns[RANK]
    order = sorted(range(len(keys)), key=ranks.__getitem__)
    order.sort(key=keys.__getitem__)
    return [_picked(columns, order)]


def _pieces(parts: list[Columns]) -> list[_Piece] | None:
    """Stretches of one key each that are in order and hold all; None: there are none, or many."""
    found: list[_Piece] = []
    for at, columns in enumerate(parts):
        keys, ranks = columns[KEY], columns[RANK]
        before, start = len(found), 0
        for key, alike in groupby(keys):
            end = start + len(list(alike))
            found.append((key, ranks[start], ranks[end - 1], at, start, end))
            start = end
        if (len(found) - before) * SHORT > len(keys):
            return None
        if ranks is not columns[ID] and not all(
            climbs(ranks[start:end]) for *_, start, end in found[before:]
        ):
            return None
    found.sort()
    apart = all((a[0], a[2]) < (b[0], b[1]) for a, b in pairwise(found))
    return found if apart else None


def _first(columns: Columns) -> tuple[int, int]:
    return columns[KEY][0], columns[RANK][0]


def _last(columns: Columns) -> tuple[int, int]:
    return columns[KEY][-1], columns[RANK][-1]


def _grows(columns: Columns) -> bool:
    """Whether it is in growing (key, rank)."""
    keys, ranks = columns[KEY], columns[RANK]
    if keys is ranks is columns[ID]:
        return True
    if keys == ranks:
        return climbs(keys)
    return keys[0] == keys[-1] and keys.count(keys[0]) == len(keys) and climbs(ranks)


def climbs(values: array[int]) -> bool:
    """Whether each number is higher than the one before it."""
    return all(map(lt, values, islice(values, 1, None)))


def _joined(parts: list[Columns]) -> Columns:
    """One part of all; the list is emptied."""
    if len(parts) == 1:
        return parts.pop()
    whole: Columns = tuple(array(column.typecode) for column in parts[0])
    parts.reverse()
    while parts:
        for column, more in zip(whole, parts.pop(), strict=True):
            column.extend(more)
    return whole


def _sliced(columns: Columns, stretches: Iterable[Stretch]) -> Columns:
    return _gathered((columns, start, end) for start, end in stretches)


def _gathered(stretches: Iterable[tuple[Columns, int, int]]) -> Columns:
    """One part of some rows of these parts; there is one at least."""
    chosen: Columns = ()
    for columns, start, end in stretches:
        chosen = chosen or tuple(array(column.typecode) for column in columns)
        for column, whole in zip(chosen, columns, strict=True):
            column.extend(whole[start:end])
    return chosen


def _picked(columns: Columns, order: Sequence[int]) -> Columns:
    if len(order) < 2:
        return _sliced(columns, [(at, at + 1) for at in order])
    pick = itemgetter(*order)
    return tuple(array(column.typecode, pick(column)) for column in columns)
