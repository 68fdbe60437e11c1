"""The values and names that may be written in a filter."""

from __future__ import annotations

import ast
import math
import re
from datetime import UTC, datetime
from typing import Final

from posthouse.core.filters.grammar import Scalar
from posthouse.model import NANOSECONDS

LEAST_INTEGER: Final = -(1 << 63)
MOST_INTEGER: Final = (1 << 63) - 1
MOST_INDEX: Final = 1_000_000
_ID: Final = re.compile(r"[0-9a-fA-F]{16}", re.ASCII)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_S: Final = 24 * 3600


def value_of(node: ast.expr) -> Scalar | None:
    """The value that is written there; None if it is none that a filter knows."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.UAdd)):
        number = node.operand.value if isinstance(node.operand, ast.Constant) else None
        if type(number) in (int, float):
            assert isinstance(number, (int, float))
            return -number if isinstance(node.op, ast.USub) else number
        return None
    if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float)):
        return node.value
    return None


def problem(value: Scalar) -> str | None:
    """Why the value cannot be used, or None."""
    if isinstance(value, str):
        return _text_problem(value)
    if isinstance(value, float):
        return None if math.isfinite(value) else "the number is too large"
    if not LEAST_INTEGER <= value <= MOST_INTEGER:
        return "a whole number has at most 64 bits"
    return None


def _text_problem(text: str) -> str | None:
    if "\0" in text:
        return "a text has no NUL characters"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the text has a character that is not Unicode"
    return None


def step_problem(step: str | int) -> str | None:
    """Why this cannot be a step into headers or the body, or None."""
    if isinstance(step, int):
        if 0 <= step <= MOST_INDEX:
            return None
        return f"a place in a list is from 0 to {MOST_INDEX:,}"
    if not step:
        return "a field's name has at least one character"
    # JSON paths, in which databases name a field, have no way to write these.
    if '"' in step or "\\" in step or any(ord(c) < 32 for c in step):
        return "a field's name here has no quotation marks, backslashes or control characters"
    return _text_problem(step)


def stamp(root: str, value: Scalar) -> int | str:
    """A message's number for what is compared with ``id`` or ``enqueued_at``; a str: the fault."""
    if root == "id":
        if isinstance(value, str) and _ID.fullmatch(value) and int(value, 16) <= MOST_INTEGER:
            return int(value, 16)
        return "an id is a text of 16 hex digits"
    if not isinstance(value, str):
        return "enqueued_at is compared with a time like '2026-01-31T12:00:00Z'"
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return "this is not a time; write one like '2026-01-31T12:00:00Z'"
    if at.utcoffset() is None:
        return "a time needs a time zone: 'Z', or an offset like '+02:00'"
    try:
        since = at - _EPOCH
    except OverflowError:
        return "this time is out of reach"
    number = (since.days * _DAY_S + since.seconds) * NANOSECONDS + since.microseconds * 1000
    if not LEAST_INTEGER <= number <= MOST_INTEGER:
        return "this time is out of reach"
    return number
