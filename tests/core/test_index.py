"""Indexes find what looking through everything finds."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posthouse.core import index as index_module
from posthouse.core import selecting
from posthouse.core.filters import Filter, parse_field
from posthouse.core.index import Index, SortedValues
from posthouse.core.queue import QueueState
from posthouse.core.state import BrokerState
from posthouse.errors import BadArgument, FilterError
from posthouse.model import QueuePolicy
from posthouse.records import Entry

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 3),
    st.integers(-8, 8).map(lambda n: n / 4),
    st.sampled_from(["", "a", "ab", "b", "\U0010ffff", 10**400, -(10**400)]),
    st.lists(st.integers(0, 1), max_size=1),
)
LITERALS = st.one_of(st.integers(-3, 3), st.booleans(), st.sampled_from([0.25, "", "a", "ab", "b"]))


class Row:
    """A message with a body of its own making."""

    key, priority, attempts = "", 0, 0

    def __init__(self, entry: Entry, body: Any) -> None:
        self.number, self._body = entry[0], body

    def headers(self) -> dict[str, str]:
        return {}

    def body(self) -> Any:
        return self._body


def compare(op: str, left: str, right: Any) -> str:
    if isinstance(right, bool) and op not in ("==", "!="):
        op = "=="
    return f"{left} {op} {right!r}"


OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
TERMS = st.one_of(
    st.builds(compare, OPERATORS, st.sampled_from(["body.a", "body.b"]), LITERALS),
    st.builds(
        "{!r} {} body.a".format,
        LITERALS.filter(lambda v: not isinstance(v, bool)),
        OPERATORS,
    ),
    st.builds("body.a in {!r}".format, st.lists(LITERALS, min_size=1, max_size=3)),
    st.builds("not body.a == {!r}".format, LITERALS),
)
FILTERS = st.recursive(
    TERMS,
    lambda inner: st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner),
    max_leaves=4,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(VALUES, VALUES), max_size=12),
    st.lists(FILTERS, min_size=1, max_size=4),
    st.sets(st.integers(0, 11)),
)
def test_candidates_are_all_that_match(
    rows: list[tuple[Any, Any]], filters: list[str], leaving: set[int]
) -> None:
    bodies = {n: {"a": a, "b": b} for n, (a, b) in enumerate(rows, 1)}
    entries: dict[int, Entry] = {n: (n, 0, b"", b"", None) for n in bodies}
    index = Index(("body.a", "body.b"), lambda entry: Row(entry, bodies[entry[0]]))
    for entry in entries.values():
        index.add(entry)
    for text in filters:
        where = Filter(text)
        matching = {n for n, e in entries.items() if where.matches(Row(e, bodies[n]))}
        found = index.candidates(where.term)
        if found is None:
            assert "or" in text or "!=" in text or "not" in text
        else:
            numbers = [entry[0] for entry in found]
            assert len(set(numbers)) == len(numbers)
            assert matching <= set(numbers)
            if text.startswith("body.a") and "and" not in text:
                assert matching == set(numbers)
        for number in leaving & set(entries):
            index.remove(number)
            del entries[number]
            leaving = leaving - {number}
            break


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 40)), max_size=120), st.data())
def test_sorted_values(steps: list[tuple[bool, int]], data: st.DataObject) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index_module, "BLOCK_VALUES", 3)
        plain = {("n", n) for n in range(0, 40, 7)}
        values = SortedValues(plain)
        for add, number in steps:
            value = ("n", number)
            if add and value not in plain:
                values.add(value)
                plain.add(value)
            elif not add and value in plain:
                values.remove(value)
                plain.discard(value)
        low, high = data.draw(st.integers(-1, 41)), data.draw(st.integers(-1, 41))
        above, below = data.draw(st.booleans()), data.draw(st.booleans())
        found = list(values.between(("n", low), above, ("n", high), below))
        assert found == [
            ("n", n)
            for _, n in sorted(plain)
            if (n > low if above else n >= low) and (n < high if below else n <= high)
        ]


def looked(entry: Entry) -> Row:
    return Row(entry, {"n": len(entry[2])})


def make(policy: QueuePolicy) -> QueueState:
    queue, _ = BrokerState(look=looked).declare("q", policy)
    return queue


def put(queue: QueueState, size: int) -> None:
    entry = queue.put_plain(1, 2, b"x" * size, True)
    assert entry is not None


def test_an_index_that_comes_later_has_what_is_there() -> None:
    queue = make(QueuePolicy())
    for size in range(20):
        put(queue, size)
    taken = queue.take_one(1, 10, 1)
    assert taken is not None
    queue.set_policy(QueuePolicy(index=("body.n",)), 10**6)
    found = selecting.candidates(queue, Filter("body.n <= 3"))
    assert [len(entry[2]) for entry in found or []] == [1, 2, 3]
    queue.give_back(taken[1], 0, 0)
    assert len(selecting.candidates(queue, Filter("body.n <= 3")) or []) == 4
    queue.set_policy(QueuePolicy(), 10**6)
    assert selecting.candidates(queue, Filter("body.n <= 3")) is None
    queue.set_policy(QueuePolicy(index=("body.n",)), 10**6)
    assert len(selecting.candidates(queue, Filter("body.n == 0")) or []) == 1
    assert len(queue.clear()) == 20
    assert selecting.candidates(queue, Filter("body.n == 0")) == []


def test_a_plain_queue_stays_plain() -> None:
    assert make(QueuePolicy()).rich is None
    assert selecting.candidates(make(QueuePolicy()), Filter("body.n == 1")) is None


@pytest.mark.parametrize("text", ["body", "key", "body.a == 1", "True", "body.", "headers", "x.y"])
def test_what_cannot_be_indexed(text: str) -> None:
    with pytest.raises(FilterError):
        parse_field(text)


@pytest.mark.parametrize(
    "given_", ["body.a", ["body.a"], ("body.a",) * 9, (1,), ("",), ("x" * 251,)]
)
def test_policies_that_are_refused(given_: Any) -> None:
    with pytest.raises(BadArgument):
        QueuePolicy(index=given_)
