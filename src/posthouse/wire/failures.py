"""Errors as answers, and answers as errors: the same class, text and figures on both sides."""

from __future__ import annotations

from typing import Final

from posthouse import errors
from posthouse.errors import (
    FilterError,
    LeaseExpired,
    MessageTooLarge,
    PosthouseError,
    UnknownOutcome,
)
from posthouse.wire.answers import Failed

_CODES: Final[dict[str, type[Exception]]] = {
    **{
        name: kind
        for name in errors.__all__
        if isinstance(kind := getattr(errors, name), type) and issubclass(kind, PosthouseError)
    },
    "TimeoutError": TimeoutError,
    "Cancelled": TimeoutError,
}
CANCELLED: Final = "Cancelled"
# What happened to the server is not what the program did wrong.
_OTHERS: Final = {"BrokerClosed": "BrokerUnreachable"}
_MOST_TEXT: Final = 4000
_MOST_NUMBERS: Final = 100_000


def failed(of: int, part: int, error: BaseException) -> Failed:
    """The answer that says what was raised."""
    code = type(error).__name__
    code = _OTHERS.get(code, code)
    numbers: list[int] = []
    text = str(error)
    if isinstance(error, LeaseExpired):
        numbers = list(error.numbers[:_MOST_NUMBERS])
    elif isinstance(error, MessageTooLarge):
        numbers = [error.size_bytes, error.limit_bytes]
    elif isinstance(error, FilterError):
        numbers = [error.at]
    if code not in _CODES:
        code, text = "BrokerBug", f"the server failed: {type(error).__name__}: {error}"
    return Failed(of, part, code, text[:_MOST_TEXT], numbers)


def cancelled(of: int, part: int) -> Failed:
    """The answer to a request that was cancelled before it was done."""
    return Failed(of, part, CANCELLED, "cancelled; nothing was done")


def raised(answer: Failed) -> Exception:
    """The error that an answer stands for; UnknownOutcome if its code is of a later version."""
    kind = _CODES.get(answer.code)
    if kind is None:
        return UnknownOutcome(f"{answer.code}: {answer.text}")
    error: Exception = kind.__new__(kind, answer.text)
    Exception.__init__(error, answer.text)
    numbers = answer.numbers
    if isinstance(error, LeaseExpired):
        error.numbers = tuple(numbers)
    elif isinstance(error, MessageTooLarge):
        error.size_bytes, error.limit_bytes = [*numbers, 0, 0][:2]
    elif isinstance(error, FilterError):
        error.fault, error.where = answer.text, ""
        error.at = numbers[0] if numbers else 0
    return error
