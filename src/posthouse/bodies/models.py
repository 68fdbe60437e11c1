"""pydantic's models. pydantic is imported only once a program's own type needs it.

A model is put as what its own JSON says (by alias), and read by its own rules for JSON, which are
stricter or laxer as the model has it.
"""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any

import msgspec

_json = msgspec.json.Encoder(decimal_format="string")


def is_model(body_type: Any) -> bool:
    """Whether pydantic made this class (a model, or a dataclass of pydantic's)."""
    return isinstance(body_type, type) and hasattr(body_type, "__pydantic_validator__")


def mentions_model(body_type: Any) -> bool:
    """Whether the type is a model or is spelled with one, like ``list[Model]``."""
    return is_model(body_type) or any(map(mentions_model, typing.get_args(body_type)))


def to_plain(value: object) -> object:
    """A model as plain values: msgspec asks here about objects that it does not know."""
    if not is_model(type(value)):
        raise NotImplementedError  # msgspec's way to say: of a type that is not supported
    model: Any = value
    return model.model_dump(mode="json", by_alias=True, round_trip=True)


def from_plain(wanted: Any, value: Any) -> Any:
    """Plain values as a model inside another type: msgspec asks here about types it does not know.

    What is not a model's is left as it is, and msgspec says that it is of another type.
    """
    if is_model(wanted) and not isinstance(value, bytes):
        return _said_plainly(wanted.model_validate_json, _json.encode(value))
    return value


def validators(body_type: Any) -> tuple[Callable[[bytes], Any], Callable[[Any], Any]]:
    """Two functions that read JSON text, and plain values, as the type.

    Raises:
        pydantic's own errors: it cannot make sense of the type.
    """
    import pydantic

    adapter: Any = pydantic.TypeAdapter(body_type)

    def from_json(data: bytes) -> Any:
        return _said_plainly(adapter.validate_json, data)

    def from_value(value: Any) -> Any:
        # By way of JSON, because a strict model takes a date in a str only there.
        if isinstance(value, bytes):
            return _said_plainly(adapter.validate_python, value)
        return from_json(_json.encode(value))

    return from_json, from_value


def _said_plainly(validate: Callable[[Any], Any], value: Any) -> Any:
    try:
        return validate(value)
    except ValueError as error:
        found: Any = getattr(error, "errors", None)
        if found is None:
            raise
        # On one line and without the values, which have no place in a log; nor has their error.
        texts = [
            f"{'.'.join(map(str, each['loc'])) or 'the body'}: {each['msg']}"
            for each in found(include_url=False, include_input=False, include_context=False)[:5]
        ]
        raise ValueError("; ".join(texts)) from None
