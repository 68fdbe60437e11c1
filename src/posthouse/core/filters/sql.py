"""From terms to SQL over JSON, for SQLite: text, and parameters by name.

Every value of the filter is a parameter, the names of fields too: they stand in JSON paths, which
`literals.step_problem` keeps free of what would end a name. See `grammar` for what a term means; a
test holds that this and `closures` find the same.

Where a database reads JSON otherwise than Python does, so do filters: of an object's equal names
SQLite takes the first, it cuts texts at a NUL character and may round a number's 17th digit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from posthouse.core.filters.grammar import (
    BOOLEAN,
    COMPOUND,
    EQUALS,
    KINDS,
    NUMBER,
    ORDERED,
    STAMPS,
    TEXT,
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

_KIND_CASES: Final = (
    f"WHEN 'text' THEN '{TEXT}' WHEN 'integer' THEN '{NUMBER}' WHEN 'real' THEN '{NUMBER}'"
    f" WHEN 'true' THEN '{BOOLEAN}' WHEN 'false' THEN '{BOOLEAN}'"
    f" WHEN 'array' THEN '{COMPOUND}' WHEN 'object' THEN '{COMPOUND}' END"
)
_COMPARABLE: Final = f"'{NUMBER}', '{TEXT}', '{BOOLEAN}'"
_SORTABLE: Final = f"'{NUMBER}', '{TEXT}'"


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a table has a message's parts: SQL that is put in as it stands, never from a user.

    Attributes:
        number: the id as a number.
        key: the ordering key; "" or NULL for none.
        priority, attempts: whole numbers.
        headers, body: JSON (or NULL); a body of text as a JSON string, of bytes as NULL.
    """

    number: str = "id"
    key: str = "NULLIF(key, '')"
    priority: str = "priority"
    attempts: str = "attempts"
    headers: str = "headers"
    body: str = "body"


@dataclass(frozen=True, slots=True)
class Condition:
    """What stands after WHERE, and its named parameters."""

    text: str
    parameters: dict[str, Scalar]


@dataclass(frozen=True, slots=True)
class _Side:
    """An operand: SQL for its kind and its value. A kind that is known is ``sure``."""

    kind: str
    value: str
    sure: str | None = None


def to_sql(term: Term, columns: Columns | None = None, prefix: str = "f") -> Condition:
    """The term as a condition; its parameters are named ``prefix`` and a number."""
    writer = _Writer(columns or Columns(), prefix)
    text = writer.term(term)
    return Condition(text, writer.parameters)


