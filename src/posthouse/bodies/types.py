"""What a queue's type makes of a body, by way of each format."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

import msgspec
import msgspec.inspect

from posthouse.bodies import models, msgpack, strictjson
from posthouse.errors import BadArgument


class Readers(NamedTuple):
    """Three ways to an object of one type; each raises whatever it likes for what is none."""

    json: Callable[[bytes], Any]
    msgpack: Callable[[bytes], Any]
    convert: Callable[[Any], Any]


ANYTHING: Final = Readers(strictjson.read_any, msgpack.read_any, lambda value: value)


def readers(body_type: Any) -> Readers:
    """The readers for a queue's type; None and Any: whatever the bodies are.

    Raises:
        BadArgument: bodies cannot be of that type.
    """
    if body_type is None or body_type is Any or body_type is object:
        return ANYTHING
    try:
        if models.mentions_model(body_type):
            return _of_models(body_type)
        return _of_msgspec(body_type)
    except Exception as error:
        raise BadArgument(f"bodies cannot be of type {body_type!r}: {error}") from error


def check_type(body_type: Any) -> None:
    """Raise unless JSON and msgpack bodies can be read as that type.

    A class that only a codec of the program's own can make is none of those.

    Raises:
        BadArgument: they cannot.
    """
    readers(body_type)
    if not models.mentions_model(body_type):
        info = msgspec.inspect.type_info(body_type)
        if isinstance(info, msgspec.inspect.CustomType):
            raise BadArgument(f"bodies cannot be of type {body_type!r}: msgspec does not know it")


def _of_msgspec(body_type: Any) -> Readers:
    hook = models.from_plain

    def convert(value: Any) -> Any:
        if _is_instance(value, body_type):
            return value
        # With bytes as a built-in type, text is not taken for base64.
        return msgspec.convert(value, body_type, builtin_types=(bytes,), dec_hook=hook)

    return Readers(
        msgspec.json.Decoder(body_type, dec_hook=hook).decode,
        msgspec.msgpack.Decoder(body_type, dec_hook=hook).decode,
        convert,
    )


def _of_models(body_type: Any) -> Readers:
    from_json, from_value = models.validators(body_type)

    def read_json(data: bytes) -> Any:
        # pydantic's parser takes NaN and numbers beyond a float; msgspec's does not.
        strictjson.read_any(data)
        return from_json(data)

    def convert(value: Any) -> Any:
        return value if _is_instance(value, body_type) else from_value(value)

    return Readers(read_json, lambda data: from_value(msgpack.read_any(data)), convert)


def _is_instance(value: Any, body_type: Any) -> bool:
    try:
        return isinstance(value, body_type)
    except TypeError:
        return False  # list[int], a TypedDict: not for isinstance
