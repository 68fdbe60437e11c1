"""Filters: what they say, what they refuse and where, and that SQL says the same."""

from __future__ import annotations

import ast
import json
import sqlite3
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from posthouse.core.filters import Filter
from posthouse.core.filters.grammar import MAX_CHARACTERS, MAX_TERMS
from posthouse.errors import FilterError

NUMBER = 0x18A1B2C3D4E5F600


class Letter:
    """A message for filters."""

    def __init__(
        self,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        *,
        number: int = NUMBER,
        key: str = "",
        priority: int = 0,
        attempts: int = 0,
    ) -> None:
        self.number, self.key, self.priority, self.attempts = number, key, priority, attempts
        self._body, self._headers = body, headers or {}

    def headers(self) -> Mapping[str, str]:
        return self._headers

    def body(self) -> Any:
        return self._body


ORDER = {"customer": "acme", "amount": 120.5, "items": ["tea", "cup"], "paid": True, "n": None}


@pytest.mark.parametrize(
    "text",
    [
        "body.customer == 'acme'",
        "'acme' == body.customer",
        "body['customer'] == 'acme'",
        "headers.customer == 'acme' and body.amount > 100 and 'tea' in body.items",
        "headers['x-id'] == '7'",
        "100 < body.amount <= 120.5",
        "body.customer in ('acme', 'other')",
        "body.customer not in ['other']",
        "body.items[0] == 'tea'",
        "'cm' in body.customer",
        "body.customer.startswith('ac') and body.customer.endswith('me')",
        "body.paid",
        "not not body.paid",
        "body.paid == True",
        "body.n is None and body.missing is None and body.paid is not None",
        "body.a.b.c is None",
        "body.items[7] is None",
        "body.customer != 5",
        "not body.customer == 5",
        "id == '18a1b2c3d4e5f600'",
        "id in ['0000000000000001', '18A1B2C3D4E5F600']",
        "enqueued_at > '2020-01-01T00:00:00Z' and enqueued_at < '2200-01-01T00:00:00+02:00'",
        "key == 'k' and priority >= 3 and attempts < 5",
        "'k' in key",
        "True",
        "(body.missing == 1 or body.paid)",
        "body.amount > -1",
        "  body.paid",
        "body is not None",
    ],
)
def test_what_matches(text: str) -> None:
    letter = Letter(ORDER, {"customer": "acme", "x-id": "7"}, key="k", priority=3, attempts=1)
    assert Filter(text).matches(letter)
    assert not Filter(f"not ({text.strip()})").matches(letter)


@pytest.mark.parametrize(
    "text",
    [
        "body.missing == 1",
        "body.missing != 1",
        "not body.missing == 1",
        "body.n == 0",
        "body.customer < 5",
        "not body.customer < 5",
        "body.items == 'tea'",
        "body.items < 'tea'",
        "body.items == body.items",
        "body.paid == 1",
        "body.amount",
        "not body.amount",
        "body.missing in [1, 2]",
        "body.missing not in [1, 2]",
        "1 in body.missing",
        "1 not in body.customer",
        "body.amount.startswith('1')",
        "not body.amount.startswith('1')",
        "key == ''",
        "key != 'k'",
        "headers.gone != 'x'",
        "False",
        "body.paid and body.missing == 1",
        "body.customer == 5 or body.missing == 1",
        "body.items['a'] == 1",
        "body.customer[0] == 'a'",
    ],
)
def test_what_does_not_match(text: str) -> None:
    assert not Filter(text).matches(Letter(ORDER))


def test_kinds_in_lists_stay_apart() -> None:
    letter = Letter({"list": [1, "x", True, None, [2]], "one": 1, "yes": True})
    assert Filter("1 in body.list and True in body.list and body.one in body.list").matches(letter)
    assert not Filter("1 in body.yes").matches(letter)
    assert not Filter("body.yes in [1]").matches(letter)
    assert Filter("body.yes in [1, True]").matches(letter)
    assert not Filter("2 in body.list").matches(letter)


# ---------------------------------------------------------------- what is refused, and where

ANY = -1


