"""Bodies and headers: objects to bytes and back. Pure.

str is text, bytes-like is bytes, and everything else is JSON (msgspec). Nothing is ever unpickled.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from posthouse.errors import BadArgument, BodyError, MessageTooLarge
from posthouse.model import (
    KIND_BYTES,
    KIND_JSON,
    KIND_NAMES,
    KIND_TEXT,
    MAX_BODY_BYTES,
    MAX_HEADERS_BYTES,
)

_json = msgspec.json.Encoder(decimal_format="string")
_json_any = msgspec.json.Decoder()
_headers = msgspec.msgpack.Encoder()
_headers_back = msgspec.msgpack.Decoder(dict[str, str])


def encode(body: object) -> tuple[int, bytes]:
    """The body's kind and bytes.

    Raises:
        BodyError: it cannot be written as JSON (the text says which part).
        MessageTooLarge: it is over 16 MiB.
    """
    if body.__class__ is bytes:
        kind, data = KIND_BYTES, body
    elif isinstance(body, str):
        try:
            kind, data = KIND_TEXT, body.encode()
        except UnicodeEncodeError as error:
            raise BodyError(f"the text has a character that is not Unicode: {error}") from error
    elif isinstance(body, (bytes, bytearray, memoryview)):
        kind, data = KIND_BYTES, bytes(body)
    else:
        try:
            kind, data = KIND_JSON, _json.encode(body)
        except (TypeError, ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise BodyError(
                f"a body of type {type(body).__name__} cannot be written as JSON: {error}"
            ) from error
    assert isinstance(data, bytes)
    if len(data) > MAX_BODY_BYTES:
        raise MessageTooLarge("the body", len(data), MAX_BODY_BYTES)
    return kind, data


class BodyDecoder:
    """Bytes back to objects, for one queue's type (None: whatever they are)."""

    __slots__ = ("_anything", "_decoder", "type")

    def __init__(self, body_type: Any = None) -> None:
        self.type = body_type
        self._anything = body_type is None or body_type is Any
        if self._anything:
            self._decoder: msgspec.json.Decoder[Any] = _json_any
        else:
            try:
                self._decoder = msgspec.json.Decoder(body_type)
            except (TypeError, NameError) as error:
                raise BadArgument(f"bodies cannot be of type {body_type!r}: {error}") from error

    def decode(self, kind: int, data: bytes) -> Any:
        """The object.

        Raises:
            BodyError: the bytes are not what the kind and the queue's type say.
        """
        if kind == KIND_BYTES and self._anything:
            return data
        try:
            if kind == KIND_BYTES:
                return msgspec.convert(data, self.type, builtin_types=(bytes,))
            if kind == KIND_TEXT:
                text = data.decode()
                # With bytes as a built-in type, text is not taken for base64.
                return (
                    text
                    if self._anything
                    else msgspec.convert(text, self.type, builtin_types=(bytes,))
                )
            if kind == KIND_JSON:
                return self._decoder.decode(data)
        except (ValueError, msgspec.MsgspecError, RecursionError) as error:
            raise BodyError(f"the body does not decode as {KIND_NAMES[kind]}: {error}") from error
        raise BodyError(f"the body is of kind {kind}, which this version does not know")


def encode_headers(headers: Mapping[str, str] | None) -> bytes:
    """Headers as a msgpack map; b"" for none.

    Raises:
        BadArgument: a key or value is not a str.
        MessageTooLarge: they are over 64 KiB.
    """
    if headers is None:
        return b""
    if not isinstance(headers, Mapping):
        raise BadArgument(f"headers are a mapping of str to str, not {type(headers).__name__}")
    if not headers:
        return b""
    for key, value in headers.items():
        if not isinstance(key, str) or not isinstance(value, str):
            raise BadArgument(
                f"headers are str to str; {key!r} is {type(key).__name__} to {type(value).__name__}"
            )
    try:
        data = _headers.encode(dict(headers))
    except UnicodeEncodeError as error:
        raise BadArgument(f"a header has a character that is not Unicode: {error}") from error
    if len(data) > MAX_HEADERS_BYTES:
        raise MessageTooLarge("the headers", len(data), MAX_HEADERS_BYTES)
    return data


def decode_headers(data: bytes) -> dict[str, str]:
    """The headers as a new dict."""
    return _headers_back.decode(data) if data else {}
