"""Filters and indexes as SQL over what is stored: the columns, expression indexes, candidates.

An index proposes and the filter decides: what an index leads to may be too much and is never too
little. An expression index serves only where the query has the same expression with the same
literals, so the field's path is written into both, quoted, and never bound.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable
from typing import Any, Final

import msgspec

from posthouse.bodies import BodyDecoder
from posthouse.core.filters import Columns, Filter, parse_field
from posthouse.core.filters.grammar import (
    Both,
    Compare,
    Field,
    Literal,
    OneOf,
    Scalar,
    Term,
)
from posthouse.errors import BodyError

Execute = Callable[..., Any]

_BODY: Final = (
    "(CASE c.kind WHEN 0 THEN CASE WHEN json_valid(CAST(c.body AS TEXT))"
    " THEN CAST(c.body AS TEXT) END WHEN 1 THEN json_quote(CAST(c.body AS TEXT))"
    " WHEN 2 THEN NULL ELSE posthouse_json(c.kind, c.body, c.headers) END)"
)
COLUMNS: Final = Columns(
    number="m.id",
    key="NULLIF(m.key, '')",
    priority="m.priority",
    attempts="m.attempts",
    headers="c.shown",
    body=_BODY,
)
_DECODER: Final = BodyDecoder()
_MIRRORED: Final = {"==": "==", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def prepare(db: sqlite3.Connection) -> None:
    """Let a connection read bodies that SQLite itself cannot (msgpack, compressed, one's own)."""
    db.create_function("posthouse_json", 3, _as_json, deterministic=True)


def _as_json(kind: int, body: bytes, headers: bytes | None) -> str | None:
    try:
        return msgspec.json.encode(_plain(_DECODER.decode(kind, body, headers or b""))).decode()
    except (BodyError, TypeError, ValueError, RecursionError):
        return None


def _plain(value: Any) -> Any:
    """The value as JSON knows it; what a filter does not know is null."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if isinstance(key, str)}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value if isinstance(value, (str, int, float, bool)) else None


# indexes


def _expression(field: Field, alias: str = "") -> str:
    """A field's value, as an index has it; NULL where SQLite alone cannot tell."""
    steps = (f'."{step}"' if isinstance(step, str) else f"[{step}]" for step in field.path)
    path = ("$" + "".join(steps)).replace("'", "''")
    if field.root == "headers":
        return f"json_extract({alias}shown, '{path}')"
    text = f"CAST({alias}body AS TEXT)"
    return (
        f"(CASE WHEN {alias}kind = 0 AND json_valid({text})"
        f" THEN json_extract({text}, '{path}') END)"
    )


def _name(queue: int, position: int) -> str:
    return f"field_{queue}_{position}"


def create(execute: Execute, queue: int, index: Iterable[str]) -> None:
    """Make the indexes of a queue's policy."""
    for position, text in enumerate(index):
        field = parse_field(text)
        if field.root not in ("headers", "body"):
            continue  # ids, keys and the like are in the messages' rows
        execute(
            f"CREATE INDEX {_name(queue, position)} ON content ({_expression(field)})"
            f" WHERE queue = {int(queue)}"
        )


def drop(execute: Execute, queue: int, index: Iterable[str]) -> None:
    """Let go of the indexes of a policy that was."""
    for position, _ in enumerate(index):
        execute(f"DROP INDEX IF EXISTS {_name(queue, position)}")


# filters


def condition(where: Filter | None) -> tuple[str, dict[str, Scalar]]:
    """A filter as what stands after WHERE, over ``message AS m`` and ``content AS c``."""
    if where is None:
        return "1", {}
    found = where.sql(COLUMNS)
    return found.text, found.parameters


def candidates(
    where: Filter | None, queue: int, index: Iterable[str]
) -> tuple[str, dict[str, Scalar]] | None:
    """A query for the ids that may match, by the queue's indexes; None where none helps."""
    known = {field for text in index if (field := parse_field(text)).root in ("headers", "body")}
    if where is None or not known:
        return None
    writer = _Candidates(queue, known)
    found = writer.ids(where.term)
    return None if found is None else (found, writer.parameters)


class _Candidates:
    def __init__(self, queue: int, known: set[Field]) -> None:
        self._queue = int(queue)
        self._known = known
        self.parameters: dict[str, Scalar] = {}

    def ids(self, term: Term) -> str | None:
        """A query for ids, or None."""
        match term:
            case Both(terms=terms, any_of=True):
                parts = [self.ids(each) for each in terms]
                found = [part for part in parts if part is not None]
                return " UNION ".join(found) if len(found) == len(parts) else None
            case Both(terms=terms):
                return self._of_all(terms)
            case Compare() | OneOf():
                tests = self._tests(term)
                return None if tests is None else self._query(*tests)
        return None

    def _of_all(self, terms: tuple[Term, ...]) -> str | None:
        """By one of the terms, the sharpest; what asks for the same field goes together."""
        by_field: dict[Field, list[str]] = {}
        exact: set[Field] = set()
        for term in terms:
            if isinstance(term, (Compare, OneOf)):
                tests = self._tests(term)
                if tests is not None:
                    by_field.setdefault(tests[0], []).extend(tests[1])
                    if isinstance(term, OneOf) or term.op == "==":
                        exact.add(tests[0])
        if by_field:
            field = min(by_field, key=lambda each: (each not in exact, -len(by_field[each])))
            return self._query(field, by_field[field])
        for term in terms:
            if isinstance(term, Both):
                found = self.ids(term)
                if found is not None:
                    return found
        return None

    def _tests(self, term: Compare | OneOf) -> tuple[Field, list[str]] | None:
        """What a term asks of an indexed field's expression, written as ``{}``."""
        if isinstance(term, OneOf):
            if isinstance(term.operand, Field) and term.operand in self._known:
                names = ", ".join(map(self._parameter, term.options))
                return term.operand, [f"{{}} IN ({names})"]
            return None
        op, left, right = term.op, term.left, term.right
        if isinstance(left, Literal) and op in _MIRRORED:
            op, left, right = _MIRRORED[op], right, left
        if op not in _MIRRORED or not isinstance(left, Field) or not isinstance(right, Literal):
            return None
        if left not in self._known:
            return None
        sign = "=" if op == "==" else op
        return left, [f"{{}} {sign} {self._parameter(right.value)}"]

    def _parameter(self, value: Scalar) -> str:
        name = f"i{len(self.parameters)}"
        self.parameters[name] = value
        return f":{name}"

    def _query(self, field: Field, tests: list[str]) -> str:
        expression = _expression(field)
        # Not str.format: the expression may have braces.
        asked = " AND ".join(test.replace("{}", expression, 1) for test in tests)
        found = f"SELECT id FROM content WHERE queue = {self._queue} AND {asked}"
        if field.root == "headers":
            return found
        return f"{found} UNION SELECT id FROM content WHERE queue = {self._queue} AND kind > 2"