@pytest.mark.parametrize(
    ("text", "at", "words"),
    [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("body.a ==", ANY, "invalid syntax"),
        ("body.a == 1 and", ANY, "invalid syntax"),
        ("body.a == foo", 10, "no field 'foo'"),
        ("body.ä == foo", 10, "no field 'foo'"),
        ("  body.a == foo", 12, "no field 'foo'"),
        ("(body.a == 1 and\n foo == 1)", 18, "no field 'foo'"),
        ("__import__('os').system('x')", 0, "startswith"),
        ("body.__class__.__init__()", 0, "startswith"),
        ("body.a.contains('x')", 0, "x in field"),
        ("body.a.startswith(body.b)", 18, "no value"),
        ("body.a.startswith('x', 1)", 0, "takes one text"),
        ("body.a + 1 == 2", 0, "cannot stand here"),
        ("10 ** 10 ** 10 == body.a", 0, "cannot stand here"),
        ("'a' * 1000000000 == body.a", 0, "cannot stand here"),
        ("[x for x in body.a]", 0, "cannot stand here"),
        ("(lambda: 1)()", 0, "startswith"),
        ("body.a if body.b else body.c", 0, "cannot stand here"),
        ("f'{body.a}' == 'x'", 0, "cannot stand here"),
        ("(x := body.a) == 1", 1, "cannot stand here"),
        ("body.a == None", 10, "is None"),
        ("body.a in [None]", 11, "is None"),
        ("body.a is 1", 10, "None only"),
        ("body.a in []", 10, "empty"),
        ("1 in [1, 2]", 0, "use a field"),
        ("1 == 1", 0, "one must be a field"),
        ("body.a == b'x'", 10, "no value"),
        ("body.a == 1j", 10, "no value"),
        ("body.a == ...", 10, "no value"),
        ("body.a == 1e999", 10, "too large"),
        ("body.a == 99999999999999999999", 10, "64 bits"),
        ("body.a == '\\0'", 10, "NUL"),
        ("body.a == '\\ud800'", 10, "not Unicode"),
        ("body.a == '\ud800'", 11, "not a Unicode"),
        ("body.a == '\0'", 11, "NUL"),
        ("body['a\"b'] == 1", 5, "quotation"),
        ("body[-1] == 1", 5, "brackets"),
        ("body[0:1] == 1", 5, "brackets"),
        ("body[True] == 1", 5, "brackets"),
        ("body[99999999] == 1", 5, "from 0 to"),
        ("body[''] == 1", 5, "at least one"),
        ("headers == 'x'", 0, "name one header"),
        ("headers.a.b == 'x'", 0, "name one header"),
        ("headers[0] == 'x'", 0, "a text"),
        ("priority.x == 1", 0, "no fields of its own"),
        ("priority", 0, "no condition"),
        ("5", 0, "no condition"),
        ("body.a < True", 9, "no order"),
        ("id == 'abc'", 6, "16 hex"),
        ("id == 'ffffffffffffffff'", 6, "16 hex"),
        ("enqueued_at > 'soon'", 14, "not a time"),
        ("enqueued_at > '2026-01-01'", 14, "time zone"),
        ("enqueued_at > '9999-01-01T00:00:00Z'", 14, "out of reach"),
        ("id == enqueued_at", ANY, "a value only"),
        ("id == body.id", ANY, "a value only"),
        ("id in body.ids", 0, "only"),
        ("id.startswith('18')", 0, "only"),
        ("'1' in id", 7, "nothing is in id"),
        ("'x' in headers", ANY, "name one header"),
        ("not " * 40 + "body.a", ANY, "nested"),
        ("(" * 300 + "body.a" + ")" * 300, ANY, "not a filter"),
        ("body" + ".a" * 40 + " == 1", 0, "steps"),
        ("body" + ".a" * 2000 + " == 1", ANY, ""),
        ("-" * 4000 + "1 == body.a", ANY, ""),
        ("body.a in [" + "1," * (MAX_TERMS + 1) + "]", ANY, "at most"),
        ("body.a == '" + "x" * MAX_CHARACTERS + "'", MAX_CHARACTERS, "characters"),
    ],
)
def test_what_is_refused(text: str, at: int, words: str) -> None:
    with pytest.raises(FilterError) as caught:
        Filter(text)
    error = caught.value
    assert words in error.fault
    if at != ANY:
        assert error.at == at
    lines = str(error).split("\n")
    assert lines[-1].strip() == "^"
    assert len(lines[-1]) <= len(lines[-2]) + 1


def test_the_caret_stands_under_the_fault() -> None:
    with pytest.raises(FilterError) as caught:
        Filter("headers.customer == acme")
    assert str(caught.value).split("\n")[1:] == [
        "  headers.customer == acme",
        "                      ^",
    ]


def test_a_filter_is_a_text() -> None:
    with pytest.raises(FilterError, match="not int"):
        Filter(5)  # type: ignore[arg-type]


@settings(max_examples=400, deadline=None)
@given(
    st.text(max_size=60) | st.text(alphabet="body.a['x'] ==<>1inotadr()\\\"\n:=+-*", max_size=80)
)
def test_nothing_but_filter_errors(text: str) -> None:
    try:
        found = Filter(text)
    except FilterError as error:
        fault = error
    else:
        found.matches(Letter(ORDER, {"a": "b"}))
        found.sql()
        return
    assert 0 <= fault.at <= len(text)


