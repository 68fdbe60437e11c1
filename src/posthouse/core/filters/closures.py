"""From terms to a function of a message. See `grammar` for what each term means."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol, TypeAlias

from posthouse.core.filters.grammar import (
    BOOLEAN,
    COMPOUND,
    EQUALS,
    KINDS,
    ORDERED,
    Affix,
    Both,
    Compare,
    Contains,
    Field,
    IsNull,
    Literal,
    Not,
    OneOf,
    Operand,
    Scalar,
    Term,
    Truth,
)
from posthouse.core.filters.literals import LEAST_INTEGER, MOST_INTEGER


class Subject(Protocol):
    """A message, as filters look at it. Whoever makes it knows the codecs.

    Attributes:
        number: its id as a number, which is its time in nanoseconds since the epoch.
        key: its ordering key; "" for none.
        priority: 0 to 255.
        attempts: deliveries so far.
    """

    number: int
    key: str
    priority: int
    attempts: int

    def headers(self) -> Mapping[str, str]:
        """The headers; called as often as one is looked at."""

    def body(self) -> object:
        """The body as JSON knows it; None if it does not decode. Called as often as looked at."""


Getter: TypeAlias = "Callable[[Subject], object]"
Test: TypeAlias = "Callable[[Subject], bool | None]"

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_MIRRORED: Final = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def compile_term(term: Term) -> Test:
    """The term as a function: True, False, or None for unknown."""
    match term:
        case Both():
            tests = tuple(map(compile_term, term.terms))
            return _any(tests) if term.any_of else _all(tests)
        case Not():
            return _not(compile_term(term.term))
        case Compare():
            return _compare(term)
        case OneOf():
            return _one_of(getter(term.operand), term.options)
        case Contains():
            return _contains(getter(term.operand), getter(term.container))
        case Affix():
            return _affix(getter(term.field), term.text, at_end=term.at_end)
        case IsNull():
            value_of = getter(term.field)
            return lambda subject: type(value_of(subject)) not in KINDS
        case Truth():
            return _truth(getter(term.operand))


def _all(tests: tuple[Test, ...]) -> Test:
    def test(subject: Subject) -> bool | None:
        answer: bool | None = True
        for each in tests:
            found = each(subject)
            if found is False:
                return False
            if found is None:
                answer = None
        return answer

    return test


def _any(tests: tuple[Test, ...]) -> Test:
    def test(subject: Subject) -> bool | None:
        answer: bool | None = False
        for each in tests:
            found = each(subject)
            if found:
                return True
            if found is None:
                answer = None
        return answer

    return test


def _not(inner: Test) -> Test:
    def test(subject: Subject) -> bool | None:
        found = inner(subject)
        return None if found is None else not found

    return test


def _truth(value_of: Getter) -> Test:
    def test(subject: Subject) -> bool | None:
        value = value_of(subject)
        return value if isinstance(value, bool) else None

    return test


def _compare(term: Compare) -> Test:
    op, left, right = term.op, term.left, term.right
    if isinstance(left, Literal):
        op, left, right = _MIRRORED[op], right, left
    mismatch = {"==": False, "!=": True}.get(op)
    apply = _OPERATORS[op]
    value_of = getter(left)
    if isinstance(right, Literal):
        return _against(value_of, apply, right.value, mismatch)
    other_of = getter(right)
    allowed = ORDERED | {BOOLEAN} if op in EQUALS else ORDERED

    def test(subject: Subject) -> bool | None:
        value, other = value_of(subject), other_of(subject)
        kind, other_kind = KINDS.get(type(value)), KINDS.get(type(other))
        if kind is None or other_kind is None:
            return None
        if kind != other_kind:
            return mismatch
        return apply(small(value), small(other)) if kind in allowed else None

    return test


def _against(
    value_of: Getter,
    apply: Callable[[object, object], bool],
    literal: Scalar,
    mismatch: bool | None,
) -> Test:
    wanted = KINDS[type(literal)]
    whole = type(literal)

    def test(subject: Subject) -> bool | None:
        value = value_of(subject)
        if type(value) is whole and whole is not int:
            return apply(value, literal)
        kind = KINDS.get(type(value))
        if kind == wanted:
            return apply(small(value), literal)
        return None if kind is None else mismatch

    return test


def _one_of(value_of: Getter, options: tuple[Scalar, ...]) -> Test:
    # A set knows no kinds (True == 1): so one for each.
    by_kind: dict[str, frozenset[Scalar]] = {}
    for option in options:
        kind = KINDS[type(option)]
        by_kind[kind] = by_kind.get(kind, frozenset()) | {option}
    none: frozenset[Scalar] = frozenset()

    def test(subject: Subject) -> bool | None:
        value = value_of(subject)
        kind = KINDS.get(type(value))
        if kind is None:
            return None
        return kind != COMPOUND and small(value) in by_kind.get(kind, none)

    return test


def _contains(value_of: Getter, container_of: Getter) -> Test:
    def test(subject: Subject) -> bool | None:
        value, container = value_of(subject), container_of(subject)
        kind = KINDS.get(type(value))
        if kind is None or kind == COMPOUND:
            return None
        if isinstance(container, str):
            return value in container if isinstance(value, str) else None
        if not isinstance(container, list):
            return None
        value = small(value)
        for element in container:
            if KINDS.get(type(element)) == kind and small(element) == value:
                return True
        return False

    return test


def _affix(value_of: Getter, text: str, *, at_end: bool) -> Test:
    def test(subject: Subject) -> bool | None:
        value = value_of(subject)
        if not isinstance(value, str):
            return None
        return value.endswith(text) if at_end else value.startswith(text)

    return test


def small(value: object) -> object:
    """The value; a whole number of more than 64 bits as the float that databases make of it."""
    if type(value) is int and not LEAST_INTEGER <= value <= MOST_INTEGER:
        try:
            return float(value)
        except OverflowError:
            return float("inf") if value > 0 else float("-inf")
    return value


# getters


def getter(operand: Operand) -> Getter:
    """The operand's value as a function of the message."""
    if isinstance(operand, Literal):
        value = operand.value
        return lambda _: value
    match operand.root:
        case "id" | "enqueued_at":
            return lambda subject: subject.number
        case "key":
            return lambda subject: subject.key or None
        case "priority":
            return lambda subject: subject.priority
        case "attempts":
            return lambda subject: subject.attempts
        case "headers":
            (name,) = operand.path
            assert isinstance(name, str)
            return lambda subject: subject.headers().get(name)
    return _in_body(operand)


def _in_body(field: Field) -> Getter:
    path = field.path
    if not path:
        return lambda subject: subject.body()
    if len(path) == 1 and isinstance(path[0], str):
        name = path[0]

        def get_one(subject: Subject) -> object:
            body = subject.body()
            return body.get(name) if isinstance(body, dict) else None

        return get_one

    def get(subject: Subject) -> object:
        value = subject.body()
        for step in path:
            if isinstance(step, str):
                if not isinstance(value, dict):
                    return None
                value = value.get(step)
            elif isinstance(value, list) and step < len(value):
                value = value[step]
            else:
                return None
        return value

    return get
