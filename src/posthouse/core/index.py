"""Indexes: which messages of a queue have a value in a field, without looking through them.

What waits or is delayed is in them, and nothing else. For each field: a hash from values to
messages, and, from the first range that is asked for on, the values in order, in blocks.

An index finds candidates, and the filter decides: it has texts, numbers and booleans, for no
comparison is true of anything else.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final, TypeAlias

from posthouse.core.filters import Subject
from posthouse.core.filters.closures import getter, small
from posthouse.core.filters.grammar import (
    BOOLEAN,
    KINDS,
    ORDERED,
    Both,
    Compare,
    Field,
    Literal,
    OneOf,
    Term,
)
from posthouse.core.filters.parse import parse_field
from posthouse.core.orders import Order, rank_of
from posthouse.records import Entry

BLOCK_VALUES: Final = 1_000
_MIRRORED: Final = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}

Value: TypeAlias = "tuple[str, str | int | float | bool]"
"""A kind and a value: kinds stay apart (True == 1), and order within one is the value's."""


class SortedValues:
    """Distinct values in order, in blocks of at most twice `BLOCK_VALUES`.

    Adding one moves part of one block: at a million values as quick as at a thousand.
    """

    __slots__ = ("_blocks", "_lasts")

    def __init__(self, values: Iterable[Value]) -> None:
        row = sorted(values)
        steps = range(0, len(row), BLOCK_VALUES)
        self._blocks = [row[at : at + BLOCK_VALUES] for at in steps]
        self._lasts = [block[-1] for block in self._blocks]

    def add(self, value: Value) -> None:
        """A value that was not there."""
        if not self._blocks:
            self._blocks.append([value])
            self._lasts.append(value)
            return
        at = min(bisect_left(self._lasts, value), len(self._blocks) - 1)
        block = self._blocks[at]
        insort(block, value)
        self._lasts[at] = block[-1]
        if len(block) > 2 * BLOCK_VALUES:
            self._blocks[at : at + 1] = [block[:BLOCK_VALUES], block[BLOCK_VALUES:]]
            self._lasts[at : at + 1] = [block[BLOCK_VALUES - 1], block[-1]]

    def remove(self, value: Value) -> None:
        """A value that was there."""
        at = bisect_left(self._lasts, value)
        block = self._blocks[at]
        del block[bisect_left(block, value)]
        if block:
            self._lasts[at] = block[-1]
        else:
            del self._blocks[at], self._lasts[at]

    def between(self, low: Value, above: bool, high: Value, below: bool) -> Iterator[Value]:
        """From ``low`` (or ``above`` it) to ``high`` (or ``below`` it)."""
        first = bisect_right if above else bisect_left
        for block in self._blocks[bisect_left(self._lasts, low) :]:
            for value in block[first(block, low) :]:
                if value > high or (below and value == high):
                    return
                yield value


class FieldIndex:
    """One field's values, and the messages that have them, by rank."""

    __slots__ = ("_of", "_ordered", "_ranks")

    def __init__(self, field: Field) -> None:
        self._of = getter(field)
        # One rank, or where several messages have the value a set of them.
        self._ranks: dict[Value, int | set[int]] = {}
        self._ordered: SortedValues | None = None

    def add(self, subject: Subject, rank: int) -> Value | None:
        """A message joins: the value under which it stands, if it has one."""
        value = _value(self._of(subject))
        if value is None:
            return None
        there = self._ranks.get(value)
        if there is None:
            self._ranks[value] = rank
            if self._ordered is not None:
                self._ordered.add(value)
        elif isinstance(there, set):
            there.add(rank)
        else:
            self._ranks[value] = {there, rank}
        return value

    def remove(self, value: Value, rank: int) -> None:
        """A message leaves that stood under the value."""
        there = self._ranks[value]
        if isinstance(there, set):
            there.discard(rank)
            if there:
                return
        del self._ranks[value]
        if self._ordered is not None:
            self._ordered.remove(value)

    def count(self, values: list[Value]) -> int:
        """How many messages have one of the values."""
        return sum(len(self._having(value)) for value in values)

    def having(self, values: Iterable[Value]) -> list[int]:
        """The ranks of those that have one of the values."""
        return [rank for value in values for rank in self._having(value)]

    def _having(self, value: Value) -> Collection[int]:
        there = self._ranks.get(value, ())
        return (there,) if isinstance(there, int) else there

    def between(self, low: Value, above: bool, high: Value, below: bool) -> Iterator[Value]:
        """The values of a range; the first call of all puts them in order."""
        if self._ordered is None:
            self._ordered = SortedValues(self._ranks)
        return self._ordered.between(low, above, high, below)