# ---------------------------------------------------------------- against an oracle, and SQL

NAMES = st.sampled_from(["a", "b", "c-d", "é", "from"])
SCALARS = (
    st.integers(-3, 3)
    | st.sampled_from([2**53 + 1, 2**63 - 1, -(2**63)])
    | st.integers(-40, 40).map(lambda n: n / 8)
    | st.sampled_from(["", "a", "ab", "b'", "x%", "1", "é😀", "true"])
    | st.booleans()
)
BIG = st.sampled_from([2**63, 2**64 + 1, -(2**63) - 1])
VALUES = st.recursive(
    SCALARS | BIG | st.none(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
    max_leaves=8,
)
LETTERS = st.builds(
    Letter,
    VALUES,
    st.dictionaries(NAMES, st.sampled_from(["", "a", "ab", "1"]), max_size=3),
    number=st.integers(1, 4).map(lambda n: NUMBER + n),
    key=st.sampled_from(["", "a", "ab"]),
    priority=st.integers(0, 3),
    attempts=st.integers(0, 3),
)


def step(name: str) -> str:
    return f"[{name!r}]"


BODY_FIELDS = st.lists(NAMES.map(step) | st.integers(0, 1).map(lambda n: f"[{n}]"), max_size=2).map(
    lambda steps: "body" + "".join(steps)
)
FIELDS = BODY_FIELDS | NAMES.map(lambda name: f"headers[{name!r}]") | st.just("key")
COLUMNS = st.sampled_from(["priority", "attempts"])
LITERALS = SCALARS.map(repr)
OPERATORS = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
IDS = st.integers(0, 5).map(lambda n: f"'{NUMBER + n:016x}'")


def no_order_of_booleans(text: str) -> bool:
    return not (("True" in text or "False" in text) and ("<" in text or ">" in text))


COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, FIELDS | COLUMNS, OPERATORS, LITERALS),
    st.builds("{} {} {}".format, LITERALS, OPERATORS, FIELDS | COLUMNS),
    st.builds("{} {} {}".format, FIELDS | COLUMNS, OPERATORS, FIELDS | COLUMNS),
    st.builds("id {} {}".format, OPERATORS, IDS),
).filter(no_order_of_booleans)
ATOMS = st.one_of(
    COMPARISONS,
    st.builds(
        "{} {} [{}]".format,
        FIELDS | COLUMNS,
        st.sampled_from(["in", "not in"]),
        st.lists(LITERALS, min_size=1, max_size=3).map(", ".join),
    ),
    st.builds("{} in {}".format, LITERALS | FIELDS | COLUMNS, FIELDS),
    st.builds("{} is {}None".format, FIELDS, st.sampled_from(["", "not "])),
    st.builds(
        "{}.{}({!r})".format,
        FIELDS,
        st.sampled_from(["startswith", "endswith"]),
        st.sampled_from(["", "a", "b", "é", "😀", "x%", "%"]),
    ),
    BODY_FIELDS,
    st.sampled_from(["True", "False"]),
)
FILTERS = st.recursive(
    ATOMS,
    lambda inner: (
        st.builds("not ({})".format, inner)
        | st.builds("({}) {} ({})".format, inner, st.sampled_from(["and", "or"]), inner)
    ),
    max_leaves=5,
)


def kind(value: Any) -> str | None:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "number"
    if isinstance(value, str):
        return "text"
    return "compound" if isinstance(value, (list, dict)) else None


def oracle(node: ast.expr, letter: Letter) -> bool | None:
    """What the rules in the grammar's docstring say, as slowly as can be."""
    if isinstance(node, ast.BoolOp):
        answers = [oracle(value, letter) for value in node.values]
        strong = isinstance(node.op, ast.Or)
        return strong if strong in answers else None if None in answers else not strong
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        answer = oracle(node.operand, letter)
        return None if answer is None else not answer
    if isinstance(node, ast.Call):
        assert isinstance(node.func, ast.Attribute)
        value = value_of(node.func.value, letter)
        text = value_of(node.args[0], letter)
        if kind(value) != "text":
            return None
        return value.startswith(text) if node.func.attr == "startswith" else value.endswith(text)
    if isinstance(node, ast.Compare):
        return compared(node, letter)
    value = value_of(node, letter)
    return value if isinstance(value, bool) else None


