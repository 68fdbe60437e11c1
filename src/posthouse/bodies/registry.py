"""Codecs by name and by content type: the built-in ones, and those that a program registers."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from posthouse.errors import BadArgument
from posthouse.model import KIND_BYTES, KIND_JSON, KIND_MSGPACK, KIND_NAMES, KIND_TEXT

MAX_CODECS: Final = 1000
_CONTENT_TYPE: Final = re.compile(
    r"[a-z0-9!#$&^_.+-]{1,100}/[a-z0-9!#$&^_.+-]{1,100}(; ?[ -~]{1,100})?"
)
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}")

BUILT_IN: Final = {
    "json": KIND_JSON,
    "text": KIND_TEXT,
    "bytes": KIND_BYTES,
    "msgpack": KIND_MSGPACK,
}
"""The built-in codecs' names and the kinds that they write."""

_KINDS: Final = BUILT_IN | {name: kind for kind, name in KIND_NAMES.items()}


@dataclass(frozen=True, slots=True)
class Codec:
    """A codec that a program registered. See `register`."""

    content_type: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]


_codecs: Final[dict[str, Codec]] = {}


def register(
    content_type: str,
    encode: Callable[[Any], bytes],
    decode: Callable[[bytes], Any],
    *,
    name: str | None = None,
) -> None:
    """Make a codec known to this process, for ``broker.queue(..., codec=name)`` and for reading.

    The content type travels with each message in its header ``content-type``. What ``decode``
    returns is taken as it is by a queue without a type; for one with a type it must be of that
    type, or plain values that convert to it. Registering it again replaces it.

    Args:
        content_type: like ``"application/yaml"``, in lower case.
        encode: an object to bytes.
        decode: those bytes to the object. It meets whatever others put in the queue: use nothing
            there that runs what it reads (pickle does).
        name: a short name; default: the content type alone.

    Raises:
        BadArgument: a name that is built in or cannot be one, or what cannot be called.
    """
    if not isinstance(content_type, str) or not _CONTENT_TYPE.fullmatch(content_type):
        raise BadArgument(f"{content_type!r} is no content type like 'application/yaml'")
    if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
        raise BadArgument(f"{name!r} cannot name a codec: use letters, digits, '_', '.', '+', '-'")
    for taken in (content_type, name):
        if taken in _KINDS:
            raise BadArgument(f"{taken!r} is built in; it cannot be registered")
    if not callable(encode) or not callable(decode):
        raise BadArgument("a codec is two functions, encode and decode")
    if len(_codecs) >= MAX_CODECS and content_type not in _codecs:
        raise BadArgument(f"there are {MAX_CODECS} codecs already")
    _codecs[content_type] = codec = Codec(content_type, encode, decode)
    if name is not None:
        _codecs[name] = codec


def find(name: str) -> Codec | int | None:
    """A codec by its name or content type: a registered one, a built-in one's kind, or None."""
    kind = _KINDS.get(name)
    return _codecs.get(name) if kind is None else kind


def names() -> list[str]:
    """The names and content types that `find` knows."""
    return [*_KINDS, *_codecs]