class Index:
    """The indexes of one queue, and the messages in them by rank."""

    def __init__(self, fields: tuple[str, ...], look: Callable[[Entry], Subject]) -> None:
        self._look = look
        self._fields = {field: FieldIndex(field) for field in map(parse_field, fields)}
        self._entries: dict[int, tuple[Entry, tuple[Value | None, ...]]] = {}

    def add(self, entry: Entry) -> None:
        """A message waits, or is delayed."""
        rank = rank_of(entry)
        subject = self._look(entry)
        values = tuple([index.add(subject, rank) for index in self._fields.values()])
        self._entries[rank] = (entry, values)

    def remove(self, rank: int) -> None:
        """It does no more."""
        row = self._entries.pop(rank, None)
        if row is not None:
            for index, value in zip(self._fields.values(), row[1], strict=True):
                if value is not None:
                    index.remove(value, rank)

    def clear(self) -> None:
        """Nothing waits any more."""
        self._entries.clear()
        self._fields = {field: FieldIndex(field) for field in self._fields}

    def entry(self, rank: int) -> Entry | None:
        """The message of a rank, if it waits or is delayed."""
        row = self._entries.get(rank)
        return None if row is None else row[0]

    def candidates(self, term: Term) -> list[Entry] | None:
        """All that may match, and few others; None where no index helps."""
        ranks = self._ranks(term)
        return None if ranks is None else [self._entries[rank][0] for rank in ranks]

    def _ranks(self, term: Term) -> list[int] | None:
        conjuncts = list(_conjuncts(term))
        best: tuple[int, FieldIndex, list[Value]] | None = None
        for each in conjuncts:
            found = self._equal(each)
            if found is not None:
                index, values = found
                count = index.count(values)
                if best is None or count < best[0]:
                    best = count, index, values
        if best is not None:
            return best[1].having(best[2])
        bounds: dict[tuple[Field, str], _Bounds] = {}
        for each in conjuncts:
            self._narrow(each, bounds)
        for (field, _), bound in bounds.items():
            index = self._fields[field]
            return index.having(index.between(bound.low, bound.above, bound.high, bound.below))
        return None

    def _equal(self, term: Term) -> tuple[FieldIndex, list[Value]] | None:
        if isinstance(term, OneOf) and term.operand in self._fields:
            assert isinstance(term.operand, Field)
            values = {(KINDS[type(each)], each) for each in term.options}
            return self._fields[term.operand], list(values)
        row = _against(term)
        if row is None or row[1] != "==" or row[0] not in self._fields:
            return None
        return self._fields[row[0]], [row[2]]

    def _narrow(self, term: Term, bounds: dict[tuple[Field, str], _Bounds]) -> None:
        row = _against(term)
        if row is None or row[1] not in ("<", "<=", ">", ">=") or row[0] not in self._fields:
            return
        field, op, value = row
        bound = bounds.setdefault((field, value[0]), _Bounds(value[0]))
        if op[0] == ">" and value >= bound.low:
            bound.above = op == ">" or (bound.above and value == bound.low)
            bound.low = value
        elif op[0] == "<" and value <= bound.high:
            bound.below = op == "<" or (bound.below and value == bound.high)
            bound.high = value


class _Bounds:
    """A range of one kind's values; at first all of them."""

    __slots__ = ("above", "below", "high", "low")

    def __init__(self, kind: str) -> None:
        assert kind in ORDERED
        text = kind == KINDS[str]
        self.low: Value = (kind, "" if text else float("-inf"))
        # After all texts: the last character as often as a text may have it would do, a later
        # kind does better; no value has it.
        self.high: Value = (kind + "~", "") if text else (kind, float("inf"))
        self.above = self.below = False


def _conjuncts(term: Term) -> Iterator[Term]:
    if isinstance(term, Both) and not term.any_of:
        for each in term.terms:
            yield from _conjuncts(each)
    else:
        yield term


def _against(term: Term) -> tuple[Field, str, Value] | None:
    """(field, op, value) of a comparison of a field with a value, whichever is on the left."""
    if not isinstance(term, Compare) or term.op == "!=":
        return None
    left, op, right = term.left, term.op, term.right
    if isinstance(left, Literal):
        left, op, right = right, _MIRRORED[op], left
    if isinstance(left, Field) and isinstance(right, Literal):
        return left, op, (KINDS[type(right.value)], right.value)
    return None


def _value(value: object) -> Value | None:
    kind = KINDS.get(type(value))
    if kind not in ORDERED and kind != BOOLEAN:
        return None
    value = small(value)
    assert kind is not None
    assert isinstance(value, (str, int, float))
    return kind, value


class KnownOrder:
    """An order that knows at once which messages it holds."""

    __slots__ = ("_order", "_ranks")

    def __init__(self, order: Order) -> None:
        self._order = order
        self._ranks: set[int] = set()

    def add(self, entry: Entry) -> None:
        """A message joins."""
        self._ranks.add(rank_of(entry))
        self._order.add(entry)

    def put_back(self, entry: Entry) -> None:
        """A message that was popped comes back to its place."""
        self._ranks.add(rank_of(entry))
        self._order.put_back(entry)

    def pop(self) -> Entry:
        """The next one. Raises IndexError."""
        entry = self._order.pop()
        self._ranks.discard(rank_of(entry))
        return entry

    def peek(self) -> Entry:
        """The next one, which stays; there must be one."""
        return self._order.peek()

    def next_key(self) -> int:
        """The key of the next one; there must be one."""
        return self._order.next_key()

    def shed(self) -> Entry | None:
        """None: the index has all of them."""
        return None

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Entry]:
        """All of them, the next one first."""
        return iter(self._order)

    def discard(self, ranks: set[int]) -> None:
        """Messages leave, wherever they are."""
        self._ranks -= ranks
        self._order.discard(ranks)

    def unordered(self) -> list[Entry]:
        """All of them, as they come: a copy."""
        return self._order.unordered()

    def part(self, at: int, most: int) -> list[Entry]:
        """Some of them: see `Order.part`."""
        return self._order.part(at, most)

    def holds(self, entry: Entry) -> bool:
        """Whether the message is among them."""
        return rank_of(entry) in self._ranks

    @property
    def key(self) -> Callable[[Entry], int] | None:
        """What orders them; None where `unordered` is in order."""
        return self._order.key