def compared(node: ast.Compare, letter: Letter) -> bool | None:
    (op,), (right,) = node.ops, node.comparators
    value = value_of(node.left, letter)
    if isinstance(op, (ast.Is, ast.IsNot)):
        return (kind(value) is None) == isinstance(op, ast.Is)
    if isinstance(op, (ast.In, ast.NotIn)):
        answer = inside(value, right, letter)
        return answer if answer is None or isinstance(op, ast.In) else not answer
    other = value_of(right, letter)
    if isinstance(node.left, ast.Name) and node.left.id == "id":
        other = int(other, 16)
    kinds = {kind(value), kind(other)}
    if None in kinds:
        return None
    signs = {ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
    if type(op) not in signs:
        if kinds == {"compound"}:
            return None
        return (len(kinds) == 1 and value == other) == isinstance(op, ast.Eq)
    if kinds not in ({"number"}, {"text"}):
        return None
    sign = signs[type(op)]
    return {"<": value < other, "<=": value <= other, ">": value > other, ">=": value >= other}[
        sign
    ]


def inside(value: Any, right: ast.expr, letter: Letter) -> bool | None:
    if kind(value) is None:
        return None
    if isinstance(right, ast.List):
        options = [value_of(element, letter) for element in right.elts]
        return any(kind(each) == kind(value) and each == value for each in options)
    container = value_of(right, letter)
    if kind(value) == "compound":
        return None
    if kind(container) == "text":
        return value in container if kind(value) == "text" else None
    if not isinstance(container, list):
        return None
    return any(kind(each) == kind(value) and each == value for each in container)


def value_of(node: ast.expr, letter: Letter) -> Any:
    if isinstance(node, ast.Constant):
        return node.value
    if isinstance(node, ast.UnaryOp):
        return -value_of(node.operand, letter)
    if isinstance(node, ast.Subscript):
        outer, at = value_of(node.value, letter), value_of(node.slice, letter)
        try:
            value = outer[at] if isinstance(outer, (dict, list)) else None
        except (LookupError, TypeError):
            return None
        return value
    assert isinstance(node, ast.Name)
    if node.id in ("body", "headers"):
        value = getattr(letter, node.id)()
    else:
        value = {"id": letter.number, "key": letter.key or None}.get(
            node.id, getattr(letter, node.id, None)
        )
    return value


def big_as_floats(value: Any) -> Any:
    if isinstance(value, list):
        return [big_as_floats(each) for each in value]
    if isinstance(value, dict):
        return {name: big_as_floats(each) for name, each in value.items()}
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


@settings(max_examples=600, deadline=None)
@given(FILTERS, LETTERS)
def test_closures_do_what_the_rules_say(text: str, letter: Letter) -> None:
    smaller = Letter(
        big_as_floats(letter.body()),
        letter.headers(),
        number=letter.number,
        key=letter.key,
        priority=letter.priority,
        attempts=letter.attempts,
    )
    expected = oracle(ast.parse(text, mode="eval").body, smaller)
    found = Filter(text)
    negated = Filter(f"not ({text})")
    assert (found.matches(letter), negated.matches(letter)) == (expected is True, expected is False)


DATABASE = sqlite3.connect(":memory:")
DATABASE.execute("CREATE TABLE m (id, key, priority, attempts, headers, body)")


@settings(max_examples=600, deadline=None)
@example("key in body", [Letter(["a"], key="a")])
@example("not (key in body)", [Letter([None, 1], key="a")])
@given(FILTERS, st.lists(LETTERS, min_size=1, max_size=4))
def test_sql_finds_what_closures_find(text: str, letters: list[Letter]) -> None:
    found = Filter(text)
    DATABASE.execute("DELETE FROM m")
    for each in letters:
        body = None if each.body() is None else json.dumps(each.body(), ensure_ascii=False)
        headers = json.dumps(each.headers(), ensure_ascii=False)
        row = (each.number, each.key, each.priority, each.attempts, headers, body)
        DATABASE.execute("INSERT INTO m VALUES (?, ?, ?, ?, ?, ?)", row)
    condition = found.sql()
    rows = DATABASE.execute(
        f"SELECT rowid, {condition.text} FROM m ORDER BY rowid", condition.parameters
    ).fetchall()
    assert [row[1] == 1 for row in rows] == [found.matches(each) for each in letters]
    unknown = Filter(f"not ({text})")
    assert [row[1] == 0 for row in rows] == [unknown.matches(each) for each in letters]


@pytest.mark.parametrize("hostile", ["') OR 1=1 --", "'; DROP TABLE m; --", ":f0", "?", "x'y"])
def test_values_are_never_part_of_the_sql(hostile: str) -> None:
    condition = Filter(f"body[{hostile!r}] == {hostile!r}").sql()
    assert hostile not in condition.text or hostile == ":f0"
    DATABASE.execute("DELETE FROM m")
    body = json.dumps({hostile: hostile})
    DATABASE.execute(
        "INSERT INTO m VALUES (1, '', 0, 0, '{}', ?), (2, '', 0, 0, '{}', '{}')", [body]
    )
    query = f"SELECT id FROM m WHERE {condition.text}"
    assert DATABASE.execute(query, condition.parameters).fetchall() == [(1,)]
