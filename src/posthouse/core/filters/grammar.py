"""What a filter is made of, once it is parsed, and its limits.

Values are null, boolean, number, text, or compound (a list or an object). A term is true, false or
unknown, as in SQL, and a message matches only where the whole filter is true:

- a field that is missing, is null, or cannot be decoded is null;
- a comparison, a ``startswith`` or an ``in`` with null is unknown; ``is None`` asks for it;
- values of different kinds are not equal (``==`` is false, ``!=`` is true) and have no order
  (unknown); booleans have no order, and no two compounds compare at all (unknown);
- ``x in field`` looks among the elements of a list and inside a text; elsewhere it is unknown;
- a field that stands alone is what it is if it is a boolean, and unknown otherwise;
- ``not`` unknown is unknown; ``and`` and ``or`` are as in SQL (Kleene's logic).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

MAX_CHARACTERS: Final = 4096
MAX_TERMS: Final = 512
"""Literals, fields and operators together: what a filter costs for each message it looks at."""
MAX_DEPTH: Final = 32
"""How deep ``and``, ``or`` and ``not`` nest, and how many steps a field has."""

NUMBER: Final = "n"
TEXT: Final = "t"
BOOLEAN: Final = "b"
COMPOUND: Final = "c"

ORDERED: Final = frozenset({NUMBER, TEXT})
EQUALS: Final = frozenset({"==", "!="})

ROOTS: Final = ("id", "key", "priority", "attempts", "enqueued_at", "headers", "body")
STAMPS: Final = frozenset({"id", "enqueued_at"})
"""Both are the message's number, which is its time in nanoseconds: compared as whole numbers."""

KINDS: Final[dict[type, str]] = {
    str: TEXT,
    int: NUMBER,
    float: NUMBER,
    bool: BOOLEAN,
    list: COMPOUND,
    dict: COMPOUND,
}

Scalar: TypeAlias = "str | int | float | bool"


@dataclass(frozen=True, slots=True)
class Field:
    """A field of the message: one of `ROOTS`, and the steps into headers or the body."""

    root: str
    path: tuple[str | int, ...] = ()

    def __str__(self) -> str:
        """As one writes it."""
        text = self.root
        for step in self.path:
            plain = isinstance(step, str) and step.isidentifier()
            text += f".{step}" if plain else f"[{step!r}]"
        return text


@dataclass(frozen=True, slots=True)
class Literal:
    """A value written in the filter."""

    value: Scalar


Operand: TypeAlias = "Field | Literal"


@dataclass(frozen=True, slots=True)
class Compare:
    """``left op right``, op one of ``== != < <= > >=``."""

    op: str
    left: Operand
    right: Operand


@dataclass(frozen=True, slots=True)
class OneOf:
    """``operand in [literals]``."""

    operand: Operand
    options: tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Contains:
    """``operand in container``: an element of a list, or a part of a text."""

    operand: Operand
    container: Field


@dataclass(frozen=True, slots=True)
class Affix:
    """``field.startswith(text)``, or ``endswith``."""

    field: Field
    text: str
    at_end: bool


@dataclass(frozen=True, slots=True)
class IsNull:
    """``field is None``."""

    field: Field


@dataclass(frozen=True, slots=True)
class Truth:
    """A field, or a literal, that stands for itself."""

    operand: Operand


@dataclass(frozen=True, slots=True)
class Not:
    """``not term``."""

    term: Term


@dataclass(frozen=True, slots=True)
class Both:
    """``term and term ...``, or with ``any_of`` ``term or term ...``."""

    terms: tuple[Term, ...]
    any_of: bool = False


Term: TypeAlias = "Compare | OneOf | Contains | Affix | IsNull | Truth | Not | Both"