class _Writer:
    def __init__(self, columns: Columns, prefix: str) -> None:
        self._columns = columns
        self._prefix = prefix
        self._names: dict[tuple[type, Scalar], str] = {}
        self.parameters: dict[str, Scalar] = {}

    def _parameter(self, value: Scalar) -> str:
        known = (type(value), value)
        name = self._names.get(known)
        if name is None:
            name = self._names[known] = f"{self._prefix}{len(self.parameters)}"
            self.parameters[name] = value
        return f":{name}"

    def term(self, term: Term) -> str:
        """SQL that is 1, 0 or NULL."""
        match term:
            case Both():
                word = " OR " if term.any_of else " AND "
                return "(" + word.join(map(self.term, term.terms)) + ")"
            case Not():
                return f"(NOT {self.term(term.term)})"
            case Compare():
                return self._compare(term.op, self._side(term.left), self._side(term.right))
            case OneOf():
                return self._one_of(self._side(term.operand), term.options)
            case Contains():
                return self._contains(term)
            case Affix():
                return self._affix(self._side(term.field), term.text, at_end=term.at_end)
            case IsNull():
                return f"({self._side(term.field).kind} IS NULL)"
            case Truth():
                side = self._side(term.operand)
                return f"(CASE {side.kind} WHEN '{BOOLEAN}' THEN {side.value} END)"

    def _compare(self, op: str, left: _Side, right: _Side) -> str:
        sign = "=" if op == "==" else op
        mismatch = {"==": "0", "!=": "1"}.get(op, "NULL")
        both = f"{left.value} {sign} {right.value}"
        if left.sure is not None and right.sure is not None:
            if left.sure == right.sure:
                return f"({both})"
            # A column may be NULL whatever its kind.
            there = f"{left.kind} IS NOT NULL AND {right.kind} IS NOT NULL"
            return f"(CASE WHEN {there} THEN {mismatch} END)"
        allowed = _COMPARABLE if op in EQUALS else _SORTABLE
        return (
            f"(CASE WHEN {left.kind} IS NULL OR {right.kind} IS NULL THEN NULL"
            f" WHEN {left.kind} <> {right.kind} THEN {mismatch}"
            f" WHEN {left.kind} IN ({allowed}) THEN {both} END)"
        )

    def _one_of(self, side: _Side, options: tuple[Scalar, ...]) -> str:
        cases = []
        for kind in sorted(ORDERED | {BOOLEAN}):
            names = [self._parameter(each) for each in options if KINDS[type(each)] == kind]
            if names:
                cases.append(f"WHEN '{kind}' THEN {side.value} IN ({', '.join(names)})")
        cases.append(f"ELSE CASE WHEN {side.kind} IS NOT NULL THEN 0 END")
        return f"(CASE {side.kind} {' '.join(cases)} END)"

    def _contains(self, term: Contains) -> str:
        side, container = self._side(term.operand), self._side(term.container)
        field = term.container
        inside = f"WHEN {container.kind} = '{TEXT}' THEN"
        inside += (
            f" CASE {side.kind} WHEN '{TEXT}' THEN instr({container.value}, {side.value}) > 0 END"
        )
        among = ""
        if field.root in ("headers", "body"):
            document, path = self._place(field)
            kind = f"CASE e.type {_KIND_CASES}"
            # Of our columns and the names of parameters only; nothing of the filter's text is here.
            # The side stands outside: json_each has a column `key`, as messages do.
            rows = f"SELECT {kind}, e.value FROM json_each({document}, {path}) AS e"
            among = (
                f" WHEN {container.kind} = '{COMPOUND}' AND json_type({document}, {path}) = 'array'"
                f" THEN coalesce(({side.kind}, {side.value}) IN ({rows}), 0)"
            )
        return (
            f"(CASE WHEN {side.kind} IS NULL OR {side.kind} = '{COMPOUND}' THEN NULL"
            f" {inside}{among} END)"
        )

    def _affix(self, side: _Side, text: str, *, at_end: bool) -> str:
        if not text:
            found = "1"
        elif at_end:
            found = f"substr({side.value}, {-len(text)}) = {self._parameter(text)}"
        else:
            found = f"substr({side.value}, 1, {len(text)}) = {self._parameter(text)}"
        return f"(CASE {side.kind} WHEN '{TEXT}' THEN {found} END)"

    # operands

    def _side(self, operand: Operand) -> _Side:
        if isinstance(operand, Literal):
            kind = KINDS[type(operand.value)]
            return _Side(f"'{kind}'", self._parameter(operand.value), kind)
        columns = self._columns
        if operand.root in STAMPS:
            return _column(columns.number, NUMBER)
        if operand.root in ("priority", "attempts"):
            return _column(getattr(columns, operand.root), NUMBER)
        if operand.root == "key":
            return _column(columns.key, TEXT)
        document, path = self._place(operand)
        kind = f"CASE json_type({document}, {path}) {_KIND_CASES}"
        return _Side(f"({kind})", f"json_extract({document}, {path})")

    def _place(self, field: Field) -> tuple[str, str]:
        document = self._columns.headers if field.root == "headers" else self._columns.body
        steps = (f'."{step}"' if isinstance(step, str) else f"[{step}]" for step in field.path)
        return document, self._parameter("$" + "".join(steps))


def _column(text: str, kind: str) -> _Side:
    return _Side(f"(CASE WHEN {text} IS NOT NULL THEN '{kind}' END)", text, kind)
