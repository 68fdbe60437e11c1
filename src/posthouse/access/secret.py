"""Secrets: where they come from, and a value that does not show them."""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from typing import BinaryIO, Final, NoReturn

from posthouse.access.private import read_private
from posthouse.access.redact import HIDDEN
from posthouse.errors import AccessFileError, BadArgument

MAX_SECRET_BYTES: Final = 1024


class Secret:
    """A password or token. Printing, formatting and pickling it do not give it away."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        if not isinstance(value, str):
            raise BadArgument(f"a secret is a str, not {type(value).__name__}")
        trouble = _trouble(value)
        if trouble:
            raise BadArgument(f"the secret {trouble}")
        self._value = value

    def reveal(self) -> str:
        """The secret itself."""
        return self._value

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    __hash__ = None  # type: ignore[assignment]

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled: let the other process read it where you did")


def secret_from_file(path: str) -> Secret:
    """The one line of a file that only its owner (or root and its group) can read.

    Raises:
        AccessFileError: it is not there, is open to others, or holds no secret.
    """
    data = read_private(path, "the secret file", MAX_SECRET_BYTES + 2)
    try:
        return Secret(_one_line(data))
    except UnicodeDecodeError:
        raise AccessFileError(path, "the secret is not UTF-8 text") from None
    except BadArgument as error:
        raise AccessFileError(path, str(error)) from None


def secret_from_environment(variable: str, environ: Mapping[str, str]) -> Secret:
    """What a variable of the environment holds.

    Raises:
        BadArgument: it is not set, or holds no secret.
    """
    if variable not in environ:
        raise BadArgument(f"the environment has no {variable}")
    try:
        return Secret(environ[variable])
    except BadArgument as error:
        raise BadArgument(f"{variable}: {error}") from None


def secret_from_stream(stream: BinaryIO) -> Secret:
    """The one line that a stream, as standard input, gives.

    Raises:
        BadArgument: it gives none, or more.
    """
    data = stream.read(MAX_SECRET_BYTES + 2)
    try:
        return Secret(_one_line(data))
    except UnicodeDecodeError:
        raise BadArgument("the secret on standard input is not UTF-8 text") from None
    except BadArgument as error:
        raise BadArgument(f"standard input: {error}") from None


def _one_line(data: bytes) -> str:
    return data.removesuffix(b"\n").removesuffix(b"\r").decode()


def _trouble(value: str) -> str:
    if not value:
        return "is empty"
    try:
        size = len(value.encode())
    except UnicodeEncodeError:
        return "has characters that are no UTF-8"
    if size > MAX_SECRET_BYTES:
        return f"is longer than {MAX_SECRET_BYTES:,} bytes"
    if not value.isprintable():
        return "has a character that cannot be typed; it has to be one line of text"
    return ""
