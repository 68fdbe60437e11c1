"""Filters: a safe part of Python's expressions, parsed once, run as a function or as SQL.

``headers.customer == 'acme' and body.amount > 100 and 'tea' in body.items``. The rules are in
`grammar`; nothing of a filter is ever evaluated by Python itself.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from posthouse.core.filters.closures import Subject, compile_term
from posthouse.core.filters.parse import fields_of, parse, parse_field
from posthouse.core.filters.sql import Columns, Condition, to_sql

_KEPT: Final = 256

__all__ = ["Columns", "Condition", "Filter", "Subject", "filter_of", "parse_field"]


class Filter:
    """A parsed filter.

    Attributes:
        text: as it was written.
        term: what it is made of (see `grammar`).
        roots: the parts of a message that it looks at.
    """

    __slots__ = ("_test", "roots", "term", "text")

    def __init__(self, text: str) -> None:
        """Parse it.

        Raises:
            FilterError: it is not a filter; the text has a caret under the fault.
        """
        self.text = text
        self.term = parse(text)
        self.roots = frozenset(field.root for field in fields_of(self.term))
        self._test = compile_term(self.term)

    def matches(self, subject: Subject) -> bool:
        """Whether it is true of the message (not false, and not unknown)."""
        return self._test(subject) is True

    def sql(self, columns: Columns | None = None, prefix: str = "f") -> Condition:
        """The same as SQL for SQLite; see `sql`."""
        return to_sql(self.term, columns, prefix)

    def __repr__(self) -> str:
        return f"<Filter {self.text!r}>"


def filter_of(text: str) -> Filter:
    """The filter, parsed once for all that ask for the same text (of the last 256).

    Raises:
        FilterError: as `Filter`.
    """
    return _parsed(text) if isinstance(text, str) else Filter(text)


_parsed = lru_cache(maxsize=_KEPT)(Filter)
